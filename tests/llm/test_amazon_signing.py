"""Requests to AWS are signed as AWS says: by its published vectors, and as its own SDK signs the same request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.llm.fakes.rigs import KEY, KINDS, rig_of
from tests.llm.fakes.server import FakeServer, json_reply

from headgate.llm import amazon_credentials
from headgate.llm.amazon_credentials import KEPT_SECONDS_MAX, AmazonAccount
from headgate.llm.amazon_signing import Credentials, signed
from headgate.ports import ProviderError
from headgate.testing.provider_rig import Said, request_of

VECTORS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOON = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


def signature(
    method: str, url: str, headers: Mapping[str, str], content: bytes = b"", *, whose: Credentials = VECTORS
) -> str:
    found = signed(method, url, headers, content, credentials=whose, region="us-east-1", service="service", at=NOON)
    return found["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("method", "url", "headers", "content", "expected"),
    [
        (
            "GET",
            "https://example.amazonaws.com/",
            {},
            b"",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "POST",
            "https://example.amazonaws.com/",
            {},
            b"",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "GET",
            "https://example.amazonaws.com/?Param2=value2&Param1=value1",
            {},
            b"",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "POST",
            "https://example.amazonaws.com/",
            {"My-Header1": "VALUE1"},
            b"",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "POST",
            "https://example.amazonaws.com/",
            {"Content-Type": "application/x-www-form-urlencoded"},
            b"Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order", "post-header-key-sort", "post-form"],
)
def test_a_request_of_the_published_suite_has_its_signature(
    method: str, url: str, headers: dict[str, str], content: bytes, expected: str
):
    assert signature(method, url, headers, content) == expected


def as_amazons_sdk_signs_it(
    method: str, url: str, headers: Mapping[str, str], content: bytes, whose: Credentials
) -> str:
    from botocore import auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials as Theirs

    request = AWSRequest(method, url, headers=dict(headers), data=content)
    signer = auth.SigV4Auth(Theirs(whose.key_id, whose.secret, whose.token or None), "service", "us-east-1")
    with mock.patch.object(auth, "get_current_datetime", return_value=NOON.replace(tzinfo=None)):
        signer.add_auth(request)
    return request.headers["Authorization"]


WORDS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
PATHS = st.lists(WORDS | st.sampled_from(["a%3A0", "x%2Fy", "a-b_c.~", "%20", "converse"]), max_size=4).map("/".join)
QUERIES = st.lists(st.tuples(WORDS, WORDS | st.sampled_from(["", "a%20b", "%C3%A9"])), max_size=3).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)


@given(
    method=st.sampled_from(["GET", "POST"]),
    path=PATHS,
    query=QUERIES,
    headers=st.dictionaries(WORDS.map(lambda name: f"X-{name}"), st.sampled_from(["a", " a  b ", "1"]), max_size=3),
    content=st.binary(max_size=30),
    whose=st.builds(Credentials, WORDS, WORDS, st.just("") | WORDS),
)
def test_any_request_is_signed_as_amazons_sdk_signs_it(
    method: str, path: str, query: str, headers: dict[str, str], content: bytes, whose: Credentials
):
    url = f"https://bedrock-runtime.eu-central-1.amazonaws.com/{path}" + (f"?{query}" if query else "")
    one_of_each = {name.lower(): value for name, value in headers.items()}

    ours = signed(method, url, one_of_each, content, credentials=whose, region="us-east-1", service="service", at=NOON)

    assert ours["authorization"] == as_amazons_sdk_signs_it(method, url, one_of_each, content, whose)


# --- Whose key, and where --------------------------------------------------------------------------------------------

FILES = {"AWS_CONFIG_FILE": "/nowhere/config", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials"}


def found(**variables: str) -> Credentials:
    return asyncio.run(AmazonAccount(FILES | variables).credentials())


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-north-1\n\n[profile lab]\nregion=eu-west-3\naws_access_key_id = IN-CONFIG\n"
        "aws_secret_access_key = x\n\n[profile asked]\ncredential_process = /nowhere/at-all\n"
    )
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = D\naws_secret_access_key = d%d\n\n"
        "[lab]\naws_access_key_id = L\naws_secret_access_key = l\naws_session_token = t\n"
    )
    return {"AWS_CONFIG_FILE": f"{tmp_path}/config", "AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/credentials"}


def test_a_key_of_the_environment_wins(files: dict[str, str]):
    own = {"AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "e", "AWS_SESSION_TOKEN": "s"}

    assert found(**files, **own, AWS_PROFILE="lab") == Credentials("E", "e", "s")


def test_a_key_that_stands_in_amazons_files_is_that_of_the_profile(files: dict[str, str]):
    assert found(**files) == Credentials("D", "d%d")
    assert found(**files, AWS_PROFILE="lab") == Credentials("L", "l", "t")


def test_a_region_is_that_of_the_environment_or_of_the_profile(files: dict[str, str]):
    assert AmazonAccount({**files, "AWS_REGION": "us-east-1"}).region == "us-east-1"
    assert AmazonAccount({**files, "AWS_DEFAULT_REGION": "us-east-2"}).region == "us-east-2"
    assert AmazonAccount(files).region == "eu-north-1"
    assert AmazonAccount({**files, "AWS_PROFILE": "lab"}).region == "eu-west-3"


def test_files_that_cannot_be_read_are_as_none(tmp_path: Path):
    (tmp_path / "config").write_bytes(b"\xff\xfe[")

    with pytest.raises(ProviderError, match="AWS_REGION") as caught:
        assert AmazonAccount({**FILES, "AWS_CONFIG_FILE": f"{tmp_path}/config"}).region

    assert (caught.value.kind, caught.value.sent) == ("missing_address", False)


def test_without_amazons_chain_a_missing_key_says_what_to_set_or_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "botocore.session", None)  # as if it were not there

    with pytest.raises(ProviderError, match=r"AWS_ACCESS_KEY_ID.*pip install headgate\[bedrock\]") as caught:
        found()

    assert (caught.value.kind, caught.value.sent) == ("missing_key", False)


def test_a_profile_whose_key_is_asked_for_is_left_to_amazons_chain(
    files: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    for name, value in files.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ProviderError, match="nowhere") as caught:  # its program is not there
        found(**files, AWS_PROFILE="asked")

    assert caught.value.kind == "missing_key"


@pytest.mark.slow
def test_a_role_of_a_container_signs_and_its_key_is_never_seen(monkeypatch: pytest.MonkeyPatch, caplog: Any):
    caplog.set_level(logging.DEBUG)
    told = {
        "AccessKeyId": "ASIA-of-role",
        "SecretAccessKey": KEY,
        "Token": "token-of-role",
        "Expiration": "2100-01-01T00:00:00Z",
    }
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in FILES.items():
        monkeypatch.setenv(name, value)
    in_a_container = KINDS["bedrock"]._replace(
        environment=lambda url: {**FILES, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url, "AWS_REGION": "eu-central-1"}
    )

    async def asked() -> tuple[dict[str, str], str, int]:
        async with FakeServer(json_reply(told)) as container, rig_of(in_a_container) as rig:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{container.url}/role")
            rig.will_say(Said(), streamed=False)
            await rig.provider.request(request_of(rig))
            await rig.provider.request(request_of(rig))
            rig.server.will(json_reply({"message": f"no {KEY} and no token-of-role"}, status=400))
            with pytest.raises(ProviderError) as caught:
                await rig.provider.request(request_of(rig))
            return rig.server.requests[0].headers, str(caught.value), len(container.requests)

    headers, shown, times = asyncio.run(asked())

    assert "Credential=ASIA-of-role/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token-of-role"
    assert "x-amz-security-token" in headers["authorization"]
    assert "no [secret] and no [secret]" in shown
    assert times == 1
    assert not [record for record in caplog.records if KEY in record.getMessage()]


def test_a_key_that_may_change_is_asked_for_again_after_a_while(files: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(amazon_credentials.time, "monotonic", lambda: now[0])
    account, path = AmazonAccount(files), Path(files["AWS_SHARED_CREDENTIALS_FILE"])

    def key() -> str:
        return asyncio.run(account.credentials()).key_id

    before = key()
    path.write_text("[default]\naws_access_key_id = NEW\naws_secret_access_key = d\n")
    now[0] = KEPT_SECONDS_MAX
    meanwhile = key()
    now[0] += 1

    assert (before, meanwhile, key()) == ("D", "D", "NEW")
