"""A handler as a service that somebody starts and stops."""

from __future__ import annotations

import asyncio
import logging
import warnings
from types import TracebackType
from typing import Any, Self

from callboard.config import Config
from callboard.routing.handler import BrokerHandler

__all__ = ["BrokerHandlerService", "BrokerPort"]

logger = logging.getLogger("callboard.port")


class BrokerPort:
    """Runs a handler in the background: `start()`, then whatever else the application does, then `stop()`.

    What the handler raises is logged when it happens, and raised again by the call that it happened in; a crash
    between the two by `stop()`. Used once, as its handler is.
    """

    def __init__(self, handler: BrokerHandler) -> None:
        self.handler = handler
        """What runs."""
        self._running: asyncio.Task[None] | None = None
        self._crash: Exception | None = None

    @classmethod
    def from_config(cls, config: Config, **kwargs: Any) -> Self:
        """A port for `BrokerHandler.from_config` with the same arguments."""
        return cls(BrokerHandler.from_config(config, **kwargs))

    @classmethod
    def _from_config(cls, config: Config, **kwargs: Any) -> Self:
        """`from_config` under its older name."""
        return cls.from_config(config, **kwargs)

    async def start(self) -> None:
        """Return once messages are handled; does nothing when they are already. Failed or cancelled, everything is
        stopped again."""
        await self._start()

    async def stop(self, err: BaseException | None = None) -> None:
        """Take no new messages, let running handlers finish and reply (30 s at most), release everything.

        `err` is why, for the log. Idempotent. Raises what crashed the handler before.
        """
        await self._stop(err)

    async def _start(self) -> None:
        if self._running is not None:
            return
        try:
            await self.handler.setup()
        except Exception:
            logger.exception("the handler did not start")
            raise
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.handler.run()
        except Exception as error:
            logger.exception("the handler crashed")
            self._crash = error

    async def _stop(self, err: BaseException | None = None) -> None:
        if err is not None:
            logger.error("stopping because of %s: %s", type(err).__name__, err)
        try:
            await self.handler.destroy()
        except Exception:
            logger.exception("the handler did not stop cleanly")
            raise
        if self._running is not None:
            await self._running
        if self._crash is not None:
            raise self._crash

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(error)


class BrokerHandlerService(BrokerPort):
    """The former name of `BrokerPort`: making one warns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("BrokerHandlerService is now called BrokerPort", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)
