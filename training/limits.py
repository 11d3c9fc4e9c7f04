"""How long a run may train and how much disk it may take, over all its attempts; and the curves of what it uses.

A limit that is reached pauses the run behind a checkpoint: with a higher one it goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import F
from django.utils.translation import gettext as _

from models_registry.stored_texts import translate_stored
from models_registry.usage import SAMPLE_S, Usage
from training.engine_texts import TEXTS
from training.models import Run, RunUsage

GB = 10**9
SAMPLES_IN_FULL = 500
"""So many lie as close as they are taken; later ones as far apart as this share of the time so far."""
MOST_POINTS = 1000
MOST = {"limit_hours": 100_000, "limit_gb": 1_000_000}


def file_usage(run: Run, usage: Usage) -> tuple[str, str] | None:
    """Adds to what the run has used and says why it must stop: (code, text). Call it under the lease."""
    Run.objects.filter(pk=run.pk).update(
        active_seconds=F("active_seconds") + usage.seconds, **({"disk_bytes": usage.disk} if usage.disk else {})
    )
    now = Run.objects.only("active_seconds", "disk_bytes", "limit_hours", "limit_gb").get(pk=run.pk)
    if usage.values:
        _file_sample(now, usage.values)
    return find_reached(now)


def find_reached(run: Run) -> tuple[str, str] | None:
    """The limit that the run has reached: code and text, in English, to be stored."""
    if run.limit_hours is not None and run.active_seconds >= run.limit_hours * 3600:
        text = f"It has trained for {run.limit_hours:g} hours, its limit. Raise the limit and resume it."
        return "hour_limit", text
    if run.limit_gb is not None and run.disk_bytes >= run.limit_gb * GB:
        text = (
            f"Its files take {run.disk_bytes / GB:.2f} GB, its limit is {run.limit_gb:g} GB. "
            "Raise the limit and resume it, or clone it with fewer checkpoints kept."
        )
        return "disk_limit", text
    return None


def say_reached(run: Run) -> str:
    """The same in the reader's language; empty where no limit is reached."""
    reached = find_reached(run)
    return (translate_stored(reached[1], TEXTS) or reached[1]) if reached else ""


def check_limits(limits: Mapping[str, float | None]) -> list[tuple[str, str]]:
    """What speaks against these limits, as (field, reason)."""
    return [
        (name, _("Must be more than 0 and at most %(most)s; empty means no limit.") % {"most": MOST[name]})
        for name, value in limits.items()
        if value is not None and not 0 < value <= MOST[name]
    ]


def get_usage_series(run: Run, *, after: int = -1) -> dict[str, Any]:
    """``seconds`` of active training, and by name the values of that moment; None where one was not known."""
    rows = list(run.usage.filter(second__gt=after).order_by("second").values_list("second", "values"))
    rows = rows[:: -(-len(rows) // MOST_POINTS) or 1]
    names = sorted({name for _second, values in rows for name in values})
    return {
        "seconds": [second for second, _values in rows],
        "values": {name: [values.get(name) for _second, values in rows] for name in names},
    }


def _file_sample(run: Run, values: dict[str, float]) -> None:
    last = run.usage.order_by("-second").values_list("second", flat=True).first()
    second = int(run.active_seconds)
    if last is None or second >= last + max(SAMPLE_S, second / SAMPLES_IN_FULL):
        RunUsage.objects.create(run=run, second=second, values=values)
