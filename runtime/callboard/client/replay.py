"""Dead letters, sent back to the mailbox that gave them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self
from uuid import UUID

from attrs import frozen

from callboard.brokers import wire
from callboard.brokers.letter import StoredLetter, sendable
from callboard.brokers.transport import BrokerTransport, Receipt
from callboard.brokers.wire import Frame
from callboard.errors import InvalidArgumentError, ReplayRefusedError
from callboard.instrumentation import NO_INSTRUMENTATION, NO_SPAN, TRACE_HEADERS, Instrumentation

__all__ = ["REPLAY_OF", "DeadLetterReplay"]

REPLAY_OF = "Callboard-Replay-Of"
"""Stream and sequence of the message that failed, as in `ORDERS:17`."""
EXPECTED_STREAM = "Nats-Expected-Stream"
"""The server refuses what another stream would store: the mailbox would never see it."""
RATE = 100.0

_REPLY = frozenset({wire.REPLY_TOPIC.lower(), wire.REPLY_VIA.lower()})
_ENDED = frozenset({wire.DEADLINE.lower(), "xraceparent", *TRACE_HEADERS})
"""What was true of the first delivery alone."""


class DeadLetterReplay:
    """Publishes the originals of dead letters again, each for the mailbox that failed and no other, and removes the
    letter then.

    A replay has the original's body, headers and identifier; it goes on in the letter's trace, linked to the span that
    sent the original; it has no deadline, and a reply topic only with `reply`. At most `rate` a second begin. Killed
    between the two steps, or done twice at once, a replay is stored once: a second one has the same `Nats-Msg-Id`
    within the stream's duplicate window.
    """

    def __init__(
        self,
        transport: BrokerTransport,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
        *,
        rate: float = RATE,
        reply: bool = False,
    ) -> None:
        if not rate > 0:
            raise InvalidArgumentError(f"rate is a number of letters a second, more than 0; not {rate!r}")
        self._transport = transport
        self._letters = transport.dead_letters
        self._instrumentation = instrumentation
        self._pause = 1 / rate
        self._reply = reply
        self._next = 0.0
        """Clock time at which the next replay may begin."""

    async def check(self, sequence: int) -> StoredLetter:
        """The letter, when it could be replayed now.

        Raises `NoDeadLetterError` when it is gone, `ReplayRefusedError` when its mailbox is, or a part of it that was
        too large for a letter; `SubstrateError` when nobody can tell.
        """
        letter = await self._letters.get(sequence)
        if letter.left_out:
            parts = " and ".join(sorted(letter.left_out))
            raise ReplayRefusedError(
                sequence,
                f"{parts} of the original were too large for the letter, and message {letter.stream_sequence} of "
                f"stream {letter.stream!r} is gone; publish it again from where it came from",
            )
        if not await self._letters.has_mailbox(letter):
            raise ReplayRefusedError(
                sequence,
                f"stream {letter.stream!r} has no durable {letter.durable!r} that takes {letter.topic!r}, so it would "
                "reach nobody; start the service that had it ('callboard run'), or discard the letter",
            )
        return letter

    async def replay(self, sequence: int) -> Receipt:
        """Publish one letter's original again; once it is stored, the letter is removed.

        Raises what `check` raises, and what `BrokerTransport.publish` does: the letter stays then. Cancelling leaves
        the letter, and the outcome of the publish unknown; doing it again is safe.
        """
        letter = await self.check(sequence)
        await self._turn()
        span = self._instrumentation.send(_Leaving.of(letter))
        carrier = letter.carrier if span is NO_SPAN else span.carrier
        try:
            span.link(letter.headers)
            frame = _frame(letter, carrier, reply=self._reply)
            receipt = await self._instrumentation.sending("send", letter.topic, self._transport.publish(frame))
            span.sent(frame.headers[wire.MESSAGE_ID], receipt.stream, receipt.sequence)
        except BaseException as error:
            span.fail(type(error).__name__, str(error))
            raise
        finally:
            span.end()
        await self._letters.remove(sequence)
        return receipt

    async def _turn(self) -> None:
        clock = self._transport.clock
        now = clock.time()
        wait, self._next = self._next - now, max(self._next, now) + self._pause
        if wait > 0:
            await clock.sleep(wait)


def _frame(letter: StoredLetter, carrier: Mapping[str, str], *, reply: bool) -> Frame:
    ended = _ENDED if reply else _ENDED | _REPLY
    headers = {
        name: value
        for name, value in letter.headers.items()
        if sendable(name, value) and name.lower() not in ended and not name.lower().startswith("nats-")
    }
    system = {
        wire.MESSAGE_ID: f"replay:{letter.sequence}:{letter.identifier}",
        wire.IDENTIFIER: str(letter.identifier),
        wire.TARGET: letter.durable,
        REPLAY_OF: f"{letter.stream}:{letter.stream_sequence}",
        EXPECTED_STREAM: letter.stream,
    }
    return Frame(letter.topic, headers | system | dict(carrier), letter.body)


@frozen
class _Leaving:
    """A replay as telemetry sees it: what goes out, in the letter's trace."""

    topic: str
    headers: Mapping[str, str]
    identifier: UUID
    stream: str
    durable: str
    sequence: int
    delivered: int
    body_size: int

    @classmethod
    def of(cls, letter: StoredLetter) -> Self:
        return cls(
            topic=letter.topic,
            headers=letter.carrier,
            identifier=letter.identifier,
            stream=letter.stream,
            durable=letter.durable,
            sequence=letter.stream_sequence,
            delivered=letter.attempts,
            body_size=len(letter.body),
        )
