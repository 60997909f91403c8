"""The error tree: one root, attributes kept, and texts that name the value and the way out."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import pytest

from callboard import errors
from callboard.errors import CallboardError, did_you_mean

ERRORS = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]

MADE: list[tuple[CallboardError, type[Exception], str]] = [
    (errors.ClosedError("Board"), RuntimeError, "Board is closed; create a new one"),
    (errors.ConfigError("x"), ValueError, "x"),
    (errors.DeclarationError("Desk", "has no handlers"), TypeError, "Desk: has no handlers"),
    (errors.ActionNotFoundError("a.c", ["a.b"]), LookupError, "no handler for topic 'a.c'; did you mean 'a.b'?"),
    (errors.NoParamsError(), LookupError, "read its content instead"),
    (errors.TargetError("app:X", "is empty"), ValueError, "target 'app:X': is empty"),
    (errors.MissingExtraError("the queue", "database"), ImportError, "pip install 'callboard[database]'"),
    (errors.MessageTypeError("topic", 3, "text"), TypeError, "topic must be text, not int (3)"),
    (errors.TopicError("a..b", "has an empty token"), ValueError, "topic 'a..b': has an empty token"),
    (errors.HeaderError("x", "is odd"), ValueError, "header 'x': is odd"),
    (errors.MessageTooLargeError("a", 9, 8), ValueError, "9 bytes of headers and body, the limit is 8"),
    (errors.ContentEncodeError("no type", path="$.a"), TypeError, "at $.a: no type"),
    (errors.ContentDecodeError("no int", path="$.a"), ValueError, "content does not fit at $.a: no int"),
    (errors.NoServerError("nats://x", "refused"), ConnectionError, "no NATS server at nats://x (refused)"),
    (errors.ConnectionLostError("nats://x", "gone"), ConnectionError, "the connection to nats://x is closed (gone)"),
    (errors.PublishUnknownError("a", 15.0, "no answer"), TimeoutError, "not acknowledged within 15.0 s (no answer)"),
    (errors.PublishRefusedError("a", "full"), CallboardError, "publish to 'a' was refused: full"),
    (errors.NoStreamError("a"), LookupError, "no stream holds the topic 'a'; start the service"),
    (errors.NoHandlerError("a"), LookupError, "no service handles 'a'"),
    (errors.TopologyError("stream A", "differs"), CallboardError, "stream A: differs"),
    (errors.StreamLostError("A", "noon", "a.b"), errors.TopologyError, "stream 'A': held 'a.b' when it was recorded"),
    (errors.PermissionDeniedError("a", "no"), errors.PublishRefusedError, "permission denied for 'a': no"),
    (errors.HandlerTimeoutError("f", 2.5), TimeoutError, "f did not finish within 2.5 s"),
    (errors.DeadlineExceededError("a", "noon"), TimeoutError, "passed at noon"),
    (errors.RestartLimitExceeded("root", 5, 60.0), CallboardError, "root: more than 5 restarts within 60 s"),
    (errors.RemoteError("a", status=409, type="Full", message="no seats"), CallboardError, "'a' answered 409 Full"),
    (errors.RequestTimeoutError("a", 5.0), TimeoutError, "no reply from 'a' within 5 s; the outcome is unknown"),
    (errors.ReplyContentError("a", "no int"), ValueError, "the reply from 'a' is not what 'returns' says: no int"),
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_is_a_callboard_error(kind: type) -> None:
    assert issubclass(kind, CallboardError)


@pytest.mark.parametrize(("error", "base", "text"), MADE, ids=lambda value: type(value).__name__)
def test_error_says_what_failed_and_stands_under_the_standard_class(
    error: CallboardError, base: type[Exception], text: str
) -> None:
    assert text in str(error)
    assert isinstance(error, base)


@pytest.mark.parametrize("error", [error for error, _, _ in MADE], ids=lambda error: type(error).__name__)
def test_error_keeps_its_arguments(error: CallboardError) -> None:
    code = type(error).__init__.__code__ if "__init__" in type(error).__dict__ else None
    names = code.co_varnames[1 : code.co_argcount] if code else ()

    assert [name for name in names if name != "known" and not hasattr(error, name)] == []


def test_refusal_defaults_to_400_and_keeps_its_text() -> None:
    refusal = errors.BrokerResponseException("no seats left")

    assert (refusal.status, refusal.message, str(refusal)) == (400, "no seats left", "no seats left")


def test_long_value_is_shortened() -> None:
    assert len(str(errors.TopicError("a" * 10_000, "is long"))) < 200


def test_outages_are_one_family() -> None:
    """They cost no attempt, so nothing that is the message's fault may be among them."""
    family = {kind.__name__ for kind in ERRORS if issubclass(kind, errors.SubstrateError)}

    assert family == {
        "SubstrateError",
        "NoServerError",
        "AccessDeniedError",
        "ConnectionLostError",
        "PublishUnknownError",
        "DatabaseUnavailableError",
    }


@pytest.mark.parametrize(
    ("value", "known", "hint"),
    [
        ("user.crate", ["user.create", "orders.place"], "; did you mean 'user.create'?"),
        ("zebra", ["user.create"], ""),
        ("anything", [], ""),
    ],
)
def test_hint_names_the_nearest_or_nothing(value: str, known: list[str], hint: str) -> None:
    assert did_you_mean(value, known) == hint


def test_all_is_what_the_modules_define() -> None:
    modules = [import_module(f"{errors.__name__}.{found.name}") for found in iter_modules(errors.__path__)]

    assert sorted(errors.__all__) == sorted(name for module in modules for name in module.__all__)
    defined = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    assert {each.__name__ for each in defined if issubclass(each, BaseException)} <= set(errors.__all__)
