"""Why an embedded server did not start."""

from __future__ import annotations

import re

from callboard.errors import SubstrateError

__all__ = ["EmbeddedServerError", "reason_in"]

# `[4242] 2026/01/31 12:00:00.123456 [FTL] ...` once the log is open, `nats-server: ...` before.
_CHATTER = re.compile(r" \[(INF|WRN|DBG|TRC)\] ")
_PREFIX = re.compile(r"^(\[\d+\] \S+ \S+ \[\w+\] |nats-server: )")


class EmbeddedServerError(SubstrateError):
    """The embedded server could not start; no process is left behind."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"embedded NATS server could not start: {reason}")


def reason_in(log: str, port: int) -> str:
    """The first complaint in what a server wrote before it ended, without its time stamp.

    A port in use is the common one, so it gets words and a fix of our own.
    """
    lines = (line for line in log.splitlines() if line.strip())
    complaint = next((line for line in lines if not _CHATTER.search(line)), "it ended without saying why")
    if "address already in use" in complaint:
        return f"port {port} is in use; stop what listens there, or choose another port (0: any free one)"
    return _PREFIX.sub("", complaint)
