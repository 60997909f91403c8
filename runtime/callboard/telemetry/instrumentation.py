"""Spans of the runtime's operations with OpenTelemetry.

Costs decide the shape: without an SDK the base class answers; under an unsampled parent, with a sampler that
only follows parents, the SDK is not called and the headers go on as they came; attributes that are the same
for each message of a handler are put together once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec
from uuid import UUID
from weakref import WeakKeyDictionary

from attrs import frozen
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind

from callboard.brokers import wire
from callboard.instrumentation import Endpoint, Incoming, Instrumentation, Span
from callboard.telemetry import attributes as names
from callboard.telemetry.guard import guarded, warn_once
from callboard.telemetry.metric import Metrics
from callboard.telemetry.propagation import extract, sampled
from callboard.telemetry.root import RootSampling
from callboard.telemetry.span import CarriedSpan, RecordedSpan
from callboard.telemetry.template import INBOX, Templates

if TYPE_CHECKING:
    from callboard.telemetry.queue import SpanQueue

__all__ = ["OpenTelemetryInstrumentation"]

IDLE = 0.1
"""Seconds after which an SDK that was set meanwhile is seen."""

_Attributes = dict[str, str | int]
_NO_PARENT = otel.Context()
_Parameters = ParamSpec("_Parameters")
_Method = Callable[Concatenate[Any, _Parameters], Span]


def _while_idle(without: _Method[_Parameters]) -> Callable[[_Method[_Parameters]], _Method[_Parameters]]:
    """A method that is what it is `without` telemetry while nothing records spans, and that never raises."""

    def choose(method: _Method[_Parameters]) -> _Method[_Parameters]:
        @wraps(method)
        def call(self: Any, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Span:
            if monotonic() < self.idle_until:
                return without(self, *args, **kwargs)
            try:
                return method(self, *args, **kwargs)
            except Exception:  # noqa: BLE001 - as in `guarded`; one call less for each message
                warn_once(method.__qualname__)
                return without(self, *args, **kwargs)

        return call

    return choose


class OpenTelemetryInstrumentation(Instrumentation):
    """Records the runtime's operations with a tracer provider and a meter provider; no method raises.

    None stands for the global ones, which may be set later.
    `server` is the host and port that spans show. With `links` an attempt begins a trace of its own, which links the
    span that sent its message, instead of having it as parent: for flows whose traces would grow without end.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        *,
        server: tuple[str, int] | None = None,
        meter_provider: MeterProvider | None = None,
        links: bool = False,
    ) -> None:
        super().__init__()
        self._links = links
        self.templates = Templates()
        """What topics are called in names of spans, and in attributes of metrics."""
        self._metrics = Metrics.of(meter_provider)
        self._metrics.observe(self.statistics)
        self._provider = tracer_provider
        self.idle_until = 0.0
        """Until then nothing records spans: to ask costs a microsecond."""
        self._recorder: _Recorder | None = None
        self._system: _Attributes = {names.SYSTEM: names.SYSTEM_NATS}
        if server is not None:
            self._system |= {names.SERVER_ADDRESS: server[0], names.SERVER_PORT: server[1]}
        self._publish = _Operation("publish", SpanKind.PRODUCER, self._attributes("publish", names.TYPE_SEND))
        self._create = _Operation("create", SpanKind.PRODUCER, self._attributes("create", names.TYPE_CREATE))
        self._send = _Operation("send", SpanKind.CLIENT, self._attributes("send", names.TYPE_SEND))
        self._request = _Operation("request", SpanKind.CLIENT, self._attributes("request", names.TYPE_SEND))
        # Weak: a restarted actor brings a new endpoint.
        self._handlers: WeakKeyDictionary[Endpoint, _HandlerSpans] = WeakKeyDictionary()

    @guarded(Instrumentation.declare)
    def declare(self, templates: Iterable[str]) -> None:
        self.templates.declare(templates)

    @_while_idle(Instrumentation.publish)
    def publish(self, topic: str, identifier: UUID) -> Span:
        if (recorder := self._active()) is None:
            return super().publish(topic, identifier)
        return recorder.send(self._publish, identifier, topic)

    @_while_idle(Instrumentation.create)
    def create(self, topic: str, identifier: UUID) -> Span:
        if (recorder := self._active()) is None:
            return super().create(topic, identifier)
        return recorder.send(self._create, identifier, topic)

    @_while_idle(Instrumentation.send)
    def send(self, delivery: Incoming) -> Span:
        if (recorder := self._active()) is None:
            return super().send(delivery)
        return recorder.send(self._send, delivery.identifier, delivery.topic, extract(delivery.headers))

    @_while_idle(Instrumentation.request)
    def request(self, topic: str, identifier: UUID) -> Span:
        if (recorder := self._active()) is None:
            return super().request(topic, identifier)
        return recorder.send(self._request, identifier, topic)

    @_while_idle(Instrumentation.process)
    def process(self, endpoint: Endpoint, delivery: Incoming) -> Span:
        if not delivery.headers and not self._links and (dropped := self._dropped_root()) is not None:
            return dropped
        if (recorder := self._active()) is None:
            return super().process(endpoint, delivery)
        parent = extract(delivery.headers)
        if self._links:
            root = trace.set_span_in_context(trace.INVALID_SPAN, parent)  # the baggage goes on
            span = recorder.start(self._of(endpoint).process, root, _delivery(delivery))
            span.link(delivery.headers)
            return span
        if (unrecorded := recorder.unrecorded(parent)) is not None:
            return unrecorded
        return recorder.start(self._of(endpoint).process, parent, _delivery(delivery))

    @_while_idle(Instrumentation.reply)
    def reply(self, endpoint: Endpoint, delivery: Incoming) -> Span:
        if (recorder := self._active()) is None:
            return super().reply(endpoint, delivery)
        topic = delivery.headers.get(wire.REPLY_TOPIC, INBOX)
        return recorder.send(self._of(endpoint).reply, delivery.identifier, topic, name="reply")

    @_while_idle(Instrumentation.dead_letter)
    def dead_letter(self, endpoint: Endpoint, delivery: Incoming) -> Span:
        if (recorder := self._active()) is None:
            return super().dead_letter(endpoint, delivery)
        return recorder.give_up(self._of(endpoint).dead_letter, delivery)

    @_while_idle(Instrumentation.restart)
    def restart(self, actor: str, carrier: Mapping[str, str]) -> Span:
        if (recorder := self._active()) is None:
            return super().restart(actor, carrier)
        parent = extract(carrier)
        if (unrecorded := recorder.unrecorded(parent)) is not None:
            return unrecorded
        return recorder.start(_Operation(f"restart {actor}", SpanKind.INTERNAL, {names.ACTOR: actor}), parent, {})

    @guarded(Instrumentation.sent)
    def sent(self, operation: str, topic: str, seconds: float, error_type: str = "") -> None:
        template = self.templates.of(topic) if topic else ""
        if self._metrics.recording:
            self._metrics.sent(operation, template, seconds, error_type)
        self.statistics.count_sent(operation, template, seconds, error_type)

    @property
    def measures(self) -> bool:
        return self._metrics.recording

    @guarded(Instrumentation.measure)
    def measure(self, durable: str, seconds: float, error_type: str) -> None:
        self._metrics.settled(durable, seconds, error_type)

    def _dropped_root(self) -> Span | None:
        """A trace that begins here and is not recorded, where that is known without asking for more."""
        recorder = self._recorder
        if recorder is None or recorder.provider is not (self._provider or trace.get_tracer_provider()):
            return None
        return recorder.dropped_root()

    def _active(self) -> _Recorder | None:
        """Where spans go, or None while there is no SDK, or it has no room and there is no span to carry on."""
        provider = self._provider or trace.get_tracer_provider()
        recorder = self._recorder
        if recorder is None or recorder.provider is not provider:
            recorder = self._recorder = _Recorder(provider, self.templates)
        if recorder.records and not recorder.is_cut_off:
            return recorder
        self.idle_until = monotonic() + IDLE
        return None

    def _attributes(self, name: str, kind: str) -> _Attributes:
        return self._system | {names.OPERATION: name, names.OPERATION_TYPE: kind}

    def _of(self, endpoint: Endpoint) -> _HandlerSpans:
        found = self._handlers.get(endpoint)
        if found is None:
            found = self._handlers[endpoint] = self._prepare(endpoint)
        return found

    def _prepare(self, endpoint: Endpoint) -> _HandlerSpans:
        self.templates.declare([endpoint.topic])
        function = f"{endpoint.module}.{endpoint.function}" if endpoint.module else endpoint.function
        code = {names.ACTOR: endpoint.actor, names.FUNCTION: function}
        handler: _Attributes = {name: value for name, value in code.items() if value}
        template: _Attributes = {names.TEMPLATE: endpoint.topic}
        return _HandlerSpans(
            process=_Operation(
                f"process {endpoint.topic}",
                SpanKind.CONSUMER,
                self._attributes("process", names.TYPE_PROCESS) | template | handler,
            ),
            # Not the template: a reply goes to the requester, at a topic that is random.
            reply=_Operation("reply", SpanKind.PRODUCER, self._attributes("reply", names.TYPE_SEND) | handler),
            dead_letter=_Operation(
                f"dead_letter {endpoint.topic}",
                SpanKind.PRODUCER,
                self._attributes("dead_letter", names.TYPE_SEND) | template | handler,
            ),
        )


@frozen
class _Operation:
    name: str
    kind: SpanKind
    attributes: _Attributes


@frozen
class _HandlerSpans:
    """What is the same for each message of a handler."""

    process: _Operation
    reply: _Operation
    dead_letter: _Operation


class _Recorder:
    """One tracer provider, and what is known about it in advance."""

    def __init__(self, provider: trace.TracerProvider, templates: Templates) -> None:
        self.provider = provider
        self._templates = templates
        self._tracer = provider.get_tracer("callboard", version("callboard"), names.SCHEMA_URL)
        self.records = not (
            isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
            or isinstance(self._tracer, trace.NoOpTracer)
        )
        self._follows_parents = _follows_unsampled_parents(provider)
        self._roots = RootSampling.of(provider, self._tracer)
        # By name: importing the SDK where there is none costs 0.1 to 0.2 s.
        self._queue: SpanQueue | None = getattr(getattr(provider, "sampler", None), "span_queue", None)

    @property
    def _is_full(self) -> bool:
        return self._queue is not None and self._queue.is_full

    @property
    def is_cut_off(self) -> bool:
        """Whether trace headers are to be passed on as without an SDK, which costs least: spans would have no room."""
        return self._is_full and not trace.get_current_span().get_span_context().is_valid

    def dropped_root(self) -> Span | None:
        """What stands for a root that the sampler drops."""
        root = None if self._roots is None else self._roots.draw()
        return None if root is None else CarriedSpan(root, _NO_PARENT)

    def unrecorded(self, parent: otel.Context) -> Span | None:
        """What stands for a span that would certainly not be recorded: its parent itself where that is not, and a root
        that the sampler drops. None when the SDK is to be asked."""
        if not parent and (root := self.dropped_root()) is not None:
            return root
        full = self._is_full
        if not (self._follows_parents or full):
            return None
        span = trace.get_current_span(parent)
        context = span.get_span_context()
        return CarriedSpan(span, parent) if context.is_valid and (full or not sampled(context)) else None

    def send(
        self,
        operation: _Operation,
        identifier: UUID,
        topic: str,
        parent: otel.Context | None = None,
        *,
        name: str = "",
    ) -> Span:
        """A span of a message to `topic`, which names it unless there is a `name`; under `parent`, or under the
        current one."""
        parent = otel.get_current() if parent is None else parent
        if (unrecorded := self.unrecorded(parent)) is not None:
            return unrecorded
        template = self._templates.of(topic)
        message: _Attributes = {names.CONVERSATION_ID: str(identifier), names.TEMPLATE: template}
        if template != INBOX:
            message[names.DESTINATION] = topic
        return self.start(operation, parent, message, name=name or f"{operation.name} {template}")

    def give_up(self, operation: _Operation, delivery: Incoming) -> Span:
        """A span under the current one that shows a delivery."""
        parent = otel.get_current()
        unrecorded = self.unrecorded(parent)
        return self.start(operation, parent, _delivery(delivery)) if unrecorded is None else unrecorded

    def start(self, operation: _Operation, parent: otel.Context, message: _Attributes, *, name: str = "") -> Span:
        span = self._tracer.start_span(
            name or operation.name,
            context=parent,
            kind=operation.kind,
            attributes=operation.attributes | message,
        )
        return RecordedSpan(span, parent)


def _follows_unsampled_parents(provider: trace.TracerProvider) -> bool:
    """Whether the sampler is a stock `ParentBased` that drops everything under an unsampled parent."""
    sampler = getattr(provider, "sampler", None)
    if sampler is None:
        return False
    description = str(sampler.get_description())
    return (
        description.startswith("ParentBased{")
        and "remoteParentNotSampled:AlwaysOffSampler" in description
        and "localParentNotSampled:AlwaysOffSampler" in description
    )


def _delivery(delivery: Incoming) -> _Attributes:
    facts: _Attributes = {
        names.CONVERSATION_ID: str(delivery.identifier),
        names.DELIVERY_COUNT: delivery.delivered,
        names.BODY_SIZE: delivery.body_size,
    }
    if delivery.durable:
        facts[names.CONSUMER_GROUP] = delivery.durable
    if not delivery.topic.startswith(("_", "$")):
        facts[names.DESTINATION] = delivery.topic
    if delivery.stream:
        facts |= {names.STREAM: delivery.stream, names.STREAM_SEQUENCE: delivery.sequence}
    if message_id := delivery.headers.get("Nats-Msg-Id"):
        facts[names.MESSAGE_ID] = message_id
    return facts
