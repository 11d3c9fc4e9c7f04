"""The plots of an evaluation: accuracy by grade beside its baselines, calibration, distributions of rewards.

Everything here is pure. A result that lacks a part (an older engine wrote it, or nothing was held out) gives no plot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from training.views import plots
from training.views.outcome import describe_accuracies, name_accuracy, show_percent
from training.views.plots import Axis, Key, Look, Mark, Plot, Table, Tick

BASELINE_LOOKS = (
    Look("text-secondary", dash="7 4", width=1.5),
    Look("text-accent", dash="9 3 2 3", width=1.5),
)
CHANCE = Look(dash="1.5 3", width=1)
POINT = Look("text-primary", fill="solid")
WHISKER = Look("text-primary", width=1.5)
AMOUNT = Look(fill="pale", width=0)
SIDE_LOOKS = {
    "chosen": Look("text-primary", fill="pale", width=1.5),
    "rejected": Look("text-secondary", dash="4 3", fill="hatch", width=1.5),
}
GRADES_LEFT = 128
AMOUNT_HEIGHT = 0.2
"""The share of the reliability curve's height that the fullest bin's bar takes."""


def list_plots(result: Mapping[str, Any]) -> list[Plot]:
    """The plots that a run's result has the figures for."""
    found = result.get("eval")
    evaluation = found if isinstance(found, Mapping) else {}
    drawn = []
    for draw in _DRAWN:
        try:
            drawn.append(draw(evaluation))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            continue  # another engine's figures: the page shows what it can
    return drawn


def draw_accuracies(evaluation: Mapping[str, Any]) -> Plot:
    """A point with its interval for all pairs and each grade; the baselines are lines. The table stands beside it."""
    rows = describe_accuracies({"eval": evaluation})
    points, baselines = [row for row in rows if not row.is_baseline], [row for row in rows if row.is_baseline]
    if not points:
        raise LookupError("no accuracy")
    across = Axis(0, 1, GRADES_LEFT, plots.RIGHT)
    gap = (plots.BOTTOM - plots.TOP) / len(points)
    places = [(row, round(plots.TOP + gap * (at + 0.5), 1)) for at, row in enumerate(points)]
    lines = [(CHANCE, 0.5, _("chance"))]
    lines += [(look, row.share, row.label) for look, row in zip(BASELINE_LOOKS, baselines, strict=False)]
    marks = [Mark(f"M{across.place(share):g} {plots.TOP}V{plots.BOTTOM}", look) for look, share, _label in lines]
    for row, y in places:
        marks.append(Mark(plots.draw_across(across.place(row.low), across.place(row.high), y), WHISKER))
        marks.append(Mark(plots.draw_marker("circle", across.place(row.share), y), POINT))
    return Plot(
        key="accuracy",
        title=_("Accuracy by grade"),
        summary=", ".join(f"{row.label} {show_percent(row.share, 1)}" for row in rows),
        x_ticks=[Tick(across.place(share), show_percent(share)) for share in (0, 0.25, 0.5, 0.75, 1)],
        y_ticks=[Tick(y, row.label) for row, y in places],
        marks=marks,
        legend=[_name_point(), *(Key([Mark("M0 6H28", look)], label) for look, _share, label in lines)],
        left=GRADES_LEFT,
    )


def draw_calibration(evaluation: Mapping[str, Any]) -> Plot:
    """The reliability curve: how often the model was right, over how sure it was."""
    calibration = evaluation["calibration"]
    bins = calibration["bins"]
    error = show_percent(calibration["ece"], 1)
    across, up = Axis(0.5, 1, plots.LEFT, plots.RIGHT), Axis(0, 1, plots.BOTTOM, plots.TOP)
    fullest = max(each["pairs"] for each in bins)
    ends = [(across.place(share), up.place(share)) for share in (0.5, 1.0)]
    marks = [Mark(plots.draw_line(ends), CHANCE)]
    for each in bins:
        top = up.place(AMOUNT_HEIGHT * each["pairs"] / fullest)
        bar = plots.draw_bar(across.place(each["from"]) + 1, across.place(each["to"]) - 1, top, plots.BOTTOM)
        marks.append(Mark(bar, AMOUNT))
    places = [(across.place(each["confidence"]), each) for each in bins]
    marks.append(Mark(plots.draw_line((x, up.place(each["accuracy"])) for x, each in places), WHISKER))
    for x, each in places:
        low, high = each["interval"]
        marks.append(Mark(plots.draw_upright(x, up.place(low), up.place(high)), WHISKER))
        marks.append(Mark(plots.draw_marker("circle", x, up.place(each["accuracy"])), POINT))
    of_odds = calibration.get("of") == "log_odds"
    return Plot(
        key="calibration",
        title=_("Calibration"),
        words=_("ECE %(error)s") % {"error": error},
        summary=_("expected calibration error %(error)s") % {"error": error},
        x_label=_("confidence, σ(log odds ratio)") if of_odds else _("confidence, σ(reward gap)"),
        y_label=_("accuracy"),
        x_ticks=[Tick(across.place(share), show_percent(share)) for share in (0.5, 0.6, 0.7, 0.8, 0.9, 1)],
        y_ticks=[Tick(up.place(share), show_percent(share)) for share in (0, 0.25, 0.5, 0.75, 1)],
        marks=marks,
        legend=[
            _name_point(),
            Key([Mark("M0 6H28", CHANCE)], _("as sure as right")),
            Key([Mark(plots.draw_bar(8, 20, 1, 12), AMOUNT)], _("number of pairs")),
        ],
        table=Table(
            [_("Confidence"), _("On average"), name_accuracy(), _("Pairs")],
            [_tell_bin(each) for each in bins],
        ),
    )


def draw_rewards(evaluation: Mapping[str, Any]) -> Plot:
    """How the rewards of the chosen and of the rejected replies lie; a line stands at each mean."""
    found = evaluation["distributions"]
    edges, sides = found["edges"], {side: found[side] for side in SIDE_LOOKS}
    names = {"chosen": _("chosen"), "rejected": _("rejected")}
    steps = plots.list_steps(edges[0], edges[-1])
    heights = plots.list_steps(0, max(max(side["counts"]) for side in sides.values()), most=4)
    across = Axis(min(steps[0], edges[0]), max(steps[-1], edges[-1]), plots.LEFT, plots.RIGHT)
    up = Axis(0, heights[-1], plots.BOTTOM, plots.TOP)
    marks, legend = [], []
    for name, look in SIDE_LOOKS.items():
        places = [across.place(edge) for edge in edges]
        outline = plots.draw_steps(places, [up.place(count) for count in sides[name]["counts"]], plots.BOTTOM)
        marks.append(Mark(outline, look))
        line = Look(look.ink, dash=look.dash)
        marks.append(Mark(f"M{across.place(sides[name]['mean']):g} {plots.TOP}V{plots.BOTTOM}", line))
        legend.append(
            Key(
                [Mark("M1 1H27V11H1Z", look)],
                _("%(side)s, mean %(mean)s") % {"side": names[name], "mean": _show(sides[name]["mean"])},
            )
        )
    return Plot(
        key="rewards",
        title=_("Rewards"),
        words=_("held-out pairs"),
        summary=", ".join(f"{names[name]} {_tell_mean(side)}" for name, side in sides.items()),
        x_label=_("reward"),
        y_label=_("responses"),
        x_ticks=[Tick(across.place(step), plots.show_number(step)) for step in steps],
        y_ticks=[Tick(up.place(step), plots.show_number(step)) for step in heights if step == int(step)],
        marks=marks,
        legend=legend,
        table=Table(
            [_("Reward"), *(names[name].capitalize() for name in sides)],
            [
                [_("Mean ± standard deviation"), *(_tell_mean(side) for side in sides.values())],
                *(
                    [f"{_show(low)} … {_show(high)}", *(str(side["counts"][at]) for side in sides.values())]
                    for at, (low, high) in enumerate(itertools.pairwise(edges))
                ),
            ],
        ),
    )


_DRAWN: tuple[Callable[[Mapping[str, Any]], Plot], ...] = (draw_accuracies, draw_calibration, draw_rewards)


def _name_point() -> Key:
    marks = [Mark(plots.draw_across(1, 27, 6), WHISKER), Mark(plots.draw_marker("circle", 14, 6), POINT)]
    return Key(marks, _("accuracy, 95 %% interval") % {})


def _tell_bin(each: Mapping[str, Any]) -> list[str]:
    low, high = each["interval"]
    return [
        f"{show_percent(each['from'])} – {show_percent(each['to'])}",
        show_percent(each["confidence"], 1),
        f"{show_percent(each['accuracy'])} ({100 * low:.0f} – {100 * high:.0f})",
        str(each["pairs"]),
    ]


def _tell_mean(side: Mapping[str, Any]) -> str:
    return f"{_show(side['mean'])} ± {_show(side['std'])}"


def _show(reward: float) -> str:
    """To three digits that tell, however small rewards are: a policy's first ones are."""
    return plots.show_number(float(f"{reward:.3g}") + 0.0)  # + 0.0: no minus before zero
