"""The HTTP server for probes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse

import pytest

from callboard.errors import ConfigError
from callboard.system.web import Response, WebServer, json_response
from tests.jetstream.eventually import eventually

HOST = "127.0.0.1"


async def ask(port: int, path: str, method: str = "GET", host: str = HOST) -> tuple[HTTPResponse, bytes]:
    def asking() -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(host, port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(asking)


def serve(route: Callable[[], Response]) -> WebServer:
    return WebServer(0, {"/it": route}, host=HOST)


async def test_route_is_answered_with_status_type_and_body() -> None:
    async with serve(lambda: json_response({"a": 1}, 503)) as web:
        response, body = await ask(web.port, "/it?verbose=1")

    assert (response.status, response.headers["Content-Type"], body) == (503, "application/json", b'{"a":1}\n')


async def test_head_is_get_without_the_body() -> None:
    async with serve(lambda: Response(b"four")) as web:
        response, body = await ask(web.port, "/it", "HEAD")

    assert (response.status, response.headers["Content-Length"], body) == (200, "4", b"")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/that", 404), ("POST", "/it", 501)])
async def test_what_there_is_not_is_refused(method: str, path: str, status: int) -> None:
    async with serve(lambda: Response(b"")) as web:
        response, _ = await ask(web.port, path, method)

    assert response.status == status


async def test_route_runs_on_the_event_loop() -> None:
    threads: list[int] = []

    def route() -> Response:
        threads.append(threading.get_ident())
        return Response(b"")

    async with serve(route) as web:
        await ask(web.port, "/it")

    assert threads == [threading.get_ident()]


async def test_route_that_raises_is_an_error_of_that_request_alone(caplog: pytest.LogCaptureFixture) -> None:
    answers = [Response(b"good")]

    async with serve(answers.pop) as web:
        good, bad = await ask(web.port, "/it"), await ask(web.port, "/it")

    assert (good[0].status, bad[0].status) == (200, 500)
    assert "/it cannot be answered" in caplog.text


async def test_event_loop_that_stands_still_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callboard.system.web.LOOP_TIMEOUT", 0.1)
    statuses: list[int] = []
    async with serve(lambda: Response(b"")) as web:

        def probe() -> None:
            connection = HTTPConnection(HOST, web.port, timeout=10)
            connection.request("GET", "/it")
            statuses.append(connection.getresponse().status)
            connection.close()

        prober = threading.Thread(target=probe)
        prober.start()
        prober.join()  # blocks the loop

    assert statuses == [503]


async def test_client_that_says_nothing_does_not_hold_up_the_end() -> None:
    loop = asyncio.get_running_loop()
    async with serve(lambda: Response(b"")) as web:
        silent = socket.create_connection((HOST, web.port))
        silent.sendall(b"GET /it")
        await ask(web.port, "/it")
        begun = loop.time()

    assert loop.time() - begun < 2.0
    silent.close()


async def test_leaving_ends_its_thread() -> None:
    async with serve(lambda: Response(b"")) as web:
        name = f"http {web.port}"
        assert name in {thread.name for thread in threading.enumerate()}

    await eventually(lambda: name not in {thread.name for thread in threading.enumerate()})


async def test_port_that_is_taken_is_an_error_that_names_it() -> None:
    async with serve(lambda: Response(b"")) as web:
        with pytest.raises(ConfigError, match=f"cannot listen on port {web.port}"):
            await WebServer(web.port, {}).__aenter__()


async def test_all_addresses_are_listened_on_unless_one_is_named() -> None:
    async with WebServer(0, {"/it": lambda: Response(b"")}) as web:
        statuses = [(await ask(web.port, "/it", host=HOST))[0].status]
        if socket.has_dualstack_ipv6():
            statuses.append((await ask(web.port, "/it", host="::1"))[0].status)

    assert set(statuses) == {200}
