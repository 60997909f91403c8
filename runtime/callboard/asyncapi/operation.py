"""Operations: what each handler receives and answers, and what each actor sends."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import NoneType
from typing import Any, Never, NoReturn

from callboard.actors import ActorDeclaration
from callboard.asyncapi.channel import Channel, Channels
from callboard.asyncapi.docstring import doc_of, split
from callboard.asyncapi.message import Messages
from callboard.asyncapi.name import Names
from callboard.brokers import wire
from callboard.brokers.mailbox import MailboxSpec, Order, Start
from callboard.brokers.topic import TopicTemplate
from callboard.codec import check_type
from callboard.codec.shape import alternatives, is_union
from callboard.errors import CallboardError, DeclarationError
from callboard.routing.action import Action
from callboard.routing.request import BrokerResponse

__all__ = ["Operations"]

BINDING_VERSION = "0.1.0"
_NO_RESULT = (Never, NoReturn)


class Operations:
    """The operations of a document, with the channels and messages that they need. Raises `DeclarationError` for a type
    that content cannot carry: it names who declares it, and what to use."""

    def __init__(self) -> None:
        self.channels = Channels()
        self.messages = Messages()
        self._names = Names()
        self._objects: dict[str, dict[str, Any]] = {}

    def add(self, service: str, declaration: ActorDeclaration) -> None:
        """Describe all that an actor does in a service."""
        for action, mailbox in declaration.mailboxes(service):
            self._receive(declaration, action, mailbox)
        for topic, type_ in declaration.publishes.items():
            self._send(declaration, topic, type_)

    def as_object(self) -> dict[str, Any]:
        """The operations of AsyncAPI, by name, in the order of their declaration."""
        return self._objects

    def _receive(self, declaration: ActorDeclaration, action: Action, mailbox: MailboxSpec) -> None:
        where = f"{action.endpoint.function} ({action.kind.value} {action.template.text!r})"
        channel = self.channels.of(action.template)
        content = action.signature.content_type if action.signature.content else Any
        operation = _operation("receive", channel, declaration.name, _summary(action))
        operation["messages"] = [channel.carry(self.messages.of(content, channel.name))]
        if (reply := self._reply(action, where, channel)) is not None:
            operation["reply"] = reply
        operation["bindings"] = {"nats": {"queue": mailbox.durable, "bindingVersion": BINDING_VERSION}}
        operation["x-callboard"] = _settings(action, mailbox, declaration)
        method = action.endpoint.function.rpartition(".")[2]
        name = f"{declaration.name}.{method}" if inspect.isclass(declaration.target) else declaration.name
        self._objects[self._names.unique(name, f"{name}.{channel.name}")] = operation

    def _reply(self, action: Action, where: str, channel: Channel) -> dict[str, Any] | None:
        """An event handler never answers requests; one that returns something may answer to a message's reply topic."""
        returns = action.signature.returns
        if not action.kind.answers and returns in (Any, NoneType, *_NO_RESULT):
            return None
        names = [self.messages.error]
        if returns not in _NO_RESULT:
            result = Any if _says_its_status(returns) else _checked(returns, where, "the result")
            names.insert(0, self.messages.reply(result, channel.name))
        replies = self.channels.replies
        return {
            "address": {"location": f"$message.header#/{wire.REPLY_TOPIC}"},
            "channel": replies.reference,
            "messages": [replies.carry(name) for name in names],
        }

    def _send(self, declaration: ActorDeclaration, topic: str, type_: Any) -> None:
        channel = self.channels.of(TopicTemplate.parse(topic))
        content = _checked(type_, declaration.name, f"publishes[{topic!r}]")
        operation = _operation("send", channel, declaration.name, {})
        operation["messages"] = [channel.carry(self.messages.of(content, channel.name))]
        self._objects[self._names.unique(f"{declaration.name}.publish.{channel.name}")] = operation


def _operation(action: str, channel: Channel, actor: str, summary: Mapping[str, str]) -> dict[str, Any]:
    return {"action": action, "channel": channel.reference, **summary, "tags": [{"name": actor}]}


def _summary(action: Action) -> dict[str, str]:
    first, rest = split(doc_of(action.function))
    return ({"summary": first} if first else {}) | ({"description": rest} if rest else {})


def _settings(action: Action, mailbox: MailboxSpec, declaration: ActorDeclaration) -> dict[str, Any]:
    """What Callboard does with a message; durations are seconds, and what is not said is left out."""
    options = action.options
    said: dict[str, Any] = {
        "kind": action.kind.value,
        "service": mailbox.service,
        "durable": mailbox.durable,
        "concurrency": options.concurrency or declaration.concurrency,
        "timeout": options.timeout,
        "hard_timeout": options.hard_timeout,
        "retry": list(action.policy.delays),
        "failures": {kind.__name__: what.value for kind, what in action.policy.rules.items()} or None,
        "order": mailbox.order.value if mailbox.order is not Order.STREAM else None,
        "start": mailbox.start.value if mailbox.start is not Start.FIRST else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _says_its_status(returns: Any) -> bool:
    """Whether a handler may return a response, which has content of any type."""
    return BrokerResponse in (alternatives(returns) if is_union(returns) else (returns,))


def _checked(type_: Any, where: str, role: str) -> Any:
    try:
        check_type(type_)
    except CallboardError as error:
        raise DeclarationError(where, f"{role}: {error}") from error
    return type_
