"""Policies of one's own: marked, named, and found in the modules that are given."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import headgate
from headgate.cli.user_activities import load_activities, load_policies
from headgate.policies import own
from headgate.sdk.policy import collect_policies, is_policy

MODULE = """
import headgate

@headgate.policy
def strict(call):
    return headgate.Deny("no")

@headgate.policy(name="acme:other")
class Other:
    def on_request(self, call):
        return headgate.Allow()

def work(parameters, ctx):
    return 1
"""


def deny(call: headgate.PolicyCall) -> headgate.Deny:
    return headgate.Deny("no")


def test_a_module_gives_its_policies_by_name_and_they_are_no_activities(tmp_path: Path):
    path = tmp_path / "acme_rules.py"
    path.write_text(MODULE)

    assert sorted(load_policies((str(path),))) == ["acme:other", "acme_rules:strict"]
    assert list(load_activities((str(path),))) == ["work"]


def test_a_name_has_a_colon_and_belongs_to_one():
    with pytest.raises(headgate.Invalid, match="has a colon"):
        headgate.policy(deny, name="deny")
    one, other = headgate.policy(name="a:b")(lambda call: None), headgate.policy(name="a:b")(lambda call: None)
    with pytest.raises(headgate.Invalid, match="Two policies"):
        collect_policies([one, other])
    assert not is_policy(deny)


def test_a_package_registers_a_policy_by_an_entry_point(monkeypatch: pytest.MonkeyPatch):
    point = EntryPoint("acme:deny", "headgate.ports:Allow", own.GROUP)
    monkeypatch.setattr(own, "_registered", lambda: (point,))

    assert own.registered_policy("acme:deny") is headgate.Allow
    assert own.registered_policy("headgate.ports:Allow") is headgate.Allow
    assert own.registered_policy("os:system") is None
