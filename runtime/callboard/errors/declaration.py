"""What is declared or configured wrongly: found before anything runs."""

from __future__ import annotations

from callboard.errors.base import CallboardError

__all__ = [
    "ConfigError",
    "DeclarationError",
    "MixedDecoratorKindsError",
    "NotProvidedError",
    "RedefinedActionError",
    "TargetError",
]


class ConfigError(CallboardError, ValueError):
    """A setting is unknown, missing or of the wrong type."""


class NotProvidedError(ConfigError):
    """Something that is built from others was not given one of them."""

    def __init__(self, who: str, what: str) -> None:
        self.who = who
        self.what = what
        super().__init__(
            f"{who} was built without a {what}; pass one, or leave it out so that the configured one is built"
        )


class DeclarationError(CallboardError, TypeError):
    """An actor, a handler or a supervisor was declared in a way that cannot work.

    Raised where the declaration stands (the class statement, the decorator), never at the first message.
    """

    def __init__(self, where: str, rule: str) -> None:
        self.where = where
        self.rule = rule
        super().__init__(f"{where}: {rule}")


class MixedDecoratorKindsError(DeclarationError):
    """One function carries decorators of more than one kind (command, query, event)."""


class RedefinedActionError(DeclarationError):
    """Two unicast handlers listen on the same or on overlapping topics."""


class TargetError(CallboardError, ValueError):
    """A target of the command line cannot be imported or holds nothing to run."""

    def __init__(self, target: str, rule: str) -> None:
        self.target = target
        self.rule = rule
        super().__init__(f"target {target!r}: {rule}")
