"""What a worker answers when its parent asks for metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread

import msgspec
from attrs import frozen

__all__ = ["Answer", "Answers"]

logger = logging.getLogger("callboard.worker")


@frozen
class Answer:
    """One line from a worker."""

    number: int
    """The question's."""
    text: str


class Answers:
    """Gives answers on a pipe of their own, in a thread of their own: they are long, a parent may read slowly, and the
    actors wait for neither. A question that comes before the last one is answered gets no answer.
    """

    def __init__(self, fd: int, text: Callable[[], str]) -> None:
        self._fd = fd
        self._text = text
        self._busy = Lock()

    def give(self, number: int) -> None:
        """Begin to answer a question. Raises nothing."""
        if self._busy.acquire(blocking=False):
            # A daemon: a parent that stands still must not keep its worker from ending.
            Thread(target=self._give, args=(number,), name="callboard-metrics", daemon=True).start()

    def _give(self, number: int) -> None:
        try:
            line = msgspec.json.encode(Answer(number, self._text())) + b"\n"
            with suppress(OSError), open(self._fd, "wb", closefd=False) as pipe:
                pipe.write(line)
        except Exception:
            logger.exception("metrics cannot be collected")
        finally:
            self._busy.release()
