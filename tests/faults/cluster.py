"""Three real servers as one cluster."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import nats
from attrs import define, field
from nats.errors import Error as NatsError

from callboard.embedded import EmbeddedServer
from tests.jetstream.eventually import eventually

__all__ = ["Cluster", "free_ports"]

ANSWER = 0.5
"""Seconds for one answer: in an election there is none, and its end should be seen soon."""
SIZE = 3
ELECTED = 30.0
"""Seconds to wait for leaders: an election takes up to 7, and two processors are busy."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on. They are free together, so no two are the same."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports


@define(eq=False)
class Cluster:
    """Servers `n1` to `n3`; what is stored with three replicas survives the loss of one of them.

    Questions go to a server that can answer, never through a connection that a fault may have broken.
    """

    folder: Path
    servers: dict[str, EmbeddedServer] = field(init=False, factory=dict[str, EmbeddedServer])
    _frozen: set[str] = field(init=False, factory=set[str])
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        """Start the servers; returns once all of them can hold streams."""
        ports = free_ports(SIZE)
        routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in ports)
        for number, port in enumerate(ports, 1):
            name = f"n{number}"
            block = f'cluster {{ name: faults, listen: "127.0.0.1:{port}", routes: [{routes}] }}'
            self.servers[name] = EmbeddedServer(store=self.folder / name, port=0, name=name, extra_config=block)
        async with AsyncExitStack() as stack:
            async with asyncio.TaskGroup() as group:
                for server in self.servers.values():
                    group.create_task(stack.enter_async_context(server))
            await eventually(self._takes_streams, within=ELECTED)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in tuple(self._frozen):
            self.resume(name)
        await self._stack.aclose()

    def url(self, *names: str) -> str:
        """Addresses of these servers, or of all."""
        return ",".join(self.servers[name].url for name in names or self.servers)

    def others(self, name: str) -> list[str]:
        """All servers but one."""
        return [other for other in self.servers if other != name]

    # Faults

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.servers[name].kill()

    def freeze(self, name: str) -> None:
        """SIGSTOP: its connections stay open and nothing answers."""
        self.servers[name].pause()
        self._frozen.add(name)

    def resume(self, name: str) -> None:
        """End a `freeze`."""
        self._frozen.discard(name)
        self.servers[name].resume()

    async def start(self, name: str) -> None:
        """Start a killed server again, on its store and port."""
        await self.servers[name].restart()

    async def step_down(self, stream: str, durable: str = "", *, to: str = "") -> None:
        """Have the leader of a stream, or of a durable on it, give up; `to` is who should follow."""
        call = f"CONSUMER.LEADER.STEPDOWN.{stream}.{durable}" if durable else f"STREAM.LEADER.STEPDOWN.{stream}"
        await self.call(call, {"placement": {"preferred": to}} if to else None)

    # Questions

    async def leader(self, stream: str, durable: str = "") -> str | None:
        """Who leads a stream or a durable, as far as a server that answers knows; None in an election."""
        try:
            info = await self.call(f"CONSUMER.INFO.{stream}.{durable}" if durable else f"STREAM.INFO.{stream}")
        except (NatsError, OSError, TimeoutError):
            return None
        leader = info.get("cluster", {}).get("leader")
        return leader if leader in self._answering() else None

    async def led_by(self, name: str, stream: str, durable: str = "") -> None:
        """Return once this server leads, moving the leadership there when another one does."""

        async def leads() -> bool:
            if (leader := await self.leader(stream, durable)) is not None and leader != name:
                await self.step_down(stream, durable, to=name)
            return leader == name

        await eventually(leads, within=ELECTED)

    async def elected(self, stream: str, durable: str = "") -> str:
        """Return once the stream or durable has a leader that can answer: its name."""
        found: list[str] = []

        async def has_leader() -> bool:
            if (leader := await self.leader(stream, durable)) is not None:
                found.append(leader)
            return bool(found)

        await eventually(has_leader, within=ELECTED)
        return found[0]

    async def whole(self) -> None:
        """Return once every stream has a leader and every replica of it is current."""
        await eventually(self._is_whole, within=ELECTED)

    async def call(self, name: str, request: Any = None) -> dict[str, Any]:
        """A call of `$JS.API`, over a fresh connection to a server that can answer. Raises for an error."""
        body = b"" if request is None else json.dumps(request).encode()
        server = self.servers[self._answering()[0]]
        async with await nats.connect(server.url, allow_reconnect=False, connect_timeout=2) as client:
            answer = json.loads((await client.request(f"$JS.API.{name}", body, timeout=ANSWER)).data)
        if "error" in answer:
            raise NatsError(f"{name}: {answer['error']}")
        return answer

    def _answering(self) -> list[str]:
        return [name for name, server in self.servers.items() if server.alive and name not in self._frozen]

    async def _takes_streams(self) -> bool:
        """Whether the cluster has a leader who knows all servers: only then a stream can have three replicas."""
        try:
            await self.call("STREAM.CREATE.PROBE", {"name": "PROBE", "subjects": ["probe"], "num_replicas": SIZE})
            await self.call("STREAM.DELETE.PROBE")
        except (NatsError, OSError, TimeoutError):
            return False
        return True

    async def _is_whole(self) -> bool:
        try:
            streams: list[dict[str, Any]] = (await self.call("STREAM.LIST")).get("streams") or []
        except (NatsError, OSError, TimeoutError):
            return False
        return all(_current(stream.get("cluster", {})) for stream in streams)


def _current(cluster: dict[str, Any]) -> bool:
    """Also not on its way to another number of replicas."""
    replicas: list[dict[str, Any]] = cluster.get("replicas") or []
    return (
        bool(cluster.get("leader"))
        and "desired" not in cluster
        and all(r["current"] and not r.get("offline") for r in replicas)
    )
