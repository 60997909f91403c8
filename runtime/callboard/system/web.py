"""A small HTTP server for probes and scrapers.

It answers in threads of its own, so that a slow client is nobody's concern; what it answers is made on the event loop,
where everything stands that there is to tell.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from attrs import frozen

from callboard.errors import ConfigError

__all__ = ["Response", "Route", "WebServer", "json_response"]

logger = logging.getLogger("callboard.web")

CLIENT_TIMEOUT = 5.0
"""Seconds that a client may be silent in the middle of a request."""
LOOP_TIMEOUT = 2.0
"""Seconds for the event loop to make an answer; a busy one is told from one that stands still."""
POLL = 0.1
"""Seconds until a server that is to end notices."""


@frozen
class Response:
    """What a route answers."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


Route = Callable[[], Response]
"""Called on the event loop for each request: it must be quick, and needs no locks."""


def json_response(content: Any, status: int = 200) -> Response:
    """Plain values as JSON."""
    return Response(msgspec.json.encode(content) + b"\n", status, "application/json")


class WebServer:
    """Answers GET and HEAD on `port` with what `routes` say, by path: `async with WebServer(8080, routes): ...`.

    Unknown paths are 404, other methods 501. A route that raises is 500, and logged; an event loop that does not
    get to it within 2 s is 503. Leaving ends at once: answers that are on their way are cut off.

    `host` is the address to listen on, empty for all of them, IPv6 included where the machine has it; `port` 0 takes a
    free one, which `port` says afterwards. Raises `ConfigError` when nothing can listen there.
    """

    def __init__(self, port: int, routes: Mapping[str, Route], *, host: str = "") -> None:
        self.port = port
        self.host = host
        self._routes = routes
        self._server: _Server | None = None

    async def __aenter__(self) -> Self:
        try:
            self._server = _Server(self.host, self.port, self._routes, asyncio.get_running_loop())
        except OSError as error:
            where = f"port {self.port}" + (f" of {self.host!r}" if self.host else "")
            raise ConfigError(f"cannot listen on {where}: {error.strerror or error}; choose another one") from error
        self.port = self._server.server_address[1]
        Thread(target=self._server.serve_forever, args=(POLL,), name=f"http {self.port}", daemon=True).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.shutdown)
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, routes: Mapping[str, Route], loop: asyncio.AbstractEventLoop) -> None:
        self._routes = routes
        self._loop = loop
        if ":" in host or (not host and socket.has_dualstack_ipv6()):
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # all addresses: those of both families
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # HTTPServer's own asks the resolver for the machine's name, which may take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Clients come and go."""
        logger.debug("a request of %s ended early: %r", client_address, sys.exception())

    def answer(self, path: str) -> Response:
        """What the route says, asked on the event loop."""
        if (route := self._routes.get(path)) is None:
            return json_response({"error": f"no {path!r} here", "paths": sorted(self._routes)}, HTTPStatus.NOT_FOUND)
        asked: Future[Response] = Future()
        try:
            self._loop.call_soon_threadsafe(_settle, asked, path, route)
            return asked.result(LOOP_TIMEOUT)
        except (TimeoutError, RuntimeError):  # it stands still, or has ended
            return json_response({"error": "the event loop does not turn"}, HTTPStatus.SERVICE_UNAVAILABLE)


def _settle(asked: Future[Response], path: str, route: Route) -> None:
    try:
        asked.set_result(route())
    except Exception:
        logger.exception("%s cannot be answered", path)
        asked.set_result(json_response({"error": "see the log"}, HTTPStatus.INTERNAL_SERVER_ERROR))


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version = "callboard"
    sys_version = ""
    timeout = CLIENT_TIMEOUT

    def do_GET(self) -> None:
        self._answer(whole=True)

    def do_HEAD(self) -> None:
        self._answer(whole=False)

    def _answer(self, *, whole: bool) -> None:
        response = self.server.answer(urlsplit(self.path).path)
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if whole:
            self.wfile.write(response.body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds: not worth a line at INFO."""
        logger.debug(format, *arguments)
