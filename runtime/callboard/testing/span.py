"""Spans as a collector has them, and the trace that they make."""

# protobuf ships no annotations, so each field of its messages counts as partly unknown.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

__all__ = [
    "AttributeValue",
    "ReceivedEvent",
    "ReceivedLink",
    "ReceivedSpan",
    "orphans_of",
    "spans_of",
    "traces_of",
    "tree_of",
]

AttributeValue = str | bool | int | float | bytes | list["AttributeValue"] | dict[str, "AttributeValue"] | None

_SHOWN = (
    "messaging.nats.message.delivery_count",
    "callboard.settlement",
    "callboard.failure.class",
    "error.type",
)


@frozen
class ReceivedEvent:
    name: str
    time: int
    """Nanoseconds since 1970."""
    attributes: dict[str, AttributeValue]


@frozen
class ReceivedLink:
    trace_id: str
    span_id: str


@frozen
class ReceivedSpan:
    """A span as a collector sees it. Times are nanoseconds since 1970, ids are hexadecimal."""

    name: str
    kind: str
    """`INTERNAL`, `SERVER`, `CLIENT`, `PRODUCER` or `CONSUMER`."""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the root of a trace."""
    start: int
    end: int
    attributes: dict[str, AttributeValue]
    events: list[ReceivedEvent]
    links: list[ReceivedLink]
    status_code: str
    """`UNSET`, `OK` or `ERROR`."""
    status_message: str
    service: str
    """The resource's `service.name`."""
    resource: dict[str, AttributeValue]


def traces_of(spans: Iterable[ReceivedSpan]) -> dict[str, list[ReceivedSpan]]:
    """Trace id -> its spans, in order of their start."""
    found: dict[str, list[ReceivedSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        found.setdefault(span.trace_id, []).append(span)
    return found


def orphans_of(trace: Sequence[ReceivedSpan]) -> list[ReceivedSpan]:
    """The spans of one trace whose parent is not among them (roots are none)."""
    known = {span.span_id for span in trace}
    return [span for span in trace if span.parent_id and span.parent_id not in known]


def tree_of(trace: Sequence[ReceivedSpan]) -> str:
    """One trace as text: a line for each span, children indented, in the order given.

    Orphans stand at the top level, marked.
    """
    orphans = orphans_of(trace)
    children: dict[str, list[ReceivedSpan]] = {}
    for span in trace:
        children.setdefault("" if span in orphans else span.parent_id, []).append(span)

    def lines(parent_id: str, depth: int) -> Iterator[str]:
        for span in children.get(parent_id, ()):
            yield f"{'  ' * depth}{_line(span)}{'  (orphan)' if span in orphans else ''}"
            yield from lines(span.span_id, depth + 1)

    return "\n".join(lines("", 0))


def spans_of(groups: Iterable[ResourceSpans]) -> Iterator[ReceivedSpan]:
    """The spans of an OTLP message."""
    for group in groups:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, resource)


def _span(span: WireSpan, resource: dict[str, AttributeValue]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[
            ReceivedEvent(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events
        ],
        links=[ReceivedLink(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        status_code=Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_"),
        status_message=span.status.message,
        service=str(resource.get("service.name", "")),
        resource=resource,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> AttributeValue:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case str() as field:
            plain: AttributeValue = getattr(value, field)
            return plain
        case _:
            return None


def _line(span: ReceivedSpan) -> str:
    status = span.status_code if span.status_code != "UNSET" else "ok"
    milliseconds = (span.end - span.start) / 1e6
    facts = [f"{name.split('.')[-1]}={span.attributes[name]!s}" for name in _SHOWN if name in span.attributes]
    return "  ".join([span.name, f"[{span.kind} {span.service}]", f"{milliseconds:.1f} ms", status, *facts])
