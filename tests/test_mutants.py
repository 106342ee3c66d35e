"""The faults that `make mutants` plants fit the code as it is, and name tests that exist."""

from __future__ import annotations

import re

import pytest
from tests.mutants.__main__ import MUTANTS, ROOT
from tests.mutants.mutant import Mutant


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mutant.name) for mutant in MUTANTS])
def test_a_fault_fits_the_code_and_names_a_test(mutant: Mutant):
    file, _, name = mutant.test.partition("::")

    for edit in mutant.edits:
        found = (ROOT / edit.file).read_text(encoding="utf-8").count(edit.old)
        assert found == 1, f"{edit.file} holds the text to replace {found} times: {edit.old!r}. Mend tests/mutants."
    tests = (ROOT / file).read_text(encoding="utf-8")
    function = name.partition("[")[0] or r"test_\w+"
    assert re.search(rf"^(async )?def {function}\(", tests, re.MULTILINE), f"No {name} in {file}."
