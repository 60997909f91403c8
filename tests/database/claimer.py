"""Claims entries in a process of its own and keeps them until it is killed: `claimer.py <url> <count>`."""

from __future__ import annotations

import asyncio
import sys

from callboard.database import DatabaseBrokerQueue


async def main(url: str, count: int) -> None:
    async with DatabaseBrokerQueue(url, "orders") as queue:
        entries = await queue.claim(count)
        print(len(entries), flush=True)  # noqa: T201 - the test reads it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
