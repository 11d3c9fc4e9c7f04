"""Plots: values land where they belong, nothing leaves the drawing, and the table says the same."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.evaluations import make_evaluation
from training.views import plots
from training.views.curves import list_charts, smooth
from training.views.evaluation import list_plots
from training.views.plots import Axis, Plot


def find_plot(evaluation: dict[str, Any], key: str) -> Plot:
    return next(plot for plot in list_plots({"eval": evaluation}) if plot.key == key)


def list_markers(plot: Plot, ink: str = "text-primary") -> list[tuple[float, float]]:
    """Centres of the round markers."""
    paths = [mark.path for mark in plot.marks if "a4 4" in mark.path and mark.look.ink == ink]
    found = [re.match(r"M([\d.]+) ([\d.]+)a", path) for path in paths]
    return [(float(match[1]) + 4, float(match[2])) for match in found if match]


@pytest.mark.parametrize(
    ("low", "high", "steps"),
    [
        (0, 60, [0, 20, 40, 60]),
        (-0.3, 0.7, [-0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8]),
        (0.58, 0.69, [0.55, 0.6, 0.65, 0.7]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (7, 7, [6.4, 6.6, 6.8, 7, 7.2, 7.4, 7.6]),
    ],
)
def test_steps_are_round(low: float, high: float, steps: list[float]) -> None:
    assert plots.list_steps(low, high) == steps


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_steps_enclose_what_they_are_for(low: float, width: float) -> None:
    found = plots.list_steps(low, low + width)
    slack = 1e-6 * (abs(low) + width)
    assert found[0] <= low + slack and found[-1] >= low + width - slack
    assert 2 <= len(found) <= 8


def test_an_axis_may_run_downwards() -> None:
    up = Axis(0, 1, plots.BOTTOM, plots.TOP)
    assert (up.place(0), up.place(1)) == (plots.BOTTOM, plots.TOP)
    assert up.place(0.75) < up.place(0.25)


def test_a_histogram_is_walked_round_from_its_base() -> None:
    assert plots.draw_steps([0, 10, 30], [5, 2], 20) == "M0 20V5H10V2H30V20Z"


def test_accuracies_stand_at_their_share_within_their_interval() -> None:
    evaluation = make_evaluation()
    plot = find_plot(evaluation, "accuracy")
    places = list_markers(plot)
    assert [tick.text for tick in plot.y_ticks] == [
        "All held-out pairs",
        "Significantly better",
        "Slightly better",
        "Negligibly better",
        "Without a grade",
    ]
    across = Axis(0, 1, plot.left, plot.right)
    shares = [evaluation["accuracy"], *(evaluation["by_grade"][grade]["accuracy"] for grade in evaluation["by_grade"])]
    assert [x for x, _y in places] == pytest.approx([across.place(share) for share in shares], abs=0.1)
    low, high = (across.place(end) for end in evaluation["interval"])
    assert any(f"M{low:g} {places[0][1]:g}H{high:g}" in mark.path for mark in plot.marks)
    lines = [across.place(evaluation[f"{name}_baseline"]["accuracy"]) for name in ("length", "position")]
    assert [any(mark.path.startswith(f"M{x:g} {plots.TOP}V") for mark in plot.marks) for x in lines] == [True, True]
    assert "the left response wins" in [key.label for key in plot.legend]


def test_the_reliability_curve_has_a_point_a_bin_and_a_row_a_point() -> None:
    evaluation = make_evaluation()
    plot = find_plot(evaluation, "calibration")
    bins = evaluation["calibration"]["bins"]
    across, up = Axis(0.5, 1, plot.left, plot.right), Axis(0, 1, plot.bottom, plot.top)
    wanted = [(across.place(each["confidence"]), up.place(each["accuracy"])) for each in bins]
    assert [place for pair in list_markers(plot) for place in pair] == pytest.approx(
        [place for pair in wanted for place in pair], abs=0.1
    )
    assert f"M{plot.left} {up.place(0.5):g}L{plot.right} {plot.top}" in [mark.path for mark in plot.marks]
    assert plot.table is not None and len(plot.table.rows) == len(bins)
    assert plot.table.rows[0][-1] == str(bins[0]["pairs"])
    assert plot.words == f"ECE {100 * evaluation['calibration']['ece']:.1f} %"
    assert "reward gap" in plot.x_label
    evaluation["calibration"]["of"] = "log_odds"
    assert "log odds ratio" in find_plot(evaluation, "calibration").x_label


def test_rewards_are_told_apart_without_colour() -> None:
    evaluation = make_evaluation()
    plot = find_plot(evaluation, "rewards")
    looks = [mark.look for mark in plot.marks if mark.look.fill]
    assert [(look.fill, bool(look.dash)) for look in looks] == [("pale", False), ("hatch", True)]
    assert plot.table is not None
    counts = [int(row[1]) for row in plot.table.rows[1:]]
    assert counts == evaluation["distributions"]["chosen"]["counts"] and sum(counts) == 400


def test_small_rewards_keep_their_digits() -> None:
    evaluation = make_evaluation()
    for side, mean in (("chosen", 0.000412345), ("rejected", -0.0)):
        evaluation["distributions"][side]["mean"] = mean
    labels = [key.label for key in find_plot(evaluation, "rewards").legend]
    assert labels == ["chosen, mean 0.000412", "rejected, mean 0"]


@pytest.mark.parametrize("pairs", [1, 2, 3, 29, 2000])
def test_nothing_is_drawn_beyond_the_edges(pairs: int) -> None:
    drawn = list_plots({"eval": make_evaluation(pairs, seed=pairs)})
    assert [plot.key for plot in drawn] == ["accuracy", "calibration", "rewards"]
    for plot in drawn:
        numbers = [float(number) for mark in plot.marks for number in re.findall(r"[ML](-?[\d.]+) ", mark.path)]
        numbers += [float(number) for mark in plot.marks for number in re.findall(r"H(-?[\d.]+)", mark.path)]
        assert all(plot.left - 5 <= number <= plot.right + 5 for number in numbers)
        heights = [float(number) for mark in plot.marks for number in re.findall(r"V(-?[\d.]+)", mark.path)]
        assert all(plot.top - 5 <= height <= plot.bottom + 5 for height in heights)


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "?",
        {"accuracy": None},
        {"calibration": {"bins": [], "ece": None}, "distributions": {"edges": []}},
        {"calibration": {"bins": [{"pairs": 0}]}, "distributions": {"edges": [0, 1], "chosen": {"counts": ["x"]}}},
        {"accuracy": "high", "by_grade": [], "distributions": 3},
    ],
)
def test_figures_of_another_engine_give_no_plot(odd: Any) -> None:
    assert list_plots({"eval": odd}) == []


def test_a_running_mean_starts_at_the_first_value_and_follows() -> None:
    assert smooth([], []) == []
    assert smooth([2.0], [1]) == [2.0]
    assert smooth([0.0, 3.0] + [0.0] * 38, [1] * 40)[:2] == pytest.approx([0.0, 2.0])  # weights 1/4 and 1/2 of 3/4
    assert smooth([1.0] + [0.0] * 199, [1] * 200)[1] == pytest.approx(0.09 / 0.19)  # a tenth each


@pytest.mark.parametrize(
    ("method", "logged", "wanted", "unwanted"),
    [
        ("reward", [], {"Loss", "Rewards"}, {"Log-probabilities", "Log odds ratio", "Language modelling"}),
        ("dpo", [], {"Log-probabilities"}, {"Log odds ratio", "Language modelling"}),
        ("orpo", [], {"Log-probabilities", "Log odds ratio", "Odds-ratio term", "Language modelling"}, set()),
        ("dpo", ["eval_nll_loss"], {"Language modelling"}, {"Log odds ratio"}),
    ],
)
def test_charts_are_those_that_the_method_fills(
    method: str, logged: list[str], wanted: set[str], unwanted: set[str]
) -> None:
    titles = {chart.title for chart in list_charts(method, logged)}
    assert wanted <= titles and not unwanted & titles
