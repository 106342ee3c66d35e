"""Secrets where commands, headers and files of settings have them, without a name and a separator before them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headgate.policies.key_values import is_placed, key_span
from headgate.policies.scrubber import Span

__all__ = ["placed_keys"]

SCHEME = re.compile(
    r"\b(?:bearer|basic|token|apikey|api-key|digest|negotiate|splunk)[ ]+([A-Za-z0-9][A-Za-z0-9._~+/=-]{7,})",
    re.IGNORECASE,
)
SCHEMES = ("bearer ", "basic ", "token ", "apikey ", "api-key ", "digest ", "negotiate ", "splunk ")
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


def placed_keys(text: str, lowered: str) -> Iterator[Span]:
    """Yield what stands after `Bearer` and its kind, after an option of a command, and after names in other scripts."""
    if any(scheme in lowered for scheme in SCHEMES):
        for one in SCHEME.finditer(text):
            if not (one[1].isalpha() and (one[1].islower() or one[1].istitle())) and not is_placed(one[1]):
                yield key_span(text, *one.span(1))
    if " -" in text:
        for one in OPTION.finditer(text):
            yield key_span(text, *one.span(1))
    yield from _elsewhere(text, lowered)
    if not text.isascii():
        for one in DIRECT.finditer(text):
            if not is_placed(one[1]):
                yield key_span(text, *one.span(1))


def _elsewhere(text: str, lowered: str) -> Iterator[Span]:
    for words, pattern in ELSEWHERE:
        if any(word in lowered for word in words):
            for one in pattern.finditer(text):
                group = one.lastindex or 0
                if not is_placed(one[group]) or one[group].startswith("$"):
                    yield key_span(text, *one.span(group))
