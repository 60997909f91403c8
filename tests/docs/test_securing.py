"""The example of the guide to securing is enough to run it, and lets nobody do more."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

import callboard as library
from callboard.config import Config
from callboard.errors import AccessDeniedError, NoServerError, PermissionDeniedError
from callboard.jetstream import JetStreamTransport
from tests.cli.command import CommandLine, command_line
from tests.docs.page import blocks_of
from tests.jetstream.eventually import eventually

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "securing.md"
PASSWORDS = {"ADMIN_PASSWORD": "of-admin", "ORDERS_PASSWORD": "of-orders", "WEB_PASSWORD": "of-web"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[CommandLine]:
    """A folder with what the page says, in which its commands have run."""
    async with command_line(tmp_path / "project", "") as command:
        for block in blocks_of(PAGE):
            if block.file is not None:
                (command.folder / block.file).write_text(block.text)
            elif block.language == "conf":
                (command.folder / "nats-server.conf").write_text(block.text)
        [commands] = [block.text for block in blocks_of(PAGE) if block.language == "sh"]
        [certificate, printing] = commands.replace("\\\n", " ").splitlines()
        subprocess.run(certificate.split(), cwd=command.folder, check=True, capture_output=True)
        program, *words = printing.partition(" > ")[0].split()
        printed = await command(*words)
        assert (program, printed.err) == ("callboard", "")
        (command.folder / printing.partition(" > ")[2]).write_text(printed.out)
        yield command


@contextmanager
def server(binary: Path, folder: Path) -> Generator[str]:
    """The page's server on another port, at this address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "-c", "nats-server.conf", "-p", str(port)],
            cwd=folder,
            env=os.environ | PASSWORDS,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"tls://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(120)
async def test_example_runs_and_nobody_may_do_more(
    shop: CommandLine, nats_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(nats_binary, shop.folder) as address:
        await eventually(lambda: "Server is ready" in (shop.folder / "server.log").read_text(), within=30)
        shop.environment.update(NATS_URL=address, CALLBOARD_NATS_PASSWORD=PASSWORDS["ORDERS_PASSWORD"])
        running = await shop.run("--config", "config.yml")
        await running.worker()
        monkeypatch.setenv("NATS_URL", address)
        web = Config(shop.folder / "web.yml", nats={"password": PASSWORDS["WEB_PASSWORD"]})

        async with library.connect(config=web) as board:
            assert await board.request("orders.place", "soup", timeout=10) == "one soup"
            with pytest.raises(PermissionDeniedError):
                await board.publish("orders.placed", "soup")
        for prefix in ("_INBOX", "_INBOX_orders"):
            eager = JetStreamTransport.from_config(web.over(nats={"inbox_prefix": prefix}))
            with pytest.raises(PermissionDeniedError, match=rf"'{prefix}\."):
                await eager.setup()
        with pytest.raises(AccessDeniedError, match="user 'web' with this password"):
            async with library.connect(config=web.over(nats={"password": "of-orders"})):
                pass
        with pytest.raises(NoServerError, match="certificate verify failed"):
            async with library.connect(config=web.over(nats={"tls": {"ca": None}})):
                pass

    assert "permission" not in running.text
