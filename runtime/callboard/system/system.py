"""Supervised actors on one connection, in this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from attrs import evolve, frozen

from callboard.actors import ActorDeclaration, Cell, declaration_of
from callboard.brokers.configured import address_of, transport_of
from callboard.brokers.reply import ReplyRules
from callboard.brokers.status import MailboxStatus
from callboard.brokers.transport import BrokerTransport, Topology
from callboard.client.board import Board
from callboard.config import Config
from callboard.errors import ActorCrash, DeclarationError, InvalidArgumentError, did_you_mean
from callboard.instrumentation import Instrumentation
from callboard.routing.discovery import check_unicast
from callboard.routing.running import Running
from callboard.routing.solitude import Solitude
from callboard.supervision import ChildSpec, State, Supervisor, SupervisorRunner
from callboard.supervision.child import ChildState
from callboard.supervision.runner import Timing
from callboard.system.orphan import Orphan
from callboard.system.override import SETTINGS, check_actors, reconfigured
from callboard.system.provision import Provider, configured_providers, creator, providers
from callboard.system.recovery import Recovery
from callboard.system.status import ActorStatus, Readiness, Status, essential_names
from callboard.telemetry import OpenTelemetryInstrumentation

__all__ = ["Service", "System"]


@frozen
class Service:
    """A supervision tree under a name; event mailboxes belong to the name."""

    name: str
    tree: Supervisor


class System:
    """Runs supervision trees: `async with System(tree, name="flights") as system: ...`.

    Entering connects, opens the dependencies, prepares streams and durables, and starts the actors in order; it
    raises when the first start fails, with nothing left behind. Leaving drains: no new messages, running ones get
    `grace` seconds, the rest goes back to the stream; then dependencies and connection are closed.

    What is not given is as `config` says (without one: the environment and the defaults). Raises `ConfigError` and
    `DeclarationError` for what cannot work before anything is started.
    """

    def __init__(
        self,
        services: Supervisor | Sequence[Service],
        *,
        name: str | None = None,
        nats: str | None = None,
        grace: float | None = None,
        transport: BrokerTransport | None = None,
        instrumentation: Instrumentation | None = None,
        config: Config | None = None,
        running: Running | None = None,
    ) -> None:
        config = (config or Config()).over(name=name, nats=nats, grace=grace)
        self._config = config
        self._services = [Service(config.group, services)] if isinstance(services, Supervisor) else list(services)
        self._transport = transport or transport_of(config.over(name=",".join(s.name for s in self._services)))
        self._instrumentation = instrumentation or OpenTelemetryInstrumentation(
            server=address_of(self._transport), links=config.telemetry.links
        )
        self._providers: dict[type[Any], Provider] = {}
        for service in self._services:
            self._providers.update(providers(service.tree))
        self._providers.update(configured_providers(config))
        self._plans = {service.name: self._plan(service.tree) for service in self._services}
        if len(self._plans) < len(self._services):
            names = ", ".join(service.name for service in self._services)
            raise DeclarationError("System", f"each service has a name of its own, not {names}; put them into one tree")
        check_actors(config, [d.name for plan in self._plans.values() for d, _ in plan.values()])
        check_unicast(a for plan in self._plans.values() for d, _ in plan.values() for a in d.actions)
        topology = self.topology
        self._transport.statistics = self._instrumentation.statistics
        self._transport.reply_rules = ReplyRules(config.replies, self._transport.inbox_prefix)
        self._instrumentation.statistics.states = self._states
        self._instrumentation.declare([*(m.template.text for m in topology.mailboxes), *topology.publishes])
        self._resources: dict[type[Any], Any] = {}
        self._runners: list[SupervisorRunner] = []
        self._cells: dict[tuple[str, str], Cell] = {}
        """The present life of each actor, by service and name."""
        self._solitude = Solitude(running)
        self._closed_mailboxes = {
            (service, name): [
                MailboxStatus(box.durable, box.template.text) for _, box in declaration.mailboxes(service)
            ]
            for service, plan in self._plans.items()
            for name, (declaration, _) in plan.items()
        }
        """Each actor's mailboxes as they are while it does not run."""
        self._essential = {service.name: essential_names(service.tree) for service in self._services}
        self._started = self._draining = False
        self._stack: AsyncExitStack | None = None

    def _plan(self, tree: Supervisor) -> dict[str, tuple[ActorDeclaration, Callable[[Mapping[type[Any], Any]], Any]]]:
        """Each actor's declaration and how to make it. Raises before anything is started."""
        plan: dict[str, tuple[ActorDeclaration, Callable[[Mapping[type[Any], Any]], Any]]] = {}
        for spec in tree.walk():
            if not isinstance(spec.target, Supervisor):
                declaration = reconfigured(declaration_of(spec.target), self._config)
                settings = self._config.actors.get(declaration.name, {}).get(SETTINGS)
                plan[spec.name] = (declaration, creator(declaration, self._providers, settings))
        return plan

    @property
    def board(self) -> Board:
        """The door to publish and request on this system's connection."""
        return Board(self._transport, self._instrumentation)

    async def start(self, before_actors: Callable[[], Awaitable[None]] | None = None) -> None:
        """Connect and start everything. Raises what stood in the way, with nothing left behind.

        `before_actors` is awaited between the two: connection, streams and durables are there, and no mailbox is open.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._transport)
            for kind, opener in self._providers.items():
                self._resources[kind] = await stack.enter_async_context(opener())
            stack.callback(self._resources.clear)
            await self._transport.prepare(self.topology)
            if before_actors is not None:
                await before_actors()
            for service in self._services:
                clock = self._transport.clock
                runner = SupervisorRunner(
                    service.tree,
                    partial(self._cell, service.name),
                    instrumentation=self._instrumentation,
                    timing=Timing(sleep=clock.sleep, now=clock.time),
                )
                self._runners.append(runner)
                await runner.start()
                stack.push_async_callback(runner.stop, self._config.grace)
            await self._announce()
            self._started = True
            self._stack = stack.pop_all()

    async def _announce(self) -> None:
        """Let the tools of the message system list what runs here."""
        statistics = self._instrumentation.statistics
        for service, plan in self._plans.items():
            mailboxes = [mailbox for declaration, _ in plan.values() for _, mailbox in declaration.mailboxes(service)]
            await self._transport.announce(service, mailboxes, statistics)

    @property
    def topology(self) -> Topology:
        """The mailboxes and topics of all its actors; there is no need to be connected. Raises `DeclarationError`."""
        mailboxes = [
            mailbox
            for service in self._services
            for declaration, _ in self._plans[service.name].values()
            for _, mailbox in declaration.mailboxes(service.name)
        ]
        durables = {mailbox.durable: mailbox for mailbox in mailboxes}
        if len(durables) != len(mailboxes):
            raise DeclarationError("System", "an event topic stands twice in one actor; one handler each is enough")
        publishes = [
            topic
            for plan in self._plans.values()
            for declaration, _ in plan.values()
            for topic in declaration.publishes
        ]
        return Topology(mailboxes, publishes)

    @property
    def declarations(self) -> Mapping[str, Sequence[ActorDeclaration]]:
        """What its actors declare, as the configuration changed it, by service."""
        return {service: [declaration for declaration, _ in plan.values()] for service, plan in self._plans.items()}

    def recovery(self, *, note: Callable[[Orphan], None], settled: Callable[[Orphan], None]) -> Recovery:
        """What settles messages of workers that died, on this system's connection and by its handlers' policies."""
        handlers = {
            mailbox.durable: (action, mailbox)
            for service in self._services
            for declaration, _ in self._plans[service.name].values()
            for action, mailbox in declaration.mailboxes(service.name)
        }
        return Recovery(self._transport, handlers, self._instrumentation, note=note, settled=settled)

    def status(self) -> Status:
        """How it is now, each actor and each mailbox: to be asked from its event loop, as often as wanted.

        Before `start` and after `stop` its actors are stopped.
        """
        actors: list[ActorStatus] = []
        runners = dict(zip((service.name for service in self._services), self._runners, strict=False))
        for service, plan in self._plans.items():
            runner = runners.get(service)
            states = {} if runner is None else {child.name: child for child in runner.states()}
            actors += [self._actor(service, name, states.get(name)) for name in plan]
        return Status(actors, self._started, self._draining)

    def _actor(self, service: str, name: str, child: ChildState | None) -> ActorStatus:
        cell = self._cells.get((service, name))
        present = {} if cell is None else {mailbox.durable: mailbox for mailbox in cell.status()}
        return ActorStatus(
            service,
            name,
            State.STOPPED if child is None else child.state,
            0 if child is None else child.restarts,
            name in self._essential[service],
            [self._counted(present.get(box.durable, box)) for box in self._closed_mailboxes[service, name]],
        )

    def _counted(self, mailbox: MailboxStatus) -> MailboxStatus:
        counted = self._instrumentation.statistics.mailboxes.get(mailbox.durable)
        return mailbox if counted is None else evolve(mailbox, lag=counted.lag_now)

    @property
    def starting(self) -> Sequence[str]:
        """Names of actors that are about to run."""
        return [each.name for runner in self._runners for each in runner.states() if each.state is State.STARTING]

    @property
    def alarms(self) -> Mapping[str, str]:
        """Mailboxes that stand still until a person does something, by durable, with what is missing."""
        return self.status().alarms

    @property
    def ready(self) -> bool:
        """Whether it works, be it degraded: see `Readiness`."""
        return self.status().readiness is not Readiness.NOT_READY

    def _states(self) -> Mapping[tuple[str, str], int]:
        """How many actors of a name are in each state."""
        found: Counter[tuple[str, str]] = Counter()
        for child in (child for runner in self._runners for child in runner.states()):
            found.update({(child.name, state.value): int(child.state is state) for state in State})
        return found

    def _cell(self, service: str, spec: ChildSpec) -> Cell:
        declaration, create = self._plans[service][spec.name]
        cell = self._cells[service, spec.name] = Cell(
            declaration,
            partial(create, self._resources),
            self._transport,
            service,
            self._instrumentation,
            self._solitude,
        )
        return cell

    def crash(self, actor: str, error: BaseException | None = None) -> None:
        """Have a running actor crash with `error`, by default an `ActorCrash`: so a test sees what its supervisor does.

        Raises `InvalidArgumentError` when no actor of that name runs.
        """
        for (_, name), cell in self._cells.items():
            if name == actor:
                cell.crash(error or ActorCrash("a test had it crash"))
                return
        known = [name for _, name in self._cells]
        raise InvalidArgumentError(f"no actor {actor!r} runs here{did_you_mean(actor, known)}")

    async def wait(self) -> None:
        """Wait while everything can go on; raises why it cannot: `RestartLimitExceeded` of an essential actor, or
        `ConnectionLostError`."""
        waits = [self._transport.wait_closed(), *(runner.wait() for runner in self._runners)]
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self, grace: float | None = None) -> None:
        """Drain and stop everything, within `grace` seconds (default: the system's).

        Idempotent; a call during another may shorten the grace, never extend it.
        """
        self._draining = True
        seconds = self._config.grace if grace is None else grace
        await asyncio.gather(*(runner.stop(seconds) for runner in self._runners))
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
