"""The failure table: what each kind of failure leads to, and what the caller is told."""

from __future__ import annotations

from typing import Any

import pytest

from callboard.errors import (
    ActionNotFoundError,
    ActorCrash,
    BrokerResponseException,
    ConnectionLostError,
    ContentDecodeError,
    ContentEncodeError,
    DeadlineExceededError,
    HandlerTimeoutError,
    HeaderError,
    MessageTooLargeError,
    NoStreamError,
    PublishUnknownError,
    RemoteError,
)
from callboard.routing.failure import (
    SUBSTRATE_PAUSE,
    FailureClass,
    FailurePolicy,
    Settlement,
    Verdict,
    error_response,
)
from callboard.routing.option import DEFAULT_RETRY, FailureAction, HandlerOptions

DEFAULT = FailurePolicy()


def steady() -> float:
    return 0.0


def judge(error: BaseException, policy: FailurePolicy = DEFAULT, attempt: int = 1, **options: Any) -> Verdict:
    return policy.judge(error, attempt=attempt, random=steady, **options)


@pytest.mark.parametrize(
    ("error", "settlement", "failure", "status"),
    [
        (BrokerResponseException("no"), Settlement.ACK, FailureClass.REFUSAL, 400),
        (BrokerResponseException("no", status=409), Settlement.ACK, FailureClass.REFUSAL, 409),
        (ContentDecodeError("no int"), Settlement.DEAD_LETTER, FailureClass.MESSAGE, 400),
        (ContentEncodeError("no type"), Settlement.DEAD_LETTER, FailureClass.MESSAGE, 500),
        (HeaderError("a", "no"), Settlement.DEAD_LETTER, FailureClass.MESSAGE, 500),
        (MessageTooLargeError("a", 2, 1), Settlement.DEAD_LETTER, FailureClass.MESSAGE, 500),
        (DeadlineExceededError("a", "then"), Settlement.DEAD_LETTER, FailureClass.MESSAGE, 504),
        (ValueError("x"), Settlement.RETRY, FailureClass.MESSAGE, None),
        (HandlerTimeoutError("f", 1), Settlement.RETRY, FailureClass.MESSAGE, None),
        (NoStreamError("a"), Settlement.RETRY, FailureClass.MESSAGE, None),
        (RemoteError("a", status=500), Settlement.RETRY, FailureClass.MESSAGE, None),
        (ActorCrash(), Settlement.HAND_BACK, FailureClass.ACTOR, None),
        (PublishUnknownError("a", 1, "no answer"), Settlement.HAND_BACK, FailureClass.SUBSTRATE, None),
        (ConnectionLostError("a", "gone"), Settlement.HAND_BACK, FailureClass.SUBSTRATE, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_default_policy(
    error: BaseException, settlement: Settlement, failure: FailureClass, status: int | None
) -> None:
    verdict = judge(error)

    assert (verdict.settlement, verdict.failure) == (settlement, failure)
    assert (verdict.reply.status if verdict.reply else None) == status


def test_expired_query_is_acked_instead_of_dead_lettered() -> None:
    verdict = judge(DeadlineExceededError("a", "then"), drop_expired=True)

    assert verdict.settlement is Settlement.ACK
    assert verdict.reply is not None
    assert verdict.reply.status == 504


def test_lost_server_is_waited_for_and_a_crash_is_not() -> None:
    assert judge(ConnectionLostError("a", "gone")).delay == SUBSTRATE_PAUSE
    assert judge(ActorCrash()).delay == 0.0


def test_each_attempt_waits_for_its_own_delay() -> None:
    delays = [judge(ValueError(), attempt=attempt).delay for attempt in range(1, 6)]

    assert delays == [0.0, 1.0, 5.0, 30.0, 120.0]


def test_delays_are_spread_by_up_to_a_quarter_and_never_shorter() -> None:
    policy = FailurePolicy(delays=(8.0,))

    assert policy.judge(ValueError(), attempt=1, random=lambda: 0.0).delay == 8.0
    assert policy.judge(ValueError(), attempt=1, random=lambda: 0.999).delay == pytest.approx(9.998)


def test_message_is_dead_lettered_after_the_last_delay() -> None:
    verdict = judge(ValueError(), attempt=len(DEFAULT_RETRY) + 1)

    assert verdict.settlement is Settlement.DEAD_LETTER
    assert verdict.reply is not None
    assert verdict.reply.status == 500


def test_retry_that_would_come_after_the_deadline_is_not_made() -> None:
    policy = FailurePolicy(delays=(60.0,))

    assert judge(ValueError(), policy, remaining=50).settlement is Settlement.DEAD_LETTER
    assert judge(ValueError(), policy, remaining=90).settlement is Settlement.RETRY


@pytest.mark.parametrize(
    ("action", "settlement"),
    [("retry", Settlement.RETRY), ("reject", Settlement.DEAD_LETTER), ("discard", Settlement.DISCARD)],
)
def test_declared_policy_decides(action: str, settlement: Settlement) -> None:
    policy = FailurePolicy.of(HandlerOptions.checked("test", {"failures": {ValueError: action}}))

    assert judge(ValueError(), policy).settlement is settlement


def test_nearest_class_wins() -> None:
    policy = FailurePolicy(rules={Exception: FailureAction.DISCARD, LookupError: FailureAction.REJECT})

    assert judge(KeyError(), policy).settlement is Settlement.DEAD_LETTER
    assert judge(ValueError(), policy).settlement is Settlement.DISCARD


@pytest.mark.parametrize("wider", [Exception, ValueError])
@pytest.mark.parametrize("action", [FailureAction.RETRY, FailureAction.DISCARD])
def test_default_of_a_nearer_class_is_stronger_than_a_rule_for_a_wider_one(
    wider: type[BaseException], action: FailureAction
) -> None:
    """A handler that retries its own ValueErrors does not retry what can never be decoded."""
    policy = FailurePolicy(rules={wider: action})

    assert judge(ContentDecodeError("no int"), policy).settlement is Settlement.DEAD_LETTER


def test_rule_for_the_same_class_is_stronger_than_the_default() -> None:
    policy = FailurePolicy(rules={ContentDecodeError: FailureAction.DISCARD})

    assert judge(ContentDecodeError("no int"), policy).settlement is Settlement.DISCARD


def test_declared_delays_replace_the_default_and_none_at_all_is_a_choice() -> None:
    assert FailurePolicy.of(HandlerOptions(retry=(7.0,))).delays == (7.0,)
    assert FailurePolicy.of(HandlerOptions(retry=())).delays == ()
    assert FailurePolicy.of(HandlerOptions()).delays == DEFAULT_RETRY


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (BrokerResponseException("x"), 400, False),
        (BrokerResponseException("x", status=503), 503, True),
        (ContentDecodeError("x"), 400, False),
        (ActionNotFoundError("a.b"), 404, False),
        (DeadlineExceededError("a", "then"), 504, True),
        (ContentEncodeError("x"), 500, False),
        (KeyError("x"), 500, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_error_reply_says_type_status_and_whether_to_try_again(
    error: BaseException, status: int, *, retryable: bool
) -> None:
    response = error_response(error)

    assert response.status == status
    assert response.content["error"].keys() == {"type", "message", "retryable"}
    assert response.content["error"]["type"] == type(error).__name__
    assert response.content["error"]["retryable"] is retryable


def test_error_reply_to_content_that_does_not_fit_names_the_field() -> None:
    response = error_response(ContentDecodeError("expected int", path="$.seats[2]"))

    assert "$.seats[2]" in response.content["error"]["message"]


@pytest.mark.parametrize("error", [KeyError("secret"), ContentEncodeError("secret"), HandlerTimeoutError("secret", 1)])
def test_error_reply_of_a_failure_gives_nothing_internal_away(error: BaseException) -> None:
    assert "secret" not in error_response(error).content["error"]["message"]


class Conflict(BrokerResponseException):
    """A refusal that may go away."""


def test_rule_for_a_refusal_s_own_class_is_stronger_than_being_a_refusal() -> None:
    policy = FailurePolicy(rules={Conflict: FailureAction.RETRY})
    assert judge(Conflict("taken"), policy).settlement is Settlement.RETRY
    assert judge(BrokerResponseException("no"), policy).failure is FailureClass.REFUSAL


def test_rule_for_every_exception_does_not_touch_refusals() -> None:
    policy = FailurePolicy(rules={Exception: FailureAction.REJECT})
    assert judge(Conflict("taken"), policy).failure is FailureClass.REFUSAL
