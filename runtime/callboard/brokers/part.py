"""Builders, and those of the parts that publishers and subscribers are put together from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import copy as shallow_copy
from typing import Any, Generic, Self, TypeVar, cast

import attrs

from callboard.brokers.memory.transport import InMemoryTransport
from callboard.brokers.queue.publisher import BrokerPublisherQueue
from callboard.brokers.queue.subscriber import BrokerSubscriberQueue
from callboard.brokers.transport import BrokerTransport
from callboard.brokers.validator import BrokerSubscriberValidator
from callboard.config import Config, construct, import_name
from callboard.errors import ConfigError

__all__ = [
    "BrokerPublisherQueueBuilder",
    "BrokerSubscriberQueueBuilder",
    "BrokerSubscriberValidatorBuilder",
    "Builder",
    "ClassBuilder",
    "stored_class",
]

T = TypeVar("T")


class Builder(ABC, Generic[T]):
    """Makes things from a configuration (without one: `Config()`) and keyword arguments.

    Each `with_...` changes this builder and returns it; their order does not matter. `build` makes another thing each
    time.
    """

    def __init__(self) -> None:
        self._config: Config | None = None
        self._kwargs: dict[str, Any] = {}
        self._presets: dict[str, Any] = {}

    @property
    def config(self) -> Config:
        """What is built from."""
        if self._config is None:
            self._config = Config()
        return self._config

    def with_config(self, config: Config) -> Self:
        """Build from this configuration."""
        self._config = config
        return self

    def with_kwargs(self, kwargs: Mapping[str, Any]) -> Self:
        """More arguments by name, stronger than the configuration. `build` refuses those that nobody knows."""
        self._kwargs |= kwargs
        return self

    def with_presets(self, presets: Mapping[str, Any]) -> Self:
        """Arguments that count where nothing else is said by name, and where they are known."""
        self._presets |= presets
        return self

    def copy(self) -> Self:
        """A builder of the same; changing one does not change the other."""
        other = shallow_copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict | Builder):
                setattr(other, name, value.copy())
        return other

    def within(self, config: Config, **presets: Any) -> Self:
        """A copy that builds from `config` and `presets` where nothing else was said."""
        return self.copy().with_config(self._config or config).with_presets(presets)

    @abstractmethod
    def build(self) -> T:
        """Make one. Raises `ConfigError` for an argument that is unknown or missing."""


class ClassBuilder(Builder[T]):
    """Makes a `cls`. Of what the configuration says, it gets the arguments that its constructor has."""

    def __init__(self, cls: Callable[..., T]) -> None:
        super().__init__()
        self.cls = cls

    def build(self) -> T:
        return construct(self.cls, self._configured() | self._presets, self._kwargs)

    def _configured(self) -> dict[str, Any]:
        database = self.config.queues.database
        return {"database": database} if database else {}


class BrokerPublisherQueueBuilder(ClassBuilder[BrokerPublisherQueue]):
    """Makes an outbox."""

    def _configured(self) -> dict[str, Any]:
        return super()._configured() | attrs.asdict(self.config.queues.outbox)


class BrokerSubscriberQueueBuilder(ClassBuilder[BrokerSubscriberQueue]):
    """Makes an inbox."""

    def with_topics(self, topics: Iterable[str]) -> Self:
        """Those of its subscriber."""
        return self.with_kwargs({"topics": set(topics)})

    def _configured(self) -> dict[str, Any]:
        return super()._configured() | attrs.asdict(self.config.queues.inbox)


class BrokerSubscriberValidatorBuilder(ClassBuilder[BrokerSubscriberValidator]):
    """Makes a validator."""

    def _configured(self) -> dict[str, Any]:
        return super()._configured() | attrs.asdict(self.config.queues.duplicates)


_DATABASE = {
    "outbox": "callboard.database:DatabaseBrokerPublisherQueue",
    "inbox": "callboard.database:DatabaseBrokerSubscriberQueue",
    "duplicates": "callboard.database:DatabaseBrokerSubscriberDuplicateValidator",
}


def stored_class(config: Config, transport: BrokerTransport | None, section: str, in_memory: T) -> T:
    """The class for a section of `queues`: in the database when there is one, in memory where nothing can be lost."""
    if config.queues.database:
        return cast("T", import_name(_DATABASE[section], f"'queues.{section}'"))
    if transport is None or isinstance(transport, InMemoryTransport):
        return in_memory
    raise ConfigError(f"'queues.{section}.enabled' needs 'queues.database': what waits in memory ends with the process")
