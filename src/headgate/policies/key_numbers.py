"""Numbers that let somebody in: what stands behind the name of a PIN or of a code, in many languages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headgate.policies.key_values import key_span
from headgate.policies.scrubber import Span

__all__ = ["code_numbers"]

# PIN: 4711
NUMBER = re.compile(r"[0-9](?<=[^0-9A-Za-z.,_/+-][0-9])[0-9]{2,7}(?![0-9A-Za-z]|[.,:-][0-9])")
NUMBER_NAME = re.compile(
    r"(?:\b(?:pin|otp|tan|2fa|mfa|passcode|puk|cvv|cvv2|cvc|cvc2|csc|pincode|geheimzahl|nip|пин)\b(?:[ -]?(?:code|kode|kodu|nummer|number|код|kod))?|"
    r"(?:verification|confirmation|security|one-time|login|access|door|gate|alarm|entry|safe|lock|unlock|activation|auth\w*|2fa|sms|your) (?:pass)?code|"
    r"(?:bestätigungs|sicherheits|zugangs|tür|freischalt|verifizierungs|einmal)code|code (?:de |d')?(?:vérification|confirmation|sécurité|secret|accès|pin|porte)|"
    r"código de (?:verificación|seguridad|acceso|verificação|segurança|acesso)|codice di (?:verifica|sicurezza|accesso)|"
    r"код (?:подтверждения|доступа|безопасности|из смс)|doğrulama kodu|kod (?:weryfikacyjny|dostępu|sms)|verificatiecode|beveiligingscode|"
    r"验证码|驗證碼|校验码|安全码|pin码|密码|認証コード|確認コード|暗証番号|인증번호|인증 코드|핀번호|비밀번호|رمز التحقق|الرمز السري|קוד אימות|קוד סודי)"
    r"[ ]?(?:is|ist|lautet|est|es|è|é|är|er|jest|:|=|:|は|是|为|то|—|-)?[ :=:\"'#]{0,3}\Z"
)
NUMBER_NAME_LENGTH_MAX = 36
NUMBER_NAME_ENDINGS = tuple(
    "ción tion ção cion pin otp tan 2fa mfa code puk cvv cvv2 cvc cvc2 csc zahl nip kode kodu nummer number kod secret confirmation accesso acceso acesso "
    "sicurezza seguridad verifica weryfikacyjny sms porte is ist lautet est es er jest".split()
)
NUMBER_NAME_LAST_TWO = frozenset(ending[-2:] for ending in NUMBER_NAME_ENDINGS)
"""Most words end otherwise, which is told at once."""


def code_numbers(text: str, lowered: str) -> Iterator[Span]:
    """Yield each number that has such a name before it. `lowered` is the text in small letters."""
    for one in NUMBER.finditer(text):
        at = one.start()
        before = lowered[max(0, at - NUMBER_NAME_LENGTH_MAX) : at].rstrip(" :=\"'#-")
        if before[-1:].isascii() and not (before[-2:] in NUMBER_NAME_LAST_TWO and before.endswith(NUMBER_NAME_ENDINGS)):
            continue
        if NUMBER_NAME.search(lowered, max(0, at - NUMBER_NAME_LENGTH_MAX), at):
            yield key_span(text, at, one.end())
