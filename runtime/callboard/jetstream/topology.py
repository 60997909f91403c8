"""Streams and durables: read, compare, and write only what the code names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC
from callboard.brokers.mailbox import Kind, MailboxSpec, Order, Start
from callboard.brokers.topic import TopicTemplate, covers, overlap
from callboard.config import Manage, StreamSettings
from callboard.errors import NoStreamError, TopologyError
from callboard.jetstream.api import STREAM_NAME_IN_USE, SUBJECTS_OVERLAP, ApiError, ConsumerInfo, JetStreamApi
from callboard.jetstream.attempts import BUCKET, BUCKET_STREAM

__all__ = ["Located", "TopologyManager", "answers", "stream_name"]

logger = logging.getLogger("callboard.topology")

NANOSECONDS = 1_000_000_000
DAY = 24 * 3600
MAX_ACK_PENDING = 100_000
"""Credit is ours; the server's limit only must not be in its way (delayed naks keep their place in it)."""


@frozen
class Located:
    """Where a mailbox is."""

    stream: str
    lease: float
    """The durable's `ack_wait` in seconds."""


def stream_name(topic: str) -> str:
    """The stream of a topic: its first token in capitals."""
    return re.sub(r"[^A-Z0-9_-]", "_", topic.split(".", maxsplit=1)[0].upper())


def kind_of(consumer: ConsumerInfo) -> Kind | None:
    """What a consumer is for; None for one that is no mailbox of ours."""
    try:
        return Kind(consumer.metadata.get("callboard.kind", ""))
    except ValueError:
        return None


def answers(consumer: ConsumerInfo, topic: str) -> bool:
    """Whether a request to `topic` finds somebody at this consumer who may answer."""
    kind = kind_of(consumer)
    return kind is not None and kind.answers and any(overlap(topics, topic) for topics in consumer.filters)


class TopologyManager:
    """Makes the server fit the declarations, or says what is in the way."""

    def __init__(self, api: JetStreamApi, options: StreamSettings | None = None) -> None:
        self._api = api
        self._options = options or StreamSettings()
        self.incarnations: dict[str, str] = {}
        """A mark of each stream's creation: a stream that was deleted and made again has another."""
        self._located: dict[MailboxSpec, Located] = {}

    async def locate(self, spec: MailboxSpec) -> Located:
        """Where a mailbox is; it is prepared when that has not happened yet."""
        if spec not in self._located:
            stream = await self._stream_of(spec)
            await self._check_owner(stream, spec)
            self._located[spec] = Located(stream, await self._durable(stream, spec))
        return self._located[spec]

    def forget(self, spec: MailboxSpec) -> None:
        """Look at the server again before this mailbox is used."""
        self._located.pop(spec, None)

    async def prepare(self, specs: Iterable[MailboxSpec], publishes: Iterable[str]) -> None:
        """Create what is missing and reconcile what is there. Raises `TopologyError`."""
        await self._own_streams()
        for topic in publishes:
            await self.stream_for(TopicTemplate.parse(topic).filter if "{" in topic else topic)
        for spec in specs:
            await self.locate(spec)

    # Streams

    async def _stream_of(self, spec: MailboxSpec) -> str:
        """The one stream that holds all topics of a mailbox."""
        streams = {topics: await self.stream_for(topics) for topics in spec.filters}
        if len(set(streams.values())) > 1:
            raise TopologyError(
                f"mailbox {spec.durable!r}",
                f"would need several streams ({', '.join(f'{t!r} is in {s}' for t, s in streams.items())}); "
                "subscribe to the topics of each stream in a group of their own",
            )
        return next(iter(streams.values()))

    async def remove(self, spec: MailboxSpec) -> None:
        """Delete the durable of a mailbox, if there is one."""
        self.forget(spec)
        for name in await self._api.streams_touching(spec.template.filter):
            await self._api.find(f"CONSUMER.DELETE.{name}.{spec.durable}")

    async def stream_for(self, topic_filter: str) -> str:
        """The stream that holds a topic, created when there is none."""
        if (existing := await self.find_stream(topic_filter)) is not None:
            return existing
        name, tokens = self._home(topic_filter.split(".", maxsplit=1)[0])
        subjects = [subject for token in tokens for subject in (token, f"{token}.>")]
        if self._options.manage is not Manage.MANAGE:
            raise NoStreamError(topic_filter)
        try:
            info = await self._api.call(f"STREAM.CREATE.{name}", self._stream_config(name, subjects))
        except ApiError as error:
            if error.err_code not in {STREAM_NAME_IN_USE, SUBJECTS_OVERLAP}:
                raise
            raise TopologyError(
                f"stream {name!r}",
                f"cannot be created for the topic {topic_filter!r}: {error.description}; "
                "rename the topic's first token, or let a stream of yours hold the whole topic",
            ) from error
        self._remember(name, info)
        logger.info("created stream %s for %s", name, ", ".join(subjects))
        return name

    def _home(self, first: str) -> tuple[str, list[str]]:
        """The stream for topics with this first token, and all first tokens that it is to hold."""
        topics = self._options.topics
        name = topics.get(first) or stream_name(first)
        return name, sorted({first, *(token for token, stream in topics.items() if stream == name)})

    async def find_stream(self, topic_filter: str) -> str | None:
        """The stream that holds every topic of the filter. Raises `TopologyError` when one holds only some."""
        names = await self._api.streams_touching(topic_filter)
        for name in names:
            info = await self._api.call(f"STREAM.INFO.{name}")
            subjects: list[str] = info["config"].get("subjects") or []
            if any(covers(subject, topic_filter) for subject in subjects):
                self._remember(name, info)
                return name
        if names:
            raise TopologyError(
                f"stream {names[0]!r}",
                f"holds only a part of {topic_filter!r}; let it hold all, or narrow the handler's topic",
            )
        return None

    def _remember(self, name: str, info: dict[str, Any]) -> None:
        self.incarnations[name] = re.sub(r"\D", "", str(info["created"]))[:17]

    def _stream_config(self, name: str, subjects: list[str]) -> dict[str, Any]:
        return {
            "name": name,
            "subjects": subjects,
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "max_age": int(self._options.max_age * NANOSECONDS),
            "duplicate_window": int(self._options.duplicate_window * NANOSECONDS),
            "num_replicas": self._options.replicas,
            "allow_direct": True,
            "allow_msg_ttl": True,
        }

    async def _own_streams(self) -> None:
        """The stream of dead letters and the bucket of what we remember."""
        dead = {
            **self._stream_config(DEAD_STREAM, [f"{DEAD_TOPIC}.>"]),
            "max_age": 0,
            "discard": "new",
        }
        bucket = {
            "name": BUCKET_STREAM,
            "subjects": [f"$KV.{BUCKET}.>"],
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_age": int((self._options.max_age + DAY) * NANOSECONDS),
            "num_replicas": self._options.replicas,
            "allow_direct": True,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_msg_ttl": True,
        }
        for config in (dead, bucket) if self._options.manage is Manage.MANAGE else ():
            if await self._api.find(f"STREAM.INFO.{config['name']}") is None:
                await self._api.call(f"STREAM.CREATE.{config['name']}", config)

    # Durables

    async def _check_owner(self, stream: str, spec: MailboxSpec) -> None:
        """A command or query has one owner. Raises `TopologyError` when another service has it."""
        if not spec.kind.unicast:
            return
        for consumer in await self._api.consumers(stream):
            kind, owner = kind_of(consumer), consumer.metadata.get("callboard.service")
            if kind is None or not kind.unicast or owner == spec.service:
                continue
            if any(overlap(topics, spec.template.filter) for topics in consumer.filters):
                raise TopologyError(
                    f"{spec.kind.value} {spec.template.text!r}",
                    f"belongs to the service {owner!r}, this one is {spec.service!r}; give it another topic, "
                    f"run under --name {owner}, or delete the durable {consumer.name!r}",
                )

    async def _durable(self, stream: str, spec: MailboxSpec) -> float:
        """Create or reconcile a durable; its `ack_wait` in seconds."""
        wanted = _consumer_config(spec)
        found = await self._consumer(stream, spec.durable)
        if found is None:
            consumer = await self._create_durable(stream, spec, wanted)
        else:
            consumer = await self._reconcile(stream, found, wanted)
        return float(consumer.config["ack_wait"]) / NANOSECONDS

    async def _consumer(self, stream: str, name: str) -> ConsumerInfo | None:
        info = await self._api.find(f"CONSUMER.INFO.{stream}.{name}")
        return None if info is None else ConsumerInfo.of(info)

    async def _create_durable(self, stream: str, spec: MailboxSpec, wanted: dict[str, Any]) -> ConsumerInfo:
        if self._options.manage is not Manage.MANAGE:
            raise TopologyError(
                f"durable {spec.durable!r}",
                f"is missing on stream {stream!r}, and 'streams.manage' is {self._options.manage.value!r}: create it, "
                "or let Callboard manage the server",
            )
        former = spec.former_durable
        old = None if former in {None, spec.durable} else await self._consumer(stream, str(former))
        start: dict[str, Any] = {"deliver_policy": "all" if spec.start is Start.FIRST else "new"}
        if old is not None:
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": old.ack_floor + 1}
        created = await self._write(stream, spec.durable, {**wanted, **start}, "create")
        logger.info("created durable %s on %s: %d messages wait", spec.durable, stream, created.pending)
        if old is not None:
            await self._api.find(f"CONSUMER.DELETE.{stream}.{old.name}")
        return created

    async def _reconcile(self, stream: str, found: ConsumerInfo, wanted: dict[str, Any]) -> ConsumerInfo:
        config = found.config
        if config.get("deliver_subject") or config.get("ack_policy") != "explicit":
            raise TopologyError(
                f"durable {found.name!r}",
                f"has ack_policy={config.get('ack_policy')!r} and deliver_subject={config.get('deliver_subject')!r}, "
                "a mailbox needs 'explicit' and none; both cannot be changed: delete the durable",
            )
        changes = {name: value for name, value in wanted.items() if name != "metadata" and config.get(name) != value}
        metadata = {**found.metadata, **wanted["metadata"]}
        if not changes and metadata == found.metadata:
            return found
        differences = ", ".join(f"{n}={config.get(n)} -> {v}" for n, v in changes.items())
        if self._options.manage is Manage.VERIFY and changes:
            raise TopologyError(f"durable {found.name!r}", f"differs from the code: {differences}")
        if self._options.manage is not Manage.MANAGE:
            return found
        logger.info("durable %s: %s", found.name, differences)
        kept = {name: value for name, value in config.items() if name not in {"filter_subject", "filter_subjects"}}
        return await self._write(stream, found.name, {**kept, **wanted, "metadata": metadata}, "update")

    async def _write(self, stream: str, durable: str, config: dict[str, Any], action: str) -> ConsumerInfo:
        request = {"stream_name": stream, "config": config, "action": action}
        return ConsumerInfo.of(await self._api.call(f"CONSUMER.CREATE.{stream}.{durable}", request))


def _consumer_config(spec: MailboxSpec) -> dict[str, Any]:
    """What the code names; everything else is the server's or the operator's."""
    filters = {"filter_subjects": list(spec.filters)} if spec.more else {"filter_subject": spec.template.filter}
    return {
        "name": spec.durable,
        "durable_name": spec.durable,
        **filters,
        "ack_policy": "explicit",
        "ack_wait": int(spec.ack_wait * NANOSECONDS),
        "max_deliver": -1,
        "max_ack_pending": 1 if spec.order is Order.STRICT else MAX_ACK_PENDING,
        "metadata": {
            "callboard.kind": spec.kind.value,
            "callboard.service": spec.service,
            "callboard.actor": spec.actor,
        },
    }
