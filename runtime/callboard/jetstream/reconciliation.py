"""Writing what differs, and only that."""

from __future__ import annotations

import logging
from typing import Any

from callboard.brokers.topic import covers
from callboard.errors import TopologyError
from callboard.jetstream.api import (
    CONSUMER_EXISTS,
    STREAM_NAME_IN_USE,
    SUBJECTS_OVERLAP,
    ApiError,
    ConsumerInfo,
    JetStreamApi,
)
from callboard.jetstream.comparison import DurablePlan, StreamPlan
from callboard.jetstream.difference import Difference
from callboard.jetstream.durable import consumer_config
from callboard.jetstream.snapshot import StreamInfo
from callboard.jetstream.stream import StreamSpec

__all__ = ["Reconciliation"]

logger = logging.getLogger("callboard.topology")

FILTERS = {"filter_subject", "filter_subjects"}


class Reconciliation:
    """Carries plans out that nothing refuses. Processes that do the same at once agree."""

    def __init__(self, api: JetStreamApi) -> None:
        self._api = api

    async def stream(self, plan: StreamPlan) -> StreamInfo:
        """Create a stream, or write its changed fields. Raises `TopologyError` when the server does not want that."""
        if plan.found is None and plan.spec is not None:
            return await self._create_stream(plan.spec)
        if not plan.changes:
            return await self._stream(plan.name)
        return await self._update_stream(plan)

    async def durable(self, plan: DurablePlan) -> ConsumerInfo:
        """Create a durable, or write its changed fields. Raises `TopologyError` when the server does not want that."""
        if plan.found is None:
            return await self._create_durable(plan)
        if not plan.differences:
            return plan.found
        logger.info("%s", "; ".join(map(str, plan.differences)))
        wanted = consumer_config(plan.spec)
        kept = {name: value for name, value in plan.found.config.items() if name not in FILTERS}
        metadata = {**plan.found.metadata, **wanted["metadata"]}
        return await self._write(plan, {**kept, **wanted, "metadata": metadata}, "update")

    async def delete(self, orphan: Difference) -> None:
        """Delete a durable that nothing declares; one that is gone is no error."""
        await self._api.find(f"CONSUMER.DELETE.{orphan.stream}.{orphan.name}")

    # Streams

    async def _create_stream(self, spec: StreamSpec) -> StreamInfo:
        try:
            info = StreamInfo.of(await self._api.call(f"STREAM.CREATE.{spec.name}", dict(spec.config)))
        except ApiError as error:
            if error.err_code in {STREAM_NAME_IN_USE, SUBJECTS_OVERLAP}:
                return await self._created_by_another(spec, error)
            raise TopologyError(f"stream {spec.name!r}", f"cannot be created: {error.description}") from error
        logger.info("created stream %s for %s", spec.name, ", ".join(spec.subjects))
        return info

    async def _created_by_another(self, spec: StreamSpec, error: ApiError) -> StreamInfo:
        """Somebody was faster, perhaps with another configuration: good when it holds the subjects."""
        found = await self._api.find(f"STREAM.INFO.{spec.name}")
        info = None if found is None else StreamInfo.of(found)
        if info is None or not all(any(covers(held, s) for held in info.subjects) for s in spec.subjects):
            rule = f"cannot be created for {', '.join(spec.subjects)}: {error.description}"
            raise TopologyError(f"stream {spec.name!r}", rule) from error
        return info

    async def _update_stream(self, plan: StreamPlan) -> StreamInfo:
        config = (await self._api.call(f"STREAM.INFO.{plan.name}"))["config"]
        try:
            info = await self._api.call(f"STREAM.UPDATE.{plan.name}", {**config, **plan.changes})
        except ApiError as error:
            rule = f"{'; '.join(difference.rule for difference in plan.differences)}; the server refuses the change"
            raise TopologyError(f"stream {plan.name!r}", f"{rule}: {error.description}") from error
        logger.info("%s", "; ".join(map(str, plan.differences)))
        return StreamInfo.of(info)

    async def _stream(self, name: str) -> StreamInfo:
        return StreamInfo.of(await self._api.call(f"STREAM.INFO.{name}"))

    # Durables

    async def _create_durable(self, plan: DurablePlan) -> ConsumerInfo:
        wanted = consumer_config(plan.spec)
        config = {**wanted, **plan.start, "metadata": {**wanted["metadata"], **plan.recreated}}
        created = await self._write(plan, config, "create")
        name, stream = plan.spec.durable, plan.stream
        if plan.recreated:
            logger.warning(
                "durable %s was missing on %s: made again, it begins behind message %d; %d messages wait, some of them "
                "may have been handled before",
                name,
                stream,
                plan.start["opt_start_seq"] - 1,
                created.pending,
            )
        else:
            logger.info("created durable %s on %s: %d messages wait", name, stream, created.pending)
        if plan.former is not None:
            await self._api.find(f"CONSUMER.DELETE.{stream}.{plan.former}")
        return created

    async def _write(self, plan: DurablePlan, config: dict[str, Any], action: str) -> ConsumerInfo:
        name, stream = plan.spec.durable, plan.stream
        request = {"stream_name": stream, "config": config, "action": action}
        try:
            return ConsumerInfo.of(await self._api.call(f"CONSUMER.CREATE.{stream}.{name}", request))
        except ApiError as error:
            if error.err_code == CONSUMER_EXISTS:  # somebody was faster, and began a message further
                return ConsumerInfo.of(await self._api.call(f"CONSUMER.INFO.{stream}.{name}"))
            verb = "created" if action == "create" else "changed"
            raise TopologyError(f"durable {name!r}", f"cannot be {verb}: {error.description}") from error
