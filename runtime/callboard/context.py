"""What travels with a message through the code that handles it.

Set by the handler loop for each message and restored after it: nothing that one handler sets is seen by the next.
"""

from __future__ import annotations

from contextvars import ContextVar
from uuid import UUID

__all__ = [
    "REQUEST_HEADERS_CONTEXT_VAR",
    "REQUEST_REPLY_TOPIC_CONTEXT_VAR",
    "REQUEST_USER_CONTEXT_VAR",
]

REQUEST_HEADERS_CONTEXT_VAR: ContextVar[dict[str, str] | None] = ContextVar("request_headers", default=None)
"""The message's own headers; what it holds when the handler ends goes on the reply."""

REQUEST_REPLY_TOPIC_CONTEXT_VAR: ContextVar[str | None] = ContextVar("request_reply_topic", default=None)
"""The topic that the reply goes to, or None when nobody asked for one."""

REQUEST_USER_CONTEXT_VAR: ContextVar[UUID | None] = ContextVar("request_user", default=None)
"""The header `user`, when it is a UUID."""
