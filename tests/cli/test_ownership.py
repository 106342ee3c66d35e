"""One owner a database: the lock, what it says, and what a dead owner leaves."""

import os
import subprocess
import sys

import pytest

from headgate.core.errors import Unavailable
from headgate.stores.ownership import Owned, Owner, Ownership, owner_of

HOLD = """
import sys, pathlib
from headgate.stores.ownership import Ownership
held = Ownership.take(pathlib.Path(sys.argv[1]))
held.announce("here")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path):
    database = tmp_path / "x.db"

    with Ownership.take(database), pytest.raises(Owned, match=f"owned by process {os.getpid()}"):
        Ownership.take(database)


def test_a_lock_given_back_can_be_taken_again_also_when_it_was_given_back_twice(tmp_path):
    database = tmp_path / "x.db"
    first = Ownership.take(database)

    first.release()
    first.release()

    Ownership.take(database).release()


def test_the_lock_file_says_where_the_owner_answers_until_it_leaves(tmp_path):
    database = tmp_path / "x.db"
    with Ownership.take(database) as ownership:
        ownership.announce("somewhere long")
        ownership.announce("here")

        assert owner_of(database) == Owner(os.getpid(), "here")

    assert owner_of(database) is None


def test_the_lock_of_a_killed_owner_is_no_obstacle(tmp_path):
    database = tmp_path / "x.db"
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(Owned):
            Ownership.take(database)

        owner.kill()
        owner.wait()

        assert owner_of(database).address == "here"  # stale, and known to be
        Ownership.take(database).release()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Unavailable, match="cannot be locked: No such file"):
        Ownership.take(tmp_path / "nowhere" / "x.db")


def test_a_link_to_a_database_is_the_same_database(tmp_path):
    (tmp_path / "x.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "x.db")

    with Ownership.take(tmp_path / "x.db"), pytest.raises(Owned):
        Ownership.take(tmp_path / "link.db")
