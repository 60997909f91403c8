"""Every check of the seed's API has a test that says so."""

from __future__ import annotations

from tests.docs.check import CHECKS, proofs

WAITING = frozenset[str]()
"""Checks that may be without a test for now."""


def test_every_check_has_a_test_and_every_number_is_a_check() -> None:
    proved = {proof.check for proof in proofs()}
    assert sorted(proved - set(CHECKS)) == []
    assert sorted(set(CHECKS) - proved - WAITING) == []
