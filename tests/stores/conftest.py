"""What tests of PostgreSQL share: a log in it, and a server that they may stop and start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.postgres_logs import empty_postgres_log
from tests.servers import PrivatePostgres, private_postgres

from headgate.stores.postgres import PostgresLog


@pytest.fixture
def log() -> PostgresLog:
    return empty_postgres_log()


@pytest.fixture(scope="package")
def own_server() -> Iterator[PrivatePostgres]:
    with private_postgres() as server:
        yield server
