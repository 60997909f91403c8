"""When a mailbox pauses because so much fails."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from callboard.brokers.killswitch import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, WINDOW, KillSwitch


def switch() -> KillSwitch:
    return KillSwitch(random=lambda: 0.0)


def fail(switch: KillSwitch, messages: range) -> list[float]:
    return [switch.failed(message) for message in messages]


def test_ten_failures_after_many_successes_pause() -> None:
    one = switch()
    one.quiet = 100

    assert fail(one, range(10)) == [0.0] * 9 + [FIRST_PAUSE]
    assert one.tripped


def test_half_of_the_first_twenty_messages_must_fail() -> None:
    one = switch()

    pauses = fail(one, range(20))

    assert pauses == [0.0] * 19 + [FIRST_PAUSE]


def test_one_message_that_fails_for_ever_is_no_outage() -> None:
    one = switch()
    one.quiet = 100

    assert fail(one, range(1)) * 50 == [0.0] * 50
    for _ in range(50):
        assert one.failed("poison") == 0.0
    assert not one.tripped


def test_failures_that_are_long_past_do_not_count() -> None:
    one = switch()
    one.quiet = 100
    fail(one, range(9))
    for message in range(100, 100 + WINDOW):
        one.succeeded(message)

    assert (one.failures, one.failed("another")) == (0, 0.0)


def test_pauses_double_up_to_the_longest_while_the_outage_goes_on() -> None:
    one = switch()

    assert [one.trip() for _ in range(6)] == [2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE]


def test_success_ends_the_outage_and_forgets_it() -> None:
    one = switch()
    one.trip()

    assert one.succeeded("probe")
    assert (one.tripped, one.failures, one.trip()) == (False, 0, FIRST_PAUSE)


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200))
def test_pauses_exactly_when_the_last_distinct_messages_say_so(outcomes: list[tuple[int, bool]]) -> None:
    one = switch()
    one.quiet = WINDOW
    last: dict[int, bool] = {}
    for message, failed in outcomes:
        last.pop(message, None)
        last[message] = failed
        last = dict(list(last.items())[-WINDOW:])
        expected = failed and sum(last.values()) >= THRESHOLD
        paused = one.failed(message) > 0 if failed else one.succeeded(message)
        assert paused == expected
        if expected:
            return
