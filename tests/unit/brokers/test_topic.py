"""Topics and templates."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.brokers.topic import MAX_TOPIC_BYTES, TopicTemplate, check_reply_topic, check_topic, overlap
from callboard.errors import TopicError

TOPICS = [".".join(tokens) for length in range(1, 5) for tokens in product("ab", repeat=length)]
"""Every topic of up to four tokens from a small alphabet."""

filters = st.tuples(
    st.sampled_from("ab"), st.lists(st.sampled_from("ab*"), max_size=2), st.sampled_from(["", ">"])
).map(lambda parts: ".".join([parts[0], *parts[1], *parts[2]]))
"""Filters that no more than four tokens are needed to tell apart."""


@pytest.mark.parametrize("topic", ["a", "orders.place", "orders.42.place", "Ünïcode.tökens", "a-b_c.d"])
def test_ordinary_topic_is_accepted(topic: str) -> None:
    assert check_topic(topic) == topic


@pytest.mark.parametrize(
    ("topic", "rule"),
    [
        ("", "at least one character"),
        (".a", "an empty token"),
        ("a.", "an empty token"),
        ("a..b", "an empty token"),
        ("a b", "white space"),
        ("a\r\nPUB b", "white space"),
        ("a\tb", "white space"),
        ("a\x00b", "control characters"),
        ("a\x7fb", "control characters"),
        ("a.*", "wildcards"),
        ("a.>", "wildcards"),
        ("$JS.API.INFO", "belong to the system"),
        ("_INBOX.x", "belong to the system"),
        ("a\ud800", "not valid Unicode"),
        ("ä" * (MAX_TOPIC_BYTES // 2 + 1), "1002 bytes long"),
    ],
)
def test_topic_that_cannot_be_sent_is_refused_with_the_rule(topic: str, rule: str) -> None:
    with pytest.raises(TopicError) as raised:
        check_topic(topic)

    assert rule in raised.value.rule


def test_reply_may_go_to_an_inbox_but_not_to_the_server() -> None:
    assert check_reply_topic("_INBOX.x.1") == "_INBOX.x.1"
    with pytest.raises(TopicError, match="begins with '\\$'"):
        check_reply_topic("$JS.API.STREAM.DELETE.ORDERS")


@pytest.mark.parametrize("topic", ["_INBOX.*", "_INBOX.x y", "_INBOX..x", ""])
def test_reply_topic_keeps_the_other_rules(topic: str) -> None:
    with pytest.raises(TopicError):
        check_reply_topic(topic)


def test_captures_become_wildcards_and_are_read_back_by_name() -> None:
    template = TopicTemplate.parse("airports.{code}.gates.{gate}")

    assert template.filter == "airports.*.gates.*"
    assert template.captures("airports.EWR.gates.C7") == {"code": "EWR", "gate": "C7"}


def test_template_without_captures_captures_nothing() -> None:
    assert TopicTemplate.parse("airports.*.delay").captures("airports.EWR.delay") == {}


@given(st.lists(st.text("xyz", min_size=1, max_size=3), min_size=2, max_size=2))
def test_captured_tokens_are_those_of_the_topic(tokens: list[str]) -> None:
    topic = "airports.{}.on.{}".format(*tokens)

    captured = TopicTemplate.parse("airports.{code}.on.{day}").captures(topic)

    assert captured == {"code": tokens[0], "day": tokens[1]}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{code}.delay", "the first token is literal"),
        ("*.delay", "the first token is literal"),
        (">", "the first token is literal"),
        ("$SYS.x", "the first token is literal"),
        ("_INBOX.x", "the first token is literal"),
        ("a.>.b", "only be the last token"),
        ("a.b*", "fills a whole token"),
        ("a.x{code}", "a capture fills a whole token"),
        ("a.{1st}", "a capture fills a whole token"),
        ("a.{}", "a capture fills a whole token"),
        ("a.{x}.{x}", "captures one name twice"),
        ("a..b", "an empty token"),
    ],
)
def test_impossible_template_is_refused_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(TopicError) as raised:
        TopicTemplate.parse(text)

    assert rule in raised.value.rule


def matches(tokens: list[str], topic: list[str]) -> bool:
    """The definition of a NATS filter, one token at a time."""
    if not tokens or not topic:
        return tokens == topic
    if tokens == [">"]:
        return True
    return tokens[0] in {"*", topic[0]} and matches(tokens[1:], topic[1:])


@given(filters, st.sampled_from(TOPICS))
def test_template_matches_as_the_server_does(text: str, topic: str) -> None:
    assert TopicTemplate.parse(text).matches(topic) == matches(text.split("."), topic.split("."))


@given(filters, filters)
def test_filters_overlap_when_some_topic_matches_both(one: str, other: str) -> None:
    both = [
        topic
        for topic in TOPICS
        if matches(one.split("."), topic.split(".")) and matches(other.split("."), topic.split("."))
    ]

    assert overlap(one, other) == overlap(other, one) == bool(both)


def test_most_specific_template_sorts_last() -> None:
    texts = ["a.b.c", "a.b.*", "a.b.>", "a.*.c", "a.>"]

    ordered = sorted(map(TopicTemplate.parse, reversed(texts)), key=lambda template: template.specificity, reverse=True)

    assert [template.text for template in ordered] == texts
