"""What a process that dies leaves behind is done again, or is known to be lost; never both."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant
from tests.mutants.shared import ATTEMPTS, KILLED

MUTANTS = (
    Mutant(
        "a mail leaves before the log is told",
        (Edit("src/headgate/activities/mail.py", "await self.begin(", "str("),),
        "tests/activities/test_email_send.py::test_the_log_is_told_before_the_mail_leaves",
    ),
    Mutant(
        "what must not be done twice is done again after a crash",
        (Edit(ATTEMPTS, "    elif effect:\n", "    elif False:\n"),),
        "tests/e2e/test_mail_after_a_kill.py",
    ),
    Mutant(
        "a recorded activity is run again at recovery",
        (
            Edit(
                "src/headgate/engine/dispatcher.py",
                "for path, place in list(lane.run.tasks.items()):\n"
                "            self._offer(lane, path, place.attempt)\n",
                "for path, place in [(place.path, place) for place in lane.run.places if place.attempt]:\n"
                "            self._offer(lane, path, place.attempt)\n",
            ),
            Edit(
                "src/headgate/engine/dispatcher.py",
                "        place = run.tasks.get(path)\n        if place is None",
                "        place = run.place(path)\n        if place is None",
            ),
            Edit(
                "src/headgate/engine/protocol.py",
                "        place = run.tasks.get(task.place)\n        if place is None",
                "        place = run.place(task.place)\n        if place is None",
            ),
        ),
        f"{KILLED}[chain-after_append]",
    ),
    Mutant(
        "a lost process's tasks are not offered again",
        (Edit("src/headgate/engine/warden.py", "                self._dispatcher.offer_all(lane)\n", ""),),
        f"{KILLED}[chain-after_append]",
    ),
    Mutant(
        "what is due or undelivered is not looked at after a start",
        (
            Edit(
                "src/headgate/engine/warden.py",
                "        self._next = 0\n        return count\n",
                "        return count\n",
            ),
        ),
        f"{KILLED}[fan-after_append]",
    ),
    Mutant(
        "a call that was under way is not lost with its process",
        (
            Edit(
                "src/headgate/engine/warden.py",
                'if call.state == "admitted"}',
                'if call.state == "waiting"}',
            ),
        ),
        f"{KILLED}[chain-after_effect]",
    ),
    Mutant(
        "a lost attempt forfeits nothing",
        (Edit(ATTEMPTS, "    forfeit(decision, place, command.reason)\n", ""),),
        f"{KILLED}[chain-after_effect]",
    ),
    Mutant(
        "calls that waited outlive their process",
        (Edit("src/headgate/engine/warden.py", "        if run.waiting_calls:\n", "        if False:\n"),),
        "tests/simulation/test_shared_budgets_in_a_world.py",
    ),
)
