"""How parameters are filled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from callboard import BrokerMessageV1, BrokerMessageV1Payload, BrokerRequest
from callboard.errors import ContentDecodeError, DeclarationError
from callboard.routing.signature import HandlerSignature

if TYPE_CHECKING:
    from decimal import Decimal as Unknown


@frozen
class Order:
    item: str
    count: int


def of(function: Callable[..., Any], *captures: str, bound: bool = False) -> HandlerSignature:
    return HandlerSignature.of(function, captures, "place", bound=bound)


def message(content: Any = None) -> BrokerMessageV1:
    return BrokerMessageV1("orders.place", BrokerMessageV1Payload(content))


ORDER = {"item": "tea", "count": 2}


def test_annotated_parameter_gets_the_whole_content_in_its_type() -> None:
    def handle(order: Order) -> None: ...

    assert of(handle).arguments(message(ORDER), {}) == {"order": Order("tea", 2)}


def test_request_parameter_gets_the_request() -> None:
    def handle(request: BrokerRequest) -> None: ...

    raw = message(ORDER)
    assert of(handle).arguments(raw, {}) == {"request": BrokerRequest(raw)}


def test_single_parameter_without_annotation_gets_the_request() -> None:
    def handle(anything: Any) -> None: ...

    del handle.__annotations__["anything"]
    raw = message(ORDER)
    assert of(handle).arguments(raw, {}) == {"anything": BrokerRequest(raw)}


def test_request_content_and_captures_go_together_in_any_order() -> None:
    def handle(code: str, request: BrokerRequest, order: Order, day: str) -> None: ...

    raw = message(ORDER)
    assert of(handle, "day", "code").arguments(raw, {"day": "1", "code": "EWR"}) == {
        "code": "EWR",
        "request": BrokerRequest(raw),
        "order": Order("tea", 2),
        "day": "1",
    }


def test_parameter_without_annotation_beside_a_request_gets_the_plain_content() -> None:
    def handle(body: Any, request: BrokerRequest) -> None: ...

    del handle.__annotations__["body"]
    raw = message(ORDER)
    assert of(handle).arguments(raw, {}) == {"body": ORDER, "request": BrokerRequest(raw)}


def test_any_gets_plain_values() -> None:
    def handle(content: Any) -> None: ...

    assert of(handle).arguments(message(ORDER), {}) == {"content": ORDER}


def test_no_parameters_are_fine() -> None:
    assert of(lambda: None).arguments(message(ORDER), {}) == {}


def test_first_parameter_of_a_method_is_the_instance() -> None:
    def handle(self: object, order: Order) -> None: ...

    assert of(handle, bound=True).arguments(message(ORDER), {}) == {"order": Order("tea", 2)}


def test_further_parameter_with_a_default_keeps_it() -> None:
    def handle(order: Order, limit: int = 5) -> None: ...

    assert of(handle).arguments(message(ORDER), {}) == {"order": Order("tea", 2)}


def test_content_that_does_not_fit_names_the_field() -> None:
    def handle(order: Order) -> None: ...

    with pytest.raises(ContentDecodeError) as raised:
        of(handle).arguments(message({"item": "tea", "count": "two"}), {})

    assert "count" in raised.value.path


def test_two_parameters_for_one_content_are_refused() -> None:
    def handle(order: Order, other: Order) -> None: ...

    with pytest.raises(DeclarationError, match="both 'order' and 'other' would get the content"):
        of(handle)


def test_two_parameters_for_one_request_are_refused() -> None:
    def handle(one: BrokerRequest, two: BrokerRequest) -> None: ...

    with pytest.raises(DeclarationError, match="both 'one' and 'two' would get the request"):
        of(handle)


def test_capture_without_a_parameter_is_refused() -> None:
    def handle(order: Order) -> None: ...

    with pytest.raises(DeclarationError, match="captures 'code', which no parameter takes"):
        of(handle, "code")


def test_capture_is_text() -> None:
    def handle(code: int) -> None: ...

    with pytest.raises(DeclarationError, match="annotate it as str"):
        of(handle, "code")


def star(*orders: Order) -> None: ...
def double_star(**orders: Order) -> None: ...
def positional(order: Order, /) -> None: ...


@pytest.mark.parametrize("function", [star, double_star, positional])
def test_parameters_that_have_no_name_to_fill_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(DeclarationError, match="must be an ordinary one"):
        of(function)


def test_type_that_no_content_can_have_is_refused() -> None:
    def handle(order: Callable[[], None]) -> None: ...

    with pytest.raises(DeclarationError, match="parameter 'order'"):
        of(handle)


def test_annotation_that_is_not_known_at_run_time_is_refused_by_name() -> None:
    def handle(order: Unknown) -> None: ...

    with pytest.raises(DeclarationError, match="annotation 'Unknown' is not known"):
        of(handle)
