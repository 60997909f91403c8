"""A bounded number of clients for many tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import Token
from types import TracebackType
from typing import Any, Self

from callboard.brokers.builder import BrokerPublisherBuilder
from callboard.brokers.publisher import BrokerPublisher
from callboard.client.client import BrokerClient
from callboard.config import Config
from callboard.context import REQUEST_REPLY_TOPIC_CONTEXT_VAR
from callboard.errors import InvalidArgumentError, NotProvidedError, PoolExhaustedError
from callboard.lifecycle import Resource

__all__ = ["BrokerClientPool"]


class BrokerClientPool(Resource):
    """Lends clients on one connection, at most `maxsize` at a time, each to one borrower.

    `instance_kwargs` are the arguments of `BrokerClient.from_config`. Unless they name a topic, every borrower gets a
    client with an inbox of its own: a reply that comes too late reaches nobody else.
    """

    def __init__(self, instance_kwargs: Mapping[str, Any], maxsize: int = 5) -> None:
        super().__init__()
        if maxsize < 1:
            raise InvalidArgumentError(f"maxsize is a number of clients, 1 or more; not {maxsize!r}")
        if "config" not in instance_kwargs:
            raise NotProvidedError(type(self).__name__, "config")
        self.maxsize = maxsize
        self._kwargs = dict(instance_kwargs)
        self._builder: BrokerPublisherBuilder = self._kwargs.pop("publisher_builder", None) or BrokerPublisherBuilder()
        self._publisher: BrokerPublisher | None = self._kwargs.get("publisher")
        self._borrowed: set[BrokerClient] = set()
        self._free = asyncio.Semaphore(maxsize)

    @classmethod
    def from_config(cls, config: Config, *, maxsize: int | None = None, **kwargs: Any) -> Self:
        """A pool of clients built from `config` and `kwargs`, of the configured size unless another is given."""
        return cls({"config": config, **kwargs}, config.client.maxsize if maxsize is None else maxsize)

    @classmethod
    def _from_config(cls, config: Config, **kwargs: Any) -> Self:
        """`from_config` under its older name."""
        return cls.from_config(config, **kwargs)

    async def _setup(self) -> None:
        if self._publisher is None:
            self._publisher = self._builder.within(self._kwargs["config"]).build()
        await self._publisher.setup()

    async def _destroy(self) -> None:
        for client in tuple(self._borrowed):
            await client.destroy()
        if self._publisher is not None and "publisher" not in self._kwargs:
            await self._publisher.destroy()

    def acquire(self, timeout: float | None = None) -> AbstractAsyncContextManager[BrokerClient]:
        """Borrow a client: `async with pool.acquire() as client`.

        Waits while all are borrowed, for ever or `timeout` seconds; raises `PoolExhaustedError` then. Inside the block
        `REQUEST_REPLY_TOPIC_CONTEXT_VAR` is the client's topic; the block may be left in another task.
        """
        return _Loan(self, timeout)

    async def borrow(self, timeout: float | None) -> BrokerClient:
        """A client that is to be given back; `acquire` does both."""
        await self.setup()
        await self._wait(timeout)
        try:
            arguments: dict[str, Any] = {**self._kwargs, "publisher": self._publisher, "shared": True}
            client = BrokerClient.from_config(**arguments)
            self._borrowed.add(client)
            try:
                await client.setup()
            except BaseException:
                self._borrowed.discard(client)
                raise
        except BaseException:
            self._free.release()
            raise
        return client

    async def _wait(self, timeout: float | None) -> None:
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                await self._free.acquire()
        except TimeoutError:
            if not limit.expired():
                raise
            raise PoolExhaustedError(self.maxsize, timeout or 0.0) from None

    async def give_back(self, client: BrokerClient) -> None:
        """End a loan. A client that was given back already is none any more."""
        if client not in self._borrowed:
            return
        self._borrowed.discard(client)
        try:
            await client.destroy()
        finally:
            self._free.release()


class _Loan(AbstractAsyncContextManager[BrokerClient]):
    def __init__(self, pool: BrokerClientPool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._client: BrokerClient | None = None
        self._before: Token[str | None] | None = None

    async def __aenter__(self) -> BrokerClient:
        self._client = await self._pool.borrow(self._timeout)
        self._before = REQUEST_REPLY_TOPIC_CONTEXT_VAR.set(self._client.topic)
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            with suppress(ValueError):  # another task leaves: the variable was never set there
                REQUEST_REPLY_TOPIC_CONTEXT_VAR.reset(self._before)
        if self._client is not None:
            await self._pool.give_back(self._client)
