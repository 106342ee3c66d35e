"""The table of settings: each with its name in `headgate.toml`, its environment variable, and what it is for."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["FILE", "FILE_VARIABLE", "NOT_SETTINGS", "SETTINGS", "Holds", "Setting"]

FILE = "headgate.toml"
FILE_VARIABLE = "HEADGATE_CONFIG"

Holds = Literal["text", "whole number", "seconds", "duration", "true or false", "list", "URL"]


class Setting(msgspec.Struct, frozen=True):
    """`NAME` in `path` and `variable` stands for any name. A `list` is an array in the file, and divided by commas in
    the variable."""

    path: str
    variable: str
    holds: Holds
    about: str
    default: str = ""
    secret: bool = False
    most: int = 0
    """For whole numbers; 0: there is no most."""


SETTINGS = (
    Setting("database", "HEADGATE_DB", "text", "the database, as `--db` says it", ".headgate/headgate.db"),
    Setting(
        "key",
        "HEADGATE_KEY",
        "list",
        "what secrets in the database are sealed with: 32 random bytes in base64 (`openssl rand -base64 32`). Without "
        "it the file `key` in the state folder, which is made. Several: the first seals, all open",
        secret=True,
    ),
    Setting("retention", "HEADGATE_RETENTION", "duration", "how long ended runs are kept, or `forever`", "30d"),
    Setting(
        "policies",
        "HEADGATE_POLICIES",
        "list",
        "policies of every model call of this process, such as `pii,secrets`; those of a definition come after them",
    ),
    Setting(
        "prices",
        "HEADGATE_PRICES",
        "text",
        "a YAML or JSON file of your own prices, in the place of `prices.yaml` in the state folder",
    ),
    Setting(
        "circuit_failures",
        "HEADGATE_CIRCUIT_FAILURES",
        "whole number",
        "after how many failures within a minute a model is not asked for a while; `0`: it always is",
        "5",
    ),
    Setting(
        "on_budget_alert",
        "HEADGATE_ON_BUDGET_ALERT",
        "text",
        "a command that is told of budgets: each alert, overrun and question is a JSON document on its stdin "
        "([how](../how-to/keep-the-bill-in-check.md#to-be-told))",
    ),
    Setting(
        "notices.smtp_url",
        "HEADGATE_SMTP_URL",
        "text",
        "the mail server of notices: `smtps://name:password@mail.example.org` "
        "([how](../how-to/webhooks.md#tell-people))",
        secret=True,
    ),
    Setting("notices.mail_from", "HEADGATE_MAIL_FROM", "text", "the sender that notices have: `gate@example.org`"),
    Setting("worker.url", "HEADGATE_URL", "URL", "the server that `headgate worker` works for, as `--url` says it"),
    Setting("worker.token", "HEADGATE_TOKEN", "text", "a bearer token for it, or", secret=True),
    Setting("worker.client_id", "HEADGATE_CLIENT_ID", "text", "a client's id, for which tokens are got"),
    Setting("worker.client_secret", "HEADGATE_CLIENT_SECRET", "text", "and the client's secret", secret=True),
    Setting("serve.host", "HEADGATE_HOST", "text", "the address that `headgate serve` listens at", "127.0.0.1"),
    Setting("serve.port", "HEADGATE_PORT", "whole number", "its port; 0 takes a free one", "8720", most=65_535),
    Setting("serve.tls_cert", "HEADGATE_TLS_CERT", "text", "the certificate chain it shows (PEM)"),
    Setting("serve.tls_key", "HEADGATE_TLS_KEY", "text", "the file of the certificate's private key (PEM)"),
    Setting(
        "serve.trusted_proxies",
        "HEADGATE_TRUSTED_PROXIES",
        "list",
        "addresses or networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed; `*`: everybody's",
    ),
    Setting(
        "serve.cors_origins",
        "HEADGATE_CORS_ORIGINS",
        "list",
        "sites whose pages may call the API, with a token: `https://app.example`",
    ),
    Setting(
        "serve.public_url",
        "HEADGATE_PUBLIC_URL",
        "URL",
        "where people reach the server; needed behind a proxy, and for logins through an issuer",
    ),
    Setting(
        "serve.open_metrics",
        "HEADGATE_OPEN_METRICS",
        "true or false",
        "give `/api/v1/metrics` to whoever asks, without a token: the figures name models, tenants and queues",
        "false",
    ),
    Setting("serve.allow_demo", "HEADGATE_ALLOW_DEMO", "true or false", "let runs use `demo/…` models there", "false"),
    Setting(
        "serve.private_addresses",
        "HEADGATE_PRIVATE_ADDRESSES",
        "list",
        "networks, addresses, names that are not public and `http_request` may reach there, or in a server's worker",
    ),
    Setting("oidc.issuer", "HEADGATE_OIDC_ISSUER", "URL", "the OIDC issuer that people may log in through"),
    Setting("oidc.client_id", "HEADGATE_OIDC_CLIENT_ID", "text", "who Headgate is to the issuer"),
    Setting(
        "oidc.client_secret",
        "HEADGATE_OIDC_CLIENT_SECRET",
        "text",
        "its secret there; empty for a client without one",
        secret=True,
    ),
    Setting(
        "oidc.scopes",
        "HEADGATE_OIDC_SCOPES",
        "list",
        "what the issuer is asked for, beside `openid`",
        "profile,email",
    ),
    Setting(
        "oidc.name_claim",
        "HEADGATE_OIDC_NAME_CLAIM",
        "text",
        "the claim that names the user here",
        "preferred_username",
    ),
    Setting("oidc.role_claim", "HEADGATE_OIDC_ROLE_CLAIM", "text", "the claim that `oidc.roles` are looked for in"),
    Setting(
        "oidc.roles",
        "HEADGATE_OIDC_ROLES",
        "list",
        "what of that claim stands for which role: `hg-admins=admin`; of several the mightiest",
    ),
    Setting(
        "oidc.default_role",
        "HEADGATE_OIDC_DEFAULT_ROLE",
        "text",
        "the role of everybody else whom the issuer knows; empty: they are not let in",
    ),
    Setting(
        "oidc.tenant_claim",
        "HEADGATE_OIDC_TENANT_CLAIM",
        "text",
        "the claim that names the tenant; without it everybody is of the tenant `default`",
    ),
    Setting(
        "secrets.NAME",
        "HEADGATE_SECRET_NAME",
        "text",
        "the secret `NAME`, which expressions name as `{{ SECRET.NAME }}`; it reaches the activity that needs it, and "
        "no event, log line or error. (`KRUXIAFLOW_SECRET_NAME` is read too)",
        secret=True,
    ),
    Setting(
        "providers.NAME.base_url",
        "HEADGATE_PROVIDER_NAME_BASE_URL",
        "URL",
        "models `name/…` of any server that speaks OpenAI's chat API; the name is yours. With a vendor's name it wins "
        "over the vendor's own variables",
    ),
    Setting("providers.NAME.api_key", "HEADGATE_PROVIDER_NAME_API_KEY", "text", "the key for it", secret=True),
    Setting(
        "providers.NAME.headers",
        "HEADGATE_PROVIDER_NAME_HEADERS",
        "text",
        'further headers of each call, for any provider: a JSON object such as `{"X-Team": "blue"}`',
        secret=True,
    ),
    Setting(
        "providers.NAME.timeout",
        "HEADGATE_PROVIDER_NAME_TIMEOUT",
        "seconds",
        "how long a call may take that brings no limit of its own, for any provider",
        "600",
    ),
)

NOT_SETTINGS = frozenset({FILE_VARIABLE, "HEADGATE_TRACE_ID", "HEADGATE_TEST_POSTGRES_URL", "HEADGATE_TEST_BROWSER"})
"""Variables of ours that say something else."""
