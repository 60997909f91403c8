"""What a factory is given by name."""

from __future__ import annotations

from callboard import command, event

__all__ = ["NOTHING", "Desk", "log"]

NOTHING = 3


class Desk:
    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    @command("orders.place")
    async def place(self, content: str) -> str:
        return self.prefix + content


@event("orders.placed")
async def log(content: str) -> None: ...
