"""A token is good when we have signed it, its time is now, and whoever got it still stands; else it is refused, and
whoever brings it is not told how near it came."""

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

from headgate.api.auth import identification
from headgate.api.auth.auth import TOKEN_SECONDS
from headgate.api.auth.clients import KEEP_SECONDS_MAX
from headgate.api.auth.signing_keys import LIFETIME_SECONDS_MAX
from headgate.api.caller import Unauthorized
from headgate.core.errors import Invalid, NotFound, Refused, Unavailable

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


# --- Forgeries -----------------------------------------------------------------------------------------------------


def segment(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))


async def signed(house: Any, token: str, head: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with other claims, signed by the right key all the same."""
    key_id, key = await house.auth.keys.current()
    _, body = opened(token)
    kept = {name: value for name, value in (body | claims).items() if value is not None}
    return jwt.encode(kept, key, algorithm="EdDSA", headers={"kid": key_id, **(head or {})})


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


# --- Its end -------------------------------------------------------------------------------------------------------


def test_a_remembered_token_is_over_at_its_time(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        await house.asks(token)

        house.clock.pass_by(TOKEN_SECONDS - 1)
        await house.asks(token)
        house.clock.pass_by(1)

        with pytest.raises(Unauthorized):
            await house.asks(token)

    play(scene)


def test_a_revoked_client_has_no_token_here_at_once_and_elsewhere_within_a_second(play: Any):
    async def scene(house: Any) -> None:
        token, elsewhere = await house.token(), house.node()
        await house.asks(token)
        await house.asks(token, elsewhere)

        await house.auth.clients.revoke("default", "billing", by="test")

        with pytest.raises(Unauthorized):
            await house.asks(token)
        house.clock.pass_by(1)
        with pytest.raises(Unauthorized):
            await house.asks(token, elsewhere)

    play(scene)


def test_a_revoked_client_gets_no_token_and_its_name_is_not_given_again(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client()
        await house.auth.clients.revoke("default", "billing", by="test")

        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", secret)
        with pytest.raises(Refused, match="already"):
            await house.client()
        with pytest.raises(Refused, match="for good"):
            await house.auth.clients.rotate("default", "billing", by="test")

    play(scene)


def test_what_is_open_may_go_on_when_its_token_is_over_and_not_when_it_was_revoked(play: Any):
    async def scene(house: Any) -> None:
        token, ticket_run = await house.token(), "a-run"
        caller = await house.asks(token)
        ticket = await house.auth.issue_ticket(caller, ticket_run)
        house.clock.pass_by(TOKEN_SECONDS + 1)

        assert await house.auth.still_may(token)
        assert await house.auth.still_may(ticket)
        with pytest.raises(Unauthorized):
            await house.asks(token)

        other = house.node()
        assert await other.still_may(token)
        await house.auth.clients.revoke("default", "billing", by="test")
        house.clock.pass_by(1)

        assert not await house.auth.still_may(token)
        assert not await other.still_may(token)
        assert not await other.still_may(ticket)
        assert not await other.still_may("forged")

    play(scene)


def test_a_new_secret_ends_the_old_one_and_its_tokens(play: Any):
    async def scene(house: Any) -> None:
        old = await house.client()
        token = (await house.auth.token_for_client("billing", old)).access_token

        new = (await house.auth.clients.rotate("default", "billing", by="test")).secret

        with pytest.raises(Unauthorized):
            await house.asks(token)
        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", old)
        fresh = (await house.auth.token_for_client("billing", new)).access_token
        assert (await house.asks(fresh)).actor == "client:billing"

    play(scene)


def test_the_old_secret_can_be_kept_for_a_while(play: Any):
    async def scene(house: Any) -> None:
        old = await house.client()
        token = (await house.auth.token_for_client("billing", old)).access_token
        await house.auth.clients.rotate("default", "billing", by="test", keep_seconds=60)

        await house.asks(token)
        await house.auth.token_for_client("billing", old)
        house.clock.pass_by(60)
        await house.client("other")  # any change: what is remembered is asked anew

        with pytest.raises(Unauthorized):
            await house.asks(token)
        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", old)
        with pytest.raises(Invalid, match="0 to"):
            await house.auth.clients.rotate("default", "billing", by="test", keep_seconds=KEEP_SECONDS_MAX + 1)

    play(scene)


def test_a_token_that_was_logged_out_is_refused_on_every_node(play: Any):
    async def scene(house: Any) -> None:
        token, other = await house.token(), await house.token("other")
        elsewhere = house.node()
        await house.asks(token, elsewhere)

        await house.auth.log_out(token)
        await house.auth.log_out("no token at all")

        with pytest.raises(Unauthorized):
            await house.asks(token)
        house.clock.pass_by(1)
        with pytest.raises(Unauthorized):
            await house.asks(token, elsewhere)
        assert (await house.asks(other, elsewhere)).actor == "client:other"

    play(scene)


def test_what_is_remembered_of_revoked_tokens_goes_when_they_would_be_over(play: Any):
    async def scene(house: Any) -> None:
        await house.auth.log_out(await house.token())
        house.clock.pass_by(TOKEN_SECONDS + 1)

        await house.auth.log_out(await house.token("other"))

        assert len(await house.documents.list("revoked_token")) == 1

    play(scene)


def test_what_was_found_out_while_something_changed_is_not_remembered(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        look = house.auth.clients.get

        async def look_and_be_overtaken(tenant: str, name: str) -> Any:
            found = await look(tenant, name)
            house.auth.clients.get = look
            await house.auth.clients.revoke(tenant, name, by="test")
            return found

        house.auth.clients.get = look_and_be_overtaken
        await house.asks(token)  # asked before it was revoked, answered after

        with pytest.raises(Unauthorized):
            await house.asks(token)

    play(scene)


def test_only_so_many_verdicts_are_remembered(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identification, "VERDICTS_MAX", 2)

    async def scene(house: Any) -> None:
        secret = await house.client()
        tokens = [(await house.auth.token_for_client("billing", secret)).access_token for _ in range(5)]
        for token in tokens:
            await house.asks(token)

        assert len(house.auth.identification._verdicts) == 2
        assert (await house.asks(tokens[0])).actor == "client:billing", "it is read again"

    play(scene)


def test_a_token_is_read_once_and_the_store_asked_once_a_second(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        house.clock.pass_by(1)
        await house.asks(token)
        asked: list[str] = []
        for name in ("get", "list", "revision"):
            _count(house.documents, name, asked)

        for _ in range(5):
            await house.asks(token)
        assert asked == []
        house.clock.pass_by(1)
        for _ in range(5):
            await house.asks(token)

        assert set(asked) == {"revision"}
        assert len(asked) == 4, "once for each kind of document"

    play(scene)


def test_while_nobody_can_say_what_was_revoked_nobody_is_let_in(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        await house.asks(token)
        house.clock.pass_by(1)
        revision = house.documents.revision

        async def away(kind: str) -> int:
            raise Unavailable("The database is away.")

        house.documents.revision = away
        for _ in range(2):
            with pytest.raises(Unavailable):
                await house.asks(token)

        house.documents.revision = revision
        assert (await house.asks(token)).actor == "client:billing"

    play(scene)


def _count(documents: Any, name: str, asked: list[str]) -> None:
    real = getattr(documents, name)

    async def counted(*arguments: Any, **rest: Any) -> Any:
        asked.append(name)
        return await real(*arguments, **rest)

    setattr(documents, name, counted)


# --- Keys ----------------------------------------------------------------------------------------------------------


def test_after_a_change_of_keys_tokens_of_the_old_one_are_good_until_they_are_over(play: Any):
    async def scene(house: Any) -> None:
        old = await house.token()
        elsewhere = house.node()
        await house.asks(old, elsewhere)

        await house.auth.keys.rotate()
        new = await house.token("other")
        house.clock.pass_by(0.2)

        assert opened(old)[0]["kid"] != opened(new)[0]["kid"]
        for node in (house.auth, elsewhere):
            assert (await house.asks(old, node)).actor == "client:billing"
            assert (await house.asks(new, node)).actor == "client:other", "its key is looked for when it is met"

    play(scene)


def test_a_retired_key_goes_when_it_has_nothing_left_to_verify(play: Any):
    async def scene(house: Any) -> None:
        first = opened(await house.token())[0]["kid"]
        await house.auth.keys.rotate()
        house.clock.pass_by(LIFETIME_SECONDS_MAX + 1)

        assert await house.auth.keys.verifying(first) is None
        await house.auth.keys.rotate()

        assert first not in {key.id for key in await house.auth.keys.list()}
        assert len(await house.auth.keys.list()) == 2

    play(scene)


def test_keys_that_are_forgotten_take_their_tokens_with_them_on_every_node(play: Any):
    async def scene(house: Any) -> None:
        token, elsewhere = await house.token(), house.node()
        await house.asks(token, elsewhere)

        await house.node().keys.rotate(forget=True)
        house.clock.pass_by(1)

        for node in (house.auth, elsewhere):
            with pytest.raises(Unauthorized):
                await house.asks(token, node)
        assert (await house.asks(await house.token("other"), elsewhere)).actor == "client:other"

    play(scene)


def test_unknown_keys_do_not_make_a_node_look_again_and_again(play: Any):
    async def scene(house: Any) -> None:
        token = await house.token()
        forged = [await signed(house, token, head={"kid": f"{n:016x}"}) for n in range(20)]
        await house.asks(token)
        asked: list[str] = []
        _count(house.documents, "list", asked)
        house.clock.pass_by(0.5)

        for one in forged:
            with pytest.raises(Unauthorized):
                await house.asks(one)

        assert len(asked) == 1

    play(scene)


def test_the_private_part_of_a_key_is_nowhere_in_the_database(play: Any):
    async def scene(house: Any) -> None:
        _, key = await house.auth.keys.current()

        (document,) = await house.documents.list("signing_key")

        assert key.public_key().public_bytes_raw() in document.body
        assert key.private_bytes_raw() not in document.body

    play(scene)


# --- Secrets -------------------------------------------------------------------------------------------------------


def test_a_secret_is_kept_as_a_digest_only(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client()

        (document,) = await house.documents.list("client")

        assert len(secret) > 43
        assert secret.encode() not in document.body
        assert hashlib.sha256(secret.encode()).digest() in document.body

    play(scene)


@pytest.mark.parametrize(("client_id", "secret"), [("billing", "wrong"), ("nobody", "x"), ("a/b/c", ""), ("", "")])
def test_a_wrong_secret_gives_no_token(client_id: str, secret: str, play: Any):
    async def scene(house: Any) -> None:
        await house.client()

        with pytest.raises(Unauthorized, match=r"^No client has this id and this secret\.$"):
            await house.auth.token_for_client(client_id, secret)

    play(scene)


def test_a_client_of_one_tenant_is_nobody_in_another(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client(tenant="acme")

        with pytest.raises(Unauthorized):
            await house.auth.token_for_client("billing", secret)
        with pytest.raises(NotFound):
            await house.auth.clients.revoke("default", "billing", by="test")
        assert [one.id for one in await house.auth.clients.list()] == ["acme/billing"]
        assert await house.auth.clients.list("default") == []

    play(scene)


@pytest.mark.parametrize(
    ("tenant", "name", "scopes"),
    [
        ("default", "Bad Name", ("runs:read",)),
        ("default", "a/b", ("runs:read",)),
        ("", "a", ("runs:read",)),
        ("default", "a", ()),
        ("default", "a", ("runs:all",)),
    ],
)
def test_what_cannot_be_a_client_is_refused(tenant: str, name: str, scopes: tuple[str, ...], play: Any):
    async def scene(house: Any) -> None:
        with pytest.raises(Invalid):
            await house.auth.clients.create(tenant, name, scopes, by="test")
        assert await house.documents.list("admin_act") == []

    play(scene)
