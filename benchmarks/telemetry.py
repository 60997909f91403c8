"""What traces cost when nobody takes them: the drain of `drain.py` with telemetry off and with a collector that is
down, each round in a process of its own, interleaved, medians."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import socket
import statistics
import subprocess
import sys

import drain

from callboard.embedded import EmbeddedServer
from callboard.telemetry import configure_telemetry


def collector_down() -> dict[str, str]:
    """Settings that lead to a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{probe.getsockname()[1]}"}


def one_round(url: str, number: int, messages: int) -> None:
    """Drain in this process, with the telemetry that its environment asks for; print figures as JSON."""
    telemetry = configure_telemetry("benchmark")
    rate = asyncio.run(drain.measure(drain.with_callboard, url, number, messages))
    lost = telemetry.dropped
    telemetry.shutdown(0.1)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rate": rate, "lost": lost, "memory": memory}))


def round_of(url: str, number: int, messages: int, settings: dict[str, str]) -> dict[str, float]:
    """The figures of a round in a new process."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, __file__, "--nats", url, "--round", str(number), "--messages", str(messages)]
    done = subprocess.run(command, env=clean | settings, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


async def main(messages: int, rounds: int) -> None:
    """Interleave the rounds and print medians and their ratio."""
    modes = {"off": dict[str, str](), "collector down": collector_down()}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in modes}
    async with EmbeddedServer(port=0) as server:
        await drain.preload(server.url, messages)
        for number in range(rounds):
            for place, (name, settings) in enumerate(modes.items()):
                figures = await asyncio.to_thread(round_of, server.url, 2 * number + place, messages, settings)
                results[name].append(figures)
    for name, figures in results.items():
        rates, lost, memory = ([each[key] for each in figures] for key in ("rate", "lost", "memory"))
        print(
            f"{name:15} {statistics.median(rates):8.0f} msg/s  ({min(rates):.0f} to {max(rates):.0f}), "
            f"{statistics.median(lost):.0f} spans lost, {statistics.median(memory):.0f} MiB"
        )
    off, down = (statistics.median(each["rate"] for each in figures) for figures in results.values())
    print(f"ratio           {down / off:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nats", help=argparse.SUPPRESS)
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.basicConfig(level="ERROR")
    if arguments.nats:
        one_round(arguments.nats, arguments.round, arguments.messages)
    else:
        asyncio.run(main(arguments.messages, arguments.rounds))
