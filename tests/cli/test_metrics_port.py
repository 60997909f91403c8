"""`callboard run --metrics-port`: one page for Prometheus from all workers."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from callboard.system.scrape import merged
from tests.cli.command import CommandLine, Running
from tests.jetstream.eventually import eventually


async def scraped(running: Running) -> dict[str, Metric]:
    """The page of a running service, by the names of its metrics."""
    await running.says("metrics at ")
    address = re.findall(r"metrics at (http:\S+/metrics)", running.text)[0]

    def get() -> str:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own address
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return answer.read().decode()

    return {family.name: family for family in text_string_to_metric_families(await asyncio.to_thread(get))}


def value(families: dict[str, Metric], name: str) -> float:
    [sample] = families[name].samples
    return sample.value


@contextmanager
def frozen(pid: int) -> Generator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_page_has_the_figures_of_every_worker_each_with_its_number(served: CommandLine) -> None:
    running = await served.run("svc:Orders", "--workers", "2", "--metrics-port", "0")
    await running.worker(2)
    assert (await served("request", "orders.add", "[1, 2]")).code == 0

    families = await scraped(running)

    consumed = families["messaging_client_consumed_messages"].samples
    assert sum(sample.value for sample in consumed) == 1
    states = [s for s in families["callboard_actor_state"].samples if s.labels["callboard_actor_state"] == "running"]
    assert {(sample.labels["worker"], sample.value) for sample in states} == {("0", 1.0), ("1", 1.0)}
    assert value(families, "callboard_workers") == value(families, "callboard_workers_answered") == 2


async def test_worker_that_stands_still_is_left_out_and_answers_again_afterwards(served: CommandLine) -> None:
    running = await served.run("svc:Orders", "--workers", "2", "--metrics-port", "0")
    await running.worker(2)

    with frozen(await running.worker()):
        families = await scraped(running)
        assert value(families, "callboard_workers_answered") == 1
        assert len({sample.labels["worker"] for sample in families["callboard_actor_state"].samples}) == 1

    async def both_answer() -> bool:
        return value(await scraped(running), "callboard_workers_answered") == 2

    await eventually(both_answer)


async def test_worker_that_replaces_a_dead_one_has_its_number(served: CommandLine) -> None:
    """So that a service that is restarted for months makes no more series."""
    running = await served.run("svc:Orders", "--metrics-port", "0")
    os.kill(await running.worker(), signal.SIGKILL)
    await running.worker(2)

    families = await scraped(running)

    assert {sample.labels["worker"] for sample in families["target_info"].samples} == {"0"}


async def test_stop_is_not_held_up(served: CommandLine) -> None:
    running = await served.run("svc:Orders", "--metrics-port", "0")
    await running.worker()
    await scraped(running)

    running.signal(signal.SIGTERM)

    assert await running.ended() == 0
    assert "Traceback" not in running.text


async def test_port_that_is_taken_is_refused_in_one_line_before_anything_starts(served: CommandLine) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        refused = await served("run", "svc:Orders", "--metrics-port", str(port))

    assert refused.code == 2
    assert refused.err.startswith(f"callboard: cannot listen on port {port}")
    assert refused.err.count("\n") == 1


async def test_environment_can_give_the_port(served: CommandLine) -> None:
    served.environment["CALLBOARD_METRICS_PORT"] = "0"
    running = await served.run("svc:Orders")
    await running.worker()

    assert value(await scraped(running), "callboard_workers_answered") == 1


def test_same_metric_of_two_workers_becomes_one_family() -> None:
    counter = '# HELP seen_total What was seen.\n# TYPE seen_total counter\nseen_total{{topic="a"}} {}\n'

    text = merged({"0": counter.format(3), "1": counter.format(4)}, 3).decode()

    assert text.count("# TYPE seen_total counter") == 1
    assert 'seen_total{topic="a",worker="0"} 3.0' in text
    assert 'seen_total{topic="a",worker="1"} 4.0' in text
    assert "callboard_workers 3.0" in text
    assert "callboard_workers_answered 2.0" in text
