"""Which copies of a message are for handling."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from callboard import BrokerMessageV1, BrokerMessageV1Payload
from callboard.brokers.duplicate import InMemoryBrokerSubscriberDuplicateValidator
from callboard.clock import VirtualClock
from callboard.errors import ClosedError, ConnectionLostError, SubstrateError

AWAY = ConnectionLostError("the store", "away")


class Faulty(InMemoryBrokerSubscriberDuplicateValidator):
    """Raises `failures` of an operation first, and counts."""

    def __init__(self, clock: VirtualClock | None = None, *, retention: float = 100.0) -> None:
        super().__init__(retention=retention, clock=clock or VirtualClock())
        self.failures: dict[str, list[BaseException]] = {}
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def _check(self, operation: str) -> None:
        self.calls.append(operation)
        await self.gate.wait()
        if self.failures.get(operation):
            raise self.failures[operation].pop(0)

    async def _known(self, topic: str, identifier: UUID) -> bool:
        await self._check("known")
        return await super()._known(topic, identifier)

    async def _mark(self, topic: str, identifier: UUID) -> None:
        await self._check("mark")
        await super()._mark(topic, identifier)

    async def _purge(self) -> None:
        await self._check("purge")
        await super()._purge()


def copy(identifier: UUID, topic: str = "orders.placed") -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(1), identifier=identifier)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_only_the_first_copy_passes_and_the_identifier_on_another_topic_does() -> None:
    """C17."""
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    one = uuid4()
    assert await validator.is_valid(copy(one))
    await validator.handled(copy(one))
    assert not await validator.is_valid(copy(one))
    assert await validator.is_valid(copy(one, "orders.paid"))
    assert await validator.is_valid(copy(uuid4()))


async def test_message_that_was_not_handled_passes_again() -> None:
    """S14."""
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    one = copy(uuid4())
    for _ in range(5):
        assert await validator.is_valid(one)
        await validator.released(one)
    assert await validator.is_valid(one)


@pytest.mark.parametrize("handled", [True, False])
async def test_copy_waits_for_the_one_that_is_being_handled(*, handled: bool) -> None:
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    one = copy(uuid4())
    assert await validator.is_valid(one)
    second = asyncio.create_task(validator.is_valid(one))
    await settled()
    assert not second.done()
    await (validator.handled(one) if handled else validator.released(one))
    assert await second is not handled


async def test_of_many_waiting_copies_one_runs_at_a_time() -> None:
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    one = copy(uuid4())
    assert await validator.is_valid(one)
    waiting = [asyncio.create_task(validator.is_valid(one)) for _ in range(3)]
    await settled()
    await validator.released(one)
    await settled()
    (answered,) = [task for task in waiting if task.done()]
    assert answered.result()
    await validator.handled(one)
    assert sorted([await task for task in waiting]) == [False, False, True]


async def test_cancelled_copy_leaves_the_others_waiting() -> None:
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    one = copy(uuid4())
    assert await validator.is_valid(one)
    first, second = (asyncio.create_task(validator.is_valid(one)) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled()
    assert not second.done()
    await validator.released(one)
    assert await second


async def test_question_that_is_cancelled_or_fails_holds_nobody_up() -> None:
    validator = Faulty()
    one = copy(uuid4())
    validator.gate.clear()
    asking = asyncio.create_task(validator.is_valid(one))
    await settled()
    asking.cancel()
    validator.gate.set()
    await settled()
    assert asking.cancelled()
    validator.failures["known"] = [AWAY]
    with pytest.raises(SubstrateError):
        await validator.is_valid(one)
    assert await asyncio.wait_for(validator.is_valid(one), 5)


async def test_mark_that_fails_lets_the_next_copy_run() -> None:
    validator = Faulty()
    one = copy(uuid4())
    assert await validator.is_valid(one)
    second = asyncio.create_task(validator.is_valid(one))
    await settled()
    validator.failures["mark"] = [AWAY]
    with pytest.raises(SubstrateError):
        await validator.handled(one)
    assert await asyncio.wait_for(second, 5)


async def test_handled_message_is_forgotten_after_the_retention() -> None:
    clock = VirtualClock()
    validator = InMemoryBrokerSubscriberDuplicateValidator(retention=100.0, clock=clock)
    one = copy(uuid4())
    await validator.handled(one)
    await clock.advance(99)
    assert not await validator.is_valid(one)
    await clock.advance(1)
    assert await validator.is_valid(one)


async def test_old_marks_are_purged_now_and_then() -> None:
    clock = VirtualClock()
    validator = Faulty(clock)
    for _ in range(10):
        await validator.handled(copy(uuid4()))
        await clock.advance(1)
    assert validator.calls.count("purge") == 1
    await clock.advance(200)
    await validator.handled(copy(uuid4()))
    assert validator.calls.count("purge") == 2
    assert len(validator._marks) == 1  # pyright: ignore[reportPrivateUsage]


async def test_purge_that_fails_harms_no_message(caplog: pytest.LogCaptureFixture) -> None:
    validator = Faulty()
    validator.failures["purge"] = [AWAY]
    one = copy(uuid4())
    await validator.handled(one)
    assert not await validator.is_valid(one)
    assert "old marks are kept for now" in caplog.text


async def test_closed_validator_says_so() -> None:
    validator = InMemoryBrokerSubscriberDuplicateValidator()
    await validator.destroy()
    with pytest.raises(ClosedError):
        await validator.is_valid(copy(uuid4()))


@pytest.mark.parametrize("retention", [0, -1.0])
def test_retention_is_above_zero(retention: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        InMemoryBrokerSubscriberDuplicateValidator(retention=retention)
