"""Callboard beside a hand-written loop on nats-py and FastStream, round by round: `make bench`."""
