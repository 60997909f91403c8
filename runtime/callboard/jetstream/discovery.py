"""NATS service discovery (ADR-32): `nats micro ls` and its like list the actors that run.

nats-py has the forms of the answers. Its own service is not used: its endpoints would subscribe to the topics, which
are handled through their durables.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

import msgspec
from attrs import field, frozen
from nats.errors import Error as NatsError
from nats.micro.service import EndpointInfo, EndpointStats, ServiceInfo, ServicePing, ServiceStats

from callboard.brokers.mailbox import MailboxSpec
from callboard.jetstream.connection import NatsConnection
from callboard.jetstream.durable import ACTOR, KIND
from callboard.jetstream.stream import NANOSECONDS
from callboard.statistics import MailboxStatistics, Statistics

__all__ = ["Discovery", "discovery_name", "semantic_version"]

logger = logging.getLogger("callboard.discovery")

REQUESTS = "$SRV.>"
"""One subscription for everything that may be asked; what is meant for others is left alone."""
STREAM = "callboard.stream"


@frozen
class _Service:
    """One service of this process, as tools see it."""

    name: str
    mailboxes: Sequence[MailboxSpec]
    statistics: Statistics
    streams: Callable[[], Mapping[str, str]]
    """Where the durables are that this process pulls from."""
    identifier: str = field(factory=lambda: uuid4().hex)
    started: datetime = field(factory=lambda: datetime.now(UTC))

    def answer(self, verb: str) -> dict[str, Any] | None:
        """None for a verb that is none."""
        identity: dict[str, Any] = {
            "id": self.identifier,
            "name": self.name,
            "version": _VERSION,
            "metadata": {"callboard.host": socket.gethostname(), "callboard.pid": str(os.getpid())},
        }
        match verb:
            case "PING":
                return ServicePing(**identity).to_dict()
            case "INFO":
                text = "Actors on Callboard"
                return ServiceInfo(**identity, description=text, endpoints=[*self._infos()]).to_dict()
            case "STATS":
                return ServiceStats(**identity, started=self.started, endpoints=[*self._stats()]).to_dict()
            case _:
                return None

    def _infos(self) -> Iterator[EndpointInfo]:
        streams = self.streams()
        for spec in self.mailboxes:
            metadata = {KIND: spec.kind.value, ACTOR: spec.actor, STREAM: streams.get(spec.durable, "")}
            yield EndpointInfo(_endpoint(spec), spec.template.filter, spec.durable, metadata)

    def _stats(self) -> Iterator[EndpointStats]:
        for spec in self.mailboxes:
            counted = self.statistics.mailboxes.get(spec.durable) or MailboxStatistics(spec.durable, spec.actor, "")
            requests, seconds = counted.consumed.total(), counted.seconds
            errors = {kind: count for kind, count in counted.consumed.items() if kind}
            yield EndpointStats(
                name=_endpoint(spec),
                subject=spec.template.filter,
                queue_group=spec.durable,
                num_requests=requests,
                num_errors=sum(errors.values()),
                processing_time=int(seconds * NANOSECONDS),
                average_processing_time=int(seconds * NANOSECONDS / requests) if requests else 0,
                data={
                    "errors": errors,
                    "dead_letters": counted.dead_letters.total(),
                    "redelivered": counted.redelivered,
                    "lag": counted.lag_now,
                },
            )


class Discovery:
    """Answers `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, also for one service or one process of it.

    Works across reconnections and replaced clients. An account that may not subscribe to `$SRV.>` is told once, at
    INFO, that tools will not list its services.
    """

    def __init__(self, connection: NatsConnection, streams: Callable[[], Mapping[str, str]]) -> None:
        self._connection = connection
        self._streams = streams
        self._services: list[_Service] = []
        self._told = False

    async def announce(self, service: str, mailboxes: Sequence[MailboxSpec], statistics: Statistics) -> None:
        """See `BrokerTransport.announce`."""
        self._services.append(_Service(discovery_name(service), mailboxes, statistics, self._streams))
        if len(self._services) > 1:
            return
        try:
            await self._connection.listen(self._on_request, REQUESTS, denied=self._on_denied)
        except NatsError as error:  # whatever replaces this client listens too
            logger.debug("services are not announced yet: %s", error)

    def _on_denied(self) -> None:
        if not self._told:
            self._told = True
            logger.info("the account may not subscribe to %s: tools such as 'nats micro ls' list no actors", REQUESTS)

    def _on_request(self, subject: str, reply: str, *_content: object) -> None:
        _, verb, *wanted = subject.split(".")
        for service in self._services:
            answer = service.answer(verb) if wanted == [service.name, service.identifier][: len(wanted)] else None
            if answer is None:
                continue
            try:
                self._connection.client.send(reply, msgspec.json.encode(answer))
            except NatsError as error:
                logger.debug("%s is not answered: %s", subject, error)


def discovery_name(text: str) -> str:
    """A service's or an endpoint's name, with `_` for what ADR-32 allows in none."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text) or "_"


def _endpoint(spec: MailboxSpec) -> str:
    return discovery_name(f"{spec.actor}-{spec.template.text}")


def semantic_version(text: str) -> str:
    """A Python version as ADR-32 wants it: `0.2.0.dev1` becomes `0.2.0-dev1`."""
    numbers, rest = re.match(r"(\d*(?:\.\d+){0,2})(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    parts = [str(int(number or 0)) for number in [*numbers.split("."), "0", "0"][:3]]
    further = re.sub(r"[^A-Za-z0-9]+", "-", rest).strip("-")
    return ".".join(parts) + (f"-{further}" if further else "")


def _own_version() -> str:
    try:
        return semantic_version(version("callboard"))
    except PackageNotFoundError:  # a copy that was not installed
        return "0.0.0"


_VERSION = _own_version()
