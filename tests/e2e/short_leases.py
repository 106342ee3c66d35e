"""`headgate`, with leases so short that a test can wait for their end: `… -m tests.e2e.short_leases SECONDS VERB`.

All else is the program as it is. Workers renew their leases every ten seconds, so 12 is about the least.
"""

from __future__ import annotations

import sys

from headgate.cli import main
from headgate.engine import leases
from headgate.stores.postgres import PostgresLog

if __name__ == "__main__":
    leases.LEASE_SECONDS = float(sys.argv.pop(1))
    PostgresLog.__init__.__kwdefaults__["lease_seconds"] = leases.LEASE_SECONDS
    main()
