"""A signed token as text: a JWT in its compact form, signed with Ed25519 (RFC 7515, RFC 8037) and with nothing else.

A token has no say in how it is read. There is one head, but for the name of the key; a token with any other (another
algorithm, a key that it brings along, an extension that we would have to understand) is refused before its signature is
looked at, and so is one that is not written as we would write it. With no choice left there is little to do, which is
why it is done here: PyJWT, with every algorithm there is, takes three megabytes of a server that is idle. The tokens of
issuers, who do have a choice, are read by it (`oidc.py`); the tests have it read ours, and forge them.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["key_of", "sign", "verify"]


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kid` is the name of the key."""

    kid: str
    alg: Literal["EdDSA"]
    typ: Literal["JWT"]


ClaimsT = TypeVar("ClaimsT")

_heads = msgspec.json.Decoder(Head)


def sign(claims: Any, key_id: str, key: Ed25519PrivateKey) -> str:
    """Return the token that says `claims`, any value that JSON can hold."""
    head = Head(key_id, "EdDSA", "JWT")
    signed = b".".join(_written(msgspec.json.encode(part)) for part in (head, claims))
    return b".".join((signed, _written(key.sign(signed)))).decode()


def key_of(token: str) -> str:
    """Return the name of the key that a token says it is signed with. Raises `ValueError` for what is no token."""
    return _decoded(token.encode("ascii").partition(b".")[0], _heads).kid


def verify(token: str, key: Ed25519PublicKey, claims: msgspec.json.Decoder[ClaimsT]) -> ClaimsT:
    """Return what a token claims that `key` has signed. Raises `ValueError` for any other."""
    from cryptography.exceptions import InvalidSignature

    signed, _, signature = token.encode("ascii").rpartition(b".")
    try:
        key.verify(_read(signature), signed)
    except InvalidSignature:
        raise ValueError("its signature is not that of the key") from None
    return _decoded(signed.partition(b".")[2], claims)


def _decoded(part: bytes, decoder: msgspec.json.Decoder[ClaimsT]) -> ClaimsT:
    try:
        return decoder.decode(_read(part))
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it says what none of ours says: {error}") from None


def _written(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _read(part: bytes) -> bytes:
    data = urlsafe_b64decode(part + b"==")
    if _written(data) != part:  # the decoder skips what it does not know; then one token could be written in many ways
        raise ValueError("it is not base64url, or not the shortest")
    return data
