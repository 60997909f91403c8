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
    actors wait for neither. Of questions that come before the last one is answered, only the latest gets an answer.
    """

    def __init__(self, fd: int, text: Callable[[], str]) -> None:
        self._fd = fd
        self._text = text
        self._lock = Lock()
        self._question: int | None = None
        self._answering = False

    def give(self, number: int) -> None:
        """Begin to answer a question. Raises nothing."""
        with self._lock:
            self._question = number
            begun, self._answering = self._answering, True
        if not begun:
            # A daemon: a parent that stands still must not keep its worker from ending.
            Thread(target=self._answer, name="callboard-metrics", daemon=True).start()

    def _answer(self) -> None:
        while (number := self._next()) is not None:
            try:
                self._write(Answer(number, self._text()))
            except Exception:
                logger.exception("metrics cannot be collected")

    def _next(self) -> int | None:
        with self._lock:
            number, self._question = self._question, None
            self._answering = number is not None
            return number

    def _write(self, answer: Answer) -> None:
        """Wait until the pipe has taken it; nothing happens when the parent is gone."""
        with suppress(OSError), open(self._fd, "wb", closefd=False) as pipe:
            pipe.write(msgspec.json.encode(answer) + b"\n")
