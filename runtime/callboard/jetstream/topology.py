"""Streams and durables: one comparison, which a start, `plan`, `apply` and `check` share."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Collection, Iterable
from contextlib import asynccontextmanager

from attrs import evolve, frozen

from callboard.brokers.mailbox import MailboxSpec
from callboard.brokers.transport import Topology
from callboard.config import Config, Manage, StreamSettings
from callboard.errors import CallboardError, SubstrateError, TopologyError
from callboard.jetstream.api import JetStreamApi
from callboard.jetstream.attempts import BUCKET_STREAM
from callboard.jetstream.comparison import Comparison, DurablePlan, StreamPlan, TopologyPlan
from callboard.jetstream.connection import ConnectionOptions, NatsConnection
from callboard.jetstream.difference import SEE, Difference, Remedy, refuse
from callboard.jetstream.durable import seen_before
from callboard.jetstream.reconciliation import Reconciliation
from callboard.jetstream.record import TopologyRecord
from callboard.jetstream.snapshot import Snapshot, StreamInfo
from callboard.jetstream.stream import NANOSECONDS, bucket_of

__all__ = ["Located", "Outcome", "TopologyManager", "topology_of"]

logger = logging.getLogger("callboard.topology")


@frozen
class Located:
    """Where a mailbox is."""

    stream: str
    lease: float
    """The durable's `ack_wait` in seconds."""
    seen_before: int = 0
    """Messages of the stream up to here may have been attempted before, also when the server says that they were not:
    their durable was lost, and made again. 0 for one that never was."""


@frozen
class Outcome:
    """What became of a difference."""

    difference: Difference
    reason: str = ""
    """Why it is still there; empty when it is gone."""

    @property
    def done(self) -> bool:
        """Whether the server is now as the code wants it."""
        return not self.reason


class TopologyManager:
    """Makes the server fit the declarations, or says what is in the way."""

    def __init__(self, api: JetStreamApi, options: StreamSettings | None = None) -> None:
        self._api = api
        self._options = options or StreamSettings()
        self._writing = Reconciliation(api)
        self._located: dict[MailboxSpec, Located] = {}
        self.incarnations: dict[str, str] = {}
        """A mark of each stream's creation: a stream that was deleted and made again has another."""
        self.record = TopologyRecord(api, self.incarnations)

    # While a service runs

    async def locate(self, spec: MailboxSpec) -> Located:
        """Where a mailbox is; it is prepared when that has not happened yet. Raises `TopologyError`."""
        if spec not in self._located:
            comparison = self._comparison()
            bucket = await comparison.own(bucket_of(self._options))
            await self._carry_out(TopologyPlan((bucket,), (await comparison.durable(spec),)))
        return self._located[spec]

    def forget(self, spec: MailboxSpec) -> None:
        """Look at the server again before this mailbox is used."""
        self._located.pop(spec, None)

    async def prepare(self, specs: Iterable[MailboxSpec], publishes: Iterable[str]) -> None:
        """Create what is missing and reconcile what is there, as far as 'streams.manage' allows.

        Raises `TopologyError` with all that is in the way; nothing is written then.
        """
        fresh = [spec for spec in specs if spec not in self._located]
        await self._carry_out(await self._comparison().topology(Topology(fresh, list(publishes))))

    async def remove(self, spec: MailboxSpec) -> None:
        """Delete the durable of a mailbox, if there is one, and what is remembered of it."""
        self.forget(spec)
        for name in await self._api.streams_touching(spec.template.filter):
            # In this order: whoever still uses the durable sees that it is not to come back.
            await self.record.forget_durable(name, spec.durable)
            await self._api.find(f"CONSUMER.DELETE.{name}.{spec.durable}")

    async def removed(self, stream: str, durable: str) -> bool:
        """Whether a durable was removed on purpose: its stream is as it was, and nothing remembers it."""
        if await self._api.find(f"CONSUMER.INFO.{stream}.{durable}") is not None:
            return False
        if await self._api.find(f"STREAM.INFO.{stream}") is None:
            return False
        return await self.record.floor(stream, durable, self.incarnations.get(stream, "")) is None

    # For people

    async def plan(self, topology: Topology) -> list[Difference]:
        """All differences, also the durables that nothing declares any more. Nothing is written."""
        return (await self._plan(topology)).differences

    async def apply(self, topology: Topology, *, prune: bool = False, recreate: Collection[str] = ()) -> list[Outcome]:
        """Write what can be written, whatever 'streams.manage' says; one outcome for each difference.

        An object that is refused is left as it is. `prune` deletes the durables that nothing declares any more.
        `recreate` names lost streams that are created again; raises `TopologyError` for one that is not lost.
        """
        for name in recreate:
            await self._give_up(name)
        plan = await self._plan(topology)
        outcomes = [outcome for stream in plan.every_stream for outcome in await self._apply_stream(stream)]
        unmade = {o.difference.name for o in outcomes if not o.done and o.difference.blocks}
        for durable in plan.durables:
            outcomes += await self._apply_durable(durable, unmade)
        outcomes += [await self._apply_orphan(orphan, prune=prune) for orphan in plan.orphans]
        return list({str(outcome.difference): outcome for outcome in outcomes}.values())

    async def _plan(self, topology: Topology) -> TopologyPlan:
        comparison = self._comparison()
        plan = await comparison.topology(topology)
        return TopologyPlan(plan.streams, plan.durables, tuple(await comparison.orphans(topology.mailboxes)))

    async def _give_up(self, name: str) -> None:
        """A lost stream may be created again."""
        if await self.record.stream(name) is None or await self._api.find(f"STREAM.INFO.{name}") is not None:
            raise TopologyError(f"stream {name!r}", "is not lost: only a recorded stream that is missing is recreated")
        await self.record.forget_stream(name)

    async def _apply_stream(self, plan: StreamPlan) -> list[Outcome]:
        if plan.refused:
            return [Outcome(difference, difference.rule) for difference in plan.differences]
        return await _tried(self._make_stream(plan, write=True), plan.differences)

    async def _apply_durable(self, plan: DurablePlan, unmade: Collection[str]) -> list[Outcome]:
        if plan.stream in unmade:
            return [Outcome(difference, f"needs stream {plan.stream!r}") for difference in plan.differences]
        if plan.refused:
            return [Outcome(difference, difference.rule) for difference in plan.differences]
        return await _tried(self._make_durable(plan, write=True), plan.differences)

    async def _apply_orphan(self, orphan: Difference, *, prune: bool) -> Outcome:
        if not prune:
            return Outcome(orphan, "--prune deletes it")
        await self._writing.delete(orphan)
        await self.record.forget_durable(orphan.stream, orphan.name)
        return Outcome(orphan)

    # Both

    def _comparison(self) -> Comparison:
        return Comparison(Snapshot(self._api), self.record, self._options)

    def _judge(self, differences: Iterable[Difference]) -> None:
        """Raise for what is in the way of a start."""
        found, manage = list(differences), self._options.manage
        if manage is Manage.MANAGE:
            refuse(difference for difference in found if difference.remedy is Remedy.REFUSE)
            return
        why = f"; 'streams.manage' is {manage.value!r}"
        refuse((difference for difference in found if manage is Manage.VERIFY or difference.blocks), why)
        if found:
            text = "; ".join(map(str, found))
            logger.warning("the server differs from the code, and 'streams.manage' is 'off': %s; %s", text, SEE)

    async def _carry_out(self, plan: TopologyPlan) -> None:
        """Write what differs, where that is ours to do."""
        self._judge(plan.differences)
        write = self._options.manage is Manage.MANAGE
        for stream in plan.every_stream:
            await self._make_stream(stream, write=write)
        located = {durable.spec: await self._make_durable(durable, write=write) for durable in plan.durables}
        await self._api.check_pulls([(found.stream, spec.durable) for spec, found in located.items()])
        self._located.update(located)

    async def _make_stream(self, plan: StreamPlan, *, write: bool) -> None:
        if plan.found is not None and self.incarnations.get(plan.name) != plan.found.incarnation:
            await self._remember(plan.found)
        if write and plan.differences:
            await self._remember(await self._writing.stream(plan))

    async def _make_durable(self, plan: DurablePlan, *, write: bool) -> Located:
        consumer = plan.found
        if consumer is None or (write and plan.differences):
            consumer = await self._writing.durable(plan)
        if plan.found is None:
            # Also one that never acknowledges anything is found again where it began.
            await self.record.note_floor(plan.stream, consumer.name, self.incarnations[plan.stream], consumer.ack_floor)
        if plan.former is not None:
            await self.record.forget_durable(plan.stream, plan.former)
        lease = float(consumer.config["ack_wait"]) / NANOSECONDS
        return Located(plan.stream, lease, seen_before(consumer))

    async def _remember(self, info: StreamInfo) -> None:
        """Record a stream when it is first used, and say when it is another one than before."""
        if info.name == BUCKET_STREAM:
            return
        seen = (info.incarnation, info.subjects)
        recorded = await self.record.stream(info.name)
        if recorded is not None and recorded.incarnation != info.incarnation:
            logger.warning(
                "stream %s was deleted and made again since %s: what waited in the former one is gone, and what was "
                "remembered of its durables does not count any more",
                info.name,
                recorded.at,
            )
        if recorded is None or (recorded.incarnation, list(recorded.subjects)) != seen:
            await self.record.stream_created(info.name, *seen)
        self.incarnations[info.name] = info.incarnation


@asynccontextmanager
async def topology_of(config: Config) -> AsyncGenerator[TopologyManager]:
    """The topology on a connection of its own. Raises `NoServerError`."""
    options = evolve(ConnectionOptions.from_config(config), name="callboard topology")
    async with NatsConnection(options) as connection:
        yield TopologyManager(JetStreamApi(connection), config.streams)


async def _tried(work: Awaitable[object], differences: Iterable[Difference]) -> list[Outcome]:
    """Do it; what the server refuses is an outcome, a server that is away is not."""
    try:
        await work
    except SubstrateError:
        raise
    except CallboardError as error:
        return [Outcome(difference, str(error)) for difference in differences]
    return [Outcome(difference) for difference in differences]
