"""A service that creates users, and an actor that welcomes them.

    callboard run actors.users --embedded
    callboard request user.create '{"email": "ada@example.org", "name": "Ada"}'

The second command, in another terminal, prints the new user's id.
"""

from __future__ import annotations

import logging
from uuid import UUID

from attrs import frozen

from callboard import Actor, BrokerRequest, BrokerResponse, BrokerResponseException, enroute

__all__ = ["NewUser", "UserCreated", "Users", "Welcome"]

logger = logging.getLogger(__name__)


@frozen
class NewUser:
    """What a caller sends; a missing email is for the handler to refuse, in its own words."""

    email: str = ""
    name: str = ""


@frozen
class UserCreated:
    id: UUID
    email: str
    name: str


class Users(Actor):
    """Creates users.

    The message's identifier becomes the user's id, so a repeated attempt creates nobody twice.
    """

    publishes = {"user.created": UserCreated}

    @enroute.broker.command("user.create")
    async def create(self, request: BrokerRequest) -> BrokerResponse:
        user = await request.content(NewUser)
        if not user.email:
            raise BrokerResponseException("a user needs an email", status=400)
        if "@" not in user.email:
            raise BrokerResponseException(f"{user.email!r} is no email address", status=400)
        created = UserCreated(request.raw.identifier, user.email, user.name)
        await self.publish("user.created", created)
        return BrokerResponse({"id": created.id, "status": "created"}, status=201)


class Welcome(Actor):
    """Hears of every new user."""

    @enroute.broker.event("user.created")
    async def welcome(self, user: UserCreated) -> None:
        logger.info("welcome, %s", user.name or user.email)
