"""What messages have been through, remembered in a key-value bucket."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

import msgspec

from callboard.brokers import wire
from callboard.brokers.attempts import NO_PAST, Attempts, Past
from callboard.brokers.delivery import BrokerDelivery
from callboard.jetstream.acknowledgement import AcknowledgedPublisher
from callboard.jetstream.api import JetStreamApi

__all__ = ["BUCKET", "BUCKET_STREAM", "JetStreamAttempts"]

BUCKET = "CALLBOARD"
BUCKET_STREAM = f"KV_{BUCKET}"
KEPT = {wire.TTL: f"{8 * 24 * 3600}s"}
"""A day longer than streams keep a message by default."""


class JetStreamAttempts(Attempts):
    """One key for each message that failed: durable, incarnation of the stream, sequence."""

    def __init__(self, api: JetStreamApi, publisher: AcknowledgedPublisher, incarnations: Mapping[str, str]) -> None:
        self._api = api
        self._publisher = publisher
        self._incarnations = incarnations

    def _subject(self, delivery: BrokerDelivery) -> str:
        incarnation = self._incarnations.get(delivery.stream, "0")
        return f"$KV.{BUCKET}.attempts.{delivery.durable}.{incarnation}.{delivery.sequence}"

    async def past(self, delivery: BrokerDelivery) -> Past:
        # From the leader: a direct get may be answered by a replica that has not heard of the last attempt yet.
        found = await self._api.find(f"STREAM.MSG.GET.{BUCKET_STREAM}", {"last_by_subj": self._subject(delivery)})
        data = b"" if found is None else b64decode(found["message"].get("data") or "")
        return msgspec.json.decode(data, type=Past) if data else NO_PAST

    async def record(self, delivery: BrokerDelivery, past: Past) -> None:
        await self._publisher.publish_raw(self._subject(delivery), msgspec.json.encode(past), KEPT)
