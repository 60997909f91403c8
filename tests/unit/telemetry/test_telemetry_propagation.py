"""Trace headers in and out, with the stock propagator and with others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from callboard.telemetry.propagation import extract, inject

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


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
    stock = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator([OneHeader()]))
    yield
    propagate.set_global_textmap(stock)


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize("name", ["X-Vendor-Trace", "x-vendor-trace"])
def test_configured_propagator_reads_and_writes_instead_of_the_stock_one(name: str) -> None:
    context = extract({name: "7:9", "traceparent": SAMPLED})
    assert (span_context(context).trace_id, span_context(context).span_id) == (7, 9)
    assert inject(trace.get_current_span(context), context) == {"X-Vendor-Trace": "7:9"}
