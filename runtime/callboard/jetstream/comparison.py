"""The declarations against the server: what differs, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate, covers, overlap
from callboard.brokers.transport import Topology
from callboard.config import StreamSettings
from callboard.errors import StreamLostError
from callboard.jetstream.api import ConsumerInfo
from callboard.jetstream.difference import Difference, Remedy
from callboard.jetstream.durable import RECREATED, SERVICE, changes_of, first_start, kind_of, start_after
from callboard.jetstream.record import RecordedStream, TopologyRecord
from callboard.jetstream.snapshot import Snapshot, StreamInfo
from callboard.jetstream.stream import Home, StreamSpec, home_of, own_streams, shown

__all__ = ["Comparison", "DurablePlan", "StreamPlan", "TopologyPlan"]


@frozen
class StreamPlan:
    """A stream that is needed."""

    name: str
    found: StreamInfo | None
    spec: StreamSpec | None = None
    """What is created when it is missing."""
    changes: Mapping[str, Any] = {}
    """Fields to write, in the server's words."""
    differences: tuple[Difference, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a person has to do something first."""
        return any(difference.remedy is Remedy.REFUSE for difference in self.differences)


@frozen
class DurablePlan:
    """A mailbox's durable."""

    spec: MailboxSpec
    streams: tuple[StreamPlan, ...]
    """Where its topics are; more than one only when it is refused."""
    found: ConsumerInfo | None = None
    start: Mapping[str, Any] = {}
    """Where it begins when it is created."""
    recreated: Mapping[str, str] = {}
    """Metadata of one that was lost."""
    former: str | None = None
    """The durable that it takes over from, which is deleted."""
    differences: tuple[Difference, ...] = ()

    @property
    def stream(self) -> str:
        """The name of its stream."""
        return self.streams[0].name

    @property
    def refused(self) -> bool:
        """Whether it or its stream is."""
        mine = any(difference.remedy is Remedy.REFUSE for difference in self.differences)
        return mine or any(stream.refused for stream in self.streams)


@frozen
class TopologyPlan:
    """Everything that a service needs."""

    streams: tuple[StreamPlan, ...]
    durables: tuple[DurablePlan, ...]
    orphans: tuple[Difference, ...] = ()

    @property
    def every_stream(self) -> list[StreamPlan]:
        """Those of the mailboxes too, each once."""
        plans = (*self.streams, *(stream for durable in self.durables for stream in durable.streams))
        return list({(plan.name, *map(str, plan.differences)): plan for plan in plans}.values())

    @property
    def differences(self) -> list[Difference]:
        """All of them, streams first, each once."""
        found = [difference for stream in self.every_stream for difference in stream.differences]
        found += [difference for durable in self.durables for difference in durable.differences]
        found += self.orphans
        return list({str(difference): difference for difference in found}.values())


class Comparison:
    """Compares one snapshot of the server."""

    def __init__(self, snapshot: Snapshot, record: TopologyRecord, settings: StreamSettings) -> None:
        self._snapshot = snapshot
        self._record = record
        self._settings = settings
        self._missing: dict[str, StreamPlan] = {}
        """Plans of streams that do not hold their topics yet, by name."""
        self._recorded: list[RecordedStream] | None = None

    async def topology(self, topology: Topology) -> TopologyPlan:
        """What a service needs, our own streams first."""
        own = [await self.own(spec) for spec in own_streams(self._settings)]
        published = [await self.stream(_filter(topic)) for topic in topology.publishes]
        durables = [await self.durable(spec) for spec in topology.mailboxes]
        return TopologyPlan((*own, *published), tuple(durables))

    # Streams

    async def stream(self, topics: str) -> StreamPlan:
        """The stream that holds every topic of a filter, or would."""
        holders = await self._snapshot.holders(topics)
        home = home_of(topics, self._settings)
        for info in holders:
            if any(covers(subject, topics) for subject in info.subjects):
                # An operator's stream under another name is used as it is.
                return _existing(info, home.stream) if info.name == home.stream.name else StreamPlan(info.name, info)
        if holders:
            note = f"holds only a part of {topics!r}; let it hold all, or narrow the handler's topic"
            return _refused(holders[0].name, note, holders[0])
        if home.stream.name not in self._missing:
            self._missing[home.stream.name] = await self._missing_plan(home, topics)
        return self._missing[home.stream.name]

    async def own(self, spec: StreamSpec) -> StreamPlan:
        """A stream of ours."""
        info = await self._snapshot.stream(spec.name)
        if info is None:
            return await self._lost(spec, spec.subjects[0]) or _created(spec)
        if not all(any(covers(held, subject) for held in info.subjects) for subject in spec.subjects):
            return _refused(spec.name, "", info, ("subjects", info.subjects, spec.subjects))
        return _existing(info, spec)

    async def _missing_plan(self, home: Home, topics: str) -> StreamPlan:
        spec = home.stream
        if (lost := await self._lost(spec, topics)) is not None:
            return lost
        info = await self._snapshot.stream(spec.name)
        if info is not None and any(covers(subject, topics) for subject in info.subjects):
            return _existing(info, spec)  # another process has made it just now
        others = await self._others(spec)
        if others or (info is not None and not home.mapped):
            return _refused(spec.name, _in_the_way(spec, topics, info, others), info)
        if info is None:
            return _created(spec)
        more = [subject for subject in spec.subjects if not any(covers(held, subject) for held in info.subjects)]
        kept = [held for held in info.subjects if not any(covers(subject, held) for subject in more)]
        subjects = [*kept, *more]
        return _changed(info, spec, {"subjects": subjects, **spec.changes(info.config)})

    async def _others(self, spec: StreamSpec) -> list[str]:
        """Streams of other names that hold a part of what this one is to hold."""
        holders = [info.name for subject in spec.subjects for info in await self._snapshot.holders(subject)]
        return [name for name in holders if name != spec.name]

    async def _lost(self, spec: StreamSpec, topics: str) -> StreamPlan | None:
        """A refusal when a recorded stream held these topics that is gone."""
        if self._recorded is None:
            self._recorded = await self._record.streams()
        for recorded in self._recorded:
            held = recorded.name == spec.name or any(overlap(subject, topics) for subject in recorded.subjects)
            if held and await self._snapshot.stream(recorded.name) is None:
                error = StreamLostError(recorded.name, f"{recorded.at[:19]}Z", topics)
                lost = Difference(Remedy.REFUSE, "stream", recorded.name, recorded.name, note=error.rule, error=error)
                return StreamPlan(recorded.name, None, differences=(lost,))
        return None

    # Durables

    async def durable(self, spec: MailboxSpec) -> DurablePlan:
        """A mailbox's durable in its stream."""
        by_topic = {topics: await self.stream(topics) for topics in spec.filters}
        stream, *more = {plan.name: plan for plan in by_topic.values()}.values()
        streams = (stream, *more)
        if more:
            places = ", ".join(f"{topics!r} is in {plan.name}" for topics, plan in by_topic.items())
            note = f"would need several streams ({places}); subscribe to each one's topics in a group of their own"
            return DurablePlan(spec, streams, differences=(_durable(Remedy.REFUSE, spec, "", note),))
        if stream.refused or stream.found is None:
            created = () if stream.refused else (_durable(Remedy.CREATE, spec, stream.name),)
            return DurablePlan(spec, streams, start=first_start(spec), differences=created)
        if (owned := await self._owned(spec, stream.name)) is not None:
            return DurablePlan(spec, streams, differences=(owned,))
        found = await self._snapshot.consumer(stream.name, spec.durable)
        if found is None:
            return await self._missing_durable(spec, stream, stream.found)
        return DurablePlan(spec, streams, found, differences=tuple(_changes(found, spec, stream.name)))

    async def _owned(self, spec: MailboxSpec, stream: str) -> Difference | None:
        """A command or query has one owner: a refusal when another service has it."""
        if not spec.kind.unicast:
            return None
        for consumer in (await self._snapshot.consumers(stream)).values():
            owner = consumer.metadata.get(SERVICE)
            if owner == spec.service or (kind := kind_of(consumer)) is None or not kind.unicast:
                continue
            if any(overlap(topics, spec.template.filter) for topics in consumer.filters):
                note = (
                    f"{spec.kind.value} {spec.template.text!r} belongs to the service {owner!r}, this one is "
                    f"{spec.service!r}; give it another topic, run under --name {owner}, or delete the durable "
                    f"{consumer.name!r}"
                )
                return _durable(Remedy.REFUSE, spec, stream, note)
        return None

    async def _missing_durable(self, spec: MailboxSpec, stream: StreamPlan, info: StreamInfo) -> DurablePlan:
        former = spec.former_durable
        old = None if former in {None, spec.durable} else await self._snapshot.consumer(stream.name, str(former))
        if old is not None:
            note = f"takes over from {old.name!r} after message {old.ack_floor}"
            differences = (_durable(Remedy.CREATE, spec, stream.name, note),)
            start = start_after(old.ack_floor)
            return DurablePlan(spec, (stream,), start=start, former=old.name, differences=differences)
        floor = await self._record.floor(stream.name, spec.durable, info.incarnation)
        if floor is None:
            created = (_durable(Remedy.CREATE, spec, stream.name),)
            return DurablePlan(spec, (stream,), start=first_start(spec), differences=created)
        begin = min(floor, info.last)  # a stream that lost its end in a crash gives those numbers again
        note = f"it was there; made again after message {begin}, up to which everything was acknowledged"
        return DurablePlan(
            spec,
            (stream,),
            start=start_after(begin),
            recreated={RECREATED: str(info.last)},
            differences=(_durable(Remedy.CREATE, spec, stream.name, note),),
        )

    async def orphans(self, specs: Iterable[MailboxSpec]) -> list[Difference]:
        """Durables of these mailboxes' services that nothing declares any more, on all streams."""
        declared = {name for spec in specs for name in (spec.durable, spec.former_durable)}
        services = {spec.service for spec in specs if spec.kind is not Kind.GROUP}
        found: list[Difference] = []
        for stream in await self._snapshot.names():
            for consumer in (await self._snapshot.consumers(stream)).values():
                mine = consumer.metadata.get(SERVICE) in services and kind_of(consumer) not in {None, Kind.GROUP}
                if mine and consumer.name not in declared:
                    waiting = consumer.pending + consumer.unsettled
                    note = f"{waiting} messages wait in it"
                    found.append(Difference(Remedy.PRUNE, "durable", consumer.name, stream, note=note))
        return found


def _filter(topic: str) -> str:
    return TopicTemplate.parse(topic).filter if "{" in topic else topic


def _created(spec: StreamSpec) -> StreamPlan:
    note = f"for {', '.join(spec.subjects)}"
    return StreamPlan(
        spec.name, None, spec, differences=(Difference(Remedy.CREATE, "stream", spec.name, spec.name, note=note),)
    )


def _existing(info: StreamInfo, spec: StreamSpec) -> StreamPlan:
    return _changed(info, spec, spec.changes(info.config))


def _changed(info: StreamInfo, spec: StreamSpec, changes: Mapping[str, Any]) -> StreamPlan:
    differences = [
        Difference(
            Remedy.CHANGE, "stream", info.name, info.name, name, shown(name, info.config.get(name)), shown(name, value)
        )
        for name, value in changes.items()
    ]
    return StreamPlan(info.name, info, spec, changes, tuple(differences))


def _refused(
    name: str, note: str, info: StreamInfo | None, field: tuple[str, Any, Any] = ("", None, None)
) -> StreamPlan:
    difference = Difference(Remedy.REFUSE, "stream", name, name, *field, note=note)
    return StreamPlan(name, info, differences=(difference,))


def _in_the_way(spec: StreamSpec, topics: str, info: StreamInfo | None, others: list[str]) -> str:
    """Why a stream cannot be created."""
    reason = (
        f"the stream {others[0]!r} holds a part of its subjects {', '.join(spec.subjects)}"
        if others or info is None
        else f"one of this name exists with the subjects {', '.join(info.subjects) or 'none'}"
    )
    return (
        f"cannot be created for the topic {topics!r}: {reason}; rename the topic's first token, map it to a stream in "
        "'streams.topics', or let a stream of yours hold the whole topic"
    )


def _durable(remedy: Remedy, spec: MailboxSpec, stream: str, note: str = "") -> Difference:
    return Difference(remedy, "durable", spec.durable, stream, note=note)


def _changes(found: ConsumerInfo, spec: MailboxSpec, stream: str) -> Iterator[Difference]:
    for field, (server, code) in changes_of(found, spec).items():
        remedy, note = Remedy.CHANGE, ""
        if field in {"ack_policy", "deliver_subject"}:
            remedy, note = Remedy.REFUSE, "a mailbox needs it and it cannot be changed: delete the durable"
        values = shown(field, server), shown(field, code)
        yield Difference(remedy, "durable", found.name, stream, field, *values, note=note)
