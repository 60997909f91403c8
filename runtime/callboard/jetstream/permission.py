"""The least that an account has to allow a service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from attrs import field, frozen

from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC
from callboard.brokers.topic import TopicTemplate
from callboard.brokers.transport import Topology
from callboard.config import Config, Manage, ReplySettings, StreamSettings, resolved
from callboard.jetstream.adoption import ADVISORY_STREAM, DURABLE
from callboard.jetstream.attempts import BUCKET, BUCKET_STREAM
from callboard.jetstream.discovery import REQUESTS
from callboard.jetstream.stream import StreamSpec, home_of, own_streams

__all__ = ["Operation", "Permission", "permissions_of"]

ANY_TOPIC = ReplySettings().topics


class Operation(StrEnum):
    """What is allowed."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@frozen
class Permission:
    """Subjects for one purpose."""

    purpose: str
    subjects: Sequence[str]
    operation: Operation = Operation.PUBLISH
    optional: bool = field(default=False, kw_only=True)
    """Whether the service works without it; the purpose then says what is lost."""


def permissions_of(topology: Topology, config: Config) -> list[Permission]:
    """What a service needs, subject by subject, as its declarations and its configuration say; no server is asked.

    Each permission is used: what its handlers, or Callboard for them, would do without it fails or raises an alarm. Not
    in it is what nothing declares: topics that handlers publish to or ask without `publishes`, and replies to topics
    while `replies.topics` allows all.
    """
    return [permission for permission in _Service(topology, config).permissions() if permission.subjects]


class _Service:
    def __init__(self, topology: Topology, config: Config) -> None:
        self._settings: StreamSettings = config.streams
        self._replies = config.replies
        self._inbox = resolved(config.nats).inbox_prefix
        self._outputs = _unique(_filter(topic) for topic in topology.publishes)
        self._homes: dict[str, StreamSpec] = {}
        self._mapped = set(self._settings.topics.values())
        """Streams that take in topics which they do not hold yet."""
        self._mailboxes = [(self._stream(spec.template.filter), spec) for spec in topology.mailboxes]
        """Each with its stream."""
        self._read = _unique(stream for stream, _ in self._mailboxes)
        self._written = [name for name in _unique(map(self._stream, self._outputs)) if name not in self._read]

    def _stream(self, topics: str) -> str:
        home = home_of(topics, self._settings).stream
        self._homes[home.name] = home
        return home.name

    def permissions(self) -> Iterator[Permission]:
        yield from self._messages()
        yield from self._handling()
        yield from self._topology()
        if self._settings.manage is Manage.MANAGE:
            yield from self._management()
        yield from self._adoption()
        yield Permission("to hear acknowledgements, answers and messages", [f"{self._inbox}.>"], Operation.SUBSCRIBE)
        yield Permission(
            "optional: without it tools such as 'nats micro ls' list no actors",
            [REQUESTS],
            Operation.SUBSCRIBE,
            optional=True,
        )

    def _messages(self) -> Iterator[Permission]:
        inboxes = _unique(self._replies.inboxes)
        topics: Sequence[str] = () if self._replies.topics == ANY_TOPIC else self._replies.topics
        yield Permission("what its actors publish", self._outputs)
        yield Permission("answers to private inboxes ('replies.inboxes')", [f"{inbox}.>" for inbox in inboxes])
        yield Permission("answers to topics ('replies.topics')", _unique(topics))
        yield Permission(
            "optional: without it a connection that hears nothing any more is not noticed",
            [f"{self._inbox}.>"] if self._inbox not in inboxes else [],
            optional=True,
        )

    def _handling(self) -> Iterator[Permission]:
        yield Permission("to pull messages", self._calls("CONSUMER.MSG.NEXT.{}.{}"))
        yield Permission("to settle them", self._of_mailboxes("$JS.ACK.{}.{}.>"))
        yield Permission("failed attempts", [f"$KV.{BUCKET}.attempts.{name}.>" for name in self._durables()])
        yield Permission("dead letters", [f"{DEAD_TOPIC}.{name}" for name in self._durables()])
        yield Permission("how far mailboxes have come", self._of_mailboxes(f"$KV.{BUCKET}.durables.{{}}.{{}}"))
        yield Permission("to read that, and what was lost", self._calls("CONSUMER.INFO.{}.{}"))
        yield Permission(
            "how long messages have waited, and what a worker that died was running",
            [f"$JS.API.STREAM.MSG.GET.{name}" for name in self._read],
        )

    def _topology(self) -> Iterator[Permission]:
        streams = [*self._read, *self._written]
        yield Permission(
            "streams and durables, compared at the start",
            [
                "$JS.API.STREAM.NAMES",
                *(f"$JS.API.STREAM.INFO.{name}" for name in (*streams, BUCKET_STREAM, DEAD_STREAM)),
                *(f"$JS.API.CONSUMER.LIST.{name}" for name in self._read),
            ],
        )
        yield Permission(
            "what is remembered of streams, durables and attempts",
            [
                f"$JS.API.STREAM.MSG.GET.{BUCKET_STREAM}",
                *(f"$KV.{BUCKET}.streams.{name}" for name in (*streams, DEAD_STREAM)),
            ],
        )
        yield Permission(
            "optional: without it handlers cannot ask (self.request) there",
            [f"$JS.API.CONSUMER.LIST.{name}" for name in self._written],
            optional=True,
        )

    def _management(self) -> Iterator[Permission]:
        specs = [*self._homes.values(), *own_streams(self._settings)]
        yield Permission(
            "to make and change streams and durables; not with 'streams.manage: verify'",
            [
                *(f"$JS.API.STREAM.CREATE.{spec.name}" for spec in specs),
                *(f"$JS.API.STREAM.UPDATE.{spec.name}" for spec in specs if spec.named or spec.name in self._mapped),
                *self._calls("CONSUMER.CREATE.{}.{}"),
            ],
        )
        former = [
            (stream, spec.former_durable)
            for stream, spec in self._mailboxes
            if spec.former_durable not in {None, spec.durable}
        ]
        yield Permission(
            "to take over from durables of former names ('renamed_from')",
            [
                *(f"$JS.API.CONSUMER.{verb}.{stream}.{name}" for stream, name in former for verb in ("INFO", "DELETE")),
                *([f"$JS.API.STREAM.PURGE.{BUCKET_STREAM}"] if former else []),
            ],
        )

    def _adoption(self) -> Iterator[Permission]:
        calls = ["CONSUMER.INFO", "CONSUMER.MSG.NEXT"]
        made: list[str] = []
        if self._settings.manage is Manage.MANAGE:
            calls.append("CONSUMER.CREATE")
            made.append(f"$JS.API.STREAM.CREATE.{ADVISORY_STREAM}")
        yield Permission(
            "optional: without it messages whose deliveries an operator limits ('max_deliver') leave no dead letter",
            [
                *made,
                *(f"$JS.API.{call}.{ADVISORY_STREAM}.{DURABLE}" for call in calls),
                f"$JS.ACK.{ADVISORY_STREAM}.{DURABLE}.>",
            ],
            optional=True,
        )

    def _calls(self, form: str) -> list[str]:
        return self._of_mailboxes(f"$JS.API.{form}")

    def _of_mailboxes(self, form: str) -> list[str]:
        return [form.format(stream, spec.durable) for stream, spec in self._mailboxes]

    def _durables(self) -> list[str]:
        return [spec.durable for _, spec in self._mailboxes]


def _filter(topic: str) -> str:
    return TopicTemplate.parse(topic).filter if "{" in topic else topic


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
