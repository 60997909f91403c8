"""Databases and a cluster for the faults, and where figures go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.report import NAME, FaultReport, Figures


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Records what the test measured: `figures("title of a fault", lost=0, longest_gap_s=1.2)`."""
    report = request.config.pluginmanager.get_plugin(NAME)
    assert isinstance(report, FaultReport)
    return partial(report.record, request.node)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it."""
    return f"sqlite:///{tmp_path / 'shop.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
async def cluster(nats_binary: Path, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Three servers that elected who leads."""
    async with Cluster(tmp_path) as cluster:
        yield cluster
