"""The HTTP client that connects only to addresses it has checked, and the rule by which it checks them.

A workflow's author, or a model that wrote a URL, must not reach through the server into the network behind
it. Checking a name and then connecting to that name is not enough: the second look-up may answer otherwise
(DNS rebinding). So the check stands where the connection is made: below TLS and `Host`, which keep the name,
the socket is opened to an address that this file has resolved and judged itself. A pooled connection was
judged when it was opened, by the same rule, for a client belongs to one rule.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Literal, cast
from weakref import WeakKeyDictionary

import httpcore2
import httpx2

from headgate.core.errors import Invalid, Refused

__all__ = [
    "AddressRefused",
    "PrivateAddresses",
    "Resolve",
    "client_of_this_loop",
    "close_clients",
    "is_public",
]

CONNECT_SECONDS_MAX = 10.0
"""For one address; a name may have several, and a dead one must not use up the time of the others."""
ADDRESSES_MAX = 8
CONNECTIONS_MAX = 200
IDLE_CONNECTIONS_MAX = 50
IDLE_SECONDS_MAX = 5.0

PrivateAddresses = Literal["all", "none"] | tuple[str, ...]
"""Which private addresses may be reached: all, none, or a list of networks (CIDR), addresses, host names."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")


class AddressRefused(Refused):
    """The host's addresses are all private, and the settings do not list them."""

    code = "address_refused"


def is_public(address: Address) -> bool:
    """Whether `address` belongs to the public internet, also by what an IPv6 address may carry inside."""
    if address in NAT64_LOCAL:  # where the IPv4 address stands in it is each network's own affair
        return False
    return all(one.is_global and not one.is_multicast for one in _with_embedded(address))


def _with_embedded(address: Address) -> list[Address]:
    """Return the addresses at which a packet to `address` may end: itself, or the IPv4 addresses it wraps."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in NAT64:
        return [last]
    if address in IPV4_COMPATIBLE:
        return [address, last]
    return [address, *filter(None, (address.sixtofour, *(address.teredo or ())))]


class _Rule:
    """Judges the addresses of a host."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._hosts: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                if "/" in entry:
                    expected = "networks like 10.0.0.0/8, addresses or host names"
                    raise Invalid(f"expected private_addresses to list {expected}, got {entry!r}") from None
                self._hosts.add(entry.lower().rstrip("."))

    def allows(self, host: str, address: str) -> bool:
        if host.lower().rstrip(".") in self._hosts:
            return True
        parsed = ipaddress.ip_address(address)
        inside = _with_embedded(parsed)
        listed = all(any(one in network for network in self._networks) for one in inside)
        return listed or is_public(parsed)


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens sockets to checked addresses only; names never go further down than here."""

    def __init__(self, rule: _Rule, resolve: Resolve) -> None:
        self._rule = rule
        self._resolve = resolve
        # The cast: httpcore2 declares a second class of this name, for installations without anyio.
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await self._checked(host, port)
        seconds = CONNECT_SECONDS_MAX if timeout is None else min(timeout, CONNECT_SECONDS_MAX)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, seconds, local_address, socket_options)

    async def _checked(self, host: str, port: int) -> list[str]:
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"the name {host!r} does not resolve") from error
        if not found:
            raise httpcore2.ConnectError(f"the name {host!r} has no address")
        allowed = [address for address in found if self._rule.allows(host, address)]
        if not allowed:
            raise AddressRefused(
                f"{host} has only private addresses ({', '.join(found[:ADDRESSES_MAX])}), and this server "
                "does not connect to those. List the network or host under private_addresses in the settings."
            )
        return allowed[:ADDRESSES_MAX]


async def _resolve_by_system(host: str, port: int) -> list[str]:
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in answers))


class _CheckedTransport(httpx2.AsyncHTTPTransport):
    """httpx's transport over a pool that has the backend above: httpx has no parameter for it."""

    def __init__(self, private_addresses: tuple[str, ...], resolve: Resolve | None) -> None:
        context = httpx2.create_ssl_context()
        super().__init__(verify=context)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=IDLE_CONNECTIONS_MAX,
            keepalive_expiry=IDLE_SECONDS_MAX,
            network_backend=_CheckedBackend(_Rule(private_addresses), resolve or _resolve_by_system),
        )


_Key = tuple[PrivateAddresses, Resolve | None]
# By loop, for a connection lives on the loop that opened it; one client per rule, for a pooled connection was
# judged by its client's rule.
_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, httpx2.AsyncClient]] = WeakKeyDictionary()


def client_of_this_loop(private_addresses: PrivateAddresses, resolve: Resolve | None = None) -> httpx2.AsyncClient:
    """Return the running loop's client for this rule; the same one on each call until `close_clients`.

    It keeps no cookies, reads nothing from the environment but `SSL_CERT_FILE` and `SSL_CERT_DIR`, follows no
    redirects and has no timeouts of its own. `resolve` replaces the system's name resolution.
    """
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    key = (private_addresses, resolve)
    if key not in clients:
        clients[key] = _new_client(private_addresses, resolve)
    return clients[key]


async def close_clients() -> None:
    """Close every client of the running loop. Harmless when repeated; a later request opens a new one."""
    for client in _clients.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()


def _new_client(private_addresses: PrivateAddresses, resolve: Resolve | None) -> httpx2.AsyncClient:
    for name in ("httpx2", "httpcore2"):
        # At INFO they log whole URLs, at DEBUG headers and bodies: both may hold secrets.
        logging.getLogger(name).setLevel(logging.WARNING)
    everything = ("0.0.0.0/0", "::/0") if private_addresses == "all" else ()
    allowed = private_addresses if isinstance(private_addresses, tuple) else everything
    return httpx2.AsyncClient(
        transport=_CheckedTransport(allowed, resolve),
        trust_env=False,
        timeout=None,  # the caller bounds the whole exchange, redirects and body included
        # Runs, and their tenants, share this client: a cookie set for one must not be sent for another.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        headers={"User-Agent": "headgate", "Accept": "*/*"},
    )
