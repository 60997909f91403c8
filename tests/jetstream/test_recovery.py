"""Messages whose worker died are settled in another one: once, however often that is tried."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
from time import monotonic

import pytest
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext

from callboard import Actor, command
from callboard.brokers.attempts import CONVICTED, NO_PAST, SUSPECT, Past
from callboard.brokers.delivery import BrokerDelivery
from callboard.embedded import EmbeddedServer
from callboard.jetstream import JetStreamTransport
from callboard.supervision import Supervisor
from callboard.system import System
from callboard.system.orphan import Fate, Orphan
from tests.jetstream.eventually import eventually
from tests.jetstream.service import durable_of


class Jobs(Actor):
    """Never runs: its messages are taken by hand."""

    @command("jobs.run", hard_timeout=5.0, retry=(0.0,))
    async def run(self) -> None: ...

    @command("jobs.pause", hard_timeout=5.0, failures={TimeoutError: "pause"})
    async def pause(self) -> None: ...


class Workplace:
    """Mailboxes that are prepared, and one worker's recovery."""

    def __init__(self, transport: JetStreamTransport, js: JetStreamContext) -> None:
        self.transport = transport
        self.js = js
        self.system = System(Supervisor([Jobs]), name="test", transport=transport)
        self.noted: list[Orphan] = []
        self.settled: list[Orphan] = []
        self.recovery = self.system.recovery(note=self.noted.append, settled=self.settled.append)

    async def take(self, topic: str = "jobs.run") -> str:
        """Publish a message, have it delivered to a worker that dies, and return the token."""
        await self.js.publish(topic, b"null")
        return await self.next(topic)

    async def next(self, topic: str = "jobs.run", timeout: float = 5.0) -> str:
        """The token of the next delivery."""
        pull = await self.js.pull_subscribe_bind(durable_of(Jobs, topic), "JOBS")
        try:
            (message,) = await pull.fetch(1, timeout=timeout)
            return message.reply
        finally:
            await pull.unsubscribe()

    async def nothing_comes(self) -> None:
        """A message that is handed back would come at once."""
        with pytest.raises(NatsTimeoutError):
            await self.next(timeout=0.5)

    async def settle(self, *orphans: Orphan) -> None:
        await self.recovery.settle(orphans)

    async def past(self, token: str) -> Past:
        return await self.transport.attempts.past(await self.delivery(token))

    async def delivery(self, token: str) -> BrokerDelivery:
        delivery = await self.transport.recover(token)
        assert delivery is not None
        return delivery

    async def letters(self) -> list[tuple[str, int]]:
        """Error type and attempts of the dead letters."""
        letters = self.transport.dead_letters.letters()
        return [(letter.error_type, letter.attempts) async for letter in letters]

    async def waiting(self) -> int:
        """Messages that are not settled."""
        info = await self.js.consumer_info("JOBS", durable_of(Jobs, "jobs.run"))
        return (info.num_pending or 0) + (info.num_ack_pending or 0)


@pytest.fixture
async def place(transport: JetStreamTransport, js: JetStreamContext) -> Workplace:
    place = Workplace(transport, js)
    await transport.prepare(place.system.topology)
    return place


def orphan(token: str, fate: Fate, *, silent_for: float = 0.0) -> Orphan:
    """A message of a worker that renewed its leases until it died, so long ago."""
    return Orphan(token, fate, ran=1.0, renewed=monotonic() - silent_for)


# Suspects and convicts


async def test_suspect_is_remembered_and_comes_again_at_once(place: Workplace) -> None:
    token = await place.take()
    await place.transport.attempts.record(await place.delivery(token), Past(failed=3))

    await place.settle(orphan(token, Fate.SUSPECT))

    again = await place.next()
    assert (await place.delivery(again)).sequence == (await place.delivery(token)).sequence
    assert await place.past(again) == Past(failed=3, deaths=SUSPECT)


async def test_convict_is_given_up_once_however_often_it_is_settled(place: Workplace) -> None:
    token = await place.take()

    await place.settle(orphan(token, Fate.CONVICTED))
    await place.settle(orphan(token, Fate.CONVICTED))

    assert await place.letters() == [("worker_died", 1)]
    assert await place.past(token) == Past(deaths=CONVICTED)
    await eventually(lambda: _none(place))


async def _none(place: Workplace) -> bool:
    return await place.waiting() == 0


async def test_convict_without_a_place_for_its_letter_stays_and_is_remembered(place: Workplace) -> None:
    token = await place.take()
    await place.js.delete_stream("CALLBOARD_DEAD")

    await place.settle(orphan(token, Fate.CONVICTED))

    assert await place.waiting() == 1
    assert await place.past(token) == Past(deaths=CONVICTED)


# What hung, and its neighbours


async def test_hung_message_is_retried_as_its_policy_says_and_then_given_up(place: Workplace) -> None:
    first = await place.take()
    await place.settle(orphan(first, Fate.HUNG))
    assert await place.letters() == []
    second = await place.next()
    assert await place.past(second) == Past(failed=1)

    await place.settle(orphan(second, Fate.HUNG))

    assert await place.letters() == [("HandlerTimeoutError", 2)]
    await eventually(lambda: _none(place))


async def test_hung_message_that_is_settled_twice_has_failed_once(place: Workplace) -> None:
    token = await place.take()
    await place.settle(orphan(token, Fate.HUNG))
    (noted,) = place.noted
    assert noted.past == NO_PAST

    await place.settle(noted)

    assert await place.past(token) == Past(failed=1)
    assert await place.letters() == []


async def test_hung_message_whose_policy_is_to_pause_uses_no_attempt(place: Workplace) -> None:
    token = await place.take("jobs.pause")

    await place.settle(orphan(token, Fate.HUNG))

    assert await place.past(token) == NO_PAST
    assert await place.letters() == []


async def test_innocent_comes_again_at_once_without_a_mark(place: Workplace) -> None:
    token = await place.take()

    await place.settle(orphan(token, Fate.INNOCENT))

    assert await place.past(await place.next()) == NO_PAST


# Leases


@pytest.mark.parametrize(
    ("fate", "past"), [(Fate.SUSPECT, Past(deaths=SUSPECT)), (Fate.HUNG, Past(failed=1)), (Fate.INNOCENT, NO_PAST)]
)
async def test_message_whose_lease_may_be_over_is_remembered_and_not_handed_back(
    place: Workplace, fate: Fate, past: Past
) -> None:
    """Somebody else may run it by now, and a message is not to be called back from there."""
    token = await place.take()

    await place.settle(orphan(token, fate, silent_for=21.0))

    await place.nothing_comes()
    assert await place.past(token) == past


# What is not there


async def test_message_that_is_gone_needs_nothing(place: Workplace) -> None:
    token = await place.take()
    await place.js.purge_stream("JOBS")

    await place.settle(orphan(token, Fate.CONVICTED), orphan("nonsense", Fate.SUSPECT))

    assert {each.token for each in place.settled} == {token, "nonsense"}
    assert await place.letters() == []


async def test_message_of_a_handler_that_is_not_here_is_not_judged(place: Workplace) -> None:
    token = await place.take()
    stranger = token.replace(durable_of(Jobs, "jobs.run"), "somebody-elses")

    await place.settle(orphan(stranger, Fate.HUNG), orphan(stranger, Fate.CONVICTED))

    assert await place.letters() == []
    assert await place.past(stranger) == NO_PAST


async def test_settling_goes_on_when_the_server_is_back(
    place: Workplace, nats_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    token = await place.take()
    nats_server.kill()
    settling = asyncio.create_task(place.settle(orphan(token, Fate.CONVICTED)))
    await eventually(lambda: "is not settled yet" in caplog.text, within=30)
    assert place.settled == []

    await nats_server.restart()
    await settling

    assert [each.token for each in place.settled] == [token]
    assert await place.letters() == [("worker_died", 1)]
