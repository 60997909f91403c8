"""The door for those who send: inside actors and from outside."""

from callboard.client.board import Board

__all__ = ["Board"]
