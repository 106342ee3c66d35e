"""What a token says, and that no forged one is taken for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from tests.api.auth.issued import opened, signed

from headgate.api.caller import Unauthorized
from headgate.core.errors import Invalid

NOT_GOOD = "The token is not good (any more): get a new one."


def test_a_token_says_who_asks_and_what_they_may(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token("billing", "runs:write", "runs:read", tenant="acme")

        caller = await house.asks(token)

        assert (caller.tenant, caller.actor, caller.run) == ("acme", "client:billing", "")
        assert caller.scopes == {"runs:read", "runs:write"}
        assert await house.asks(token, house.node()) == caller, "any node reads it"

    play(scene)


def test_a_token_may_have_fewer_scopes_than_its_client_and_never_more(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client("billing", "runs:write", "runs:read")

        granted = await house.auth.token_for_client("billing", secret, "runs:read")

        assert granted.scope == "runs:read"
        assert (await house.asks(granted.access_token)).scopes == {"runs:read"}
        with pytest.raises(Invalid, match=r"no scope 'admin'; it has runs:read runs:write"):
            await house.auth.token_for_client("billing", secret, "runs:read admin")

    play(scene)


def segment(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


async def of_no_algorithm(house: Any, token: str) -> str:
    head, body = opened(token)
    return f"{segment(head | {'alg': 'none'})}.{segment(body)}."


async def of_no_algorithm_written_otherwise(house: Any, token: str) -> str:
    head, body = opened(token)
    return f"{segment(head | {'alg': 'nOnE'})}.{segment(body)}."


async def without_a_signature(house: Any, token: str) -> str:
    return token.rpartition(".")[0] + "."


async def of_another_tenant_under_the_old_signature(house: Any, token: str) -> str:
    head, body = opened(token)
    return f"{segment(head)}.{segment(body | {'tenant': 'acme'})}.{token.rpartition('.')[2]}"


async def by_hmac_with_the_public_key(house: Any, token: str) -> str:
    key_id, key = await house.auth.keys.current()
    text = f"{segment({'alg': 'HS256', 'typ': 'JWT', 'kid': key_id})}.{segment(opened(token)[1])}"
    return f"{text}.{segment(hmac.digest(key.public_key().public_bytes_raw(), text.encode(), hashlib.sha256))}"


async def by_another_key_under_our_name(house: Any, token: str) -> str:
    head, body = opened(token)
    return jwt.encode(body, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": head["kid"]})


async def by_a_key_of_its_own_that_it_brings_along(house: Any, token: str) -> str:
    stranger = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": segment(stranger.public_key().public_bytes_raw())}
    return jwt.encode(opened(token)[1], stranger, algorithm="EdDSA", headers={"kid": "x", "jwk": jwk})


async def by_rsa(house: Any, token: str) -> str:
    head, body = opened(token)
    return jwt.encode(body, generate_private_key(65_537, 2_048), algorithm="RS256", headers={"kid": head["kid"]})


async def of_an_unknown_key(house: Any, token: str) -> str:
    return await signed(house, token, head={"kid": "0" * 16})


async def of_no_key(house: Any, token: str) -> str:
    _, key = await house.auth.keys.current()
    return jwt.encode(opened(token)[1], key, algorithm="EdDSA")


async def of_another_issuer(house: Any, token: str) -> str:
    return await signed(house, token, iss="https://elsewhere.example")


async def of_no_issuer(house: Any, token: str) -> str:
    return await signed(house, token, iss=None)


async def that_is_over(house: Any, token: str) -> str:
    return await signed(house, token, exp=house.clock.now() // 1_000_000)


async def that_has_not_begun(house: Any, token: str) -> str:
    return await signed(house, token, nbf=house.clock.now() // 1_000_000 + 11)


async def without_an_end(house: Any, token: str) -> str:
    return await signed(house, token, exp=None)


async def that_would_last_for_years(house: Any, token: str) -> str:
    return await signed(house, token, exp=house.clock.now() // 1_000_000 + 10**8)


async def that_ends_at_no_time(house: Any, token: str) -> str:
    return await signed(house, token, exp="tomorrow")


async def for_another_use(house: Any, token: str) -> str:
    return await signed(house, token, aud="elsewhere")


async def of_a_ticket_without_a_run(house: Any, token: str) -> str:
    return await signed(house, token, aud="ticket")


async def of_a_client_that_never_was(house: Any, token: str) -> str:
    return await signed(house, token, sub="client:nobody")


async def of_a_secret_that_never_was(house: Any, token: str) -> str:
    return await signed(house, token, gen=2)


async def of_no_kind_of_caller(house: Any, token: str) -> str:
    return await signed(house, token, sub="engine:billing")


async def of_whom_there_is_only_without_a_login(house: Any, token: str) -> str:
    return await signed(house, token, sub="client")


async def with_an_extension_that_has_to_be_understood(house: Any, token: str) -> str:
    return await signed(house, token, head={"crit": ["exp"], "exp": 1})


async def with_a_key_of_its_own_beside_the_name_of_ours(house: Any, token: str) -> str:
    return await signed(house, token, head={"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}})


async def with_a_signature_that_is_padded(house: Any, token: str) -> str:
    return f"{token}=="


async def with_a_signature_whose_last_bits_differ(house: Any, token: str) -> str:
    """64 bytes leave four bits over in the last letter: a lax decoder takes any."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]


async def with_a_line_break_in_its_signature(house: Any, token: str) -> str:
    return f"{token[:-4]}\n{token[-4:]}"


async def with_one_part_more(house: Any, token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{body}.{signature}"


async def whose_claims_nest_too_deep(house: Any, token: str) -> str:
    """Signed, for nobody else's get so far."""
    key_id, key = await house.auth.keys.current()
    deep = b'{"a":' + b"[" * 2_500
    text = f"{segment({'alg': 'EdDSA', 'typ': 'JWT', 'kid': key_id})}.{segment(deep)}"
    return f"{text}.{segment(key.sign(text.encode()))}"


async def that_is_no_token(house: Any, token: str) -> str:
    return "hello"


async def that_is_no_text(house: Any, token: str) -> str:
    return "\udce4.é.\x00"


async def whose_head_is_a_list(house: Any, token: str) -> str:
    return f"{segment([1])}.{segment({})}.AAAA"


async def whose_head_nests_too_deep(house: Any, token: str) -> str:
    return f"{segment(b'[' * 2_900)}.e30.AAAA"


async def that_is_too_long(house: Any, token: str) -> str:
    return await signed(house, token, more="a" * 4_096)


FORGERIES = (
    of_no_algorithm,
    of_no_algorithm_written_otherwise,
    without_a_signature,
    of_another_tenant_under_the_old_signature,
    by_hmac_with_the_public_key,
    by_another_key_under_our_name,
    by_a_key_of_its_own_that_it_brings_along,
    by_rsa,
    of_an_unknown_key,
    of_no_key,
    of_another_issuer,
    of_no_issuer,
    that_is_over,
    that_has_not_begun,
    without_an_end,
    that_would_last_for_years,
    that_ends_at_no_time,
    for_another_use,
    of_a_ticket_without_a_run,
    of_a_client_that_never_was,
    of_a_secret_that_never_was,
    of_no_kind_of_caller,
    of_whom_there_is_only_without_a_login,
    with_an_extension_that_has_to_be_understood,
    with_a_key_of_its_own_beside_the_name_of_ours,
    with_a_signature_that_is_padded,
    with_a_signature_whose_last_bits_differ,
    with_a_line_break_in_its_signature,
    with_one_part_more,
    whose_claims_nest_too_deep,
    that_is_no_token,
    that_is_no_text,
    whose_head_is_a_list,
    whose_head_nests_too_deep,
    that_is_too_long,
)


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_forged_token_is_refused_without_a_word_more_than_any_other(forge: Callable[..., Any], play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        forged = await forge(house, token)

        for _ in range(2):  # once read, once remembered
            with pytest.raises(Unauthorized) as found:
                await house.asks(forged)
            assert found.value.message == NOT_GOOD
        assert (await house.asks(token)).actor == "client:billing", "the true one is good"

    play(scene)


def test_the_forger_would_succeed_with_what_was_issued(play: Any):
    """What the forgeries are made with is right: only what each changes is wrong."""

    async def scene(house: Any) -> None:
        token = await house.token()

        assert (await house.asks(await signed(house, token))).actor == "client:billing"
        assert (await house.asks(await signed(house, token, nbf=house.clock.now() // 1_000_000 + 10))).tenant

    play(scene)


def test_a_token_is_a_jwt_that_others_can_read(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token("billing", "runs:read", tenant="acme")
        _, key = await house.auth.keys.current()

        untimed = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        said = jwt.decode(
            token, key.public_key(), algorithms=["EdDSA"], audience="api", issuer="headgate", options=untimed
        )

        assert jwt.get_unverified_header(token).keys() == {"alg", "typ", "kid"}
        assert (said["sub"], said["tenant"], said["scope"]) == ("client:billing", "acme", "runs:read")

    play(scene)
