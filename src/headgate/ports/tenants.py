"""Tenants as they are administered: what each may use, and the names of its secrets."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec

__all__ = ["DEFAULT_TENANT", "TENANT_FOLDERS", "Closed", "SecretLine", "Tenant", "TenantStanding", "state_folder_of"]

DEFAULT_TENANT = "default"
"""Whose everything is where nobody says otherwise: at a desk, on the command line."""
TENANT_FOLDERS = "tenants/of-*"
"""Finds the folders of all tenants but the default one in the state folder."""


def state_folder_of(folder: Path, tenant: str) -> Path:
    """Return where in the state folder lies what is kept for a tenant beside the log: files, indexes, conversations.
    For the default tenant that is the state folder itself."""
    return folder if tenant == DEFAULT_TENANT else folder / "tenants" / f"of-{quote(tenant, safe='')}"


class SecretLine(msgspec.Struct, frozen=True):
    """A secret as it is listed: its value never comes back. `at`: when it was set (microseconds); 0: it is of the
    process's environment."""

    name: str
    at: int = 0


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a tenant may use; None: as much as it likes. A tenant that nobody has made has no quotas."""

    name: str
    runs_max: int | None = None
    """Runs that have not ended, at once; those that runs have started are not counted when they start."""
    starts_per_minute: int | None = None
    spend_per_month: int | None = None
    """Nano-dollars in a month of the UTC calendar: a budget of the scope `tenant`."""
    storage_bytes_max: int | None = None
    """Of events and contents, as they were counted a while ago."""
    connections_max: int | None = None
    """Streams that are read at once, of each node."""
    requests_per_minute: int | None = None
    """Over HTTP, of each of its clients."""
    own_keys_only: bool = False
    """Its model calls may not use the keys of the process."""
    created_at: int = 0

    @property
    def limits_starts(self) -> bool:
        """Whether a start has to be looked at."""
        quotas = (self.runs_max, self.starts_per_minute, self.spend_per_month, self.storage_bytes_max)
        return any(quota is not None for quota in quotas)


class TenantStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant, and what it uses now. `spent`: in this month, in nano-dollars."""

    tenant: Tenant
    runs: int = 0
    spent: int = 0
    storage_bytes: int = 0
    connections: int = 0


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each were ended when a tenant was closed; schedules are paused, runs cancelled, and
    with them those below, which are not counted."""

    tenant: str
    clients: int = 0
    users: int = 0
    hooks: int = 0
    schedules: int = 0
    runs: int = 0
    webhooks: int = 0
    secrets: int = 0
