"""What secrets are called, in the languages that people write: the words before `=`, `:` or *is*."""

from __future__ import annotations

import re

__all__ = [
    "CONNECTING",
    "GO_ON_WITH",
    "NAMES_OF_TWO",
    "SPOKEN_NAMES",
    "SURE_NAMES",
    "USERS",
    "is_name",
    "is_weak_name",
    "name_parts",
]

USERS = (
    "user login id username benutzer utilisateur identifiant usuario usuário utente gebruiker användare bruker bruger käyttäjä kullanıcı uživatel "
    "użytkownik felhasználó utilizator пользователь логин користувач χρήστης משתמש 用户 用戶 ユーザー 아이디 account konto compte cuenta"
).split()
"""What the other half is called of what one logs in with."""
PASSWORDS = (
    "mdp ww passw pswrd pwort hesla hasla şifrem parolam lozinku құпиясөз pasahitz jelszo salasõna adgangsord aðgangsorð pasword passwrd pasfhocal contrasinal wagwoord pasvorto şifrə parol pswd psswd pword requirepass masterauth userpass dbpass password passwords passwd passwort passwörter passphrase passcode passkey pwd passord pw psw psk kennwort losung "
    "contraseña contrasena contrasenya senha wachtwoord hasło hasła haslo heslo jelszó jelszava jelszo lozinka geslo parool "
    "salasana salasanasi lösenord losenord lösenordet adgangskode adgangskoden kodeord kodeordet lykilorð lykilord şifre "
    "şifresi sifre parola parolă parolası şifreniz salasõna hasłem heslem sandi laluan پسورد گذرواژه slaptažodis parole pasahitza cyfrinair facalfaire fjalëkalimi nenosiri "
    "пароль пароля паролем паролю пароли лозинка парола κωδικός κωδικού συνθηματικό סיסמה סיסמא סיסמת "
    "密码 密碼 口令 暗証番号 パスワード パスフレーズ 合言葉 비밀번호 암호 पासवर्ड रหัสผ่าน পাসওয়ার্ড"
).split()
"""Words that are nothing else."""

OTHERS = (
    "pass secret secrets token tokens apikey authtoken accesstoken cred creds credential credentials authorization jwt bearer pat "
    "accountkey sharedaccesskey geheimnis secreto segredo segreto sekret секрет токен "
    "token токена 密钥 金鑰 令牌 トークン 토큰 الرمز"
).split()
ENDINGS = (
    "password",
    "passwd",
    "passwort",
    "kennwort",
    "secret",
    "apikey",
    "passphrase",
    "authtoken",
    "token",
    "jeton",
    "authkey",
    "secretkey",
    "accesskey",
    "masterkey",
    "privkey",
    "privatekey",
    "signingkey",
)
"""How words end that are nothing else either: PGPASSWORD."""
WEAK = (
    "key keys pin cookie session sessionid sid sig signature otp code schlüssel clé clave chave chiave sleutel klucz "
    "klíč kulcs nyckel nøgle anahtar ключ κλειδί キー 키 مفتاح कुंजी kid community phpsessid jsessionid sessid jeton gettone toegangssleutel åtkomstnyckel avain api-avain cheie ključ anahtarı login auth wpa wifi wlan salt hash nonce hook webhook dsn appid "
    "opsgenie pagerduty victorops datadog newrelic sendgrid mailgun postmark"
).split()
"""Words that may be: what follows them must look like a secret."""

NAMES = frozenset(PASSWORDS) | frozenset(OTHERS)
WEAK_NAMES = frozenset(WEAK)

QUALIFIERS = (
    "api app access secret private auth account shared encryption signing master service license licence client consumer "
    "bot storage ssh session subscription integration webhook deploy ingest write read rest x admin root user db database "
    "redis smtp mail oauth refresh id security sas host function instrumentation connection project org personal tenant"
).split()
NAMES_OF_TWO = frozenset(
    {f"{one} {other}" for one in QUALIFIERS for other in ("key", "keys", "pass", "pwd", "token", "secret")}
    | {
        "pass phrase",
        "secret word",
        "key id",
        "session id",
        "secret value",
        "api schlüssel",
        "mot passe",
        "mot de passe",
        "mots passe",
        "code secret",
        "clé secrète",
    }
    | {
        "clé api",
        "d api",
        "clave secreta",
        "clave acceso",
        "clé accès",
        "clé privée",
        "clave privada",
        "clave api",
        "palavra passe",
        "chave secreta",
        "chave api",
        "chiave segreta",
    }
    | {
        "chiave api",
        "parola d'ordine",
        "parola ordine",
        "mật khẩu",
        "kata sandi",
        "kata laluan",
        "كلمة المرور",
        "رمز عبور",
        "پاس ورڈ",
        "كلمة السر",
        "الرمز السري",
    }
    | {
        "секретный ключ",
        "ключ api",
        "ключ доступа",
        "klucz api",
        "access key id",
        "key base",
        "one time code",
        "құпия сөз",
        "clave wifi",
        "clave wi",
        "код доступа",
        "رمز الوصول",
        "khóa api",
        "kunci api",
        "מפתח api",
        "कुंजी api",
        "คีย์ api",
        "code wifi",
        "mot passe wifi",
        "wifi key",
        "wlan schlüssel",
        "heslo wifi",
    }
)
CONNECTING = frozenset(
    "is was are be it ist lautet war est es é è är er jest on to the a your my new old neues mein dein il la le "
    "heißt será sera je este jest là adalah هو هي 是 は が 为 は が".split()
)
"""Words that may stand between a name and its separator."""

GO_ON_WITH = frozenset(
    "the this that these those your you our their his her its a an please must should shall will may can could would not never no "
    "none required optional needed used use uses using stored saved set reset changed change expired wrong incorrect correct invalid "
    "valid too very also still only always sent shown hidden masked empty missing unknown forgotten lost weak strong long longer short "
    "shorter case-sensitive and or but if when where which who what how why for from with without in into on at by of as to be been is "
    "are was were has have had does did do being below above here there same different unique secret secure safe protected encrypted "
    "hashed compared checked verified validated rotated login forgot expire expires confirm submit remember known asked given made kept left enter type choose pick create make write keep length more less than one two three four "
    "ten twelve characters letters words "
    "der die das den dem ein eine einen nicht kein keine bitte muss soll sollte wird wurde werden ist sind war im in auf mit ohne und oder "
    "falsch richtig abgelaufen geändert vergessen zu lang kurz sicher per von für als "
    "le la les un une des du de ne pas non s'il veuillez doit est sont incorrect oublié trop dans par pour avec sans et ou que qui "
    "el los las una unos del no por favor debe es son incorrecta correcta olvidada muy en con sin y o que para "
    "il lo gli uno della non deve è sono sbagliata per con senza e che o os as um uma não deve são para com sem "
    "het een niet moet is zijn verkeerd voor met zonder en of dat nie proszę jest są nieprawidłowe do z bez i lub "
    "det en ett inte måste är fel för med utan och eller не это должен неверный для без и или на в с".split()
)
"""Words that a sentence about a secret goes on with, and that are none themselves."""

SPOKEN_NAMES = tuple(
    dict.fromkeys(
        word
        for word in (*PASSWORDS, "mot de passe", "palavra-passe", "passe", "api key", "api-key", "apikey", "secret key",
                     "access key", "token", "secret", "kata sandi", "mật khẩu", "credentials", "pre-shared key", "master key", "deploy key", "service key", "signing key", "encryption key", "private key", "pre-shared-key", "preshared", "pass ", "creds", "neno la siri", "нууц үг", "clave", "clé ", "chave", "schlüssel", "wifi", "wi-fi", "wlan", "wpa", "psk")
        if len(word) > 2
    )
)  # a list of words, read as a block  # fmt: skip


SURE_NAMES = frozenset(PASSWORDS) | {"mot de passe", "palavra-passe", "kata sandi", "mật khẩu"}
"""Names that are followed by a secret, whatever it looks like."""


PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+")


def name_parts(name: str) -> list[str]:
    """Return the words that a name is made of, in small letters."""
    return [part.lower() for part in PARTS.findall(name)]


def is_name(word: str) -> bool:
    """Return whether a word is what secrets are called."""
    return word in NAMES or word.endswith(ENDINGS)


def is_weak_name(word: str) -> bool:
    """Return whether a word may be."""
    return word in WEAK_NAMES
