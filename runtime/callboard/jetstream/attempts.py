"""Failed attempts, remembered in a key-value bucket."""

from __future__ import annotations

from collections.abc import Mapping

from nats.errors import Error as NatsError

from callboard.brokers.attempts import Attempts
from callboard.brokers.delivery import BrokerDelivery
from callboard.jetstream.acknowledgement import AcknowledgedPublisher
from callboard.jetstream.api import UnavailableError
from callboard.jetstream.connection import NatsConnection

__all__ = ["BUCKET", "BUCKET_STREAM", "JetStreamAttempts"]

BUCKET = "CALLBOARD"
BUCKET_STREAM = f"KV_{BUCKET}"
TIMEOUT = 5.0


class JetStreamAttempts(Attempts):
    """One key for each message that failed: durable, incarnation of the stream, sequence."""

    def __init__(
        self, connection: NatsConnection, publisher: AcknowledgedPublisher, incarnations: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._publisher = publisher
        self._incarnations = incarnations

    def _subject(self, delivery: BrokerDelivery) -> str:
        incarnation = self._incarnations.get(delivery.stream, "0")
        return f"$KV.{BUCKET}.attempts.{delivery.durable}.{incarnation}.{delivery.sequence}"

    async def failed(self, delivery: BrokerDelivery) -> int:
        subject = self._subject(delivery)
        try:
            answer = await self._connection.client.request(
                f"$JS.API.DIRECT.GET.{BUCKET_STREAM}.{subject}",
                timeout=TIMEOUT,
            )
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"for the attempts of {delivery.durable}", str(error) or "timeout") from error
        status = (answer.headers or {}).get("Status")
        return 0 if status == "404" else int(answer.data or 0)

    async def record(self, delivery: BrokerDelivery, failed: int) -> None:
        await self._publisher.publish_raw(self._subject(delivery), str(failed).encode())
