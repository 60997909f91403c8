"""How a system is: its actors and their mailboxes, and what follows from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from attrs import field, frozen

from callboard.brokers.status import Flow, MailboxStatus
from callboard.supervision import ChildSpec, State, Supervisor

__all__ = ["ActorStatus", "Readiness", "Status", "essential_names"]


class Readiness(StrEnum):
    """What is told to whoever asks whether a system is ready."""

    READY = "ready"
    DEGRADED = "degraded"
    """It works, and so counts as ready, but a part of it that may fail by itself does not: an actor that is not
    essential is down, or a mailbox is paused because what its handler needs is away."""
    NOT_READY = "not ready"


@frozen
class ActorStatus:
    """One actor of a service in this process, now."""

    service: str
    name: str
    state: State
    restarts: int
    """How often its present supervisor has started it again."""
    essential: bool
    """Whether the process ends when it cannot be kept running."""
    mailboxes: list[MailboxStatus]
    """All that it declares, in the order of its handlers."""

    @property
    def failures(self) -> Iterator[str]:
        """Why the system is not ready."""
        if self.essential and self.state is not State.RUNNING:
            yield f"{self.name} is {self.state.value} and essential"
        for mailbox in self.mailboxes:
            if mailbox.alarm:
                yield f"{self.name}: mailbox {mailbox.durable} stands still: {mailbox.alarm}"
            elif self.state is State.RUNNING and not mailbox.live:
                yield f"{self.name}: mailbox {mailbox.durable} has no live pull"

    @property
    def degradations(self) -> Iterator[str]:
        """What does not work without keeping the system from being ready."""
        if not self.essential and self.state is not State.RUNNING:
            yield f"{self.name} is {self.state.value}"
        for mailbox in self.mailboxes:
            if mailbox.flow is not Flow.OPEN:
                yield f"{self.name}: mailbox {mailbox.durable} is {mailbox.flow.value}"


@frozen
class Status:
    """A system in one process, now."""

    actors: list[ActorStatus] = field(factory=list[ActorStatus])
    """Of all its services, in start order."""
    started: bool = False
    """Whether all actors have been running at once."""
    draining: bool = False

    @property
    def readiness(self) -> Readiness:
        """Ready only when every actor runs and messages would arrive in every mailbox."""
        if next(self._failures(), ""):
            return Readiness.NOT_READY
        return Readiness.DEGRADED if next(self._degradations(), "") else Readiness.READY

    @property
    def reasons(self) -> list[str]:
        """Why it is not ready, or else degraded; empty when it is ready."""
        return [*self._failures(), *self._degradations()]

    @property
    def alarms(self) -> Mapping[str, str]:
        """Mailboxes that stand still until a person does something, by durable, with what is missing."""
        return {mailbox.durable: mailbox.alarm for actor in self.actors for mailbox in actor.mailboxes if mailbox.alarm}

    def _failures(self) -> Iterator[str]:
        if self.draining:
            yield "it is draining"
        elif not self.started:
            yield "it is starting"
        for actor in self.actors:
            yield from actor.failures

    def _degradations(self) -> Iterator[str]:
        for actor in self.actors:
            yield from actor.degradations


def essential_names(tree: Supervisor) -> set[str]:
    """The actors without which a service ends: what is said of a nested supervisor holds for its whole subtree."""
    return {spec.name for child in tree.children for spec in _essential(child)}


def _essential(spec: ChildSpec) -> Iterator[ChildSpec]:
    if not isinstance(spec.target, Supervisor):
        if spec.essential:
            yield spec
    elif spec.essential:
        yield from spec.target.walk()
    else:
        for child in spec.target.children:
            yield from _essential(child)
