"""What `callboard permissions` prints is enough, and nothing of it is too much."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from attrs import evolve, frozen

from callboard import Board, BrokerRequest, BrokerResponse, CallboardError
from callboard.brokers.topic import matches
from callboard.brokers.transport import Topology
from callboard.config import Config, NatsSettings
from callboard.embedded import EmbeddedServer
from callboard.errors import PermissionDeniedError
from callboard.jetstream import JetStreamTransport
from callboard.jetstream.adoption import ADVISORIES, ADVISORY_STREAM, DURABLE
from callboard.jetstream.permission import Operation, Permission, permissions_of
from callboard.jetstream.topology import topology_of
from callboard.routing.pipeline import Handle
from callboard.system import System
from callboard.system.assembly import assemble
from callboard.system.target import load_services
from tests.jetstream.eventually import eventually

pytestmark = pytest.mark.usefixtures("nats_binary")

TARGETS = ["actors.users", "actors.flights:Rebooking"]
"""Of the reference application: commands, queries, events, outputs and refusals on three streams."""
WORK: dict[str, Any] = {
    "user.create": {"email": "ada@example.org"},
    "user.created": {"id": "00000000-0000-0000-0000-000000000001", "email": "ada@example.org", "name": "Ada"},
    "passengers.rebook": {"flight": "UA1"},
    "rebooking.summary": None,
}
AT_THE_START = re.compile("at the start|remembered|max_deliver")
"""Purposes that are served in another way where somebody else makes streams and durables."""
AT_ONCE = 8
"""Services that run at the same time."""


async def troubled(request: BrokerRequest, call_next: Handle) -> BrokerResponse:
    """Some messages fail at every attempt, and some take long."""
    match request.headers.get("trouble"):
        case "fails":
            raise ValueError("told to fail")
        case "hangs":
            await asyncio.sleep(60)
        case _:
            pass
    return await call_next(request)


@frozen
class Account:
    """A JetStream of its own, with a user `shop` that may do something and a user `root` that may do everything."""

    number: int
    allowed: Sequence[Permission]
    manage: str = "manage"

    @property
    def text(self) -> str:
        """The server's configuration of it."""
        return f"""A{self.number}: {{ jetstream: enabled, users: [
            {{ user: root{self.number}, password: secret }},
            {{ user: shop{self.number}, password: secret, permissions: {{
                publish: {{ allow: {self._subjects(Operation.PUBLISH)} }},
                subscribe: {{ allow: {self._subjects(Operation.SUBSCRIBE)} }}
            }} }}
        ] }}"""

    def _subjects(self, operation: Operation) -> list[str]:
        return [subject for each in self.allowed if each.operation is operation for subject in each.subjects]

    def config(self, server: EmbeddedServer, user: str) -> Config:
        return evolve(
            settings(self.manage), nats=NatsSettings((server.url.replace("//", f"//{user}{self.number}:secret@"),))
        )


@cache
def settings(manage: str) -> Config:
    """Of the service, wherever the server is."""
    return Config(
        streams={"manage": manage},
        dependencies={"actors.airline:AirlineDesk": "actors.airline:open_desk"},
        middleware=[f"{__name__}:troubled"],
        actors={name: {"retry": [0], "concurrency": 8} for name in ("Users", "Welcome", "Rebooking")},
        grace=0,
    )


@cache
def declared() -> Topology:
    return assemble(TARGETS, settings("manage")).topology


def service(config: Config) -> System:
    return System(load_services(TARGETS), config=config, transport=JetStreamTransport.from_config(config))


def without(allowed: Sequence[Permission], operation: Operation, removed: str) -> list[Permission]:
    """All but one subject."""
    return [
        Permission(
            each.purpose, [s for s in each.subjects if (each.operation, s) != (operation, removed)], each.operation
        )
        for each in allowed
    ]


@asynccontextmanager
async def serving(accounts: Sequence[Account]) -> AsyncGenerator[EmbeddedServer]:
    newline = "\n"
    patient = "authorization { timeout: 60 }"  # seconds, on a busy machine
    text = newline.join(account.text for account in accounts)
    async with EmbeddedServer(port=0, extra_config=f"{patient}\naccounts {{ {text} }}") as server:
        yield server


async def work(server: EmbeddedServer, account: Account) -> None:
    """What makes the service do everything that it ever does."""
    async with JetStreamTransport.from_config(account.config(server, "root")) as transport:
        board = Board(transport)
        for topic, content in WORK.items():
            for trouble in ("none", "fails", "hangs"):
                await board.publish(topic, content, headers={"trouble": trouble})
        await board.request("rebooking.summary", timeout=5)


async def give_up(server: EmbeddedServer, account: Account) -> None:
    """What the server says when it will not deliver a message again, here one that is not there."""
    advisory = {"stream": "USER", "consumer": durable("user.create"), "stream_seq": 99, "deliveries": 1}
    client = await nats.connect(*account.config(server, "root").nats.servers)
    await client.publish("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.USER.test", msgspec.json.encode(advisory))
    await client.close()


def durable(topic: str) -> str:
    return next(mailbox.durable for mailbox in declared().mailboxes if mailbox.template.text == topic)


class Denials(logging.Handler):
    """What the log names as not permitted."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: set[tuple[str, str]] = set()
        """What is not permitted, and where, in lower case."""

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r"the account may not (publish|subscribe) to ([^\s:]+)", record.getMessage())
        if found is not None:
            self.found.add((found[1], found[2].lower()))


class Trial:
    """The service with all permissions but one, until that is noticed."""

    def __init__(self, account: Account, removed: tuple[Operation, str], denials: Denials) -> None:
        self.account = account
        self.operation, self.subject = removed
        self.refused = False
        """Whether the start says what is not permitted."""
        self._denials = denials

    async def run(self, server: EmbeddedServer) -> None:
        """Returns as soon as anybody is told, or without a word after 15 s."""
        await self.prepare(server)
        try:
            async with service(self.account.config(server, "shop")):
                working = asyncio.create_task(self._work(server))
                try:
                    await eventually(self.is_noticed, within=15)
                except TimeoutError:
                    return
                finally:
                    working.cancel()
                    await asyncio.wait([working])
        except PermissionDeniedError as error:
            self.refused = matches(self.subject, error.topic) and self.operation in str(error)

    async def prepare(self, server: EmbeddedServer) -> None:
        """What an operator has done before."""
        root = self.account.config(server, "root")
        if self.account.manage == "verify":
            await prepare(root)
        elif "STREAM.UPDATE" in self.subject:
            await prepare(root, max_age=86400)

    async def _work(self, server: EmbeddedServer) -> None:
        with suppress(CallboardError):
            await work(server, self.account)
        await give_up(server, self.account)

    def is_noticed(self) -> bool:
        """Whether the start, or the log, says what is not permitted."""
        found = (subject for operation, subject in self._denials.found if operation == self.operation)
        return self.refused or any(matches(self.subject.lower(), subject) for subject in found)


async def prepare(root: Config, max_age: float = 0) -> None:
    """Streams and durables, as somebody makes them who does not use Callboard: nothing is remembered of them."""
    async with topology_of(root) as manager:
        await manager.apply(declared())
    client = await nats.connect(*root.nats.servers)
    js = client.jetstream()
    await js.purge_stream("KV_CALLBOARD")
    if max_age:
        info = await js.stream_info("KV_CALLBOARD")
        await js.update_stream(info.config, max_age=max_age)
    else:
        await js.add_stream(name=ADVISORY_STREAM, subjects=[ADVISORIES])
        await js.add_consumer(ADVISORY_STREAM, durable_name=DURABLE, ack_policy="explicit", filter_subject=ADVISORIES)
    await client.close()


@pytest.fixture
def denials() -> Iterator[Denials]:
    handler, logger = Denials(), logging.getLogger("callboard")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the reference application."""
    monkeypatch.setenv("FLIGHTS_STORE", str(tmp_path / "flights.sqlite"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("manage", ["manage", "verify"])
async def test_each_permission_is_missed_when_it_is_not_there(manage: str, denials: Denials) -> None:
    """The start is refused, or the log says so, at the latest when the service does what it is for."""
    allowed = permissions_of(declared(), settings(manage))
    tried = [each for each in allowed if manage == "manage" or AT_THE_START.search(each.purpose)]
    removed = [(each.operation, subject) for each in tried for subject in each.subjects]
    trials = [
        Trial(Account(number, without(allowed, *each), manage), each, denials) for number, each in enumerate(removed)
    ]
    turns = asyncio.Semaphore(AT_ONCE)

    async def run(trial: Trial) -> None:
        async with turns:
            await trial.run(server)

    async with serving([trial.account for trial in trials]) as server, asyncio.TaskGroup() as group:
        for trial in trials:
            group.create_task(run(trial))

    optional = {(each.operation, subject) for each in allowed if each.optional for subject in each.subjects}
    assert [trial.subject for trial in trials if not trial.is_noticed()] == []
    assert {(trial.operation, trial.subject) for trial in trials if trial.refused} & optional == set()
