"""Whoever is told something can rely on its being on disk, whole and in the chain."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.shared import ACKNOWLEDGED, GOLDEN, LANE, QUERIES

CONFORMANCE = "tests/conformance/test_log.py"
SQLITE = "src/headgate/stores/sqlite.py"
SQLITE_FILE = "src/headgate/stores/sqlite_file.py"

MUTANTS = (
    Mutant(
        "acknowledged before the commit",
        (
            Edit(
                LANE,
                "            self._engine.appender.append(item, self._appended)\n",
                "            self._engine.appender.append(item, self._appended)\n"
                "            for order in together:\n"
                "                order.tell()\n",
            ),
        ),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "reports and settlements acknowledged before the commit",
        (
            Edit(
                LANE,
                "            self._engine.appender.append(item, self._appended)\n",
                "            self._engine.appender.append(item, self._appended)\n"
                "            for order in together:\n"
                "                if not isinstance(order.command, c.StartRun):\n"
                "                    order.tell()\n",
            ),
        ),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "dispatched before the commit",
        (
            Edit(
                LANE,
                "        try:\n            self._engine.appender.append(item, self._appended)\n",
                "        try:\n"
                "            decided = [order.decision for order in together if order.decision is not None]\n"
                "            self._engine.committed(self, decided, item)\n"
                "            self._engine.appender.append(item, self._appended)\n",
            ),
        ),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "a waiting call answered before the commit that admits it",
        (
            Edit(
                "src/headgate/engine/ledger.py",
                "            if not future.done() and not decision.events:",
                "            if not future.done():",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_waiting_call_is_answered_only_when_the_settlement_that_made_room_is_durable",
    ),
    Mutant(
        "a watcher shown what is not durable",
        (
            Edit(
                "src/headgate/api/watching.py",
                "            view = view_run(lane.run, {}, self._engine.clock.now()) if lane.durable else view\n",
                "            view = view_run(lane.run, {}, self._engine.clock.now())\n",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_watcher_is_shown_nothing_that_is_not_durable",
    ),
    Mutant(
        "no version check at the head",
        (Edit(QUERIES, "where key = ?13 and version = ?14", "where key = ?13 and ?14 >= 0"),),
        f"{CONFORMANCE}::test_of_two_appends_with_one_expected_version_the_second_leaves_no_trace",
    ),
    Mutant(
        "blobs are written before their transaction",
        (
            Edit(
                SQLITE,
                '                writer.execute("begin immediate")\n',
                "                for item in batch:\n"
                "                    for digest, data in item.blobs:\n"
                '                        writer.execute(SQL["insert_blob"], (item.run, digest, data))\n'
                '                writer.execute("begin immediate")\n',
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_large_content_is_not_kept_of_an_append_that_is_refused",
    ),
    Mutant(
        "blobs are written after their transaction",
        (
            Edit(
                SQLITE,
                "                for digest, data in item.blobs:\n"
                '                    writer.execute(SQL["insert_blob"], (item.run, digest, data))\n',
                "",
            ),
            Edit(
                SQLITE,
                "            return outcomes\n\n    def _writing",
                "            for item in batch:\n"
                "                for digest, data in item.blobs:\n"
                '                    writer.execute(SQL["insert_blob"], (item.run, digest, data))\n'
                "            return outcomes\n\n    def _writing",
            ),
        ),
        f"{ACKNOWLEDGED}::test_a_large_content_is_there_as_soon_as_its_event_is",
    ),
    Mutant(
        "the hash chain is not linked",
        (Edit(LANE, "chain(self.hash, data)", 'chain(b"", data)'),),
        f"{GOLDEN}[chain]",
    ),
    Mutant(
        "synchronous is off",
        (Edit(SQLITE_FILE, "pragma synchronous = full", "pragma synchronous = off"),),
        "tests/stores/test_power_loss.py",
    ),
    Mutant(
        "erased bytes stay in the file",
        (Edit(SQLITE_FILE, "secure_delete = on", "secure_delete = off"),),
        "tests/stores/test_keeping.py::test_after_an_erasure_no_byte_of_the_contents_is_in_any_file",
    ),
)
