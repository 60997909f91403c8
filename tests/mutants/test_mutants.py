"""The kept defects can still be made; `make mutants` makes them, which takes minutes."""

from __future__ import annotations

import pytest

from tests.docs.check import CHECKS, ROOT, proofs
from tests.mutants.mutant import PACKAGE, Mutant, mutants

KEPT = mutants()


@pytest.mark.parametrize("mutant", KEPT, ids=str)
def test_line_stands_where_it_stood_exactly_once(mutant: Mutant) -> None:
    assert len(mutant.places(PACKAGE)) == 1
    assert mutant.line != mutant.defect


@pytest.mark.parametrize("mutant", KEPT, ids=str)
def test_check_has_tests_where_they_are_looked_for(mutant: Mutant) -> None:
    assert mutant.check in CHECKS
    assert any(proof.check == mutant.check for proof in proofs())
    for tests in mutant.tests:
        assert (ROOT / tests.partition("::")[0]).exists()


def test_there_are_enough_of_them() -> None:
    assert len(KEPT) >= 20
