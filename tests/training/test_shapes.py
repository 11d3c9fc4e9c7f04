"""Known bad shapes: how often each is found where it is, and how often any is where there is none."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from models_registry.models import Notice
from training import services
from training.engine_texts import CAUSES, SHAPE_CAUSE
from training.models import Run
from training.selectors import MetricSeries
from training.shapes import Setting, find_bad_shapes
from training.views.alerts import _list_words

Launch = Callable[..., Run]
SignIn = Callable[[User], Client]
TRIALS = 40  # held with 100 too
STEPS = 300
PAIRS = 8
SETTING = Setting("dpo", PAIRS, beta=0.1, total_steps=STEPS, eval_rows=200)


def make_curves(seed: int, **bad: Callable[[float, random.Random], float]) -> MetricSeries:
    """A healthy run of DPO with noise of real sizes; ``bad`` replaces metrics by functions of the share done."""
    noise = random.Random(seed)

    def sway(size: float) -> float:
        return noise.gauss(0, size)

    columns: dict[str, list[float | None]] = {}
    shapes: dict[str, Callable[[float, random.Random], float]] = {
        "loss": lambda at, _noise: 0.69 - 0.2 * (1 - math.exp(-3 * at)) + sway(0.06),
        "grad_norm": lambda _at, _noise: math.exp(1.2 + sway(0.3)),
        "rewards/accuracies": lambda at, _noise: sum(noise.random() < 0.5 + 0.2 * min(1, 4 * at) for _ in range(8)) / 8,
        "rewards/chosen": lambda at, _noise: 0.3 * at + sway(0.2),
        "rewards/rejected": lambda at, _noise: -1.5 * at + sway(0.3),
        "logps/chosen": lambda at, _noise: -180 + 3 * at + sway(30),
        "logps/rejected": lambda at, _noise: -170 - 15 * at + sway(30),
        **{name.replace("__", "/"): shape for name, shape in bad.items()},
    }
    evals: dict[str, Callable[[float, random.Random], float]] = {
        "eval_loss": lambda at, _noise: 0.69 - 0.08 * at + sway(0.005),
        "eval_rewards/length_correlation": lambda _at, _noise: 0.25 + sway(0.05),
    }
    for name, shape in (evals | shapes).items():
        rare = name.startswith("eval_")
        columns[name] = [
            shape(step / STEPS, noise) if not rare or step % 30 == 0 else None for step in range(1, STEPS + 1)
        ]
    return MetricSeries(list(range(1, STEPS + 1)), columns, counts=[1] * STEPS)


BAD: dict[str, dict[str, Any]] = {
    "chance": {"rewards__accuracies": lambda _at, noise: sum(noise.random() < 0.5 for _ in range(8)) / 8},
    "inverted": {"rewards__accuracies": lambda _at, noise: sum(noise.random() < 0.35 for _ in range(8)) / 8},
    "distance": {"rewards__rejected": lambda at, noise: -25 * at**3 + noise.gauss(0, 0.5)},
    "fall": {
        "logps__chosen": lambda at, noise: -180 - 120 * at + noise.gauss(0, 30),
        "logps__rejected": lambda at, noise: -170 - 200 * at + noise.gauss(0, 30),
    },
    "spike": {"loss": lambda at, noise: (3.0 if abs(at - 0.7) < 0.002 else 0.6) + noise.gauss(0, 0.06)},
    "gradient": {"grad_norm": lambda at, noise: math.exp((6 if abs(at - 0.5) < 0.002 else 1.2) + noise.gauss(0, 0.3))},
    "flat": {"loss": lambda _at, noise: 0.693 + noise.gauss(0, 0.02)},
    "overfit": {
        "eval_loss": lambda at, noise: 0.6 + 0.4 * max(0.0, at - 0.4) - 0.1 * min(at, 0.4) + noise.gauss(0, 0.005)
    },
    "length": {"eval_rewards/length_correlation": lambda _at, noise: 0.72 + noise.gauss(0, 0.03)},
}


def test_healthy_runs_raise_no_alarm() -> None:
    """Looked at ten times each, as a worker does while the run goes on."""
    alarms = 0
    for seed in range(TRIALS):
        whole = make_curves(seed)
        found = set()
        for end in range(STEPS // 10, STEPS + 1, STEPS // 10):
            part = MetricSeries(
                whole.steps[:end], {name: line[:end] for name, line in whole.values.items()}, counts=[1] * end
            )
            found |= {finding.code for finding in find_bad_shapes(part, SETTING)}
        alarms += bool(found)
    assert alarms <= 0.02 * TRIALS


@pytest.mark.parametrize("code", BAD)
def test_bad_shapes_are_found(code: str) -> None:
    found = [
        {finding.code for finding in find_bad_shapes(make_curves(seed, **BAD[code]), SETTING)} for seed in range(TRIALS)
    ]
    assert sum(code in codes for codes in found) >= 0.95 * TRIALS
    others = {other for codes in found for other in codes} - {code}
    assert others <= {"flat", "spike"}, "one fault is not taken for another"


def test_short_curves_and_other_methods_have_no_shape() -> None:
    assert find_bad_shapes(MetricSeries([], {}), SETTING) == []
    chance = make_curves(0, **BAD["chance"])
    assert find_bad_shapes(chance, Setting("sft", PAIRS, total_steps=STEPS)) == []
    start = MetricSeries(chance.steps[:20], {name: line[:20] for name, line in chance.values.items()}, counts=[1] * 20)
    assert find_bad_shapes(start, SETTING) == []


def test_a_worker_keeps_them_with_the_run_and_the_pages_say_them(launch: Launch, sign_in: SignIn, admin: User) -> None:
    run = launch(values={"batch_size": 8})
    curves = make_curves(1, **BAD["inverted"])
    lines = [
        {"step": step, **{name: line[at] for name, line in curves.values.items() if line[at] is not None}}
        for at, step in enumerate(curves.steps)
    ]
    services.watch_metrics(run, lines)
    run.alerts = []  # they went away
    services.watch_metrics(run, [{"step": STEPS + 1, "loss": None}])
    told = Notice.objects.get(user=admin, topic="run_odd")  # once
    run.refresh_from_db()
    assert {alert["code"] for alert in run.alerts} >= {"inverted", "not_finite"}
    client = sign_in(admin)
    page = client.get(reverse("run_detail", args=[run.pk])).content.decode()
    assert "The rejected responses win" in page and "Chosen and rejected may be swapped" in page
    page = client.get(reverse("notice_list")).content.decode()
    assert f"{run.name} looks wrong" in page and str(CAUSES[told.cause_code]) in page
    assert "The loss is no number" in client.get(reverse("run_list"), {"alerts": "on"}).content.decode()
    assert client.get(f"/api/v1/runs/{run.pk}/").json()["alerts"][0]["code"] == "not_finite"
    Run.objects.filter(pk=run.pk).update(alerts=[{"code": "of another release"}, "odd"])
    assert client.get(reverse("run_detail", args=[run.pk])).status_code == 200


def test_every_finding_has_words() -> None:
    assert set(_list_words()) == {*BAD, "not_finite"}
    assert {SHAPE_CAUSE + code for code in _list_words()} < set(CAUSES)
