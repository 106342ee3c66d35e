"""What a worker reports as the output of a task, as the run has it: by the names of outputs, with files it has sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from headgate.api.http.route import Call
from headgate.core.catalogue import BUILTINS
from headgate.core.definition import Activity
from headgate.core.run_ids import as_run_id
from headgate.engine.worker_calls import split_activity_id

__all__ = ["reported_output"]

ADDRESS = re.compile(r"\w+://([^/]+)/([^/]+)/(.+)")
"""Of a file: its run, its activity and its name."""


async def reported_output(call: Call[Any, Any], activity_id: str, output: Any) -> Any:
    """Return a report's output as the activity's.

    Workers written for Kruxia Flow report outputs by name: one that has done what is built in here, a script say, calls
    all that it came to `result`. A file they name by an address (`postgres://RUN/ACTIVITY/NAME`), or not at all.
    """
    run, place, _ = split_activity_id(activity_id)
    activity = call.records.activity(run, place)
    return output if activity is None else await _with_uploads(call, run, activity, _unnamed(activity, output))


def _unnamed(activity: Activity, output: Any) -> Any:
    builtin = BUILTINS.get(activity.name)
    if builtin is None or not isinstance(output, dict) or output.keys() != {builtin.output}:
        return output
    return cast("dict[str, Any]", output)[builtin.output]


async def _with_uploads(call: Call[Any, Any], run: str, activity: Activity, output: Any) -> Any:
    """Return the output with the files in it that were sent for those that are declared to be files."""
    declared = [one.name for one in activity.outputs if one.type == "file"]
    if not declared:
        return output
    sent = await call.doors.uploads.of_activity(call.caller.tenant, run, activity.key)
    if not sent:
        return output
    named = dict(output) if isinstance(output, dict) else {}
    for name in declared:
        upload = _meant(named.get(name), name, sent, (run, activity.key), alone=len(declared) == 1)
        if upload is not None:
            named[name] = upload
    return named if named or output is None else output


def _meant(
    value: Any, name: str, sent: Mapping[str, dict[str, Any]], whose: tuple[str, str], *, alone: bool
) -> dict[str, Any] | None:
    """Return the file that stands for a declared output, or None: what stands there is the output itself."""
    if isinstance(value, str) and (found := ADDRESS.fullmatch(value)) and (as_run_id(found[1]), found[2]) == whose:
        return sent.get(found[3])
    if value is not None:
        return None
    named = [file for file in sent if file == name or file.rpartition(".")[0] == name]
    if not named and alone and len(sent) == 1:
        named = list(sent)
    return sent[named[0]] if len(named) == 1 else None
