"""A small general vocabulary: words that speak for a mood, an urgency or a subject, by the names such
labels have.

English with the commonest German. It knows nothing of anybody's labels: a label that is none of these
names is
judged by its own words and its description alone.
"""

from __future__ import annotations

from headgate.llm.demo.words import stem

__all__ = ["MILD", "NEGATIONS", "seeds_for"]

MILD = frozenset(
    [
        "neutral",
        "other",
        "others",
        "general",
        "misc",
        "miscellaneous",
        "unknown",
        "none",
        "normal",
        "medium",
        "moderate",
        "standard",
        "unclear",
        "mixed",
        "unrelated",
        "na",
        "n/a",
        "sonstiges",
        "sonstige",
        "andere",
        "average",
        "unsure",
        "uncategorized",
        "uncategorised",
    ]
)
"""Labels for what no other label fits."""

NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "none",
        "nothing",
        "hardly",
        "cannot",
        "can't",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "wasn't",
        "won't",
        "without",
        "nicht",
        "kein",
        "keine",
        "nie",
    ]
)

_SEEDS: tuple[tuple[str, str], ...] = (
    (
        "positive positiv praise happy satisfied good promoter compliment joy",
        (
            "good great excellent amazing love loved wonderful fantastic best happy pleased perfect thank "
            "thanks helpful friendly "
            "recommend delighted impressed enjoy enjoyed nice awesome superb brilliant delicious comfortable "
            "reliable easy quick "
            "beautiful outstanding glad satisfied smooth gut super toll danke zufrieden begeistert schön "
            "hervorragend freundlich perfekt"
        ),
    ),
    (
        ("negative negativ complaint complain unhappy dissatisfied bad detractor anger angry frustrated beschwerde"),
        (
            "bad terrible awful horrible worst hate hated poor disappointed disappointing disappointment "
            "broken rude slow useless refund "
            "angry unacceptable annoying annoyed frustrated frustrating complaint complain waste failed fail "
            "never wrong dirty ugly "
            "cold noisy late overpriced regret unhappy unfortunately ridiculous scam boring stopped problem "
            "schlecht enttäuscht kaputt leider beschädigt gebrochen defekt "
            "unfreundlich schrecklich ärgerlich mangelhaft nie"
        ),
    ),
    (
        "urgent urgency high critical emergency immediate severe p1 p0 blocker dringend hoch kritisch asap",
        (
            "urgent urgently immediately asap critical emergency down outage blocked blocking "
            "soon-as-possible "
            "soon production now severe losing breach "
            "deadline today hacked stolen unable crash crashed everyone stopped instantly right-away leak "
            "data-loss dringend sofort "
            "ausfall notfall heute"
        ),
    ),
    (
        "low minor trivial p4 p3 niedrig",
        (
            "whenever minor cosmetic question wondering curious suggestion typo sometime eventually "
            "nice-to-have small idea rush "
            "convenience irgendwann kleinigkeit frage"
        ),
    ),
    (
        "billing payment payments invoice invoices finance accounting rechnung abrechnung charge",
        (
            "invoice charge charged payment pay paid card credit billing bill subscription price twice "
            "refund "
            "receipt bank debit amount overcharged "
            "fee tax vat plan rechnung zahlung abgebucht betrag konto lastschrift"
        ),
    ),
    (
        "refund return returns erstattung",
        "refund refunded money-back return returned reimburse reimbursement back erstattung zurück",
    ),
    (
        "technical technik tech bug bugs error errors defect fault incident it fehler software support",
        (
            "error crash crashes crashed bug broken freeze freezes install update version screen button app "
            "website page load loading "
            "server api code exception login timeout slow sync upload download connection wifi driver fehler "
            "absturz funktioniert server installieren"
        ),
    ),
    (
        "account login access authentication password konto zugang security",
        (
            "login log password account locked sign access reset username credentials two-factor "
            "authentication verify email profile "
            "hacked phishing passwort konto anmelden gesperrt zugang"
        ),
    ),
    (
        "shipping delivery logistics order orders versand lieferung fulfilment fulfillment",
        (
            "package parcel delivery deliver delivered shipping shipped ship tracking courier arrive arrived "
            "late address order lost "
            "warehouse customs paket lieferung versand geliefert sendung bestellung"
        ),
    ),
    (
        "sales pricing quote purchase upgrade presales vertrieb lead",
        (
            "price pricing quote buy purchase upgrade demo discount enterprise licence license seats offer "
            "trial interested volume order angebot preis kaufen"
        ),
    ),
    (
        "feature request enhancement improvement idea wunsch suggestion",
        (
            "feature add would-like wish could suggestion suggest idea support integrate integration "
            "option missing improve dark-mode export allow"
        ),
    ),
    (
        "question inquiry enquiry anfrage frage information",
        "how what where when which wondering question possible know wie was frage",
    ),
    (
        "cancellation cancel churn kündigung termination",
        (
            "cancel cancelling cancelled cancellation terminate unsubscribe close end stop leave leaving "
            "kündigen kündigung"
        ),
    ),
    (
        "spam junk phishing advertising",
        (
            "winner prize lottery free click offer viagra casino bitcoin congratulations claim urgent cheap "
            "guaranteed unsubscribe earn cash loan"
        ),
    ),
    (
        "legal law contract compliance recht",
        (
            "contract clause liability law court lawyer attorney agreement plaintiff defendant party breach "
            "regulation gdpr vertrag gericht anwalt haftung klage"
        ),
    ),
    (
        "hr human resources recruiting recruitment job careers personal",
        (
            "salary vacation leave employee applicant hiring interview resume cv candidate payroll holiday "
            "bewerbung urlaub gehalt"
        ),
    ),
    (
        "politics political politik government",
        (
            "government council mayor opposition approved minister parliament election vote president "
            "senate party law policy campaign coalition opposition senator chancellor regierung wahl "
            "minister partei"
        ),
    ),
    (
        "sports sport",
        (
            "match team goal game player season coach league cup won win championship scored tournament "
            "striker medal race stadium spiel tor mannschaft trainer"
        ),
    ),
    (
        "business economy finance financial wirtschaft market markets",
        (
            "company shares profit revenue market stock bank investors quarter growth earnings merger "
            "acquisition economy inflation percent ceo sales trade "
            "unternehmen gewinn umsatz aktie"
        ),
    ),
    (
        "technology science tech research wissenschaft technik",
        (
            "software computer chip researchers scientists study data model internet device startup "
            "smartphone ai robot algorithm experiment laboratory telescope forscher studie"
        ),
    ),
    (
        "health medicine medical gesundheit",
        (
            "patient patients doctor hospital disease treatment vaccine medicine symptoms clinical drug "
            "virus therapy nurse arzt krankenhaus patienten"
        ),
    ),
    (
        "entertainment culture arts music film kultur",
        (
            "library book books film movie actor actress music album band concert festival museum artist "
            "novel theatre director exhibition song konzert museum"
        ),
    ),
    (
        "travel reise tourism",
        ("flight hotel trip airport booking passport luggage tour visit tourist airline beach reise flug hotel"),
    ),
    (
        "weather wetter climate",
        ("rain storm temperature snow wind sunny forecast flood heat drought degrees cloudy regen sturm schnee"),
    ),
    (
        "food restaurant essen",
        "food meal restaurant dish menu chef waiter taste delicious dinner lunch recipe essen",
    ),
    ("invoice rechnung", "invoice due total subtotal vat tax bill amount net payable rechnung betrag fällig"),
    ("receipt", "receipt paid cash card change till total thank"),
    ("resume cv application", "experience education skills employment university degree references career"),
    (
        "appointment meeting scheduling calendar termin",
        "meeting appointment schedule calendar reschedule agenda call slot termin treffen",
    ),
)


def seeds_for(label_words: list[str]) -> dict[str, float]:
    """Return the stems that speak for a label of these words, with their weight; empty where it is none we
    know."""
    found: dict[str, float] = {}
    mine = [stem(word) for word in label_words]
    for names, seeds in _SEEDS:
        if any(stem(name) in mine for name in names.split()):
            for seed in seeds.split():
                found[stem(seed)] = 1.0
    return found
