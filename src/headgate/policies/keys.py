"""Secrets in a text: keys and tokens by the shapes that their issuers give them, and what stands after `password=`.

A value that is a placeholder already (`$TOKEN`, `<your key>`, `***`) is left alone. Patterns are only tried where a
cheaper look has found something: a long run without spaces, a separator, a word.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from headgate.policies.key_names import (
    CONNECTING,
    GO_ON_WITH,
    NAMES_OF_TWO,
    SPOKEN_NAMES,
    SURE_NAMES,
    is_name,
    is_weak_name,
)
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
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{8,}|EAA[A-Za-z0-9]{24,}|key-[0-9a-zA-Z]{24,}|(?:AC|SK)[0-9A-Za-z]{32}(?![0-9A-Za-z])|HRKU-[A-Za-z0-9_-]{16,}|1//0[A-Za-z0-9_-]{16,}|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{8,64}:APA91[A-Za-z0-9_-]{20,}|"
    r"lin_(?:api|oauth)_[A-Za-z0-9]{8,}|fig[du]_[A-Za-z0-9_-]{8,}|AT[AC]TT[A-Za-z0-9_=-]{16,}|"
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}|rubygems_[A-Za-z0-9]{8,}|gls?[ac]_[A-Za-z0-9_+/=-]{8,}|"
    r"NRA[KL]-[A-Z0-9]{8,}|NRJS-[A-Za-z0-9]{8,}|sntry[su]_[A-Za-z0-9+/=_-]{8,}|pat-[a-z]{2,3}[0-9]-[0-9A-Za-z-]{8,}|"
    r"xai-[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{16,}|r8_[A-Za-z0-9]{16,}|pplx-[A-Za-z0-9]{16,}|tvly-[A-Za-z0-9-]{12,}|"
    r"AGE-SECRET-KEY-1[A-Z0-9]{16,}|hv[sbr]\.[A-Za-z0-9_-]{12,}|nfp_[A-Za-z0-9]{12,}|fo1_[A-Za-z0-9_-]{12,}|"
    r"(?:bot)?[0-9]{8,10}:[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*|"
    r"[0-9A-Za-z]{32}-us[0-9]{1,2}|v[1-4]\.(?:local|public)\.[A-Za-z0-9_-]{8,}|"
    r"(?=[A-Z0-9-]{0,40}[0-9])(?=[0-9-]{0,40}[A-Z])(?:[A-Z0-9]{4,6}-){2,5}[A-Z0-9]{4,6}(?![A-Za-z0-9-])|"
    r"[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}|"
    r"(?:LTAI|AKID|GOOG|AQVN|YC[A-Z]{2}|DO00|K00[0-9])[A-Za-z0-9_-]{12,}|sl\.[A-Za-z0-9_-]{20,}|0x[0-9a-fA-F]{64}|"
    r"[0-9]/[0-9]{8,}:[A-Za-z0-9]{16,}|(?<![A-Za-z0-9_.-])(?=[A-Za-z0-9_.-]{0,60}[0-9][A-Za-z0-9_.-]{0,60}[0-9])(?=[a-z0-9_.-]{0,60}[A-Z])(?=[A-Z0-9_.-]{0,60}[a-z])"
    r"(?:[A-Za-z0-9_-]{10,400}\.[A-Za-z0-9_-]{4,400}\.[A-Za-z0-9_-]{16,}|[A-Za-z0-9_-]{14,200}\.[A-Za-z0-9_-]{30,})|"
    # what many use: a short word, _ or -, and a long run in which there are digits
    r"[A-Za-z][A-Za-z0-9]{1,9}(?:[_-][A-Za-z0-9]{1,8}){0,2}[_-](?=[A-Za-z]{0,60}[0-9])(?=[0-9]{0,60}[A-Za-z])[A-Za-z0-9]{20,}"
    r")"
)
HOOKS = re.compile(
    r"(?:https?://)?(?:hooks\.[\w.-]+|(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks|[\w.-]*webhook\.office\.com|"
    r"[\w-]+(?:\.[\w-]+)*\.logic\.azure\.com|maker\.ifttt\.com/trigger|api\.telegram\.org/bot|hook\.[a-z0-9.]*make\.com|"
    r"chat\.googleapis\.com/v1/spaces|outlook\.office\.com/webhook|[\w.:-]+/(?:[\w.-]+/){0,4}(?:incoming-)?(?:web)?hooks?(?=/))"
    r"/?[^\s\"'<>)\]]{8,}"
)
TOKEN_IN_ADDRESS = re.compile(r"://([A-Za-z0-9_.-]{12,100})@(?=[\w\[])")
IN_ADDRESS = re.compile(r"://[^\s:/@\"'<>]{0,100}:([^\s/\"'<>]{1,200})@(?=[\w\[])")
BLOCK = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1) ?-{4,5}")
BLOCK_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}(?:PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1) ?-{4,5}")
BLOCK_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,.\-]|\s|\\[nr])*")
BLOCK_LENGTH_MAX = 20_000
SCHEME = re.compile(
    r"\b(?:bearer|basic|token|apikey|api-key|digest|negotiate|splunk)[ ]+([A-Za-z0-9][A-Za-z0-9._~+/=-]{7,})",
    re.IGNORECASE,
)
SCHEMES = ("bearer ", "basic ", "token ", "apikey ", "api-key ", "digest ", "negotiate ", "splunk ")

SEPARATED = re.compile(
    r"(?:[:=]{1,2}>?|->|>|\||(?<=[\"'])[ ]?,(?=[ ]?[\"'])|\((?=[\"'])|[はが是为為])\s{0,16}(?=\\?"
    r"(?:\"((?:[^\"\\\n]|\\.){3,200}?)\\?\"|'((?:[^'\\\n]|\\.){3,200}?)\\?'|`([^`\n]{3,200})`|"
    r"([^\s\"'`,;<>(){}\[\]|。、][^\s\"'`<>。、]{2,400})))"
)
QUOTED = 3
"""So many groups of it are values within quotation marks."""
NAME_LENGTH_MAX = 48
NAME = re.compile(r"[\w '.&-]*\Z")
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+")
WORDS_AFTER = re.compile(r"[^\s\"'`,;<>(){}\[\]|。、=]+")
WORDS_AFTER_MAX = 10
LENGTH_AFTER_MAX = 160
WORD_BEFORE = re.compile(
    r"([^\s\"'`,;<>(){}\[\]|]{6,100})[\"'`]?,? (?:is|was|ist|war|est|es|è|é|as|als|comme|como|come|for|für) (?:\w{1,8} ){0,3}\Z"
)
OPTION = re.compile(
    r"(?:(?:mysql|mysqldump|mariadb|sshpass|mongo|zip|7z)\b[^\n]{0,80}? -p|(?: -u| --user)[ =][\"']?[^\s:\"'/]{1,64}:)[ ]?[\"']?"
    r"([^\s\"'-][^\s\"']{2,200})"
)
ELSEWHERE = (
    # root:fox-77@db
    (("@",), re.compile(r":(?<=[\w.-]:)(?=[^\s:/@]*[0-9])([^\s:/@\"']{5,64})@(?=[\w.-])")),
    # sqlplus app/fox-77@db
    (
        ("sqlplus", "thin:", "oracle", "userid="),
        re.compile(r"(?:sqlplus|thin:|oracle|userid=)[^\n]{0,20}?\w{1,64}/([^\s@/\"']{3,64})@(?=[\w/])"),
    ),
    # .pgpass, .htpasswd, shadow
    ((":",), re.compile(r"(?<![\w.-])[\w.*-]{1,100}:[0-9*]{1,5}:[\w*-]{1,64}:[\w*-]{1,64}:([^\s:]{3,100})(?=\s|\Z)")),
    ((":$",), re.compile(r":(\$(?:apr1|2[abxy]|1|5|6|7|y|argon2\w{0,3}|scrypt)\$[^\s:\"']{8,200})")),
    # WIFI:S:cafe;T:WPA;P:fox-77;;
    (("wifi:",), re.compile(r"wifi:[^\n]{0,100}?P:([^;\n]{3,100});", re.IGNORECASE)),
    # enable secret 5 $1$..., %any : PSK "fox"
    (
        ("secret ", "password ", "psk "),
        re.compile(r"(?:secret|password) [0-9] ([^\s\"']{4,100})|\bPSK\s{1,4}\"([^\"\n]{3,100})\"", re.IGNORECASE),
    ),
    # Cookie: a=b; c=d
    (("cookie:",), re.compile(r"cookie: ?(?:[^\n]{0,200}?; ?)?[\w.-]{1,40}=([\w.%~+/-]{16,400})", re.IGNORECASE)),
    # snmp-server community fox
    (("community ",), re.compile(r"\bcommunity ([^\s\"']{4,64}) (?:ro|rw)\b", re.IGNORECASE)),
    # auth=("bob", "fox"), login('bob', 'fox')
    (
        ("auth", "login", "credential", "begin(", "connect("),
        re.compile(
            r"(?:auth\s{0,3}=\s{0,3}|login|basicauth|credentials?|authenticate|begin|connect)\(\s{0,3}[\"'][^\"'\n]{0,64}[\"']\s{0,3},"
            r"\s{0,3}[\"']([^\"'\n]{3,100})[\"']",
            re.IGNORECASE,
        ),
    ),
    # --password fox, #define WIFI_PASS "fox", passphrase "tiger lily"
    (
        ("pass", "pwd", "token", "secret", "-key", "psk", "shared key"),
        re.compile(
            r"--[\w-]{0,30}(?:password|passwd|pass|pwd|token|secret|key)[ =]+[\"']?([^\s\"'$<{-][^\s\"']{2,200})|"
            r"(?:password|passwort|passphrase|passwd|_pass|_pwd|_token|_secret|_key|\bpsk|shared[ -]key)[ \t]{1,8}[\"'`]([^\"'`\n]{3,100})[\"'`]|"
            r"(?:login|user(?:name)?|machine|host)\b[^\n]{0,80} (?:password|passwd|pass)[ \t]+([^\s\"'$<{]{3,100})[ \t]*(?=\n|\Z)",
            re.IGNORECASE,
        ),
    ),
    # echo fox | docker login --password-stdin; redis-cli -a fox
    (
        ("sudo -s", "password-stdin", "passwd", "passphrase-fd", "redis-cli", "auth "),
        re.compile(
            r"echo (?:-n )?[\"']?([^\s\"'|$]{3,100})[\"']? ?\| ?(?:sudo -S|docker login|passwd|chpasswd|sudo chpasswd|gpg|podman login)|"
            r"redis-cli [^\n]{0,60}-a [\"']?([^\s\"']{3,100})|(?:^|\n|> ?)AUTH (?:[\w-]{1,40} )?([^\s\"']{4,100})[ \t]*(?=\n|\Z)"
        ),
    ),
    # identified by 'fox'
    (("dentified ",), re.compile(r"identified (?:by|with \w{1,40} by) [\"']([^\"'\n]{1,100})[\"']", re.IGNORECASE)),
    # - name: DB_PASSWORD
    #   value: fox
    (
        ("value",),
        re.compile(
            r"(?:name|key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?[\w.-]{0,40}(?:password|passwd|pwd|secret|token|key)[\w.-]{0,20}[\"']?[,\s]{1,40}"
            r"[\"']?value[\"']?\s{0,4}[:=]\s{0,4}[\"']?([^\s\"',}]{3,200})",
            re.IGNORECASE,
        ),
    ),
    # credentials: bob / fox-77
    (
        (
            "credential",
            "login",
            "log-in",
            "sign",
            "zugang",
            "anmeld",
            "accès",
            "acceso",
            "accesso",
            "вход",
            "дані",
            "账号",
            "帳號",
            "ログイン",
        ),
        re.compile(
            r"(?:credentials?|logins?|log-in|sign-?in|zugang\w{0,6}|anmeldung|accès|acceso|accesso|дані|вход|账号|帳號|ログイン)\b[^\n:=]{0,30}"
            r"[:=]\s{0,3}[^\s/]{1,64}\s?/\s?([^\s/,;]{4,100})",
            re.IGNORECASE,
        ),
    ),
    # PIN: 4711
    (
        (
            "pin",
            "otp",
            "tan",
            "fa:",
            "fa ",
            "puk",
            "cvv",
            "cvc",
            "code",
        ),
        re.compile(
            r"\b(?:pin|otp|tan|2fa|mfa|passcode|puk|cvv|cvc)\b(?:[ -]?code)?[ ]?(?:is|ist|es|est|:|=)?[ :=]{1,3}([0-9]{3,8})(?![0-9])",
            re.IGNORECASE,
        ),
    ),
    # recovery phrase: four red foxes dance
    (
        (
            "phrase",
            "mnemonic",
            "words",
        ),
        re.compile(
            r"(?:passphrase|pass phrase|mnemonic|(?:seed|recovery|backup)[ -](?:phrase|words)|phrase secrète|frase (?:semilla|secreta))"
            r"[^\n:=]{0,20}[:=]\s{0,3}[\"']?([^\n\"']{6,300})",
            re.IGNORECASE,
        ),
    ),
)
"""What no name and separator alone would find, each behind words of which one must be there."""
DIRECT = re.compile(
    r"(?:パスワード|パスフレーズ|暗証|合言葉|秘密鍵|キーは|トークン|密码|密碼|口令|密钥|密鑰|秘钥|密匙|令牌|通行码|授权码|비밀번호|비번|암호|토큰|"
    r"كلمة (?:المرور|السر)|كلمه المرور|الرمز|الرقم السري|باسورد|رمز عبور|گذرواژه|پسورد|پاس ورڈ|парол|ключ|токен|секрет|"
    r"पासवर्ड|कुंजी|পাসওয়ার্ড|கடவுச்சொல்|పాస్|პაროლი|գաղտնաբառ|รหัสผ่าน|โทเค็น|סיסמ[הא]|κωδικ|κλειδί|የይለፍ ቃል)"
    r"[^\x00-\x7f]{0,12}[ :=]{0,3}[^\x00-\x7f]{0,8}[ :=\"'`]{0,4}([!-~]{4,200})",
    re.IGNORECASE,
)
PLACED = re.compile(
    r"(?:bearer|basic|digest|negotiate) |\$(?:[({]|[A-Za-z_]\w*[\"';,.]*\Z)|<|\{|%\(|%[A-Z_]+%|\*{3}|•{3}|\.\.\.|…|_{3,}|"
    r"your[ _-]|os\.\w|process\.\w|env[.\[(]|getenv|getpass|input\(|config[.\[]|settings\.[a-z]|self\.[a-z]|args\.[a-z]|"
    r"\$[A-Z_]+\b|secrets?\.[a-z_.]+\Z|\[|[a-z_.]+\((?![0-9])|"
    r"(?:bearer|basic|token|x{4,}|your|vault|none|null|nil|undefined|true|false|string|str|required|optional|redacted|masked|"
    r"hidden|changeme|placeholder|unset|empty)[.,;:!?)\"']*\Z",
    re.IGNORECASE,
)
ORDINARY = re.compile(r"[0-9]{1,2}[.,]?\Z")
COPULA = re.compile(
    r"(?:\s{1,3}(?:is|was|are|ist|lautet|war|est|es|è|é|era|jest|to|är|er|on|blir|zijn|=|será|now|set|still|nun|jetzt)){1,3}"
    r"[\s:=\"'(]{1,30}([^\s\"'`,;<>(){}\[\]|。、]{4,200})",
    re.IGNORECASE,
)
NEXT_FIELD = re.compile(r"&(?:amp;)?[\w.-]{1,40}=")
GOES_ON = re.compile(r"[ \t]+[^\W\d_]{2}")
HEXADECIMAL = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
TOKEN = re.compile(
    r"(?<![+/.])[A-Za-z0-9_~-]{24,200}(?![A-Za-z0-9+/_=-])|(?<![A-Za-z0-9+/=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9+/=])"
)
PUBLIC = re.compile(r"BEGIN [A-Z ]*(?:CERTIFICATE|PUBLIC KEY)|ssh-(?:rsa|ed25519)|ecdsa-", re.IGNORECASE)
DIGITS_MIN = 6
MIXED_LENGTH_MIN = 16
"""Letters alone, capital ones among the small, are no word when they are so many."""
BETWEEN = frozenset("de d del der des do da di von för of l la le el the".split())
STOPS = ".,;:!?)'\"`"


def detect_keys(text: str) -> list[Span]:
    """Return the secrets that stand in a text."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is two: places would not agree
        lowered = text
    named = [name for name in SPOKEN_NAMES if name in lowered]
    found = [*_shapes(text), *_separated(text), *_spoken(text, lowered, named), *_marked(text, lowered)]
    if named:
        found += _columns(text)
        found += _inserted(text)
    if "BEGIN " in text:
        found += _blocks(text)
    if "hook" in text or "://" in text:
        found += [Span(*one.span(), KIND) for one in HOOKS.finditer(text)]
    if "://" in text:
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
    ends = [end.end() for end in BLOCK_END.finditer(text)]
    at = 0
    for begun in BLOCK.finditer(text):
        if begun.start() < at:
            continue
        number = bisect_right(ends, begun.end())
        if number < len(ends) and ends[number] - begun.end() <= BLOCK_LENGTH_MAX:
            at = ends[number]
        else:
            body = BLOCK_BODY.match(text, begun.end(), begun.end() + BLOCK_LENGTH_MAX)
            assert body is not None
            at = body.end()
        yield Span(begun.start(), at, KIND)


# --- After a name -------------------------------------------------------------------------------------------------


def _separated(text: str) -> Iterator[Span]:
    """Yield what stands after a name and a separator: `password=…`, `"api_key": "…"`, `password is: …`."""
    for one in SEPARATED.finditer(text):
        group = one.lastindex or 0
        value = one[group]
        strength = _strength(text, one.start())
        if not strength or _is_placed(value) or (strength == 1 and not _is_odd(value)):
            continue
        start, end = one.span(group)
        if group <= QUOTED:
            yield Span(start, end, KIND)
        elif not (ORDINARY.match(value) or (GOES_ON.match(text, end) and _is_no_secret(value))):
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
    words = [part.lower() for part in PARTS.findall(found[0])][-6:]
    words = [word for word in words if word not in BETWEEN]
    while words and words[-1] in CONNECTING:
        words.pop()
    if not words:
        return 0
    if is_name(words[-1]) or " ".join(words[-2:]) in NAMES_OF_TWO or " ".join(words[-3:]) in NAMES_OF_TWO:
        return 2
    return 1 if is_weak_name(words[-1]) or any(map(is_name, words)) else 0


def _spoken(text: str, lowered: str, named: list[str]) -> Iterator[Span]:
    """Yield what stands after a name in a sentence, if it looks like a secret: `the password for it is …`."""
    for name in named:
        at = lowered.find(name)
        while at >= 0:
            one = COPULA.match(text, at + len(name))
            if one is not None and name in SURE_NAMES and not _is_no_secret(one[1]) and not _is_placed(one[1]):
                yield _trimmed(text, *one.span(1))
            yield from _said_near(text, at, at + len(name), sure=name in SURE_NAMES)
            at = lowered.find(name, at + len(name))


def _said_near(text: str, start: int, end: int, *, sure: bool) -> Iterator[Span]:
    """Yield the first odd word behind a name, and one before it that is said to be what it names."""
    for number, one in enumerate(WORDS_AFTER.finditer(text, end, end + LENGTH_AFTER_MAX)):
        if number >= WORDS_AFTER_MAX:
            break
        if (
            len(one[0].rstrip(STOPS)) > 4
            and text[max(0, one.start() - 2) : one.start()] != "${"
            and not _is_placed(one[0])
            and _is_odd(one[0], sure=sure)
        ):
            yield _trimmed(text, *one.span())
            break
    before = WORD_BEFORE.search(text, max(0, start - LENGTH_AFTER_MAX), start)
    if before is not None and _is_odd(before[1], sure=sure):
        yield _trimmed(text, *before.span(1))


def _marked(text: str, lowered: str) -> Iterator[Span]:
    """Yield what stands after `Bearer` and its kind, after an option of a command, and after names in other scripts."""
    if any(scheme in lowered for scheme in SCHEMES):
        for one in SCHEME.finditer(text):
            if not (one[1].isalpha() and (one[1].islower() or one[1].istitle())) and not _is_placed(one[1]):
                yield _trimmed(text, *one.span(1))
    if " -" in text:
        for one in OPTION.finditer(text):
            yield _trimmed(text, *one.span(1))
    yield from _elsewhere(text, lowered)
    if not text.isascii():
        for one in DIRECT.finditer(text):
            if not _is_placed(one[1]):
                yield _trimmed(text, *one.span(1))


def _elsewhere(text: str, lowered: str) -> Iterator[Span]:
    for words, pattern in ELSEWHERE:
        if any(word in lowered for word in words):
            for one in pattern.finditer(text):
                group = one.lastindex or 0
                if not _is_placed(one[group]) or one[group].startswith("$"):
                    yield _trimmed(text, *one.span(group))


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


INSERT = re.compile(r"insert into [\w.\"`]{1,80} ?\(([^()]{1,400})\)\s{0,8}values\s{0,8}", re.IGNORECASE)
ROW = re.compile(r"\(([^()]{1,800})\)\s{0,4},?\s{0,4}")
CELL = re.compile(r"'((?:[^'\\]|''|\\.)*)'|\"([^\"]*)\"|([^,'\"]+)")


def _inserted(text: str) -> Iterator[Span]:
    """Yield what a statement inserts into the columns that hold secrets."""
    for head in INSERT.finditer(text):
        columns = [column.strip(' "`\n') for column in head[1].split(",")]
        wanted = {number for number, column in enumerate(columns) if any(map(is_name, _parts(column)))}
        at = head.end()
        while wanted and (row := ROW.match(text, at)) is not None:
            cells = [cell for cell in CELL.finditer(text, *row.span(1)) if cell[0].strip()]
            for number in wanted:
                if number < len(cells) and (group := cells[number].lastindex) is not None:
                    yield Span(*cells[number].span(group), KIND)
            at = row.end()


def _parts(name: str) -> list[str]:
    return [part.lower() for part in PARTS.findall(name)]


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


def _is_no_secret(value: str) -> bool:
    """Return whether a word is one that sentences about secrets go on with."""
    return value.rstrip(STOPS).lower() in GO_ON_WITH


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
    if len(value) >= MIXED_LENGTH_MIN and upper and value.isalpha() and not value.isupper():
        return True
    return letters and ((digits and (sure or signs or upper or len(value) >= 8)) or (signs and upper))


def _is_random(value: str, text: str, start: int) -> bool:
    """Return whether a long run of letters and digits is a token: mixed as no word, no name and no digest is."""
    lower = any("a" <= character <= "z" for character in value)
    upper = any("A" <= character <= "Z" for character in value)
    digits = sum(character.isdigit() for character in value)
    if "--" in value or digits < 2 or not (lower or upper) or HEXADECIMAL.fullmatch(value):
        return False
    turns = sum(_sort(one) != _sort(other) for one, other in pairwise(value))
    return turns * 3 >= len(value) and PUBLIC.search(text, max(0, start - 80), start) is None


def _sort(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.islower() else 2 if character.isupper() else 3
