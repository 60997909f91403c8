"""The door for those who send: inside actors and from outside."""

from callboard.client.board import Board
from callboard.client.client import BrokerClient
from callboard.client.pool import BrokerClientPool

__all__ = ["Board", "BrokerClient", "BrokerClientPool"]
