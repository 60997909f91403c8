"""Publishers, subscribers and handlers on any message system."""

from __future__ import annotations

from callboard.testing.conformance.answering import AnsweringConformance
from callboard.testing.conformance.grouping import GroupingConformance
from callboard.testing.conformance.handling import HandlingConformance
from callboard.testing.conformance.receiving import ReceivingConformance
from callboard.testing.conformance.sending import SendingConformance
from callboard.testing.conformance.stopping import StoppingConformance

__all__ = ["MessagingConformance"]


class MessagingConformance(
    SendingConformance,
    ReceivingConformance,
    GroupingConformance,
    HandlingConformance,
    AnsweringConformance,
    StoppingConformance,
):
    """What `BrokerPublisher`, `BrokerSubscriber` and `BrokerHandler` do on a message system.

    Override the fixture `messaging`; each test gets a system of its own, with nothing in it.
    """
