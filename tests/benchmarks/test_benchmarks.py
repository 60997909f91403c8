"""What makes a run count, and what makes a ratio a regression."""

# nats-py leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from benchmarks.check import ACCEPTED, Ratio, slower
from benchmarks.contenders.by_hand.pull import connected
from benchmarks.effects import Effects, percentile
from benchmarks.journal import Journal, count, figures_of, read
from benchmarks.line import deviation
from benchmarks.measure import Contender, Measure, Round, Size, ratio
from benchmarks.measures import MEASURES
from benchmarks.result import Results, verdicts
from benchmarks.runner import Outcome, Runner, VoidError
from benchmarks.stage import Stage, open_stage
from benchmarks.stock import flights, parcels
from benchmarks.work import Work

MEASURE = Measure(
    name="small",
    title="",
    method="",
    contenders={"ours": Contender("callboard.drain"), "theirs": Contender("by_hand.drain")},
    full=Size(50, rounds=2),
    quick=Size(50, rounds=2),
    targets=(ratio("rate", "ours", "theirs", at_least=0.5),),
)


def _noted(messages: int, *numbers: int) -> dict[str, float]:
    effects = Effects(messages)
    for number in numbers:
        effects.note(number)
    return effects.figures()


def _verdict(*rounds: Round) -> tuple[str, int]:
    (verdict,) = verdicts(MEASURE, Outcome("small", MEASURE.full, list(rounds)))
    return verdict.word, verdict.spread.rounds if verdict.spread else 0


def _round(ours: float, theirs: float) -> Round:
    return {"ours": {"rate": ours}, "theirs": {"rate": theirs}}


def test_a_message_that_is_handled_twice_instead_of_another_shows() -> None:
    """The count alone would be right."""
    figures = _noted(3, 0, 1, 1)

    assert (figures["handled"], figures["missing"]) == (3, 1)


def test_effects_of_several_processes_are_told_apart(tmp_path: Path) -> None:
    """A journal knows what is missing, as one process does."""
    journal = Journal(str(tmp_path / "journal"))
    for number in (0, 2, 2):
        journal.note(number)

    figures = figures_of(read(tmp_path / "journal"), 3)

    assert count(tmp_path / "journal") == 3
    assert (figures["handled"], figures["missing"], figures["share"]) == (3, 1, 1.0)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    """The hundredth worst of a hundred is the p99."""
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0


def test_a_target_is_judged_by_the_median_of_ratios_within_rounds() -> None:
    """A round in which the whole machine was slow is no slower round."""
    assert _verdict(_round(60, 100), _round(6, 10), _round(1, 10)) == ("met", 3)
    assert _verdict(_round(40, 100), _round(4, 10), _round(9, 10)) == ("not met", 3)


def test_a_round_without_one_side_does_not_count() -> None:
    """Nothing is made up for a void run."""
    assert _verdict(_round(60, 100), {"theirs": {"rate": 100}}) == ("met", 1)
    assert _verdict({"theirs": {"rate": 100}}) == ("void", 0)


def test_results_survive_their_file(tmp_path: Path) -> None:
    """The page can be written again later."""
    results = Results({"machine": "this"}, [Outcome("small", MEASURE.full, [_round(1, 2)], ["why"])])
    results.write(tmp_path / "results.json")

    assert Results.read(tmp_path / "results.json") == results


def test_a_ratio_below_the_margin_is_named_with_how_much_is_lost() -> None:
    """What is within the margin is silent."""
    accepted = Ratio("drain", "callboard", "by hand", 0.8, 100)

    assert slower(accepted, 0.57) == ""
    assert "50 % slower" in slower(accepted, 0.4)
    assert "no round counts" in slower(accepted, None)


def test_what_is_accepted_is_measured() -> None:
    """A name that is wrong would be found in CI only."""
    for accepted in ACCEPTED:
        assert {accepted.ours, accepted.theirs} <= MEASURES[accepted.measure].contenders.keys()


def test_distance_from_a_line_is_relative() -> None:
    """A small point counts as much as a large one."""
    assert deviation([(1, 2), (10, 20), (100, 200)]) == pytest.approx(0)
    assert deviation([(1, 5), (10, 14), (100, 104)], through_origin=False) == pytest.approx(0)
    assert deviation([(1, 4), (10, 20), (100, 200)]) == pytest.approx(0.8)


def test_parcels_have_exactly_the_size_that_was_asked_for() -> None:
    """Whatever the length of the number."""
    assert {len(body) for body in parcels(1_200, 128)} == {128}


@pytest.fixture
async def stage() -> AsyncGenerator[Stage]:
    """A server."""
    async with open_stage() as stage:
        yield stage


async def test_contenders_take_turns_and_their_runs_count(stage: Stage) -> None:
    """Real processes, small."""
    said: list[str] = []
    outcome = await Runner(stage, said.append).run(MEASURE, MEASURE.quick)

    assert outcome.void == []
    assert [set(round_) for round_ in outcome.rounds] == [{"ours", "theirs"}] * 2
    assert [line.rpartition(", ")[2] for line in said] == ["ours", "theirs", "theirs", "ours"]


async def test_what_is_left_unacknowledged_makes_a_run_void(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked, not the contender."""
    monkeypatch.setattr("benchmarks.stage.SETTLED", 0.2)
    async with stage.stream(flights(5)) as stream, connected(Work(stage.url, stream, 5)) as client:
        await client.jetstream().add_consumer(stream, durable_name="idle", ack_policy="explicit")

        with pytest.raises(VoidError, match="5 of 1 consumers' messages not acknowledged"):
            await Runner(stage, lambda _: None).check(_noted(5, *range(5)), Work(stage.url, stream, 5))


async def test_what_was_acknowledged_and_not_stored_makes_a_run_void(stage: Stage) -> None:
    """A publisher's own count is compared with the stream."""
    async with stage.stream(flights(4)) as stream:
        with pytest.raises(VoidError, match="5 acknowledged, 4 stored of 5 messages"):
            await Runner(stage, lambda _: None).check({"acknowledged": 5.0}, Work(stage.url, stream, 5))
