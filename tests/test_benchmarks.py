"""The benchmarks' own arithmetic: what a table, a target or a page says follows from what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from benchmarks.cold import ColdStart
from benchmarks.comparison import Comparison, compare
from benchmarks.cuda import bandwidth_share
from benchmarks.models import CASES, Case, load
from benchmarks.peers import (
    CUDA,
    HUMMINGBIRD,
    HUMMINGBIRD_JIT,
    INTELEX,
    ON_REQUEST,
    SOURCE,
    Call,
    Contestant,
    Refitted,
    RefusedError,
    taking_part,
)
from benchmarks.peers import source as source_call
from benchmarks.report import Environment, Report, from_json
from benchmarks.scaling import Curve, Point, break_even
from benchmarks.steps import ENDED, TARGETS, Step, comparisons, judged, keep, resumed, take
from benchmarks.targets import SPEEDS, Peak, Target, cuda_targets, first_predictions, peak_memory, speeds
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


def test_a_gpu_s_targets_are_of_a_share_of_the_models_and_of_each_tree() -> None:
    fast = [comparison(str(i), **{SOURCE: 200.0, CUDA: 1.0}) for i in range(7)]
    slow = [comparison("slow", **{SOURCE: 19.0, CUDA: 1.0})] * 3
    bandwidth, share, trees = cuda_targets([*fast, *slow], {"a": 0.7, "b": 0.5})
    assert [bandwidth.met, share.met, trees.met] == [False, True, False]
    assert (share.measured, "b 0.50" in bandwidth.measured) == ("on 7 of 10", True)
    assert cuda_targets([*fast, *slow, *slow], {})[1].met is False
    assert {target.measured for target in cuda_targets([], {})} == {"not measured: no CUDA device here"}


def test_the_share_of_bandwidth_counts_the_bytes_of_rows_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"predict": 0.5, "copy": 1.0}  # a copy reads and writes 2 x 28 floats a row, a ridge 28 + 1
    monkeypatch.setattr("benchmarks.cuda.interleaved", lambda calls, seconds: {name: taken[name] for name in calls})
    assert bandwidth_share(RIDGE, "cpu", 100) == pytest.approx(2 * 29 / 56)


def test_one_row_is_no_throughput() -> None:
    one = comparison(rows=1, **{SOURCE: 1.0, AUTO: 10.0})
    assert {speed.measured([one]).met for speed in SPEEDS} == {None}
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


def test_a_step_that_fails_takes_no_other_with_it_and_each_is_kept(tmp_path: Path) -> None:
    path, full = tmp_path / "run.json", report()
    seen: list[list[str]] = []

    def fails(result: Report) -> None:
        raise MemoryError("too much")

    def sees(result: Report) -> None:
        seen.append(from_json(path.read_text(encoding="utf-8")).done)

    everyone = [Contestant(SOURCE, source_call)]
    steps = [*comparisons([RIDGE], [50], everyone, 0.01), Step("failing", fails), Step("seeing", sees)]
    take(full, steps, path)
    assert from_json(path.read_text(encoding="utf-8")) == full
    assert [one.case for one in full.comparisons] == ["case", "a ridge"]
    assert full.failures == {"failing": "fails: MemoryError: too much"}
    assert "- failing: fails: MemoryError: too much" in full.notes("- ")
    assert seen == [["a ridge, 50 rows"]]


def test_a_resumed_run_measures_what_is_missing_alone(tmp_path: Path) -> None:
    path, asked = tmp_path / "run.json", list[str]()

    def step(name: str) -> Step:
        return Step(name, lambda result: asked.append(name))

    old = replace(report(), done=["one", TARGETS], failures={"two": ENDED})
    keep(old, path)
    again = resumed(report(), path)
    take(again, [step("one"), step("two"), step("three"), step(TARGETS)], path)
    assert asked == ["three", TARGETS]
    assert again.failures == {"two": ENDED}


def test_a_step_that_ends_the_process_is_known_by_the_file(tmp_path: Path) -> None:
    def ends(result: Report) -> None:
        raise SystemExit

    def interrupted(result: Report) -> None:
        raise KeyboardInterrupt

    path, full = tmp_path / "run.json", report()
    with pytest.raises(SystemExit):
        take(full, [Step("ending", ends)], path)
    with pytest.raises(KeyboardInterrupt):
        take(full, [Step("interrupted", interrupted)], path)
    assert from_json(path.read_text(encoding="utf-8")).failures == {"ending": ENDED}


def test_a_run_of_other_versions_is_not_resumed(tmp_path: Path) -> None:
    other = replace(environment(), versions={"python": "3.12"})
    keep(replace(report(), environment=other), tmp_path / "run.json")
    with pytest.raises(SystemExit, match="of other versions"):
        resumed(report(), tmp_path / "run.json")
    again = replace(environment(), date="2026-01-02", load=1.0)
    assert resumed(replace(report(), environment=again), tmp_path / "none.json").done == []
    keep(report(), tmp_path / "run.json")
    assert resumed(replace(report(), environment=again), tmp_path / "run.json") == report()


def test_the_targets_of_a_run_are_of_its_own_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.steps.targets", lambda *found: [Target("t", "w", str(found), None)])
    full = report(targets=[Target("old", "w", "m", True)])
    judged().measure(full)
    assert full.targets == [Target("t", "w", str((full.comparisons, [], [])), None)]


def test_who_was_slow_at_a_point_is_left_out_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = [Contestant(SOURCE, source_call), Contestant(INTELEX, source_call), Contestant("unlisted", source_call)]
    curve = Curve("rows: a ridge", [10, 20], lambda n: RIDGE, lambda n: n)
    first = curve.point(10, [], everyone, 0.01)
    assert set(first.comparison.milliseconds) == {SOURCE, INTELEX}
    assert (first.value, first.comparison.rows) == (10, 10)
    slow = replace(first, comparison=comparison(**{SOURCE: 1e4, INTELEX: 1e4}))
    assert set(curve.point(20, [slow], everyone, 0.01).comparison.milliseconds) == {SOURCE}


def test_a_report_comes_back_from_its_file() -> None:
    full = report(
        starts=[ColdStart("a", AUTO, "empty", 0.1, 2.0)],
        peaks=[Peak("a", AUTO, 10, 5)],
        points=[Point("rows: m", 1, comparison())],
        targets=[Target("t", "w", "m", True)],
        done=["a step"],
    )
    full.failures["another"] = "fails"
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
    for image in ("ratios", "rows", "break-even"):
        assert (tmp_path / "images" / f"benchmarks-{image}.svg").stat().st_size > 1000
        assert f"images/benchmarks-{image}.svg" in text
    assert "benchmarks-trees.svg" not in text


def test_the_readme_s_table_is_written_between_its_marks(tmp_path: Path) -> None:
    from benchmarks.page import BEGIN, END, write_readme

    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}old\n{END}after\n", encoding="utf-8")
    write_readme(report(), path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}Rows x 28 float32 columns, 2 threads each, on a processor (2 cores")
    assert text.endswith(f"\n{END}after\n")
    assert "| 10 (10 to 10) |" in text
    assert "old" not in text
    path.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no <!-- measured -->"):
        write_readme(report(), path)


def test_the_readme_has_the_marks() -> None:
    from benchmarks.page import BEGIN, END, ROOT

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 < text.find(BEGIN) < text.find(END)


def test_another_folder_leaves_the_docs_and_the_readme_alone(tmp_path: Path) -> None:
    from benchmarks.page import DOCS, RESULTS, ROOT, arguments

    part = arguments(["--output", str(tmp_path)])
    assert (part.readme, part.output, part.kept) == (None, tmp_path, tmp_path / RESULTS)
    whole = arguments([])
    assert (whole.readme, whole.output) == (ROOT / "README.md", DOCS)


def test_a_kept_model_has_the_threads_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = replace(CASES["KMeans"], fit_rows=200)
    forest = Case("a forest", "forests", lambda: RandomForestClassifier(2, random_state=0), fit_rows=200)
    for threads in (1, 3):
        monkeypatch.setattr("benchmarks.models.THREADS", threads)
        assert load(clusters)._n_threads == threads
        assert load(forest).n_jobs == threads


@pytest.mark.parametrize(
    "make", [lambda: RandomForestClassifier(2, random_state=0), lambda: IsolationForest(n_estimators=2)]
)
def test_a_forest_of_scikit_learn_predicts_rows_with_all_threads_and_a_row_with_one(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import joblib

    used: list[int] = []
    call = joblib.Parallel.__call__

    def spy(self: joblib.Parallel, iterable: Any) -> Any:
        used.append(joblib.effective_n_jobs(self.n_jobs))
        return call(self, iterable)

    monkeypatch.setattr("benchmarks.models.THREADS", 2)
    monkeypatch.setattr("benchmarks.peers.THREADS", 2)
    method = "predict_proba" if isinstance(make(), RandomForestClassifier) else "score_samples"
    case = Case("a forest", "forests", make, method, fit_rows=200)
    monkeypatch.setattr(joblib.Parallel, "__call__", spy)
    model = load(case)
    used.clear()
    predict, x = source_call(case, model, case.features(2)), case.features(2)
    assert np.array_equal(predict(x)[:1], predict(x[:1]))
    assert used == [2, 1]


def test_what_is_not_made_to_be_fast_takes_part_on_request_alone() -> None:
    usual = {contestant.name for contestant in taking_part()}
    assert usual >= {SOURCE, AUTO, "torch", "torchscript", INTELEX, HUMMINGBIRD}
    assert not usual & set(ON_REQUEST)
    assert {contestant.name for contestant in taking_part(["reference"])} == {SOURCE, "reference"}
    with pytest.raises(SystemExit, match="unknown: nobody"):
        taking_part(["nobody"])
