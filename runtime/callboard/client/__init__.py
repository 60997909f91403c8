"""The door for those who send: inside actors and from outside."""

from callboard.client.board import Board
from callboard.client.client import BrokerClient
from callboard.client.pool import BrokerClientPool
from callboard.client.replay import DeadLetterReplay

__all__ = ["Board", "BrokerClient", "BrokerClientPool", "DeadLetterReplay"]
