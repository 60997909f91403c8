"""Waits between tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.backoff import Backoff, jittered
from callboard.errors import DeclarationError

FRACTIONS = st.floats(0, 1, exclude_max=True)


def shortest() -> float:
    return 0.9999999


def longest() -> float:
    return 0.0


@given(FRACTIONS)
def test_first_try_comes_at_once(fraction: float) -> None:
    assert Backoff().delay(0, lambda: fraction) == 0


@given(st.integers(1, 10_000), FRACTIONS)
def test_later_tries_wait_a_little_and_never_longer_than_the_maximum(n: int, fraction: float) -> None:
    assert 0 < Backoff().delay(n, lambda: fraction) <= 30.0


def test_longest_wait_doubles_up_to_the_maximum() -> None:
    assert [Backoff().delay(n, longest) for n in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_shortest_wait_is_near_zero_at_every_try() -> None:
    assert all(0 < Backoff().delay(n, shortest) < 0.001 for n in range(1, 20))


def test_waits_differ_without_a_given_source_of_chance() -> None:
    assert len({Backoff().delay(5) for _ in range(10)}) > 1


def test_expected_time_is_the_sum_of_the_average_waits() -> None:
    assert Backoff().expected(5) == 0 + 0.5 + 1 + 2 + 4


@pytest.mark.parametrize("values", [{"base": 0}, {"base": -1}, {"factor": 0.5}, {"maximum": float("inf")}])
def test_impossible_values_are_refused_by_name(values: dict[str, float]) -> None:
    with pytest.raises(DeclarationError, match=next(iter(values))):
        Backoff(**values)


def test_maximum_below_the_base_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"maximum 1\.0 must not be below base 2\.0"):
        Backoff(base=2.0, maximum=1.0)


@given(st.floats(0, 1e6), FRACTIONS)
def test_jitter_never_shortens_and_adds_at_most_a_quarter(delay: float, fraction: float) -> None:
    assert delay <= jittered(delay, lambda: fraction) <= delay * 1.25


def test_jitter_spreads_equal_delays() -> None:
    assert len({jittered(5.0) for _ in range(10)}) > 1
