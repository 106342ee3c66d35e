"""Phone numbers in a text. They have no check digit, so it is their shape that tells, or the words around them.

An international number (`+49 …`) and the usual shapes of national ones are found wherever they stand; any other run of
digits only where a word near it says that one can ring there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from headgate.policies.scrubber import Span
from headgate.policies.words import Words

__all__ = ["phones"]

DIGITS_MIN, DIGITS_MAX = 7, 15
CONTEXT_BEFORE = 48
CONTEXT_AFTER = 24

ANYWHERE = (
    # +49 (0)89 99998-310
    (frozenset("+"), re.compile(r"(?<![0-9+])\+[ ]?\(?[1-9](?:[\s().\-/+_]{0,3}[0-9]){6,14}(?![0-9])")),
    # (415) 555-0132, 1-800-555-0199
    (
        frozenset(),
        re.compile(
            r"(?<![0-9])(?<![0-9][-.])(?:1[-. ]{0,2})?(?:\([2-9][0-9]{2}\)[-. ]{0,2}|[2-9][0-9]{2}[-. /]{1,3})"
            r"[2-9][0-9]{2}[-. ]{0,2}[0-9]{4}(?![0-9]|[-.][0-9])"
        ),
    ),
    # 020 7946 0321, 089/99998-310, 06 39 98 55 10, 0221 / 4710-123
    (
        frozenset("0"),
        re.compile(
            r"(?<![0-9])(?<![0-9][-./,])(?<![A-Z][A-Z])\(?0[1-9][0-9]{0,3}(?:\)[ ]?|[ .\-/]{1,3})[0-9]{2,8}(?:[ .\-/]{1,2}[0-9]{2,4}){0,4}(?![0-9])"
        ),
    ),
    # 0044 20 7946 0321
    (frozenset("0"), re.compile(r"(?<![0-9])00[ ]?[1-9](?:[ ().\-/]{0,2}[0-9]){8,13}(?![0-9])")),
    # 0639981277, 07700900123
    (frozenset("0"), re.compile(r"(?<![0-9A-Za-z])(?<![0-9][.,/_-])0[1-9][0-9]{8,9}(?![0-9A-Za-z]|[.,/_-][0-9])")),
    # 13800138000
    (frozenset("1"), re.compile(r"(?<![0-9])1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])")),
    # 98765 43210
    (frozenset(), re.compile(r"(?<![0-9])[6-9][0-9]{4}[ -][0-9]{5}(?![0-9])")),
    # (11) 95555-0143, (02) 5550 0123
    (frozenset("("), re.compile(r"(?<![0-9])\([0-9]{2,5}\)[ -]?[0-9]{3,5}(?:[ -][0-9]{3,5}){1,2}(?![0-9])")),
    # 11 95555-0143
    (frozenset("9- "), re.compile(r"(?<![0-9])[1-9][0-9][ ]9[0-9]{4}-[0-9]{4}(?![0-9])")),
    # 612 34 99 88, 91 555 01 62
    (
        frozenset(" "),
        re.compile(
            r"(?<![0-9])(?<![0-9][ .,])[6-9][0-9](?:[0-9] [0-9]{2}| [0-9]{3}) [0-9]{2} [0-9]{2}(?![0-9]|[ .,][0-9])"
        ),
    ),
    # 0 532 555 01 33
    (frozenset("0 "), re.compile(r"(?<![0-9])(?<![0-9][ .,])0 [1-9][0-9]{2} [0-9]{3} ?[0-9]{2} ?[0-9]{2}(?![0-9])")),
    # 555-0142
    (
        frozenset("-"),
        re.compile(r"(?<![0-9A-Za-z])(?<![0-9A-Za-z][-.])[2-9][0-9]{2}-[0-9]{4}(?![0-9A-Za-z]|[-.][0-9A-Za-z])"),
    ),
    # 3105550144, 9876543210
    (
        frozenset(),
        re.compile(
            r"(?<![0-9A-Za-z])(?<![0-9.,/_#-][.,/_#-])(?<![.,/_#-])[2-9][0-9]{9}(?![0-9A-Za-z]|[.,/_-][0-9A-Za-z])"
        ),
    ),
    # 03(1234)5678
    (frozenset("0()"), re.compile(r"(?<![0-9])0[1-9][0-9]{0,3}\([0-9]{1,4}\)[0-9]{3,4}(?![0-9])")),
    # 8 (495) 555-01-28
    (frozenset("8-"), re.compile(r"(?<![0-9])8[ -]?\(?[3489][0-9]{2}\)?[ -]?[0-9]{3}-[0-9]{2}-[0-9]{2}(?![0-9])")),
)
"""The shapes, each behind the characters without which there is none in a run of digits."""
ANY_OF_THEM = re.compile(rf"(?<![0-9])(?:{'|'.join(pattern.pattern for _, pattern in ANYWHERE)})")
NEAR_A_WORD = re.compile(r"(?<![0-9])(?<![0-9][.,:])\(?[0-9](?:[ ().\-/]{0,3}[0-9]){6,14}(?![0-9]|[.,:][0-9])")
WORDS = Words(
    [
        *(
            "tel phone celul zavol hívd hringdu tālr fone fon: call ring mobil mobiel móvil mobiil cell handy fax whatsapp whats wa.me sms text dial hotline "
            "msisdn reach erreich bereikb anruf rufen joindre appel llam teléf ligar ligue liga- contact chiam zap dzwoń dzwon komór "
            "gsm puh soita bel bel. bellen ara cep numéro tlf tfn telp sđt simu broj nazov pozov zovi volat hívj "
            "тел звон моб viber signal telegram дзвон телефон τηλ κινητό "
            "电话 電話 手机 手機 携帯 联系 聯絡 致电 拨打 号码 ファックス 전화 휴대 연락 핸드폰 هاتف جوال اتصل موبايل تلفون رقم تماس تلفن "
            "شماره موبایل فون फ़ोन फोन मोबाइल कॉल नंबर ফোন মোবাইল โทร gọi טלפון נייד"
        ).split(),
        *(" ph ", " ph:", " ph.", "(ph", " p: ", " t: ", " m: ", "☎", "📞", "📱"),
    ]
)
"""What says that one can ring there, as it stands somewhere near in small letters."""
NUMBERS = re.compile(
    r"\b(?:number|nummer|numéro|número|numero|номер\w*|nr\.?) (?:is|ist|est|es|è|é|är|er|:)?[ :]*\Z|"
    r"(?<!商品)(?<!注文)(?<!追跡)(?<!会員)(?<!製造)(?<!管理)(?<!受付)番号[はが:]?\s*\Z|رقم[يهاك]*[ :]*\Z",
)
SOMEBODYS = re.compile(r"\b(?:my|your|his|her|our|their|meine|deine|ihre|mon|mi|il mio|mój|moje|min|мой|minha|meu) \w")
NO_PHONE = re.compile(
    r"(?:isbn|issn|ean|gtin|imei|〒|plz|postcode|tellimus|tilaus|bestellung|bestelling|beställning|commande|pedido|ordine|zamówienie|"
    r"заказ|注文番号|订单号?|訂單|1z(?: [0-9a-z]{3}){0,2}|tracking(?: number)?|doi|iban|order|invoice|serial|org\.? ?n[ro]\.?|orgnr|siret|siren|vat|kvk|nip|regon|abn|sku|art\.?|id|ref|case|ticket|part|no\.|nr\.|#)[ \t:#.=-]*\Z",
)
DATE = re.compile(
    r"\(?(?:[0-9]{1,2}[./-][0-9]{1,2}[./-](?:19|20)[0-9]{2}|(?:19|20)[0-9]{2}[./-][0-9]{1,2}[./-][0-9]{1,2}|"
    r"1[34][0-9]{2}[./-](?:0?[1-9]|1[0-2])[./-](?:[012]?[0-9]|30))(?![0-9])"
)
"""The last is of the years that are counted from the Hijra."""

FOUR_BY_FOUR = re.compile(r"(?<![0-9+])(?<![0-9][ -])(?!00)[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![ -]?[0-9])")
"""A card, also one that is none: 4111 1111 1111 1112."""
FOUR_BY_FOUR_LENGTH = 19
OF_A_YEAR = re.compile(r"0[0-9]{1,5}/(?:19|20)[0-9]{2}(?![0-9])")
"""The number of a file: 0034/2026."""


OF_UNITS = re.compile(
    r" ?(?:bytes|[kmg]i?b|ms|rows|records|items|users|lines|tokens|requests|eur|euros?|usd|dollars?|km|kg)\b",
    re.IGNORECASE,
)
"""What follows an amount."""


def phones(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the phone numbers in a part of a text that has digits in it."""
    if end - start >= FOUR_BY_FOUR_LENGTH:
        for card in FOUR_BY_FOUR.finditer(text, start, end):
            yield from _phones(text, start, card.start())
            start = card.end()
    yield from _phones(text, start, end)


def _phones(text: str, start: int, end: int) -> Iterator[Span]:
    sure = list(_anywhere(text, start, end)) if ANY_OF_THEM.search(text, start, end) else []
    yield from sure
    if any(one.start <= start and one.end == end for one in sure):
        return
    for found in NEAR_A_WORD.finditer(text, start, end):
        span = _span(found)
        known = any(one.start <= span.start and span.end <= one.end for one in sure)
        if not known and not _is_a_date(found) and _is_near_a_word(text, found):
            yield span


def _anywhere(text: str, start: int, end: int) -> Iterator[Span]:
    marks = frozenset(text[start:end])
    for needed, pattern in ANYWHERE:
        if needed <= marks:
            for found in pattern.finditer(text, start, end):
                if _can_be_dialled(found) and (found[0][0] == "+" or not _is_something_else(text, found.start())):
                    yield _span(found)
                    if found.start() == start and found.end() == end:
                        return


def _span(found: re.Match[str]) -> Span:
    start = found.start() + (found[0][0] == "(" and ")" not in found[0])
    return Span(start, found.end(), "phone")


def _is_within_a_code(text: str, start: int, end: int) -> bool:
    """Return whether digits have letters on both sides."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return before.isascii() and before.isalpha() and after.isascii() and after.isalpha()


def _can_be_dialled(found: re.Match[str]) -> bool:
    digits = sum(map(str.isdigit, found[0]))
    return DIGITS_MIN <= digits <= DIGITS_MAX and not _is_a_date(found)


def _is_a_date(found: re.Match[str]) -> bool:
    return DATE.match(found[0]) is not None or OF_A_YEAR.match(found[0]) is not None


def _is_something_else(text: str, at: int) -> bool:
    return NO_PHONE.search(text[max(0, at - CONTEXT_AFTER) : at].lower()) is not None


def _is_near_a_word(text: str, found: re.Match[str]) -> bool:
    start, end = found.span()
    if _is_something_else(text, start) or OF_UNITS.match(text, end) or _is_within_a_code(text, start, end):
        return False
    near = f"{text[max(0, start - CONTEXT_BEFORE) : start]} {text[end : end + CONTEXT_AFTER]}".lower()
    if WORDS.within(near):
        return True
    before = text[max(0, start - CONTEXT_AFTER) : start].lower()
    if NUMBERS.search(before) is None:
        return False
    return " " in found[0] or "-" in found[0] or SOMEBODYS.search(before) is not None
