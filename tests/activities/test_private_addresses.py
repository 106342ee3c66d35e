"""Which addresses are not of the public internet, and that a request reaches none of them."""

from __future__ import annotations

import ipaddress
import ssl

import pytest
from tests.activities.small_server import CLOSED, answers_by_name, attempt, attempts, respond

from headgate.activities.http_request import HttpSettings
from headgate.activities.private_addresses import is_public
from headgate.core.errors import Invalid

pytestmark = pytest.mark.slow  # each talks to a server of its own


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::8.8.8.8",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_private(address: str):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_public_internet_is_public(address: str):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:7f00:1]"])
def test_a_private_address_is_refused_however_it_is_written(host: str):
    outcome = attempt({"url": f"http://{host}:{{port}}/"}, settings=CLOSED)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("address_refused", False)
    assert outcome.requests == []


def test_a_name_that_resolves_to_a_private_address_is_refused_and_the_error_says_what_to_set():
    outcome = attempt(
        {"url": "http://intranet.test:{port}/"},
        settings=CLOSED,
        resolve=answers_by_name("127.0.0.1", "10.0.0.1"),
    )

    assert outcome.failure is not None
    assert outcome.failure.code == "address_refused"
    assert "intranet.test" in outcome.failure.message
    assert "private_addresses" in outcome.failure.message
    assert outcome.requests == []


@pytest.mark.parametrize("allowed", [("127.0.0.0/8",), ("10.0.0.0/8", "127.0.0.1"), ("Intranet.test",)])
def test_a_private_address_that_the_settings_list_is_reached(allowed: tuple[str, ...]):
    outcome = attempt(
        {"url": "http://intranet.test:{port}/"},
        settings=HttpSettings(private_addresses=allowed),
        resolve=answers_by_name("127.0.0.1"),
    )

    assert outcome.value["status"] == 200
    assert outcome.requests[0].headers["host"].startswith("intranet.test:")


def test_a_network_that_is_misspelled_in_the_settings_is_not_taken_for_a_host_name():
    with pytest.raises(Invalid, match=r"10\.0\.0\.0/99"):
        attempt({}, settings=HttpSettings(private_addresses=("10.0.0.0/99",)))


def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_not_looked_up_again():
    looked_up: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["10.255.255.1"]

    outcome = attempt(
        {"url": "http://rebinding.test:{port}/"},
        settings=HttpSettings(private_addresses=("127.0.0.0/8",)),
        resolve=resolve,
    )

    assert outcome.value["status"] == 200
    assert looked_up == ["rebinding.test"]


def test_of_several_addresses_only_the_allowed_ones_are_tried_and_a_dead_one_is_passed_over():
    outcome = attempt(
        {"url": "http://many.test:{port}/"},
        settings=HttpSettings(private_addresses=("127.0.0.1", "127.0.0.2")),
        resolve=answers_by_name("10.0.0.1", "127.0.0.2", "127.0.0.1"),
    )

    assert outcome.value["status"] == 200


def test_each_hop_of_a_redirect_is_checked_again():
    outcome = attempt(
        {"url": "http://outside.test:{port}/"},
        lambda _: respond(302, b"", "Location: http://169.254.169.254/latest/meta-data/"),
        settings=HttpSettings(private_addresses=("outside.test",)),
        resolve=lambda host, _port: answers_by_name("127.0.0.1" if host == "outside.test" else host)(host, 0),
    )

    assert outcome.failure is not None
    assert outcome.failure.code == "address_refused"
    assert "169.254.169.254" in outcome.failure.message


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBaDCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtwaW5uZWQu
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLcGlubmVkLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASLevPXMB3r
8E1yBtdFa8s7kd2Ikq9ikRcPMsrcZIdFRBqETsPqDpTyxLNa/3O1at2zdjRThkCO
awO1nCi6AvU4o0owSDAWBgNVHREEDzANggtwaW5uZWQudGVzdDAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBTpoDiXjQRD7WcrIgHjARCrrr2ESjAKBggqhkjOPQQD
AgNJADBGAiEApOr1i4IYhLGVrZqszg2JnmJjUPLGE+rVhGJU37RugdICIQC6oP+W
b5dDa74y3aeEA9WSyuoMEAjW/IE+lkcdEXjxMA==
-----END CERTIFICATE-----
"""

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwflZo0Y9nL5b3AX+
RcqVJ+TRDRWeGaMOfeYxlVFNV6mhRANCAASLevPXMB3r8E1yBtdFa8s7kd2Ikq9i
kRcPMsrcZIdFRBqETsPqDpTyxLNa/3O1at2zdjRThkCOawO1nCi6AvU4
-----END PRIVATE KEY-----
"""


def test_over_tls_the_name_is_verified_although_the_socket_goes_to_an_address(tmp_path, monkeypatch):
    (tmp_path / "certificate.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    names: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    settings = HttpSettings(private_addresses=("127.0.0.1",))
    urls = [{"url": f"https://{host}:{{port}}/", "method": "POST"} for host in ("pinned.test", "other.test")]

    right, wrong = attempts(urls, settings=settings, resolve=answers_by_name("127.0.0.1"), tls=tls)

    assert right.value["status"] == 200
    assert names == ["pinned.test", "other.test"]
    assert wrong.failure is not None
    assert (wrong.failure.code, wrong.failure.retryable) == ("connection_failed", True)
    assert "other.test" in wrong.failure.message
