"""What tests of Headgate, and of what is built upon it, are made of; import from the module that has the thing.

- `log_conformance`: runs made by hand, with which any `ports.Log` can be tried; `vfs`: disks that count their syncs,
  and disks that lose power;
- `rehearsal`, `story_definitions`, `stories`, `story_checks`, `faults`: the decider alone, definitions and commands to
  tell it, and what must hold after each;
- `cases`, `case_file`, `case_runner`: tests of workflows, as values or as files (`load_cases`, `run_case`);
  `recording`: a finished run made into one; `pytest_plugin`: pytest runs them;
- `clock`, `simulation`: virtual time, and a whole engine in it, the same for the same seed;
- `crashes`, `crash_evidence`: real processes that are killed, and what they leave as proof.

Nothing of the engine imports from here.
"""
