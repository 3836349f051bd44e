"""The benchmarks' own arithmetic: what a table, a target or a page says follows from what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cold import ColdStart
from benchmarks.comparison import Comparison, compare
from benchmarks.models import CASES, Case
from benchmarks.peers import HUMMINGBIRD, HUMMINGBIRD_JIT, INTELEX, SOURCE, Call, Contestant, Refitted, RefusedError
from benchmarks.peers import source as source_call
from benchmarks.report import Environment, Report, from_json
from benchmarks.scaling import Point, break_even
from benchmarks.targets import SPEEDS, Peak, Target, first_predictions, peak_memory, speeds
from benchmarks.timing import interleaved, latencies
from tensorml.executors.base import choose

AUTO = choose(None)
RIDGE = Case("a ridge", "linear", CASES["Ridge"].make, "predict", 200, 0)


def comparison(case: str = "case", rows: int = 100_000, **milliseconds: float) -> Comparison:
    return Comparison(case, "boosted", rows, milliseconds=milliseconds)


def environment() -> Environment:
    return Environment({"python": "3.11"}, "a processor", 512, 2, 2, "Linux", "2026-01-01", 0.0)


def report(**more: list[Any]) -> Report:
    one = comparison(**{SOURCE: 10.0, AUTO: 1.0})
    return Report([SOURCE, AUTO], [AUTO], AUTO, environment(), [one], **more)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted models are kept for a test, not for the benchmarks."""
    monkeypatch.setattr("benchmarks.models.FOLDER", tmp_path)


def refusing(case: Case, model: object, X: np.ndarray) -> Call:
    raise RefusedError("takes nothing")


def crashing(case: Case, model: object, X: np.ndarray) -> Call:
    raise SystemError("a fault")


def wrong(case: Case, model: object, X: np.ndarray) -> Call:
    call = source_call(case, model, X)
    return lambda x: call(x) + 100


def misshapen(case: Case, model: object, X: np.ndarray) -> Call:
    call = source_call(case, model, X)
    return lambda x: call(x)[:1]


def refitting(case: Case, model: object, X: np.ndarray) -> Call:
    return Refitted(wrong(case, model, X))


def writing(case: Case, model: object, X: np.ndarray) -> Call:
    call = source_call(case, model, X)

    def write(x: np.ndarray) -> np.ndarray:
        result = call(x)
        x[:] = 0
        return result

    return write


def test_a_comparison_says_who_is_wrong_who_refused_and_who_fitted_by_itself() -> None:
    everyone = [
        Contestant(SOURCE, source_call),
        Contestant("refusing", refusing),
        Contestant("crashing", crashing),
        Contestant("wrong", wrong),
        Contestant("misshapen", misshapen),
        Contestant("refitting", refitting),
        Contestant("writing", writing),
    ]
    one, many = compare(RIDGE, [1, 50], everyone, seconds=0.01)
    assert (one.rows, many.rows) == (1, 50)
    assert many.refusals == {
        "refusing": "takes nothing",
        "crashing": "fails: SystemError: a fault",
        "misshapen": "answers in another shape, or NaN for numbers",
    }
    assert many.errors == pytest.approx({SOURCE: 0, "wrong": 100, "writing": 0})
    assert [contestant.name for contestant in everyone if many.wrong(contestant.name)] == ["wrong"]
    assert many.refitted == ["refitting"]
    assert set(many.milliseconds) == {SOURCE, "wrong", "refitting", "writing"}
    assert set(one.p99) <= set(one.milliseconds)
    assert not many.p99


def test_a_case_is_measured_on_its_most_rows_once() -> None:
    few = replace(RIDGE, most_rows=20)
    found = compare(few, [20, 50, 100], [Contestant(SOURCE, source_call)], seconds=0.01)
    assert [one.rows for one in found] == [20]


def test_times_as_fast_is_the_peer_s_time_over_ours_and_hummingbird_s_faster_one_counts() -> None:
    one = comparison(**{SOURCE: 10.0, AUTO: 2.0, HUMMINGBIRD: 8.0, HUMMINGBIRD_JIT: 6.0})
    assert one.times_as_fast(SOURCE) == 5
    assert one.times_as_fast(HUMMINGBIRD) == 3
    assert one.times_as_fast(INTELEX) is None


def test_latencies_are_of_single_calls_and_throughput_is_a_median() -> None:
    calls = {"a": lambda: sum(range(1000)), "b": lambda: sum(range(100_000))}
    found = latencies(calls, 0.05)
    assert len(found["a"]) > len(found["b"]) > 0
    assert np.median(found["a"]) < np.median(found["b"])
    times = interleaved(calls, 0.05)
    assert times["a"] < times["b"]


@pytest.mark.parametrize(("source_time", "met"), [(5.0, True), (4.9, False)])
def test_a_target_of_speed_is_met_by_the_slowest_case(source_time: float, met: bool) -> None:
    slow = comparison("slow", **{SOURCE: source_time, AUTO: 1.0})
    fast = comparison("fast", **{SOURCE: 500.0, AUTO: 1.0})
    (boosted,) = [speed for speed in SPEEDS if (speed.families, speed.peer) == (("boosted",), SOURCE)]
    target = boosted.measured([slow, fast])
    assert target.met is met
    assert ("slow" in target.measured) is not met
    assert "fast" not in target.measured


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.met for target in speeds([])} == {None}
    assert [target.met for target in first_predictions([])] == [None, None]
    assert peak_memory([]).met is None


def test_one_row_is_no_throughput() -> None:
    one = comparison(rows=1, **{SOURCE: 1.0, AUTO: 10.0})
    throughput = [speed.measured([one]).met for speed in SPEEDS]
    assert set(throughput) == {None}
    (latency,) = [target for target in speeds([one]) if target.name.startswith("one row:")]
    assert latency.met is False


def test_a_first_prediction_and_a_peak_are_judged_by_the_worst() -> None:
    starts = [ColdStart("a", AUTO, "empty", 0.1, 2.0), ColdStart("b", AUTO, "empty", 0.1, 4.0)]
    empty, warm = first_predictions([*starts, ColdStart("a", AUTO, "warm", 0.1, 0.1)])
    assert (empty.met, warm.met) == (False, True)
    assert "(b)" in empty.measured
    assert peak_memory([Peak("a", AUTO, 10, 2**28), Peak("b", AUTO, 10, 2**28 + 1)]).met is False
    assert peak_memory([Peak("a", AUTO, 10, 2**28)]).met is True
    assert peak_memory([Peak("a", AUTO, 10, 5), Peak("b", AUTO, 10, failure="killed")]).met is False


def test_the_break_even_is_the_first_number_of_rows_after_the_last_loss() -> None:
    times = {1: 0.5, 10: 2.0, 100: 0.9, 1000: 1.5, 10_000: 3.0}
    points = [
        Point("rows: m", rows, comparison(rows=rows, **{SOURCE: ratio, AUTO: 1.0})) for rows, ratio in times.items()
    ]
    assert break_even(points, AUTO, SOURCE) == 1000
    assert break_even(points[:3], AUTO, SOURCE) is None


def test_a_report_comes_back_from_its_file() -> None:
    full = report(
        starts=[ColdStart("a", AUTO, "empty", 0.1, 2.0)],
        peaks=[Peak("a", AUTO, 10, 5)],
        points=[Point("rows: m", 1, comparison())],
        targets=[Target("t", "w", "m", True)],
    )
    assert from_json(full.json()) == full


def test_the_page_is_made_of_the_run_s_numbers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.page import write

    full = report(points=[Point("rows: m", n, comparison(rows=n, **{AUTO: 1.0})) for n in (1, 10)])
    one = replace(full.comparisons[0], milliseconds={SOURCE: 12.5, AUTO: 1.0}, refusals={INTELEX: "takes nothing"})
    text = write(replace(full, comparisons=[one]), tmp_path).read_text(encoding="utf-8")
    assert "12 (12 to 12)" in text
    assert "a processor, 2 cores, vectors of 512 bits" in text
    assert f"* {INTELEX} on case: takes nothing" in text
    for image in ("ratios", "rows"):
        assert (tmp_path / "images" / f"benchmarks-{image}.svg").stat().st_size > 1000
        assert f"images/benchmarks-{image}.svg" in text
    assert "benchmarks-trees.svg" not in text
