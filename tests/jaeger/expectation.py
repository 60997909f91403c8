"""The trace that the flow of `tests.jaeger.flow` must leave: each span with everything that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from callboard.brokers.mailbox import Kind, MailboxSpec
from callboard.brokers.topic import TopicTemplate
from callboard.testing import ReceivedSpan
from callboard.testing.span import AttributeValue

__all__ = ["MESSAGE", "Expected", "expected_trace", "shape_of"]

IDS = ("messaging.message.id", "messaging.message.conversation_id")
MESSAGE = (*IDS, "messaging.nats.stream.name", "messaging.nats.message.stream_sequence")
"""What tells which message a span is about: one that is handled is the one that was sent."""
DELIVERED = (*MESSAGE, "messaging.message.body.size")
"""All attributes whose values differ from run to run."""

Attributes = dict[str, AttributeValue]


@frozen
class Expected:
    """A span with those under it."""

    name: str
    kind: str
    service: str
    attributes: Attributes = field(factory=dict[str, AttributeValue])
    """Those that differ from run to run have the value `…`."""
    events: Sequence[str] = ()
    link: str = ""
    """Name of the span that this one links."""
    children: Sequence[Expected] = ()

    @property
    def count(self) -> int:
        """How many spans these are."""
        return 1 + sum(child.count for child in self.children)

    def lines(self, depth: int = 0) -> list[str]:
        """All of it as text: a difference shows in one line."""
        indent = "  " * depth
        facts = [f"{indent}  . {name}={value}" for name, value in sorted(self.attributes.items())]
        head = f"{indent}{self.name} [{self.kind} {self.service}] events={', '.join(self.events)} link={self.link}"
        return [head, *facts, *(line for child in self.children for line in child.lines(depth + 1))]


@frozen
class Handler:
    service: str
    actor: str
    method: str
    template: str
    kind: Kind = Kind.EVENT

    @property
    def code(self) -> Attributes:
        return {"callboard.actor": self.actor, "code.function.name": f"{self.service}.{self.actor}.{self.method}"}

    @property
    def durable(self) -> str:
        return MailboxSpec(self.kind, TopicTemplate.parse(self.template), self.service, self.actor).durable


PLACED = Handler("sales", "Sales", "placed", "orders.placed")
RESERVE = Handler("stock", "Stock", "reserve", "stock.{item}.reserve", Kind.COMMAND)
SHIP = Handler("stock", "Shipping", "confirmed", "orders.confirmed")
BILL = Handler("billing", "Billing", "confirmed", "orders.confirmed")


def expected_trace(port: int) -> Expected:
    """The trace of the flow, where the server listens on `port`."""
    spans = _Spans(port)
    first = spans.process(PLACED, error="ConnectionError", end="retry")
    asked = spans.process(RESERVE, topic="stock.nuts.reserve", children=[spans.reply(RESERVE)])
    replayed = spans.process(BILL)
    replay = spans.send("send", BILL.template, "callboard", link="publish orders.confirmed", children=[replayed])
    buried = spans.dead_letter(BILL, children=[replay])
    billed = spans.process(BILL, error="ValueError", end="dead letter", children=[buried])
    sent = [
        spans.send("request", "stock.nuts.reserve", "sales", link="reply", children=[asked]),
        spans.send("publish", "orders.confirmed", "sales", children=[spans.process(SHIP), billed]),
    ]
    second = spans.process(PLACED, count=2, children=sent)
    placed = spans.send("publish", "orders.placed", "web", children=[first, second])
    return Expected("POST /orders", "SERVER", "web", children=[placed])


_KINDS = {"publish": "PRODUCER", "request": "CLIENT", "send": "CLIENT"}
_EVENTS = {"ack": "ack", "retry": "nak", "dead letter": "term"}


@frozen
class _Spans:
    """Makes what is expected of a span, where the server listens on `port`."""

    port: int

    def send(
        self, operation: str, topic: str, service: str, *, link: str = "", children: Sequence[Expected]
    ) -> Expected:
        facts = self._message(operation, "send", topic, MESSAGE) | {"messaging.destination.name": topic}
        return Expected(f"{operation} {topic}", _KINDS[operation], service, facts, link=link, children=children)

    def reply(self, handler: Handler) -> Expected:
        facts = self._message("reply", "send", "(inbox)", IDS) | handler.code
        return Expected("reply", "PRODUCER", handler.service, facts)

    def process(
        self,
        handler: Handler,
        *,
        topic: str = "",
        count: int = 1,
        error: str = "",
        end: str = "ack",
        children: Sequence[Expected] = (),
    ) -> Expected:
        facts = self._message("process", "process", handler.template, DELIVERED) | self._delivery(handler, topic, count)
        facts |= {"callboard.attempt": count, "callboard.settlement": end}
        if error:
            facts |= {"error.type": error, "callboard.failure.class": "message"}
        name = f"process {handler.template}"
        return Expected(name, "CONSUMER", handler.service, facts, [_EVENTS[end]], children=children)

    def dead_letter(self, handler: Handler, *, children: Sequence[Expected]) -> Expected:
        facts = self._message("dead_letter", "send", handler.template, DELIVERED) | self._delivery(handler, "", 1)
        return Expected(f"dead_letter {handler.template}", "PRODUCER", handler.service, facts, children=children)

    @staticmethod
    def _delivery(handler: Handler, topic: str, count: int) -> Attributes:
        facts: Attributes = {
            "messaging.destination.name": topic or handler.template,
            "messaging.consumer.group.name": handler.durable,
            "messaging.nats.message.delivery_count": count,
        }
        return facts | handler.code

    def _message(self, operation: str, kind: str, template: str, varying: Iterable[str]) -> Attributes:
        facts: Attributes = {
            "messaging.system": "nats",
            "messaging.operation.name": operation,
            "messaging.operation.type": kind,
            "messaging.destination.template": template,
            "server.address": "127.0.0.1",
            "server.port": self.port,
        }
        return facts | dict.fromkeys(varying, "…")


def shape_of(trace: Sequence[ReceivedSpan]) -> Expected:
    """A trace as what was to be expected of it; fails when it has not exactly one root."""
    (root,) = [span for span in trace if not span.parent_id]
    return _shape(root, trace)


def _shape(span: ReceivedSpan, trace: Sequence[ReceivedSpan]) -> Expected:
    # Two services get an event at the same time: whoever is first, the tree is the same.
    children = sorted(
        (other for other in trace if other.parent_id == span.span_id),
        key=lambda other: (other.service == "billing", other.start),
    )
    return Expected(
        span.name,
        span.kind,
        span.service,
        {name: "…" if name in DELIVERED else value for name, value in span.attributes.items()},
        [event.name for event in span.events],
        ", ".join(other.name for link in span.links for other in trace if other.span_id == link.span_id),
        [_shape(child, trace) for child in children],
    )
