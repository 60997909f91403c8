"""A server that allows all but one thing."""

from __future__ import annotations

from callboard.embedded import EmbeddedServer

__all__ = ["server_that_denies", "url"]


def server_that_denies(operation: str, subject: str) -> EmbeddedServer:
    """A server whose user `shop` may do anything but one thing; the user `root` may do everything."""
    return EmbeddedServer(
        port=0,
        extra_config=f"""
            authorization {{ users: [
                {{ user: root, password: secret }},
                {{ user: shop, password: secret, permissions: {{
                    publish: {{ allow: ">" }}, subscribe: {{ allow: ">" }}, {operation}: {{ deny: "{subject}" }}
                }} }}
            ] }}
        """,
    )


def url(server: EmbeddedServer, user: str = "shop") -> str:
    return server.url.replace("//", f"//{user}:secret@")
