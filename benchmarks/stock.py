"""The messages: real flights, numbered, and parcels of a given size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import msgspec

from actors.figures import read_rows

__all__ = ["flights", "parcels", "write_lines"]


def flights(messages: int) -> Iterator[bytes]:
    """One row of the month after another as JSON, as often as needed; `number` tells them apart."""
    encode = msgspec.json.encode
    for number, row in enumerate(islice(cycle(read_rows()), messages)):
        yield encode({"number": number, **row})


def parcels(messages: int, size: int) -> Iterator[bytes]:
    """Bodies of exactly `size` bytes."""
    for number in range(messages):
        head = b'{"number":%d,"filler":"' % number
        yield head + b"x" * (size - len(head) - 2) + b'"}'


def write_lines(target: Path, messages: int) -> None:
    """The flights in a file, for those who send."""
    with target.open("wb") as file:
        file.writelines(body + b"\n" for body in flights(messages))
