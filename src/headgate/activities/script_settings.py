"""What scripts may use on this machine."""

from __future__ import annotations

import msgspec

__all__ = ["ScriptSettings"]


class ScriptSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What scripts may use on this machine.

    `environment` names variables that scripts get beside the few that any program needs; nothing else of the
    parent's environment reaches them. `base_directory` is their working directory, and what a relative
    `script_file` is relative to. `memory_bytes_max` (what may be written) and `cpu_seconds_max` bound each process
    of a script; `file_bytes_max` bounds the file of one frame, `printed_bytes_max` what a script prints, read or not.
    `running_max` scripts run at a time, others wait; `warm_max` interpreters wait for a script, once there was one.
    """

    base_directory: str = "."
    environment: tuple[str, ...] = ()
    memory_bytes_max: int = 4 * 1024**3
    cpu_seconds_max: int = 4 * 60 * 60
    output_bytes_max: int = 50 * 1024 * 1024
    file_bytes_max: int = 16 * 1024**3
    printed_bytes_max: int = 256 * 1024 * 1024
    log_lines_max: int = 1_000
    log_line_characters_max: int = 4_000
    stop_seconds: float = 5.0
    running_max: int = 64
    warm_max: int = 1
