"""`headgate serve`: the server for production. Nobody is answered who is not known, and its end loses nothing."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.engine_options import engine_options, make_engine
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_session
from headgate.cli.settings_check import check_settings
from headgate.core.addresses import LOOPBACK_NAMES
from headgate.core.errors import Invalid, Unavailable
from headgate.settings import is_on, listed, strangers

if TYPE_CHECKING:
    from headgate.api.auth import Auth
    from headgate.api.auth.oidc_settings import OidcSettings
    from headgate.api.caller import Caller
    from headgate.api.http import HttpServer
    from headgate.api.http.server import Tls
    from headgate.api.tickets import IssueTicket, Ticket

__all__ = ["serve"]


class Serving(msgspec.Struct, frozen=True):
    """How the server is reached."""

    host: str
    port: int
    tls: Tls | None
    trusted_proxies: tuple[str, ...]
    cors_origins: tuple[str, ...]
    public_url: str
    issuer: OidcSettings | None


@click.command()
@common
@click.option(
    "--host",
    metavar="ADDRESS",
    envvar="HEADGATE_HOST",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at; 0.0.0.0: all of this machine.",
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65_535),
    envvar="HEADGATE_PORT",
    default=8720,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option("--tls-cert", metavar="FILE", envvar="HEADGATE_TLS_CERT", help="The certificate chain (PEM).")
@click.option("--tls-key", metavar="FILE", envvar="HEADGATE_TLS_KEY", help="Its private key (PEM).")
@click.option(
    "--forwarded-allow-ips",
    metavar="LIST",
    envvar="HEADGATE_TRUSTED_PROXIES",
    default="",
    help="Proxies whose X-Forwarded-… headers are believed.",
)
@click.option("--cors-origin", "cors", metavar="ORIGIN", multiple=True, help="A site whose pages may call the API.")
@click.option("--no-worker", is_flag=True, help="Leave all activities to workers that ask over HTTP.")
@click.option("--allow-demo", is_flag=True, help="Let runs use demo/… and scripted/… models.")
@engine_options
def serve(common: Common, **given: Any) -> int:
    """Serve the HTTP API to whoever has a token, work on all runs and schedules, and go on until it is told to end.

    The first token: `headgate client create first --scopes admin` prints a secret, which /oauth/token takes. At SIGTERM
    it takes no more requests, answers those that it has, held back or not, and ends with 0.
    """
    check_settings(os.environ)
    serving = _serving(given)
    demo = given["allow_demo"] or is_on(os.environ, "HEADGATE_ALLOW_DEMO")
    if given["models"] and not demo:
        raise Invalid("--models gives scripted/… models, which answer nothing real: --allow-demo if that is meant.")
    engine = msgspec.structs.replace(
        make_engine(
            models=given["models"],
            activities=given["activities"],
            offline=given["offline"],
            pace=given["pace"],
            work=not given["no_worker"],
        ),
        run_schedules=True,
        demo=demo,
        private_addresses=listed(os.environ, "HEADGATE_PRIVATE_ADDRESSES"),
    )
    make_state_folder(common)
    common.say_database()
    for sentence in strangers(os.environ):
        common.output.notice(sentence)
    return run_loop(_serve(common, engine, serving), serving=True)


def _serving(given: dict[str, Any]) -> Serving:
    from headgate.api.auth.oidc_settings import oidc_settings
    from headgate.api.http.server import Tls

    cert, key = given["tls_cert"], given["tls_key"]
    if (cert is None) != (key is None):
        raise Invalid("--tls-cert and --tls-key go together: a certificate, and the key that it belongs to.")
    tls = Tls(cert, key) if cert else None
    if tls is not None:
        _check_tls(tls)
    return Serving(
        given["host"],
        given["port"],
        tls,
        listed({"": given["forwarded_allow_ips"]}, ""),
        tuple(given["cors"]) or listed(os.environ, "HEADGATE_CORS_ORIGINS"),
        os.environ.get("HEADGATE_PUBLIC_URL", "").rstrip("/"),
        oidc_settings(os.environ),
    )


def _check_tls(tls: Tls) -> None:
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"{tls.certificate} and {tls.key} are no certificate and its key (PEM): {error}.") from None


async def _serve(common: Common, engine: Engine, serving: Serving) -> int:
    async with open_session(common.database, engine) as session:
        if session.app is None:
            raise Unavailable(f"Process {session.owner_pid} owns the database; stop it, or name another with --db.")
        from headgate.api.http import HttpApplication, HttpServer
        from headgate.api.http.health import with_open_metrics
        from headgate.api.http.table import ROUTES, SOCKETS

        auth = session.app.auth
        await auth.keys.current()  # without the key there is nothing to serve; say so now
        if serving.issuer is not None:
            auth.use_issuer(serving.issuer)
        if serving.public_url:
            auth.identification.origins = frozenset({serving.public_url})
        doors = msgspec.structs.replace(
            session.app.doors,
            issue_ticket=_tickets_of(auth),
            identify_token=auth.identify_token,
            still_may=auth.still_may,
            mode="serve",
        )
        routes = with_open_metrics(ROUTES) if is_on(os.environ, "HEADGATE_OPEN_METRICS") else ROUTES
        application = HttpApplication(routes, doors, identify=auth.identify, sockets=SOCKETS)
        async with HttpServer(
            application,
            serving.host,
            serving.port,
            tls=serving.tls,
            trusted_proxies=serving.trusted_proxies,
            cors_origins=serving.cors_origins,
        ) as server:
            await _say(common, serving, server, auth)
            with suppress(asyncio.CancelledError):  # told to end: everything is closed in order, which is success
                await asyncio.Event().wait()
    return exit_codes.COMPLETED


def _tickets_of(auth: Auth) -> IssueTicket:
    async def issue(caller: Caller, run: str) -> Ticket:
        from headgate.api.tickets import TICKET_SECONDS, Ticket

        return Ticket(await auth.issue_ticket(caller, run), TICKET_SECONDS)

    return issue


async def _say(common: Common, serving: Serving, server: HttpServer, auth: Auth) -> None:
    output = common.output
    if output.json:
        output.data({"url": server.url})
    output.notice(f"Listening at {server.url}/api/v1 (list of routes: {server.url}/api/v1/docs)")
    if serving.tls is None and serving.host not in LOOPBACK_NAMES:
        output.notice("Without --tls-cert whoever is on the way reads tokens: put a proxy with TLS in front.")
    if not await auth.clients.list() and not await auth.users.list():
        output.notice("Nobody can log in yet: `headgate client create first --scopes admin`, from another terminal.")
