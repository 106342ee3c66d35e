"""Make a history: run workflows with the Headgate that is installed, and print its database as SQL.

    python tests/histories/make_history.py | gzip -9n > tests/histories/schema-N.sql.gz

Call it with the release whose format is to be kept. What it prints is all that the database holds, row by row.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import apsw

from headgate.app import App
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog

LETTERS = """
name: letters
labels: {team: post}
inputs: {name: string, text: string}
activities:
  draft: {use: echo, with: {text: "dear {{ INPUT.name }}"}}
  long: {use: echo, with: {text: "{{ INPUT.text }}"}}
  ask: {use: llm_prompt, with: {model: demo/small, prompt: "Summarise: It rains. The river rises."}}
  legal: {use: approval, with: {title: "Send it to {{ INPUT.name }}?", body: "{{ draft.text }}"}}
  send: {use: echo, with: {text: "{{ draft.text }}, yours", by: "{{ legal.by }}", size: "{{ long.text | length }}"}}
outputs: {letter: "{{ send.text }}", by: "{{ send.by }}"}
"""
FAILING = """
name: failing
inputs: {name: string}
activities:
  reads: {use: echo, with: {text: "{{ INPUT.name }}"}}
  breaks: {use: breaks, after: [reads]}
"""
LARGE = "large " * 12_000


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "history.db"
        async with App(SqliteLog(database), offline=True, environment={}, activities={"breaks": breaks}) as app:
            await live(app)
        print_as_sql(database)


def breaks(parameters: dict[str, object], context: object) -> object:
    raise ValueError("it broke")


async def live(app: App) -> None:
    """Leave three runs behind: one that is finished, one that waits for an approval, one that has failed."""
    finished = await app.desk.start(StartRequest(definition=LETTERS, input={"name": "Ada", "text": LARGE}))
    await app.desk.settled()
    await app.desk.decide(finished.id, approved=True, by="grace", comment="fine")
    await app.desk.start(StartRequest(definition=LETTERS, input={"name": "Bob", "text": "short"}, unique_key="bob"))
    await app.desk.start(StartRequest(definition=FAILING, input={"name": "Cy"}, command_id="start-cy"))
    await app.desk.settled()


def print_as_sql(database: Path) -> None:
    connection = apsw.Connection(str(database))
    out = sys.stdout.write
    for name in ("application_id", "user_version"):
        out(f"pragma {name} = {connection.pragma(name)};\n")
    made = list(connection.execute("select type, name, sql from sqlite_schema where sql is not null order by rowid"))
    for kind, _, sql in made:
        if kind == "table":
            out(f"{sql};\n")
    for kind, name, _ in made:
        if kind == "table":
            for row in connection.execute(f'select * from "{name}"'):
                out(f'insert into "{name}" values ({", ".join(apsw.format_sql_value(value) for value in row)});\n')
    for kind, _, sql in made:
        if kind != "table":
            out(f"{sql};\n")
    connection.close()


if __name__ == "__main__":
    asyncio.run(main())
