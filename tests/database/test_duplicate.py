"""Messages that are handled once, remembered in a database."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from callboard import BrokerMessageV1, BrokerMessageV1Payload
from callboard.database import DatabaseBrokerSubscriberDuplicateValidator
from callboard.errors import DatabaseUnavailableError

WEEK = 7 * 86400.0


@pytest.fixture
def engine(url: str) -> AsyncEngine:
    return create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:").replace("ql:", "ql+asyncpg:"))


def message(topic: str = "orders.placed") -> BrokerMessageV1:
    return BrokerMessageV1(topic, BrokerMessageV1Payload(1))


async def handle(validator: DatabaseBrokerSubscriberDuplicateValidator, one: BrokerMessageV1) -> None:
    assert await validator.is_valid(one)
    await validator.handled(one)


async def test_message_that_was_handled_is_refused_also_after_a_restart_and_elsewhere(url: str) -> None:
    """C17."""
    one = message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url) as validator:
        assert validator.retention == WEEK
        await handle(validator, one)
        assert not await validator.is_valid(one)
    async with DatabaseBrokerSubscriberDuplicateValidator(url) as validator:
        assert not await validator.is_valid(one)


async def test_same_identifier_on_another_topic_or_under_another_name_passes(url: str) -> None:
    """C17."""
    one = message()
    other = BrokerMessageV1("orders.paid", BrokerMessageV1Payload(1), identifier=one.identifier)
    async with (
        DatabaseBrokerSubscriberDuplicateValidator(url) as validator,
        DatabaseBrokerSubscriberDuplicateValidator(url, "billing") as billing,
    ):
        await handle(validator, one)
        assert await validator.is_valid(other)
        assert await billing.is_valid(one)


async def test_message_that_was_not_handled_passes_again(url: str) -> None:
    """S14."""
    one = message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url) as validator:
        assert await validator.is_valid(one)
        await validator.released(one)
        assert await validator.is_valid(one)


async def test_message_passes_again_when_its_mark_is_too_old(url: str) -> None:
    one = message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url, retention=0.2) as validator:
        await handle(validator, one)
        assert not await validator.is_valid(one)
        async with asyncio.timeout(5.0):
            while not await validator.is_valid(one):
                await asyncio.sleep(0.02)


async def test_old_marks_are_forgotten_and_others_kept(url: str) -> None:
    old, fresh = message(), message()
    async with (
        DatabaseBrokerSubscriberDuplicateValidator(url, retention=0.1) as short,
        DatabaseBrokerSubscriberDuplicateValidator(url) as long,
    ):
        await handle(short, old)
        await asyncio.sleep(0.15)
        await short._purge()  # pyright: ignore[reportPrivateUsage]
        assert await long.is_valid(old)
        await handle(long, fresh)
        await long._purge()  # pyright: ignore[reportPrivateUsage]
        assert not await long.is_valid(fresh)


async def test_mark_commits_or_rolls_back_with_the_transaction_of_the_handling(url: str, engine: AsyncEngine) -> None:
    one, two = message(), message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url) as validator:
        async with AsyncSession(engine) as session, session.begin():
            await validator.mark(one, transaction=session)
        async with AsyncSession(engine) as session:
            await session.begin()
            await validator.mark(two, transaction=session)
            await session.rollback()
        assert not await validator.is_valid(one)
        assert await validator.is_valid(two)
    await engine.dispose()


async def test_second_handling_cannot_commit(url: str, engine: AsyncEngine) -> None:
    one = message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url) as validator:
        await handle(validator, one)
        async with engine.connect() as connection:
            with pytest.raises(IntegrityError):
                await validator.mark(one, transaction=connection)
    await engine.dispose()


async def test_of_two_handlings_at_the_same_time_one_commits(url: str, engine: AsyncEngine) -> None:
    one = message()

    async def handling(validator: DatabaseBrokerSubscriberDuplicateValidator) -> bool:
        try:
            async with AsyncSession(engine) as session, session.begin():
                await validator.mark(one, transaction=session)
                await asyncio.sleep(0.05)
        except DBAPIError:
            return False
        return True

    async with (
        DatabaseBrokerSubscriberDuplicateValidator(url) as first,
        DatabaseBrokerSubscriberDuplicateValidator(url) as second,
    ):
        assert sorted(await asyncio.gather(handling(first), handling(second))) == [False, True]
    await engine.dispose()


async def test_handled_after_marking_in_a_transaction_is_no_error(url: str, engine: AsyncEngine) -> None:
    one = message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url) as validator:
        assert await validator.is_valid(one)
        async with AsyncSession(engine) as session, session.begin():
            await validator.mark(one, transaction=session)
        await validator.handled(one)
        assert not await validator.is_valid(one)
    await engine.dispose()


async def test_expired_mark_does_not_stop_a_new_handling(url: str, engine: AsyncEngine) -> None:
    one = message()
    async with DatabaseBrokerSubscriberDuplicateValidator(url, retention=0.1) as validator:
        await handle(validator, one)
        await asyncio.sleep(0.15)
        async with AsyncSession(engine) as session, session.begin():
            await validator.mark(one, transaction=session)
        assert not await validator.is_valid(one)
    await engine.dispose()


async def test_database_that_is_away_is_reported() -> None:
    validator = DatabaseBrokerSubscriberDuplicateValidator("postgresql://127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailableError):
        await validator.is_valid(message())
    await validator.destroy()
