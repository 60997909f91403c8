"""A worker process: the actors themselves.

Started by `callboard run` as `python -m callboard.system.worker`, in a session of its own. Its standard input is
both its orders (one line of JSON) and its lifeline: when the pipe closes, the parent is gone and the worker drains.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

import cattrs
import msgspec
from attrs import frozen

from callboard.actors import declaration_of
from callboard.config import Config, TelemetrySettings
from callboard.errors import CallboardError
from callboard.supervision import Supervisor
from callboard.system.exitcode import exit_code_of
from callboard.system.log import configure_logging
from callboard.system.system import Service, System
from callboard.system.target import load_services, service_name
from callboard.telemetry import configure_telemetry

__all__ = ["Orders", "main", "telemetry_variables"]

logger = logging.getLogger("callboard.worker")

TELEMETRY_SHUTDOWN = 2.0
SHORT_GRACE = 2.0
"""Seconds that are left after a second signal."""
MARGIN = 0.5
"""Seconds of the grace period kept for handing back, flushing and closing."""


@frozen
class Orders:
    """What a parent tells its worker."""

    targets: list[str]
    """Those of the command line; empty: the configuration's."""
    config: dict[str, Any]
    """What `Config.reveal` said: secrets go nowhere but through this pipe."""
    status_fd: int
    """Where the worker writes a line when it is ready."""


class Worker:
    """Runs until a signal, the end of the parent, or a failure that cannot be lived with."""

    def __init__(self, targets: list[str], config: Config, status_fd: int) -> None:
        self._targets = targets
        self._config = config
        self._status_fd = status_fd
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._grace = max(0.0, config.grace - MARGIN)

    async def run(self) -> None:
        """Returns after a drain that was asked for; raises what else ended it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        await loop.connect_read_pipe(lambda: _Lifeline(self._on_parent_gone), sys.stdin)
        system = self._system()
        try:
            await self._unless_stopped(system.start())
            if not self._stop.is_set():
                self._report_ready()
                await self._unless_stopped(system.wait())
        finally:
            await self._end(system)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work until it is done or a stop is asked for; raises what the work raised."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done():
            working.cancel()
        with suppress(asyncio.CancelledError):
            await working

    def _system(self) -> System:
        config = self._config
        services = load_services(self._targets or config.services, config.name or None, config.supervision)
        if self._targets:
            config = config.over(actors=_only(config.actors, services))
        return System(services, grace=self._grace, config=config)

    async def _end(self, system: System) -> None:
        """Stop within the grace period; a second signal shortens it."""
        ending, hurrying = asyncio.create_task(system.stop(self._grace)), asyncio.create_task(self._hurry.wait())
        await asyncio.wait([ending, hurrying], return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not ending.done():
            await system.stop(SHORT_GRACE)
        await ending

    def _on_signal(self) -> None:
        """The first drains, the second shortens the grace period, the third ends at once."""
        if self._hurry.is_set():
            os._exit(1)
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _on_parent_gone(self) -> None:
        if not self._stop.is_set():
            logger.warning("the parent process is gone; stopping")
        self._stop.set()

    def _report_ready(self) -> None:
        with suppress(OSError):
            os.write(self._status_fd, b"ready\n")
            os.close(self._status_fd)


class _Lifeline(asyncio.Protocol):
    """Notices when the other end of standard input is closed."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._on_end()


def _only(actors: Mapping[str, Any], services: Sequence[Service]) -> dict[str, Any]:
    """What a configuration says about actors that run here; it may be for more services than were asked for."""
    specs = [spec for service in services for spec in service.tree.walk()]
    running = {declaration_of(spec.target).name for spec in specs if not isinstance(spec.target, Supervisor)}
    return {name: options for name, options in actors.items() if name in running}


def telemetry_variables(settings: TelemetrySettings, environment: Mapping[str, str]) -> dict[str, str]:
    """What a configuration says about telemetry in the words of OpenTelemetry, where the environment says nothing."""
    variables: dict[str, str] = {}
    if not settings.enabled:
        variables["OTEL_SDK_DISABLED"] = "true"
    if settings.endpoint:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.endpoint
    if settings.ratio < 1 and "OTEL_TRACES_SAMPLER" not in environment:
        variables |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(settings.ratio)}
    return {name: value for name, value in variables.items() if name not in environment}


def main() -> int:
    """Read the orders, run, and return the exit code. Errors are one line on standard error."""
    orders = cattrs.structure(msgspec.json.decode(sys.stdin.buffer.readline()), Orders)
    try:
        _run(orders.targets, Config(**orders.config), orders.status_fd)
    except CallboardError as error:
        sys.stderr.write(f"callboard: {error}\n")
        return exit_code_of(error) or 1
    except Exception:
        logger.exception("worker failed")
        return 1
    return 0


def _run(targets: list[str], config: Config, status_fd: int) -> None:
    configure_logging(config.log_level)
    os.environ.update(telemetry_variables(config.telemetry, os.environ))
    telemetry = configure_telemetry(config.name or ",".join(map(service_name, targets or config.services)))
    try:
        asyncio.run(Worker(targets, config, status_fd).run())
    finally:
        telemetry.shutdown(TELEMETRY_SHUTDOWN)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a handler thread that hangs must not keep the process
