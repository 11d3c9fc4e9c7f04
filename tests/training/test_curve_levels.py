"""Long curves as points of many steps: the same figures as from the single rows, however they were filed."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from training.curve_levels import choose_width, file_metrics
from training.models import MetricSpan, Run
from training.selectors import get_last_metrics, get_metric_series
from training.views.curves import smooth

Launch = Callable[..., Run]
SignIn = Callable[[User], Client]


def make_lines(count: int, *, every: int = 1, eval_every: int = 0, seed: int = 0) -> list[dict[str, float]]:
    noise = random.Random(seed)
    lines = [{"step": step, "loss": noise.random()} for step in range(0, count * every, every)]
    return lines + [{"step": step, "eval_loss": step / 10} for step in range(0, eval_every and count, eval_every or 1)]


@pytest.mark.parametrize("every", [1, 10])
def test_points_are_what_the_rows_below_them_say(launch: Launch, every: int) -> None:
    run, lines = launch(), make_lines(5000, every=every)
    file_metrics(run, lines)
    series = get_metric_series(run=run, points=100)
    assert series.width == choose_width(5000 * every - every + 1, 100) and 50 <= len(series.steps) <= 101
    for at, last in enumerate(series.steps):
        inside = [line["loss"] for line in lines if last // series.width == line["step"] // series.width]
        found = (series.counts[at], series.values["loss"][at], series.lows["loss"][at], series.highs["loss"][at])
        assert found == pytest.approx(
            (len(inside), math.fsum(inside) / len(inside), min(inside), max(inside)), rel=1e-5
        )


def test_filing_in_pieces_and_again_gives_the_same_levels(launch: Launch) -> None:
    lines = make_lines(700, eval_every=100)
    whole, pieces = launch(name="whole"), launch(name="pieces")
    file_metrics(whole, lines)
    file_metrics(pieces, [line | {"loss": 99.0} for line in lines[:400]])  # an attempt that was lost at step 400
    for start in range(0, len(lines), 90):
        file_metrics(pieces, lines[start : start + 90])
    read = [
        MetricSpan.objects.filter(run=run)
        .order_by("width", "start")
        .values_list("width", "start", "last", "rows", "values")
        for run in (whole, pieces)
    ]
    assert len(read[0]) == 44 + 3 + 1
    for one, other in zip(*read, strict=True):
        assert one[:4] == other[:4]
        assert one[4].keys() == other[4].keys()
        for name, figures in one[4].items():
            assert other[4][name] == pytest.approx(figures)


def test_a_part_is_finer_and_its_points_are_whole(launch: Launch) -> None:
    run = launch()
    file_metrics(run, make_lines(5000))
    part = get_metric_series(run=run, first=1000, last=1699, points=100)
    assert part.width == 8 and part.steps[0] == 1007 and part.steps[-1] == 1703
    assert set(part.counts) == {8}
    assert get_metric_series(run=run, first=1000, last=1099, points=100).width == 1


def test_new_points_come_as_wide_as_those_known_unless_that_were_too_many(launch: Launch) -> None:
    run = launch()
    file_metrics(run, make_lines(5000))
    assert get_metric_series(run=run, first=4992, points=100, width=64).steps == [4999]
    assert get_metric_series(run=run, first=5000, points=100, width=64).width == 64, "nothing new is no other width"
    assert get_metric_series(run=run, first=0, points=100, width=1).width == 64


def test_evaluations_and_what_is_no_number_are_told_apart(launch: Launch) -> None:
    run = launch()
    file_metrics(run, [*make_lines(3000, eval_every=500), {"step": 7, "loss": None, "note": "text", "odd": True}])
    series = get_metric_series(run=run, points=100)
    assert set(series.values) == {"loss", "eval_loss"}
    assert [value for value in series.values["eval_loss"] if value is not None] == [0, 50, 100, 150, 200, 250]


def test_the_end_of_a_long_curve_is_read_step_by_step(launch: Launch) -> None:
    run = launch()
    file_metrics(run, make_lines(3000, every=10))
    assert get_last_metrics(run=run, count=20).steps == list(range(29_800, 30_000, 10))


def test_running_means_of_wide_points_are_those_of_their_rows() -> None:
    noise = random.Random(1)
    rows = [math.sin(at / 300) + noise.gauss(0, 0.2) for at in range(6400)]
    single = smooth(rows, [1] * len(rows))
    wide = smooth([math.fsum(rows[at : at + 16]) / 16 for at in range(0, len(rows), 16)], [16] * 400)
    assert max(abs(one - other) for one, other in zip(single[15::16], wide, strict=True)) < 0.02


def test_all_values_come_as_a_file(launch: Launch, sign_in: SignIn, admin: User) -> None:
    run = launch()
    file_metrics(run, make_lines(2500, eval_every=1000))
    answer = sign_in(admin).get(reverse("run_metrics_csv", args=[run.pk]))
    assert answer.headers["Content-Disposition"] == f'attachment; filename="run-{run.pk}-metrics.csv"'
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert [int(row["step"]) for row in rows] == list(range(2500))
    assert float(rows[1000]["eval_loss"]) == 100.0 and rows[1001]["eval_loss"] == ""
    assert rows[0]["filed_at"].startswith("20")


def test_the_page_asks_for_parts_and_nonsense_is_passed_over(launch: Launch, sign_in: SignIn, admin: User) -> None:
    run = launch()
    file_metrics(run, make_lines(5000))
    client, url = sign_in(admin), reverse("run_metrics", args=[run.pk])
    whole = client.get(url).json()
    assert (whole["width"], len(whole["steps"]), len(whole["lows"]["loss"])) == (16, 313, 313)
    news = client.get(url, {"after": 4991, "width": 16}).json()
    assert (news["width"], news["steps"]) == (16, [4999])
    part = client.get(url, {"first": 100, "last": 199}).json()
    assert (part["width"], part["steps"][0], part["steps"][-1]) == (1, 100, 199)
    for nonsense in ({"width": "3"}, {"width": "-1"}, {"points": "x"}, {"first": "9" * 30}, {"last": "²"}):
        assert client.get(url, nonsense).json()["width"] == 16
