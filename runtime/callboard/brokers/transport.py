"""What a message system must offer so that actors can run on it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

from attrs import define, frozen

from callboard.brokers.attempts import Attempts
from callboard.brokers.deadletter import DeadLetters
from callboard.brokers.delivery import BrokerDelivery
from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.reply import ReplyRules
from callboard.brokers.subscriber import BrokerSubscriber
from callboard.brokers.wire import Frame
from callboard.clock import SYSTEM_CLOCK, Clock
from callboard.config import INBOX, Config, ReplySettings
from callboard.lifecycle import Resource
from callboard.statistics import Statistics

__all__ = ["BrokerTransport", "Receipt", "ReplyBox", "ReplyFrame", "Tick", "Topology"]

Tick = Callable[[float], Iterable[BrokerDelivery]]
"""Called with the loop's time about ten times a second; answers with the deliveries whose lease is due."""


@frozen
class Receipt:
    """Proof that a message is stored."""

    topic: str
    identifier: str
    stream: str
    sequence: int
    duplicate: bool
    """Whether the stream held the same message already; it then keeps the first copy."""


@define
class ReplyFrame:
    """A reply as it came in."""

    headers: Mapping[str, str]
    body: bytes


class ReplyBox:
    """A private reply topic that nobody else listens on. A transport puts in what arrives; one reader at a time."""

    __slots__ = ("_arrived", "_close", "_replies", "topic")

    def __init__(self, topic: str, close: Callable[[], object]) -> None:
        self.topic = topic
        self._close = close
        self._replies: deque[ReplyFrame] = deque()
        self._arrived: asyncio.Future[None] | None = None

    def put(self, reply: ReplyFrame) -> None:
        """Take a reply in."""
        self._replies.append(reply)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def get(self) -> ReplyFrame:
        """The next reply. Cancelling loses nothing."""
        while not self._replies:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        return self._replies.popleft()

    def close(self) -> None:
        """Stop listening: what comes later reaches nobody."""
        self._close()


@frozen
class Topology:
    """What a service needs to exist before it runs."""

    mailboxes: Sequence[MailboxSpec]
    publishes: Sequence[str]
    """Topics that its actors publish to."""


class BrokerTransport(Resource):
    """A connection to a message system, shared by everything in a process."""

    attempts: Attempts
    dead_letters: DeadLetters
    statistics: Statistics
    """What its mailboxes and its timer count: its own, unless whoever has an instrumentation sets that one's."""
    clock: Clock = SYSTEM_CLOCK
    """What leases, deadlines and delays go by."""
    inbox_prefix: str = INBOX
    """What the topics of its reply boxes begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics = Statistics()
        self.reply_rules = ReplyRules(ReplySettings())
        """Where replies may go; `System` sets what its configuration says."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Config) -> Self:
        """The transport that a configuration describes, not set up yet."""

    @property
    @abstractmethod
    def servers(self) -> str:
        """Addresses, without secrets, for errors and logs."""

    @abstractmethod
    async def publish(self, frame: Frame) -> Receipt:
        """Store a message.

        Retried with the same `Nats-Msg-Id` for at least 15 s while the outcome is unknown. Raises
        `MessageTooLargeError` before anything is sent, `NoStreamError` or another `PublishRefusedError` when it
        is certainly not stored, `PublishUnknownError` when the outcome stayed unknown. Cancelling leaves the
        outcome unknown.
        """

    @abstractmethod
    async def send(self, frame: Frame) -> None:
        """Send to an inbox, without storing and without acknowledgement."""

    @abstractmethod
    def reply_box(self) -> ReplyBox:
        """A new private reply topic. What is sent to it arrives once the transport is set up."""

    def is_inbox(self, topic: str) -> bool:
        """Whether replies to this topic go directly to a listener instead of through a stream."""
        return self.reply_rules.is_inbox(topic)

    def awaits(self, reply_topic: str) -> bool:  # noqa: ARG002
        """Whether a reply there is awaited in this very process."""
        return False

    @abstractmethod
    async def check_handled(self, topic: str) -> None:
        """Raises `NoStreamError` or `NoHandlerError` when nobody would handle a request to `topic`."""

    @abstractmethod
    async def prepare(self, topology: Topology) -> None:
        """Create or reconcile what a service needs. Raises `TopologyError` when the server contradicts it."""

    @abstractmethod
    async def remove(self, mailboxes: Sequence[MailboxSpec]) -> None:
        """Delete the durables of mailboxes; what waits in them stays in its stream. Missing ones are no error."""

    @abstractmethod
    def subscriber(self, mailboxes: Sequence[MailboxSpec]) -> BrokerSubscriber:
        """Mailboxes that share one intake. Their topology is prepared before they are set up."""

    async def announce(self, service: str, mailboxes: Sequence[MailboxSpec], statistics: Statistics) -> None:
        """Let the tools of the message system find a service that runs here, until the transport is destroyed.

        `statistics` are read whenever somebody asks. Raises nothing: where it cannot be announced it runs all the same.
        A transport without such tools does nothing, as this one.
        """

    async def recover(self, token: str) -> BrokerDelivery | None:  # noqa: ARG002
        """The delivery that a process which died had in its hands, to be settled here.

        None when the message is gone, when `token` says nothing, and on transports whose deliveries end with their
        process: what was not settled comes again by itself. Raises `SubstrateError` when the transport is away.
        """
        return None

    @abstractmethod
    def watch(self, tick: Tick) -> Callable[[], None]:
        """Have `tick` called by the process's one timer, and renew the leases it names. The result ends it."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait while the connection lives. Raises `ConnectionLostError` when it is lost for good; one that can be
        restored is restored."""
