"""Trace headers in and out, with the stock propagator and with others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from callboard.brokers.wire import own_headers
from callboard.telemetry.propagation import extract, inject, sampled

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def propagating(propagator: TextMapPropagator | None) -> Generator[None]:
    """With another global propagator; None for the stock one."""
    stock = propagate.get_global_textmap()
    if propagator is not None:
        propagate.set_global_textmap(CompositePropagator([propagator]))
    try:
        yield
    finally:
        propagate.set_global_textmap(stock)


def span_context(context: Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


@given(
    trace_id=st.integers(0, 2**128 - 1),
    span_id=st.integers(0, 2**64 - 1),
    flags=st.integers(0, 255),
    version=st.sampled_from(["00", "01", "ff"]),
    tail=st.sampled_from(["", "-x", " "]),
)
def test_reading_gives_what_the_stock_propagator_gives(
    trace_id: int, span_id: int, flags: int, version: str, tail: str
) -> None:
    headers = {"traceparent": f"{version}-{trace_id:032x}-{span_id:016x}-{flags:02x}{tail}"}
    assert span_context(extract(headers)) == span_context(propagate.extract(headers, Context()))


@given(
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    flags=st.integers(0, 255),
    state=st.sampled_from([(), (("vendor", "1"),)]),
    tenant=st.none() | st.text(min_size=1),
)
def test_writing_gives_what_the_stock_propagator_gives(
    trace_id: int, span_id: int, flags: int, state: tuple[tuple[str, str], ...], tenant: str | None
) -> None:
    context = Context() if tenant is None else baggage.set_baggage("tenant", tenant, Context())
    span = trace.NonRecordingSpan(
        trace.SpanContext(
            trace_id,
            span_id,
            is_remote=False,
            trace_flags=trace.TraceFlags(flags),
            trace_state=trace.TraceState(state),
        )
    )
    expected: dict[str, str] = {}
    propagate.inject(expected, trace.set_span_in_context(span, context))
    assert inject(span, context) == expected


def test_baggage_without_a_trace_is_kept() -> None:
    context = extract({"Baggage": "tenant=acme"})
    assert baggage.get_baggage("tenant", context) == "acme"
    assert inject(trace.INVALID_SPAN, context) == {"baggage": "tenant=acme"}


_NAMES = ("traceparent", "Traceparent", "TRACESTATE", "Baggage", "Xraceparent", "b3", "x-b3-traceid", "X-B3-SpanId")
_VALUES = (
    st.text(st.characters(codec=None), max_size=80)
    | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-..(-.*)?")
    | st.text("0123456789abcdefxz-_,;=% \u0660\udc80\x00", max_size=80)
)


@pytest.mark.parametrize("propagator", [None, B3MultiFormat(), B3SingleFormat()], ids=["stock", "b3multi", "b3"])
@given(headers=st.dictionaries(st.sampled_from(_NAMES), _VALUES))
def test_no_header_makes_reading_or_passing_on_raise(
    propagator: TextMapPropagator | None, headers: dict[str, str]
) -> None:
    with propagating(propagator):
        context = extract(headers)
        carrier = inject(trace.get_current_span(context), context)
    for value in carrier.values():
        value.encode()


@pytest.mark.parametrize(
    "value",
    ["", "nonsense", "00-xyz-1-01", f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff{SAMPLED[2:]}", f"{SAMPLED}\udc80"],
)
def test_malformed_header_is_a_new_root(value: str) -> None:
    assert not span_context(extract({"traceparent": value})).is_valid


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT", "Xraceparent", "XRaceParent"])
@pytest.mark.parametrize("flags", ["01", "03"])
def test_header_is_read_in_any_case_and_with_any_further_flags(name: str, flags: str) -> None:
    found = span_context(extract({name: f"{SAMPLED[:-2]}{flags}"}))
    assert found.trace_id == int(SAMPLED[3:35], 16)
    assert sampled(found)


def test_traceparent_is_stronger_than_the_one_that_a_server_renamed() -> None:
    other = SAMPLED.replace("0af7", "ffff")
    for headers in ({"traceparent": SAMPLED, "Xraceparent": other}, {"Xraceparent": other, "traceparent": SAMPLED}):
        assert span_context(extract(headers)).trace_id == int(SAMPLED[3:35], 16)


def test_state_and_baggage_come_along() -> None:
    context = extract({"Traceparent": SAMPLED, "Tracestate": "vendor=1", "Baggage": "tenant=acme"})
    assert span_context(context).trace_state.get("vendor") == "1"
    carrier = inject(trace.get_current_span(context), context)
    assert carrier == {"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "tenant=acme"}


def test_what_travels_on_holds_no_header_of_the_trace_or_of_the_servers_own_tracing() -> None:
    theirs = {
        "Nats-Trace-Dest": "t",
        "nats-trace-only": "1",
        "Xraceparent": SAMPLED,
        "TraceParent": SAMPLED,
        "Baggage": "a=1",
    }
    assert own_headers(theirs | {"user": "ann"}) == {"user": "ann"}


@pytest.mark.parametrize("name", ["b3", "B3"])
def test_propagators_of_the_environment_are_used(name: str) -> None:
    program = (
        "from opentelemetry import trace\n"
        "from callboard.telemetry.propagation import extract, inject\n"
        f"context = extract({{{name!r}: '0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1'}})\n"
        "print(inject(trace.get_current_span(context), context))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"OTEL_PROPAGATORS": "b3"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "{'b3': '0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1'}\n"


class OneHeader(TextMapPropagator):
    """A vendor's format: ids in one header, whose name it asks for in a case of its own."""

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        found = getter.get(carrier, "X-Vendor-Trace")
        if not found:
            return context or Context()
        trace_id, span_id = found[0].split(":")
        remote = trace.SpanContext(int(trace_id), int(span_id), is_remote=True)
        return trace.set_span_in_context(trace.NonRecordingSpan(remote), context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        current = trace.get_current_span(context).get_span_context()
        setter.set(carrier, "X-Vendor-Trace", f"{current.trace_id}:{current.span_id}")

    @property
    def fields(self) -> set[str]:
        return {"X-Vendor-Trace"}


@pytest.fixture
def vendor() -> Iterator[None]:
    with propagating(OneHeader()):
        yield


@pytest.mark.usefixtures("vendor")
def test_propagator_that_raises_is_a_new_root() -> None:
    assert not span_context(extract({"X-Vendor-Trace": "not:numbers"})).is_valid


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize("name", ["X-Vendor-Trace", "x-vendor-trace"])
def test_configured_propagator_reads_and_writes_instead_of_the_stock_one(name: str) -> None:
    context = extract({name: "7:9", "traceparent": SAMPLED})
    assert (span_context(context).trace_id, span_context(context).span_id) == (7, 9)
    assert inject(trace.get_current_span(context), context) == {"X-Vendor-Trace": "7:9"}
