"""Secrets where commands, headers and files of settings have them, without a name and a separator before them.

Most patterns are matched against the text in small letters, and begin with plain characters: `re` skips to the next
of these many times faster than it tries a pattern that minds no case, or one that begins with `\\b`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from headgate.policies.key_numbers import code_numbers
from headgate.policies.key_values import is_placed, key_span
from headgate.policies.scrubber import Span

__all__ = ["PLACE_WORDS", "placed_keys"]


def _whole(*words: str) -> str:
    """Return a pattern for words that begin where a word begins; it begins with their letters itself."""
    return "(?:" + "|".join(rf"{word}(?<=\b{word})" for word in words) + ")"


class Place(NamedTuple):
    """Where a secret may be: in the one group of a pattern that is set, and only behind one of some words."""

    words: tuple[str, ...]
    pattern: re.Pattern[str]
    as_written: bool = False
    """The pattern minds the case."""


SCHEMES = ("bearer", "basic", "token", "apikey", "api-key", "digest", "negotiate", "splunk")
SCHEME_WORDS = frozenset(f"{scheme} " for scheme in SCHEMES)
SCHEME = re.compile(_whole(*SCHEMES) + r"[ ]+([a-z0-9][a-z0-9._~+/=-]{7,})")
OPTIONS = (" -p", " -u", " --user")
OPTION = re.compile(
    r"(?:(?:mysql|mysqldump|mariadb|sshpass|mongo|zip|7z)\b[^\n]{0,80}? -p|(?: -u| --user)[ =][\"']?[^\s:\"'/]{1,64}:)[ ]?[\"']?"
    r"([^\s\"'-][^\s\"']{2,200})"
)
GIVEN_WORDS = ("pass", "pwd", "token", "secret", "-key", "psk", "shared key")
PLACES = (
    # root:fox-77@db
    Place(("@",), re.compile(r":(?<=[\w.-]:)(?=[^\s:/@]*[0-9])([^\s:/@\"']{5,64})@(?=[\w.<-])(?!sha[0-9]{3}:)")),
    # sqlplus app/fox-77@db
    Place(
        ("sqlplus", "thin:", "oracle", "userid="),
        re.compile(r"(?:sqlplus|thin:|oracle|userid=)[^\n]{0,20}?\w{1,64}/([^\s@/\"']{3,64})@(?=[\w/<])"),
        as_written=True,
    ),
    # .htpasswd, shadow
    Place(
        (":$",), re.compile(r":(\$(?:apr1|2[abxy]|1|5|6|7|y|argon2\w{0,3}|scrypt)\$[^\s:\"']{8,200})"), as_written=True
    ),
    # WIFI:S:cafe;T:WPA;P:fox-77;;
    Place(("wifi:",), re.compile(r"wifi:[^\n]{0,100}?p:([^;\n]{3,100});")),
    # enable secret 5 $1$..., %any : PSK "fox"
    Place(
        ("secret ", "password ", "psk "),
        re.compile(
            rf"secret [0-9] ([^\s\"']{{4,100}})|password [0-9] ([^\s\"']{{4,100}})|"
            rf"{_whole('psk')}\s{{1,4}}\"([^\"\n]{{3,100}})\""
        ),
    ),
    # Cookie: a=b; c=d
    Place(("cookie:",), re.compile(r"cookie: ?(?:[^\n]{0,200}?; ?)?[\w.-]{1,40}=([\w.%~+/-]{16,400})")),
    # snmp-server community fox
    Place(("community ",), re.compile(_whole("community") + r" ([^\s\"']{4,64}) (?:ro|rw)\b")),
    # auth=("bob", "fox"), login('bob', 'fox')
    Place(
        ("auth", "login", "credential", "begin(", "connect(", "connection(", "pdo("),
        re.compile(
            # connect("dbi:mysql:x", "bob", "fox")
            r"(?:connect|connection|pdo)\(\s{0,3}[\"'][^\"'\n]{0,80}:[^\"'\n]{0,200}[\"']\s{0,3},\s{0,3}[\"'][^\"'\n]{0,64}[\"']\s{0,3},"
            r"\s{0,3}[\"']([^\"'\n]{3,100})[\"']|"
            r"(?:auth\s{0,3}=\s{0,3}|login|basicauth|credentials?|authenticate|begin|connect)\(\s{0,3}[\"'][^\"'\n]{0,64}[\"']\s{0,3},"
            r"\s{0,3}[\"']([^\"'\n]{3,100})[\"']"
        ),
    ),
    # --password fox
    Place(
        GIVEN_WORDS,
        re.compile(
            r"-(?<![\w-]-)-?[\w-]{0,30}(?:password|passwd|passphrase|pass|pwd|token|secret|key)[ =]+[\"']?([^\s\"'$<{-][^\s\"']{2,200})"
        ),
    ),
    # #define WIFI_PASS "fox", passphrase "tiger lily"
    Place(
        GIVEN_WORDS,
        re.compile(
            rf"(?:password|passwort|passphrase|passwd|_pass|_pwd|_token|_secret|_key|{_whole('psk')}|shared[ -]key)"
            r"[ \t]{1,8}[\"'`]([^\"'`\n]{3,100})[\"'`]"
        ),
    ),
    # machine db login bob password fox
    Place(
        ("pass",),
        re.compile(
            r"(?:login|user(?:name)?|machine|host)\b[^\n]{0,80} (?:password|passwd|pass)[ \t]+([^\s\"'$<{]{3,100})[ \t]*(?=\n|\Z)"
        ),
    ),
    # echo fox | docker login --password-stdin; redis-cli -a fox
    Place(
        ("sudo -s", "password-stdin", "passwd", "passphrase-fd", "redis-cli", "auth "),
        re.compile(
            r"echo (?:-n )?[\"']?([^\s\"'|$]{3,100})[\"']? ?\| ?(?:sudo -S|docker login|passwd|chpasswd|sudo chpasswd|gpg|podman login)|"
            r"redis-cli [^\n]{0,60}-a [\"']?([^\s\"']{3,100})|(?:^|\n|> ?)AUTH (?:[\w-]{1,40} )?([^\s\"']{4,100})[ \t]*(?=\n|\Z)"
        ),
        as_written=True,
    ),
    # u: bob p: fox
    Place(
        ("p: ", "p=", "pw ", "pass "),
        re.compile(
            r"u(?<!\w.)(?:ser|sr|sername)?\s?[:=]\s?[^\s,;]{1,64}[\s,;/]{1,4}p(?:w|ass)?\s?[:= ]\s?([^\s,;\"']{3,100})"
        ),
    ),
    # my pass is fox
    Place(("pass is ",), re.compile(r"pass is (?!the |a |not |to |valid|now |for )([^\s,;\"']{4,100})")),
    # <Password encrypted="no">fox</Password>
    Place(
        GIVEN_WORDS,
        re.compile(
            r"<[\w:.-]{0,40}(?:password|passwd|pwd|secret|token|apikey|api-key|api_key)\s[^<>\n]{1,120}>([^<>\n]{3,200})</"
        ),
    ),
    # ENV DB_PASS fox
    Place(
        GIVEN_WORDS,
        re.compile(
            r"(?:env|arg|setenv|export|set) [\w.]{0,40}(?:pass|password|passwd|pwd|secret|token|_key|apikey)[ \t]{1,4}([^\s\"'$=-][^\s\"']{3,200})"
        ),
    ),
    # PASS fox, requirepass fox
    Place(
        ("pass",),
        re.compile(
            r"(?:(?:^|\n)pass|requirepass|masterauth|masteruser|sshpass -p|smtp_pass) [\"']?([^\s\"'$<{]{4,100})[\"']?[ \t]*(?=\r|\n|\Z)"
        ),
    ),
    # password: |
    #   fox
    Place(
        GIVEN_WORDS,
        re.compile(
            r"(?:password|passwd|passphrase|pwd|secret|token|[_-]?key)[\"']?:[ \t]{0,4}[|>][+-]?[0-9]?[ \t]{0,4}\r?\n[ \t]{1,16}([^\n]{3,300})"
        ),
    ),
    # crypto isakmp key fox address 192.0.2.1
    Place(
        ("isakmp", "tacacs", "radius", "ntp ", "pre-shared", "wpa-psk", "bgp", "key-string"),
        re.compile(
            r"(?:isakmp|tacacs-server|radius-server|tacacs|radius|ntp authentication|pre-shared|wpa-psk ascii|bgp)[ -]key"
            r"(?: [0-9]{1,2})? ([^\s\"']{4,100})|key-string(?: [0-9])? ([^\s\"']{4,100})"
        ),
    ),
    # unzip -P fox, ldapsearch -w fox, docker login -p fox
    Place(
        (" -", "-hp", "/p", "pass ", "obscure "),
        re.compile(
            r"(?:unzip|zip|sqlcmd|rdesktop|isql|bcp|(?:docker|podman|az|oc|cf|helm registry) login)\b[^\n]{0,80}? -[pP] ?[\"']?([^\s\"'-][^\s\"']{3,100})|"
            r"ldap(?:search|add|modify|passwd|whoami)\b[^\n]{0,80}? -w ?[\"']?([^\s\"']{4,100})|"
            r"openssl\b[^\n]{0,80}? -k [\"']?([^\s\"'/]{4,100})|snmp(?:walk|get|set|bulkwalk)\b[^\n]{0,40}? -c [\"']?([^\s\"']{4,100})|"
            r"rar [^\n]{0,40}?-hp([^\s\"']{4,100})|/p(?:ass)?:([^\s\"'/]{4,100})|htpasswd -[a-z]{0,6}b[a-z]{0,6} \S{1,80} \S{1,64} ([^\s\"']{4,100})|"
            r"nuget push\b[^\n]{0,120}? -(?:k|ApiKey) [\"']?([^\s\"']{4,100})|(?:store|key)pass [\"']?([^\s\"'-][^\s\"']{3,100})|obscure [\"']?([^\s\"'-][^\s\"']{3,100})"
        ),
        as_written=True,
    ),
    # smbclient -U bob%fox
    Place(("%",), re.compile(r"-u(?<=\s-u) [\"']?[^\s%\"']{1,64}%([^\s\"']{4,100})")),
    # chpasswd <<< bob:fox, net user bob fox /add
    Place(
        ("chpasswd", "net user "),
        re.compile(r"chpasswd <<< ?[\"']?[^\s:\"']{1,64}:([^\s\"']{4,100})|net user [^\s/]{1,64} ([^\s/\"']{4,100})"),
    ),
    # ConvertTo-SecureString 'fox'
    Place(("securestring",), re.compile(r"securestring (?:-string )?[\"']([^\"'\n$]{3,100})[\"']")),
    # <key>password</key> <string>fox</string>, type=password value="fox"
    Place(
        GIVEN_WORDS,
        re.compile(
            r"(?:password|passwd|pwd|secret|token|key)</[\w:.-]{1,20}>\s{0,20}<[\w:.-]{1,20}>([^<>\n]{3,200})</|"
            r"type=[\"']?password[\"']?[^<>\n]{0,80} value=[\"']([^\"'\n]{3,100})[\"']"
        ),
    ),
    # enable secret fox, username bob password 7 fox, ppp chap password fox
    Place(
        ("secret ", "password ", "community ", "passphrase ", "psk "),
        re.compile(
            r"(?:enable|chap|pap|line vty|username \S{1,64}(?: privilege [0-9]{1,2})?) (?:secret|password) (?:[0-9]{1,2} )?([^\s\"']{4,100})|"
            r"plain-text-password ([^\s\"']{4,100})|snmp(?:-server)? community ([^\s\"']{4,100})|"
            r"(?:security|wpa-psk|wpa2-psk|key-mgmt \S{1,20}) (?:passphrase|psk|ascii) (?:[0-9] )?[\"']?([^\s\"']{4,100})"
        ),
    ),
    # net use z: \\\\srv\\x /user:bob fox
    Place(("/user:",), re.compile(r"/user:[^\s]{1,64} ([^\s/\"']{4,100})")),
    # identified by 'fox'
    Place(("identified ",), re.compile(r"identified (?:by|with \w{1,40} by) [\"']([^\"'\n]{1,100})[\"']")),
    # - name: DB_PASSWORD
    #   value: fox
    Place(
        ("value",),
        re.compile(
            r"(?:name|key)[\"']?\s{0,4}[:=]\s{0,4}[\"']?[\w.-]{0,40}(?:password|passwd|pwd|secret|token|key)"
            r"(?![._-]?(?:ttl|url|name|type|length|days|age|expiry|expires|min|max|policy|file|path|count)\b)[\w.-]{0,20}[\"']?[,\s]{1,40}"
            r"[\"']?value[\"']?\s{0,4}[:=]\s{0,4}[\"']?([^\s\"',}]{3,200})"
        ),
    ),
    # credentials: bob / fox-77
    Place(
        (
            *(
                "creds",
                "anmeldedaten",
                "identifiant",
                "credencial",
                "credenzial",
                "credential",
                "login",
                "log-in",
                "signin",
                "sign-in",
                "zugang",
                "anmeldung",
                "accès",
                "acceso",
                "accesso",
            ),
            *("вход", "дані", "账号", "帳號", "ログイン"),
        ),
        re.compile(
            r"(?:credentials?|creds|anmeldedaten|identifiants?|credenciales|credenziali|logins?|log-in|sign-?in|zugang\w{0,6}|anmeldung|accès|acceso|accesso|дані|вход|账号|帳號|ログイン)\b[^\n:=]{0,30}"
            r"[:=]\s{0,3}[^\s/,;|]{1,64}\s?[/,;|]\s?([^\s/,;|]{4,100})(?=[.]?(?:\s*(?:\n|\Z)|[,;]))|"
            r"(?:credentials?|creds|anmeldedaten|identifiants?|credenciales|credenziali|logins?|zugang\w{0,6}|accès|acceso|accesso)\b[^\n:=]{0,30}[:=]\s{0,3}[^\s/]{1,64}\s?/\s?([^\s/,;]{4,100})"
        ),
    ),
    # recovery phrase: four red foxes dance
    Place(
        ("phrase", "mnemonic", "words", "frase "),
        re.compile(
            r"(?:passphrase|pass phrase|mnemonic|seed[ -](?:phrase|words)|recovery[ -](?:phrase|words)|backup[ -](?:phrase|words)|"
            r"phrase secrète|frase (?:semilla|secreta))[^\n:=]{0,20}[:=]\s{0,3}[\"']?([^\n\"']{6,300})"
        ),
    ),
)
"""What no name and separator alone would find."""
PLACE_WORDS = tuple(dict.fromkeys([*SCHEME_WORDS, *(word for place in PLACES for word in place.words)]))
"""What `placed_keys` is to be told of: which of these are in the text."""

# .pgpass: host:5432:db:user:fox
FIELDS = re.compile(r":[0-9*]{1,5}:[\w*-]{1,64}:[\w*-]{1,64}:([^\s:]{3,100})(?=\s|\Z)")
HOST = re.compile(r"(?<![\w.-])[\w.*-]{1,100}\Z")
HOST_LENGTH_MAX = 100
FIELDS_MIN = 4
DIRECT = re.compile(
    r"(?:パスワード|パスフレーズ|暗証|合言葉|秘密鍵|キーは|トークン|密码|密碼|口令|密钥|密鑰|秘钥|密匙|令牌|通行码|授权码|비밀번호|비번|암호|토큰|"
    r"كلمة (?:المرور|السر)|كلمه المرور|الرمز|الرقم السري|باسورد|رمز عبور|گذرواژه|پسورد|پاس ورڈ|парол|ключ|токен|секрет|"
    r"पासवर्ड|कुंजी|পাসওয়ার্ড|கடவுச்சொல்|పాస్|პაროლი|գաղտնաբառ|รหัสผ่าน|โทเค็น|סיסמ[הא]|κωδικ|κλειδί|የይለፍ ቃል)"
    r"(?:[^\x00-\x7f]{0,12}(?: ?api)?[ :=]{0,3}[^\x00-\x7f]{0,8}|"
    # the password for the gate of the suppliers is …
    r"[^\x00-\x7f]{0,12} (?:[^\x00-\x7f]{1,16} ){0,5}(?:هي|هو|היא|הוא|это|είναι|है))[ :=\"'`]{0,4}([!-~ı]{4,200})",
)


def placed_keys(text: str, lowered: str, words: frozenset[str]) -> Iterator[Span]:
    """Yield what stands after `Bearer` and its kind, after an option of a command, where settings have a secret, and
    after names in other scripts. `words` are those of `PLACE_WORDS` that are in the text."""
    if not words.isdisjoint(SCHEME_WORDS):
        for one in SCHEME.finditer(lowered):
            value = text[one.start(1) : one.end(1)]
            if not (value.isalpha() and (value.islower() or value.istitle())) and not is_placed(value):
                yield key_span(text, *one.span(1))
    if any(option in text for option in OPTIONS):
        for one in OPTION.finditer(text):
            yield key_span(text, *one.span(1))
    if words:
        yield from _in_places(text, lowered, words)
    if text.count(":") >= FIELDS_MIN:
        yield from _in_password_files(text)
    yield from code_numbers(text, lowered)
    if not text.isascii():
        for one in DIRECT.finditer(lowered):
            if not is_placed(text[one.start(1) : one.end(1)]):
                yield key_span(text, *one.span(1))


def _in_places(text: str, lowered: str, words: frozenset[str]) -> Iterator[Span]:
    for place in PLACES:
        if words.isdisjoint(place.words):
            continue
        for one in place.pattern.finditer(text if place.as_written else lowered):
            start, end = one.span(one.lastindex or 0)
            if not is_placed(text[start:end]) or text[start] == "$":
                yield key_span(text, start, end)


def _in_password_files(text: str) -> Iterator[Span]:
    for one in FIELDS.finditer(text):
        at = one.start()
        if HOST.search(text, max(0, at - HOST_LENGTH_MAX), at) and not is_placed(one[1]):
            yield key_span(text, *one.span(1))
