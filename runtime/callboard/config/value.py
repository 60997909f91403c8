"""From what a file, a variable or an argument says to the value of an option."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar, cast, get_args, get_origin

import attrs
import cattrs
from attrs import Attribute
from typed_settings.converters import get_default_cattrs_converter, to_bool
from typed_settings.types import OptionInfo

from callboard.errors import ConfigError

__all__ = [
    "at_least",
    "at_most",
    "context_name",
    "fitted",
    "inbox_prefix",
    "inbox_prefixes",
    "make_converter",
    "more_than",
    "one_of",
    "stream_names",
    "topic_filters",
]

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

Validator = Callable[[Any, "Attribute[Any]", Any], None]


class _Unfit(ValueError):
    """A value breaks a rule; the text is the rule alone, for who names the value and its place."""


def one_of(*known: object) -> Validator:
    """The value is one of these."""

    def check(_: Any, __: Attribute[Any], value: object) -> None:
        if value not in known:
            raise _Unfit(f"must be one of {', '.join(map(str, known))}")

    return check


def at_least(limit: float) -> Validator:
    """The number is not less."""

    def check(_: Any, __: Attribute[Any], value: float) -> None:
        if value < limit:
            raise _Unfit(f"must be at least {limit:g}")

    return check


def at_most(limit: float) -> Validator:
    """The number is not greater."""

    def check(_: Any, __: Attribute[Any], value: float) -> None:
        if value > limit:
            raise _Unfit(f"must be at most {limit:g}")

    return check


def more_than(limit: float) -> Validator:
    """The number is greater."""

    def check(_: Any, __: Attribute[Any], value: float) -> None:
        if value <= limit:
            raise _Unfit(f"must be more than {limit:g}")

    return check


def stream_names(_: Any, __: Attribute[Any], value: Mapping[str, str]) -> None:
    """The mapping goes from tokens of topics to names that the server takes for a stream."""
    for token, stream in value.items():
        if not token or set(token) & set(". *>") or not stream or set(stream) & set(". *>/\\"):
            raise _Unfit("must map the first tokens of topics to names of streams, without '.', '*', '>' and spaces")


def inbox_prefix(_: Any, __: Attribute[Any], value: str) -> None:
    """It is one token or several, without wildcards."""
    if not all(value.split(".")) or set(value) & set("*> $"):
        raise _Unfit("must be a prefix such as _INBOX, without wildcards, '$', spaces and a dot at an end")


def inbox_prefixes(_: Any, attribute: Attribute[Any], value: Sequence[str]) -> None:
    """Each is a prefix of inboxes."""
    for prefix in value:
        inbox_prefix(_, attribute, prefix)


def context_name(_: Any, __: Attribute[Any], value: str) -> None:
    """It is the name of a file in a folder, and leads nowhere else."""
    if ".." in value or set(value) & set("/\\"):
        raise _Unfit("must be the name of a context, as 'nats context ls' shows it")


def topic_filters(_: Any, __: Attribute[Any], value: Sequence[str]) -> None:
    """Each is a filter of topics: tokens, `*` for one of them, and `>` for the rest at the end."""
    for wanted in value:
        tokens = wanted.split(".")
        if not all(tokens) or ">" in tokens[:-1] or set(wanted) & set(" $"):
            raise _Unfit("must be filters of topics such as orders.>, '>' at the end only, without '$' and spaces")


def fitted(option: OptionInfo, value: Any, converter: cattrs.Converter, place: str) -> Any:
    """The value that an option gets.

    Raises `ConfigError`, which names `place`, the rule and, unless it is a secret, the value.
    """
    try:
        convert: Any = option.converter or partial(converter.structure, cl=option.cls)
        result = convert(value)
        [attribute] = [a for a in attrs.fields(option.parent_cls) if a.alias == option.name]
        if attribute.validator is not None:
            attribute.validator(None, attribute, result)
    except _Unfit as error:
        shown = "" if option.is_secret else f", not {value!r:.100}"
        raise ConfigError(f"{place} {error}{shown}") from None
    except Exception as error:  # converters and validators of users' own classes may raise anything
        if option.is_secret:
            raise ConfigError(f"{place} does not fit") from None
        raise ConfigError(f"{place}: {' '.join(str(error).split())}") from error
    return result


def make_converter() -> cattrs.Converter:
    """Strict about what a file says: `5.7` is no whole number, `1234` no text. Texts may stand for everything, because
    variables have no other type; one with commas is a list."""
    converter = get_default_cattrs_converter()
    converter.detailed_validation = False  # its summary of a nested class leaves out what is wrong
    converter.register_structure_hook(bool, _truth)
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(StrEnum, _member)
    converter.register_structure_hook_func(_is_mapping, partial(_mapping, converter))
    converter.register_structure_hook_func(_is_list, partial(_list, converter))
    return converter


def _truth(value: Any, _: type[bool]) -> bool:
    try:
        return to_bool(value)
    except ValueError:
        raise _Unfit("must be true or false") from None


def _whole(value: Any, kind: type[int]) -> int:
    if type(value) is int or (isinstance(value, str) and value.strip().lstrip("+-").isdecimal()):
        return kind(value)
    raise _Unfit("must be a whole number")


def _number(value: Any, kind: type[float]) -> float:
    try:
        number = kind(math.nan if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        number = kind(math.nan)
    if not math.isfinite(number):
        raise _Unfit("must be a number")
    return number


def _text(value: Any, kind: type[str]) -> str:
    if isinstance(value, str):
        return kind(value)
    raise _Unfit("must be text" + ("" if isinstance(value, Mapping | list) else " (put it in quotes)"))


def _member(value: Any, kind: type[E]) -> E:
    try:
        return kind(value)
    except ValueError:
        raise _Unfit(f"must be one of {', '.join(kind)}") from None


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is dict


def _mapping(converter: cattrs.Converter, value: Any, kind: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _Unfit("must be a mapping")
    key, item = get_args(kind)
    pairs = cast("Mapping[Any, Any]", value).items()
    return {converter.structure(k, key): converter.structure(v, item) for k, v in pairs}


def _is_list(kind: Any) -> bool:
    origin, arguments = get_origin(kind), get_args(kind)
    return origin is list or (origin is tuple and arguments[1:] == (...,))


def _list(converter: cattrs.Converter, value: Any, kind: Any) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Sequence):
        raise _Unfit("must be a list")
    items = cast("Sequence[Any]", value)
    return get_origin(kind)(converter.structure(item, get_args(kind)[0]) for item in items)
