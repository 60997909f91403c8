"""What the tests of the reference application share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.figures import Row, read_rows


@pytest.fixture(scope="session")
def month() -> Sequence[Row]:
    """Every row of the file."""
    return read_rows()


@pytest.fixture
def some_flights(month: Sequence[Row]) -> Sequence[Row]:
    """3,000 flights that departed and 60 that were cancelled: every mood of the desk is among them."""
    departed = [row for row in month if row["dep_time"] is not None]
    cancelled = [row for row in month if row["dep_time"] is None]
    return [*departed[:1_500], *cancelled[:60], *departed[1_500:3_000]]


@pytest.fixture
def store_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `open_store()` puts its file in this test."""
    path = tmp_path / "flights.sqlite"
    monkeypatch.setenv("FLIGHTS_STORE", str(path))
    return path
