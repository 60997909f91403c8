"""The streams that the code wants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from callboard.brokers.deadletter import DEAD_STREAM, DEAD_TOPIC
from callboard.config import StreamSettings
from callboard.jetstream.attempts import BUCKET, BUCKET_STREAM

__all__ = ["NANOSECONDS", "Home", "StreamSpec", "bucket_of", "home_of", "own_streams", "shown", "stream_name"]

NANOSECONDS = 1_000_000_000
DURATIONS = {"max_age", "duplicate_window", "ack_wait"}
"""Fields that the server keeps in nanoseconds; people see seconds."""
FIELDS = {"max_age": "max_age", "duplicate_window": "duplicate_window", "replicas": "num_replicas"}
"""Settings by the stream's field that each one names."""


@frozen
class StreamSpec:
    """A stream as it is created, and what of it is compared once it exists."""

    name: str
    config: Mapping[str, Any]
    """All of it, in the server's words."""
    named: tuple[str, ...] = ()
    """Fields that the configuration names: they are compared and written. All others belong to the operator."""

    @property
    def subjects(self) -> list[str]:
        """What it holds."""
        return list(self.config["subjects"])

    def changes(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The fields to write into the stream that exists, with their new values."""
        found = {name: self.config[name] for name in self.named if config.get(name, 0) != self.config[name]}
        age = found.get("max_age", 0)
        # The server keeps a duplicate window no longer than the messages, and refuses one that is.
        if 0 < age < found.get("duplicate_window", config.get("duplicate_window", 0)):
            found["duplicate_window"] = age
        return found


@frozen
class Home:
    """Where a topic belongs that no stream holds yet."""

    stream: StreamSpec
    mapped: bool
    """Whether a configuration names the stream: a stream of that name then takes the topic in."""


def stream_name(topic: str) -> str:
    """The stream of a topic: its first token in capitals."""
    return re.sub(r"[^A-Z0-9_-]", "_", topic.split(".", maxsplit=1)[0].upper())


def home_of(topic: str, settings: StreamSettings) -> Home:
    """The stream for topics with the same first token, with all first tokens that it is to hold."""
    first = topic.split(".", maxsplit=1)[0]
    name = settings.topics.get(first) or stream_name(first)
    tokens = sorted({first, *(token for token, stream in settings.topics.items() if stream == name)})
    subjects = [subject for token in tokens for subject in (token, f"{token}.>")]
    named = tuple(_named(settings))
    return Home(StreamSpec(name, _config(name, subjects, settings), named), mapped=first in settings.topics)


def own_streams(settings: StreamSettings) -> tuple[StreamSpec, ...]:
    """The streams that Callboard keeps for itself: what we remember, which the others need, and dead letters.

    A further one is a further entry here: it is created, compared, remembered and shown like these.
    """
    dead = _config(DEAD_STREAM, [f"{DEAD_TOPIC}.>"], settings) | {"max_age": 0, "discard": "new"}
    return bucket_of(settings), StreamSpec(DEAD_STREAM, dead, _replicas(settings))


def bucket_of(settings: StreamSettings) -> StreamSpec:
    """The bucket of what we remember."""
    config = _config(BUCKET_STREAM, [f"$KV.{BUCKET}.>"], settings) | {
        "max_age": 0,  # what a stream or durable was is remembered for ever; attempts expire one by one
        "discard": "new",
        "max_msgs_per_subject": 1,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    return StreamSpec(BUCKET_STREAM, config, (*_replicas(settings), "max_age"))


def shown(field: str, value: Any) -> Any:
    """A value of the server as a person reads it."""
    return (value or 0) / NANOSECONDS if field in DURATIONS else value


def _named(settings: StreamSettings) -> Iterator[str]:
    """The fields that a configuration gives another value than the default."""
    default = StreamSettings()
    for setting, field in FIELDS.items():
        if getattr(settings, setting) != getattr(default, setting):
            yield field


def _replicas(settings: StreamSettings) -> tuple[str, ...]:
    """What a configuration may say about our own streams."""
    return tuple(name for name in _named(settings) if name == "num_replicas")


def _config(name: str, subjects: list[str], settings: StreamSettings) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": subjects,
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_age": int(settings.max_age * NANOSECONDS),
        "duplicate_window": int(min(settings.duplicate_window, settings.max_age) * NANOSECONDS),
        "num_replicas": settings.replicas,
        "allow_direct": True,
        "allow_msg_ttl": True,
    }
