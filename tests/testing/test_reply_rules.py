"""Where replies go: what a message asks for is not always given."""

from __future__ import annotations

import pytest

from callboard import Actor, ConfigError, command, event
from callboard.config import Config
from callboard.testing import ActorTest
from tests.testing.conftest import Start


class Desk(Actor):
    @command("desk.ask")
    async def ask(self, number: int) -> int:
        return number + 1

    @command("desk.{name}.tell")
    async def tell(self, name: str) -> str:
        return name


def hearing(topic: str, heard: list[int]) -> type[Actor]:
    class Hearing(Actor):
        name = topic.replace(".", "-")

        @event(topic)
        async def hear(self, number: int) -> None:
            heard.append(number)

    return Hearing


async def reason(system: ActorTest) -> str:
    await system.settled()
    (letter,) = system.dead_letters
    assert letter.error_type == "ReplyTopicError"
    return letter.error_message


async def test_literal_topic_that_a_stream_holds_gets_the_reply(start: Start) -> None:
    heard: list[int] = []
    async with start(Desk, hearing("answers.desk", heard)) as system:
        await system.publish("desk.ask", 1, reply_topic="answers.desk")
        await system.settled()
        assert system.dead_letters == []
    assert heard == [2]


async def test_message_that_failed_and_cannot_be_answered_has_one_dead_letter(start: Start) -> None:
    async with start(Desk) as system:
        await system.publish("desk.ask", "no number", reply_topic="desk.ask")
        await system.settled()
        (letter,) = system.dead_letters
    assert letter.error_type == "ContentDecodeError"


@pytest.mark.parametrize(("asked", "reply_topic"), [("desk.ask", "desk.ask"), ("desk.a.tell", "desk.b.tell")])
async def test_handler_does_not_answer_itself(start: Start, asked: str, reply_topic: str) -> None:
    async with start(Desk) as system:
        await system.publish(asked, 1, reply_topic=reply_topic)
        assert "a handler does not answer itself" in await reason(system)


async def test_configuration_narrows_topics(start: Start) -> None:
    heard: list[int] = []
    config = Config(replies={"topics": ["answers.*"]})
    async with start(Desk, hearing("answers.desk", heard), hearing("orders.placed", heard), config=config) as system:
        await system.publish("desk.ask", 1, reply_topic="answers.desk")
        await system.settled()
        await system.publish("desk.ask", 5, reply_topic="orders.placed")
        assert "'replies.topics' allows: answers.*" in await reason(system)
    assert heard == [2]


async def test_only_inboxes_may_be_allowed(start: Start) -> None:
    async with start(Desk, hearing("answers.desk", []), config=Config(replies={"topics": []})) as system:
        assert await system.request("desk.ask", 1) == 2
        await system.publish("desk.ask", 1, reply_topic="answers.desk")
        assert "allows: inboxes only" in await reason(system)


async def test_other_inboxes_than_the_configured_ones_get_nothing(start: Start) -> None:
    async with start(Desk) as system:
        await system.publish("desk.ask", 1, reply_topic="_OTHER.1")
        assert "replies go to no inbox but _INBOX" in await reason(system)


async def test_loop_ends(start: Start) -> None:
    rounds: list[int] = []

    class Ping(Actor):
        @command("ping.hit")
        async def hit(self, number: int) -> int:
            rounds.append(number)
            return number + 1

    class Pong(Actor):
        @event("pong.hit")
        async def hit(self, number: int) -> None:
            await self.publish("ping.hit", number, reply_topic="pong.hit")

    async with start(Ping, Pong, config=Config(replies={"hops": 4})) as system:
        await system.publish("pong.hit", 0)
        assert "handlers in a row led here" in await reason(system)
    assert 2 <= len(rounds) <= 5


@pytest.mark.parametrize(
    "replies",
    [{"inboxes": ["$SYS"]}, {"inboxes": ["a b"]}, {"topics": ["a.>.b"]}, {"topics": ["a..b"]}, {"hops": 0}],
)
def test_rules_that_make_no_sense_are_wrong(replies: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="replies"):
        Config(replies=replies)
