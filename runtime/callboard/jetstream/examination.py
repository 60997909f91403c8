"""What is right and what is wrong with a server, for those who operate it: each finding says what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from attrs import frozen

from callboard.brokers.deadletter import DEAD_STREAM
from callboard.brokers.transport import Topology
from callboard.config import Config, StreamSettings
from callboard.errors import AccessDeniedError, CallboardError, ConfigError, NoServerError, PermissionDeniedError
from callboard.jetstream.api import JetStreamApi, UnavailableError
from callboard.jetstream.connection import ConnectionOptions, NatsConnection
from callboard.jetstream.difference import Remedy
from callboard.jetstream.overview import MailboxView, Overview
from callboard.jetstream.topology import TopologyManager

__all__ = ["Finding", "Grade", "examine"]

CLOCK = 1.0
"""Seconds of difference between two clocks from which deadlines and leases are wrong."""
FULL = 0.9
"""Share of a limit above which there is little room."""
OLD = 300.0
"""Seconds after which a message that nobody takes is a finding."""


class Grade(StrEnum):
    """How bad it is."""

    GOOD = "ok"
    NOTE = "note"
    """Nothing is wrong, but it is to be known."""
    WRONG = "wrong"


@frozen
class Finding:
    """One thing that was looked at."""

    grade: Grade
    subject: str
    what: str
    remedy: str = ""
    """What to do; empty where nothing has to be done."""


async def examine(config: Config, topology: Topology | None = None) -> AsyncIterator[Finding]:
    """Look at the server that a configuration names, and with a topology at what a service needs of it.

    What cannot be looked at is a finding. Raises `ConfigError` for credentials or a context that cannot be read.
    """
    options = ConnectionOptions.from_config(config)
    connection = NatsConnection(options)
    try:
        await connection.setup()
    except NoServerError as error:
        yield Finding(
            Grade.WRONG, "server", str(error), "start it, or name another one: --nats, NATS_URL, or 'nats.servers'"
        )
        return
    except ConfigError:
        raise
    except CallboardError as error:
        denied = isinstance(error, AccessDeniedError)
        remedy = "check them, and whom the server knows" if denied else "update the server to 2.11 or later"
        yield Finding(Grade.WRONG, "server", str(error), remedy)
        return
    try:
        version = connection.client.connected_server_version
        number = f"{version.major}.{version.minor}.{version.patch}"
        yield Finding(Grade.GOOD, "server", f"{options.secret_free}, version {number}")
        async for finding in _Examination(JetStreamApi(connection), config.streams, topology).run():
            yield finding
    finally:
        await connection.destroy()


class _Examination:
    def __init__(self, api: JetStreamApi, settings: StreamSettings, topology: Topology | None) -> None:
        self._api = api
        self._settings = settings
        self._topology = topology

    async def run(self) -> AsyncIterator[Finding]:
        try:
            account = await self._api.call("INFO")
        except UnavailableError as error:
            yield Finding(
                Grade.WRONG,
                "JetStream",
                str(error),
                "start the server with '--jetstream', or enable it for the account",
            )
            return
        except CallboardError as error:
            yield Finding(Grade.WRONG, "JetStream", str(error), "allow the account to publish to $JS.API.>")
            return
        yield Finding(Grade.GOOD, "JetStream", f"enabled; {account.get('streams', 0)} streams in this account")
        for part in (self._streams, self._mailboxes, self._dead_letters, self._differences):
            try:
                async for finding in part():
                    yield finding
            except PermissionDeniedError as error:
                yield Finding(
                    Grade.WRONG,
                    "permissions",
                    str(error),
                    "allow it; 'callboard permissions TARGET' prints what a service needs",
                )
            except CallboardError as error:
                yield Finding(Grade.WRONG, "JetStream", str(error), "look at the servers: do all of them run?")

    async def _streams(self) -> AsyncIterator[Finding]:
        alike: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        late = 0.0
        for name in await self._api.streams():
            info = await self._api.call(f"STREAM.INFO.{name}")
            config: dict[str, Any] = info["config"]
            alike[str(config.get("storage", "file")), int(config.get("num_replicas", 1))].append(name)
            late = max(late, _clock_difference(info))
            for finding in _room(name, config, info["state"]):
                yield finding
        if late > CLOCK:
            yield Finding(
                Grade.WRONG,
                "clock",
                f"this machine's and the server's differ by {late:.1f} s",
                "synchronise both (NTP): deadlines of requests go by them",
            )
        for (storage, replicas), names in alike.items():
            yield _durability(names, storage, replicas)

    async def _mailboxes(self) -> AsyncIterator[Finding]:
        views = await Overview(self._api).look()
        if not views:
            yield Finding(Grade.NOTE, "mailboxes", "there are none yet")
            return
        wrong = [finding for view in views for finding in _of_mailbox(view)]
        for finding in wrong:
            yield finding
        if not wrong:
            yield Finding(Grade.GOOD, "mailboxes", f"{len(views)}, all of them read")

    async def _dead_letters(self) -> AsyncIterator[Finding]:
        info = await self._api.find(f"STREAM.INFO.{DEAD_STREAM}")
        count = 0 if info is None else int(info["state"]["messages"])
        if count:
            yield Finding(
                Grade.NOTE,
                "dead letters",
                f"{count} given up",
                "see 'callboard dead list'; then 'dead replay' or 'dead discard'",
            )
        else:
            yield Finding(Grade.GOOD, "dead letters", "none")

    async def _differences(self) -> AsyncIterator[Finding]:
        if self._topology is None:
            return
        differences = await TopologyManager(self._api, self._settings).plan(self._topology)
        for difference in differences:
            left_over = difference.remedy is Remedy.PRUNE
            yield Finding(
                Grade.NOTE if left_over else Grade.WRONG,
                "orphan" if left_over else "drift",
                str(difference),
                "'callboard topology apply --prune' deletes it" if left_over else "see 'callboard topology plan'",
            )
        if not differences:
            yield Finding(Grade.GOOD, "topology", "the server is as the code says")
        streams = {
            box.durable: await self._api.streams_touching(box.template.filter) for box in self._topology.mailboxes
        }
        await self._api.check_pulls([(found[0], durable) for durable, found in streams.items() if found])
        yield Finding(Grade.GOOD, "permissions", "the account may pull from every mailbox of the target")


def _clock_difference(info: dict[str, Any]) -> float:
    """Seconds between the server's clock and ours, what the answer took included."""
    if "ts" not in info:
        return 0.0
    return abs((datetime.fromisoformat(info["ts"]) - datetime.now(UTC)).total_seconds())


def _room(name: str, config: dict[str, Any], state: dict[str, Any]) -> Iterator[Finding]:
    """Whether a stream that refuses what it has no room for has little left."""
    if config.get("discard") != "new":
        return
    for what, limit, used in (("messages", "max_msgs", "messages"), ("bytes", "max_bytes", "bytes")):
        most = int(config.get(limit, -1))
        if most > 0 and state[used] > most * FULL:
            share = 100 * state[used] // most
            yield Finding(
                Grade.WRONG,
                f"stream {name}",
                f"is {share} % full ({state[used]} of {most} {what}), and then refuses more",
                f"raise {limit}, or remove what is not needed; of dead letters with 'callboard dead'",
            )


def _durability(names: Sequence[str], storage: str, replicas: int) -> Finding:
    """What streams of one class of durability can lose."""
    subject = f"stream{'s' if len(names) > 1 else ''} {', '.join(names)}"
    if storage != "file":
        return Finding(
            Grade.WRONG,
            subject,
            "kept in memory: a restart of the server loses everything",
            "create anew with file storage, such as: nats stream add NAME --storage file",
        )
    if replicas < 3:
        return Finding(
            Grade.NOTE,
            subject,
            f"file storage, {replicas} replica{'s' if replicas > 1 else ''}: a loss of the machine loses everything, "
            "and a loss of power what came after the last sync (2 minutes by default)",
            "for more: a cluster and 'streams.replicas: 3', or 'sync_interval: always' on the server",
        )
    return Finding(Grade.GOOD, subject, f"file storage, {replicas} replicas")


def _of_mailbox(view: MailboxView) -> list[Finding]:
    subject = f"mailbox {view.durable}"
    if view.paused_for:
        return [Finding(Grade.NOTE, subject, f"is paused; {view.lag} messages wait", f"callboard resume {view.actor}")]
    if view.state == "nobody" and view.lag:
        what = f"nobody reads it, and {view.lag} messages wait, the oldest for {view.oldest:.0f} s"
        return [Finding(Grade.WRONG, subject, what, f"start the service {view.service or view.actor!r}: callboard run")]
    if view.oldest > OLD:
        what = f"its oldest message has waited {view.oldest:.0f} s; {view.lag} wait, {view.in_progress} in progress"
        return [Finding(Grade.NOTE, subject, what, "add workers ('--workers'), or see why it is retried")]
    return []
