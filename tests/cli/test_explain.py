"""`headgate explain` and `headgate help`: in the terminal, what an error means and what there is."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from headgate.cli import exit_codes
from headgate.cli.program import VERBS, program
from headgate.core.codes import CODES


def test_a_code_is_told_with_its_meaning_and_what_to_do():
    result = CliRunner().invoke(program, ["explain", "budget_exceeded"])

    code = CODES["budget_exceeded"]
    assert code.means in result.output
    assert code.advice in result.output


def test_a_misspelled_code_is_answered_with_the_nearest():
    result = CliRunner().invoke(program, ["explain", "bugdet_exceed"], standalone_mode=False)

    assert result.return_value == exit_codes.INVALID
    assert "Did you mean 'budget_exceeded'?" in result.stderr


def test_all_codes_come_as_json():
    result = CliRunner().invoke(program, ["explain", "--json"])

    assert [entry["name"] for entry in json.loads(result.stdout)] == list(CODES)


def test_every_verb_stands_once_in_the_list_by_purpose():
    result = CliRunner().invoke(program, ["help", "verbs"])

    named = [line.split()[0] for line in result.output.splitlines() if line.startswith("  ")]
    assert sorted(named) == sorted(VERBS)


@pytest.mark.parametrize("verb", ["run", "explain"])
def test_help_of_a_verb_is_what_its_own_option_prints(verb: str):
    asked = CliRunner().invoke(program, ["help", verb])

    assert f"Usage: headgate {verb}" in asked.output


def test_help_of_what_is_no_verb_names_the_nearest():
    result = CliRunner().invoke(program, ["help", "aprove"], standalone_mode=False)

    assert result.return_value == exit_codes.INVALID
    assert "Did you mean 'approve'?" in result.stderr
