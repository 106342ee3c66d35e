"""Secrets in a text: keys and tokens by the shapes that their issuers give them, and what stands after `password=`.

A value that is a placeholder already (`$TOKEN`, `<your key>`, `***`) is left alone. Patterns are only tried where a
cheaper look has found something: a long run without spaces, a separator, a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from headgate.policies.key_names import CONNECTING, NAMES_OF_TWO, PASSWORDS, SPOKEN_NAMES, is_name, is_weak_name
from headgate.policies.scrubber import Span

__all__ = ["detect_keys"]

KIND = "key"

RUN = re.compile(r"[A-Za-z0-9_.:+/=~-]{12,}")
SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}|(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9+/=]{8,}|"
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{12,20}|"
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{12,}|"
    r"xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}|AIza[A-Za-z0-9_-]{24,}|ya29\.[A-Za-z0-9_-]{8,}|"
    r"GOCSPX-[A-Za-z0-9_-]{8,}|SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|npm_[A-Za-z0-9]{16,}|"
    r"pypi-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|do[opr]_v1_[A-Za-z0-9]{16,}|shp(?:at|ca|pa|ss)_[A-Za-z0-9]{8,}|"
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{8,}|EAA[A-Za-z0-9]{24,}|key-[0-9a-zA-Z]{24,}|(?:AC|SK)[0-9a-f]{32}|"
    r"lin_(?:api|oauth)_[A-Za-z0-9]{8,}|fig[du]_[A-Za-z0-9_-]{8,}|AT[AC]TT[A-Za-z0-9_=-]{16,}|"
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}|rubygems_[A-Za-z0-9]{8,}|gls?[ac]_[A-Za-z0-9_+/=-]{8,}|"
    r"NRA[KL]-[A-Z0-9]{8,}|NRJS-[a-z0-9]{8,}|sntry[su]_[A-Za-z0-9+/=_-]{8,}|pat-[a-z]{2,3}[0-9]-[0-9a-f-]{8,}|"
    r"xai-[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{16,}|r8_[A-Za-z0-9]{16,}|pplx-[A-Za-z0-9]{16,}|tvly-[A-Za-z0-9-]{12,}|"
    r"AGE-SECRET-KEY-1[A-Z0-9]{16,}|hv[sbr]\.[A-Za-z0-9_-]{12,}|nfp_[A-Za-z0-9]{12,}|fo1_[A-Za-z0-9_-]{12,}|"
    r"(?:bot)?[0-9]{8,10}:[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*|"
    r"[0-9a-f]{32}-us[0-9]{1,2}|v[1-4]\.(?:local|public)\.[A-Za-z0-9_-]{8,}|"
    r"(?=[A-Z0-9-]{0,40}[0-9])(?=[0-9-]{0,40}[A-Z])(?:[A-Z0-9]{4,6}-){2,5}[A-Z0-9]{4,6}(?![A-Za-z0-9-])|"
    r"[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}|"
    # what many use: a short word, _ or -, and a long run in which there are digits
    r"[A-Za-z][A-Za-z0-9]{1,9}(?:[_-][A-Za-z0-9]{1,8}){0,2}[_-](?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}"
    r")"
)
HOOKS = re.compile(
    r"https?://(?:hooks\.[\w.-]+|(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks|[\w.-]*webhook\.office\.com|"
    r"[\w-]+(?:\.[\w-]+)*\.logic\.azure\.com|maker\.ifttt\.com/trigger|api\.telegram\.org/bot|hook\.[a-z0-9.]*make\.com|"
    r"chat\.googleapis\.com/v1/spaces|outlook\.office\.com/webhook|[\w.:-]+/(?:[\w.-]+/){0,4}(?:incoming-)?(?:web)?hooks?(?=/))"
    r"/?[^\s\"'<>)\]]{8,}"
)
TOKEN_IN_ADDRESS = re.compile(r"://([A-Za-z0-9_.-]{12,100})@(?=[\w\[])")
IN_ADDRESS = re.compile(r"://[^\s:/@\"'<>]{0,100}:([^\s/\"'<>]{1,200})@(?=[\w\[])")
BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
BLOCK_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
BLOCK_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,.\-]|\s|\\[nr])*")
BLOCK_LENGTH_MAX = 20_000
SCHEME = re.compile(
    r"\b(?:bearer|basic|token|apikey|api-key|digest|negotiate|splunk)[ ]+([A-Za-z0-9][A-Za-z0-9._~+/=-]{7,})",
    re.IGNORECASE,
)
SCHEMES = ("bearer ", "basic ", "token ", "apikey ", "api-key ", "digest ", "negotiate ", "splunk ")

SEPARATED = re.compile(
    r"(?:[:=]{1,2}>?|->|>|\||(?<=[\"'])[ ]?,(?=[ ]?[\"'])|\((?=[\"'])|[はが是为為])\s{0,16}(?=[\"'`]([^\"'`\n]{3,200})[\"'`]|([^\s\"'`,;<>(){}\[\]|。、]{3,400}))"
)
NAME_LENGTH_MAX = 48
NAME = re.compile(r"[\w '.&-]*\Z")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+")
SPOKEN_VALUE = re.compile(r"[\w-]{0,6}(?: [\w'-]{1,12}){0,8}[\s:=,(\"'`]{1,4}([^\s\"'`,;<>(){}\[\]|。、]{6,200})")
OPTION = re.compile(
    r"(?:(?:mysql|mysqldump|mariadb|sshpass|mongo|zip|7z)\b[^\n]{0,80}? -p|(?: -u| --user)[ =][\"']?[^\s:\"'/]{1,64}:)[ ]?[\"']?"
    r"([^\s\"'-][^\s\"']{2,200})"
)
ELSEWHERE = (
    # root:fox-77@db
    re.compile(r"(?<![\w/:@.-])[\w.-]{1,64}:(?=[^\s:/@]*[0-9])([^\s:/@\"']{5,64})@(?=[\w.-])"),
    # .pgpass, .htpasswd, shadow
    re.compile(r"(?<![\w.-])[\w.*-]{1,100}:[0-9*]{1,5}:[\w*-]{1,64}:[\w*-]{1,64}:([^\s:]{3,100})(?=\s|\Z)"),
    re.compile(r":(\$(?:apr1|2[abxy]|1|5|6|7|y|argon2\w{0,3}|scrypt)\$[^\s:\"']{8,200})"),
    # identified by 'fox'
    re.compile(r"identified (?:by|with \w{1,40} by) [\"']([^\"'\n]{1,100})[\"']", re.IGNORECASE),
    # - name: DB_PASSWORD
    #   value: fox
    re.compile(
        r"(?:name|key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?[\w.-]{0,40}(?:password|passwd|pwd|secret|token|key)[\w.-]{0,20}[\"']?[,\s]{1,40}"
        r"[\"']?value[\"']?\s{0,4}[:=]\s{0,4}[\"']?([^\s\"',}]{3,200})",
        re.IGNORECASE,
    ),
    # credentials: bob / fox-77
    re.compile(
        r"(?:credentials?|logins?|log-in|sign-?in|zugang\w{0,6}|anmeldung|accès|acceso|accesso|дані|вход|账号|帳號|ログイン)\b[^\n:=]{0,30}"
        r"[:=]\s{0,3}[^\s/]{1,64}\s?/\s?([^\s/,;]{4,100})",
        re.IGNORECASE,
    ),
    # PIN: 4711
    re.compile(
        r"\b(?:pin|otp|tan|2fa|mfa|passcode|puk|cvv|cvc)\b(?:[ -]?code)?[ ]?(?:is|ist|es|est|:|=)?[ :=]{1,3}([0-9]{3,8})(?![0-9])",
        re.IGNORECASE,
    ),
    # recovery phrase: four red foxes dance
    re.compile(
        r"(?:passphrase|pass phrase|mnemonic|(?:seed|recovery|backup)[ -](?:phrase|words)|phrase secrète|frase (?:semilla|secreta))"
        r"[^\n:=]{0,20}[:=]\s{0,3}[\"']?([^\n\"']{6,300})",
        re.IGNORECASE,
    ),
)
"""What no name and separator alone would find."""
DIRECT = re.compile(
    r"(?:パスワード|暗証|密码|密碼|口令|密钥|令牌|비밀번호|암호|كلمة (?:المرور|السر)|الرمز|пароль?|ключ|पासवर्ड|รหัสผ่าน|סיסמ[הא]|κωδικ)"
    r"[^\x00-\x7f]{0,12}[ :=]{0,3}[^\x00-\x7f]{0,8}[ :=\"'`]{0,4}([!-~]{6,200})",
    re.IGNORECASE,
)
PLACED = re.compile(
    r"(?:bearer|basic|digest|negotiate) |(?:bearer|basic|token)\Z|\$|<|\{|%\(|%[A-Z_]+%|\*{3}|•{3}|x{4,}\Z|\.\.\.|…|_{3,}|"
    r"your\b|your[_-]|os\.|process\.|env[.\[(]|getenv|getpass|input\(|config[.\[]|settings\.|self\.|args\.|secrets?\.|"
    r"vault\b|None\b|null\b|nil\b|undefined|true\b|false\b|string\b|str\b|required|optional|redacted|masked|hidden|"
    r"changeme\b|placeholder|\[|[a-z_.]+\(",
    re.IGNORECASE,
)
ORDINARY = re.compile(r"[^\W\d_]+[.,;:!?]?\Z|[a-z]+(?:[-/'][a-z]+)*[.,;:!?]?\Z|[0-9]{1,4}[.,]?\Z")
NEXT_FIELD = re.compile(r"&(?:amp;)?[\w.-]{1,40}=")
GOES_ON = re.compile(r"[ \t]+[^\W\d_]{2}")
TOKEN = re.compile(
    r"(?<![+/.])[A-Za-z0-9_-]{24,200}(?![A-Za-z0-9+/_=-])|(?<![A-Za-z0-9+/=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9+/=])"
)
PUBLIC = re.compile(r"BEGIN [A-Z ]*(?:CERTIFICATE|PUBLIC KEY)|ssh-(?:rsa|ed25519)|ecdsa-", re.IGNORECASE)
DIGITS_MIN = 6
STOPS = ".,;:!?)'\"`"


def detect_keys(text: str) -> list[Span]:
    """Return the secrets that stand in a text."""
    found = [*_shapes(text), *_separated(text), *_spoken(text), *_marked(text)]
    if "-----BEGIN" in text:
        found += _blocks(text)
    if "://" in text:
        found += [Span(*one.span(), KIND) for one in HOOKS.finditer(text)]
        found += [Span(*one.span(1), KIND) for one in IN_ADDRESS.finditer(text) if not _is_placed(one[1])]
        found += [Span(*one.span(1), KIND) for one in TOKEN_IN_ADDRESS.finditer(text) if _is_odd(one[1])]
    return found


def _shapes(text: str) -> Iterator[Span]:
    for run in RUN.finditer(text):
        for one in SHAPES.finditer(text, *run.span()):
            yield Span(*one.span(), KIND)
        for one in TOKEN.finditer(text, *run.span()):
            if _is_random(one[0], text, one.start()):
                yield Span(*one.span(), KIND)


def _blocks(text: str) -> Iterator[Span]:
    for begun in BLOCK.finditer(text):
        end = BLOCK_END.search(text, begun.end(), begun.end() + BLOCK_LENGTH_MAX)
        body = BLOCK_BODY.match(text, begun.end(), begun.end() + BLOCK_LENGTH_MAX)
        assert body is not None
        yield Span(begun.start(), end.end() if end is not None else body.end(), KIND)


# --- After a name -------------------------------------------------------------------------------------------------


def _separated(text: str) -> Iterator[Span]:
    """Yield what stands after a name and a separator: `password=…`, `"api_key": "…"`, `password is: …`."""
    for one in SEPARATED.finditer(text):
        group = 1 if one[1] is not None else 2
        value = one[group]
        strength = _strength(text, one.start())
        if not strength or _is_placed(value) or (strength == 1 and not _is_odd(value)):
            continue
        start, end = one.span(group)
        if group == 1:
            yield Span(start, end, KIND)
        elif one[0] == "=" or not (ORDINARY.match(value) and GOES_ON.match(text, end)):  # else a sentence goes on
            more = NEXT_FIELD.search(text, start, end)
            yield _trimmed(text, start, end if more is None else more.start())


def _strength(text: str, at: int) -> int:
    """Return how surely what stands before a separator is the name of a secret: 2, 1 (perhaps), 0."""
    end = at
    while end > 0 and text[end - 1] in " \t\"'`])":
        end -= 1
    found = NAME.search(text, max(0, end - NAME_LENGTH_MAX), end)
    if found is None:
        return 0
    words = [part.lower() for part in PARTS.findall(found[0])][-5:]
    while words and words[-1] in CONNECTING:
        words.pop()
    if not words:
        return 0
    if is_name(words[-1]) or " ".join(words[-2:]) in NAMES_OF_TWO or " ".join(words[-3:]) in NAMES_OF_TWO:
        return 2
    return 1 if is_weak_name(words[-1]) or any(map(is_name, words)) else 0


def _spoken(text: str) -> Iterator[Span]:
    """Yield what stands after a name in a sentence, if it looks like a secret: `the password for it is …`."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is two: places would not agree
        lowered = text
    for name in SPOKEN_NAMES:
        at = lowered.find(name)
        while at >= 0:
            one = SPOKEN_VALUE.match(text, at + len(name))
            if one is not None and not _is_placed(one[1]) and _is_odd(one[1], sure=name in PASSWORDS):
                yield _trimmed(text, *one.span(1))
            at = lowered.find(name, at + len(name))


def _marked(text: str) -> Iterator[Span]:
    """Yield what stands after `Bearer` and its kind, after an option of a command, and after names in other scripts."""
    if any(scheme in text.lower() for scheme in SCHEMES):
        for one in SCHEME.finditer(text):
            if not one[1].isalpha() and not _is_placed(one[1]):
                yield _trimmed(text, *one.span(1))
    if " -" in text:
        for one in OPTION.finditer(text):
            yield _trimmed(text, *one.span(1))
    if ":" in text or "=" in text or "'" in text:
        for pattern in ELSEWHERE:
            for one in pattern.finditer(text):
                if not _is_placed(one[1]) or one[1].startswith("$"):
                    yield _trimmed(text, *one.span(1))
    yield from _columns(text)
    if not text.isascii():
        for one in DIRECT.finditer(text):
            if not _is_placed(one[1]) and _is_odd(one[1]):
                yield _trimmed(text, *one.span(1))


def _columns(text: str) -> Iterator[Span]:
    """Yield what stands in the column of a table whose head says that it holds secrets."""
    if "\n" not in text:
        return
    at = 0
    column, separator, cells = -1, "", 0
    for line in text.splitlines(keepends=True):
        if column >= 0 and line.count(separator) == cells:
            begin = at
            for number, cell in enumerate(line.rstrip("\r\n").split(separator)):
                value = cell.strip(" \t\"'")
                if number == column and len(value) > 2 and not set(value) <= {"-", ":", "="}:
                    start = begin + cell.index(value)
                    yield Span(start, start + len(value), KIND)
                begin += len(cell) + 1
        else:
            column, separator, cells = _secret_column(line)
        at += len(line)


def _secret_column(line: str) -> tuple[int, str, int]:
    for separator in (",", ";", "\t", "|"):
        heads = [head.strip(" \t\r\n\"'").lower() for head in line.split(separator)]
        if len(heads) > 1:
            for number, head in enumerate(heads):
                if len(head) < NAME_LENGTH_MAX and any(map(is_name, PARTS.findall(head))) and " " not in head:
                    return number, separator, len(heads) - 1
    return -1, "", 0


def _trimmed(text: str, start: int, end: int) -> Span:
    while end > start + 1 and text[end - 1] in STOPS:
        end -= 1
    return Span(start, end, KIND)


def _is_placed(value: str) -> bool:
    return PLACED.match(value) is not None


def _is_odd(value: str, *, sure: bool = False) -> bool:
    """Return whether a value looks like a secret rather than a word: letters, and digits or signs among them.
    `sure`: what stands before it says so."""
    value = value.rstrip(STOPS)
    signs = any(not character.isalnum() for character in value[1:-1])
    digits = any(character.isdigit() for character in value)
    upper = any(character.isupper() for character in value[1:])
    letters = any(character.isalpha() for character in value)
    if sure and value.isdigit():
        return len(value) >= DIGITS_MIN
    return letters and ((digits and (sure or signs or upper or len(value) >= 8)) or (signs and upper))


def _is_random(value: str, text: str, start: int) -> bool:
    """Return whether a long run of letters and digits is a token: mixed as no word, no name and no digest is."""
    lower = any("a" <= character <= "z" for character in value)
    upper = any("A" <= character <= "Z" for character in value)
    digits = sum(character.isdigit() for character in value)
    if not (lower and upper and digits >= 2) or "--" in value:
        return False
    turns = sum(_sort(one) != _sort(other) for one, other in pairwise(value))
    return turns * 3 >= len(value) and PUBLIC.search(text, max(0, start - 80), start) is None


def _sort(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.islower() else 2 if character.isupper() else 3
