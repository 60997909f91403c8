"""What a handler is given and what it may answer."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from callboard import BrokerMessageV1, BrokerMessageV1Payload, BrokerRequest, BrokerResponse
from callboard.errors import ContentDecodeError, NoParamsError


def request(content: Any = None, headers: dict[str, str] | None = None) -> BrokerRequest:
    return BrokerRequest(BrokerMessageV1("orders.place", BrokerMessageV1Payload(content, headers)))


@pytest.mark.parametrize("content", [None, 0, {"item": "tea"}])
async def test_request_always_has_content(content: Any) -> None:
    """C36."""
    asked = request(content)

    assert asked.has_content
    assert await asked.content() == content


async def test_content_is_structured_on_demand() -> None:
    assert await request(["1"]).content(list[str]) == ["1"]
    with pytest.raises(ContentDecodeError):
        await request(["1"]).content(list[int])


async def test_request_has_no_params() -> None:
    """C36."""
    asked = request()

    assert not asked.has_params
    with pytest.raises(NoParamsError):
        await asked.params()


def test_equality_follows_the_message() -> None:
    """C36."""
    raw = BrokerMessageV1("orders.place", BrokerMessageV1Payload(1))

    assert BrokerRequest(raw) == BrokerRequest(raw)
    assert BrokerRequest(raw) != request(1)
    assert BrokerRequest(raw) != raw


def test_repr_follows_the_message() -> None:
    """C36."""
    asked = request(1)

    assert repr(asked) == f"BrokerRequest({asked.raw!r})"


def test_user_is_the_header_when_it_is_a_uuid() -> None:
    """C34."""
    user = uuid4()

    assert request(headers={"user": str(user)}).user == user
    assert request(headers={"user": "nobody"}).user is None
    assert request().user is None


@pytest.mark.parametrize("status", ["200", 200.0, None, True])
def test_status_of_a_response_is_a_number(status: Any) -> None:
    """C37."""
    with pytest.raises(ValueError, match="status must be an integer"):
        BrokerResponse(status=status)


def test_response_without_arguments_is_an_empty_success() -> None:
    response = BrokerResponse()

    assert (response.content, response.status, response.headers, response.has_content) == (None, 200, None, False)


def test_responses_are_equal_by_content_status_and_headers() -> None:
    assert BrokerResponse(1, status=201) == BrokerResponse(1, status=201)
    assert BrokerResponse(1) != BrokerResponse(1, status=201)
    assert BrokerResponse(1) != BrokerResponse(1, headers={"a": "b"})
