"""Which run a worker takes next, and why a run waits.

Only runs that the worker's machine can hold are looked at; among them turns.py decides. A project's share is the device
time that its runs took within WINDOW: a GPU a second, or the worker's processor where a run asks for no GPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from models_registry.machines import GB, Ask, Machine
from models_registry.models import LeasedWork, WorkState
from models_registry.turns import Turn, make_turn
from models_registry.workers import SeenWorker, list_workers
from training.models import Run

WINDOW = timedelta(hours=24)
LEAST_CHARGE_S = 3600.0
"""Device seconds that a running run counts at least: else a project could start ten before the first one counts."""


def list_waiting(machine: Machine) -> list[tuple[Turn, LeasedWork]]:
    """The runs that this machine could take now, with their turns: of each project and priority the oldest.

    Within a project and a priority the oldest always goes first, so the others need not be looked at.
    """
    now = timezone.now()
    place = Window(RowNumber(), partition_by=["dataset_version__project", "priority"], order_by=["queued_at", "pk"])
    waiting = Run.objects.filter(
        find_fitting(machine), state=WorkState.QUEUED, cancel_requested=False, pause_requested=False
    )
    heads = waiting.annotate(place=place, project_id=F("dataset_version__project")).filter(place=1)
    rows = list(heads.defer("log_tail"))
    shares = measure_shares(now) if len(rows) > 1 else {}
    return [(_make_turn(run, shares, now), run) for run in rows]


def find_fitting(machine: Machine) -> Q:
    """Of rows with ``gpus``, ``gpu_memory_gb`` and ``label``: what the machine can hold, as Machine.meets says."""
    devices = Q(gpus=0)
    for count, size in enumerate(machine.gpu_sizes_gb, start=1):
        devices |= Q(gpus=count, gpu_memory_gb__lte=size)
    return devices & Q(label__in=["", *machine.labels])


def measure_shares(now: datetime) -> dict[int, float]:
    """Device seconds by project: what ended or runs within WINDOW before ``now``, of each run its last attempt."""
    lately = Q(state=WorkState.RUNNING) | Q(finished_at__gt=now - WINDOW)
    rows = Run.objects.filter(lately, started_at__isnull=False)
    return sum_shares(rows.values_list("dataset_version__project", "gpus", "started_at", "finished_at"), now)


def sum_shares(
    attempts: Iterable[tuple[int, int, datetime | None, datetime | None]], now: datetime
) -> dict[int, float]:
    """Of (project, GPUs, begun, ended); what has not ended counts LEAST_CHARGE_S at least."""
    shares: dict[int, float] = {}
    for project, gpus, begun, ended in attempts:
        seconds = ((ended or now) - max(begun or now, now - WINDOW)).total_seconds()
        seconds = max(0.0 if ended else LEAST_CHARGE_S, seconds)
        shares[project] = shares.get(project, 0.0) + max(1, gpus) * seconds
    return shares


def _make_turn(run: Run, shares: dict[int, float], now: datetime) -> Turn:
    share = shares.get(run.project_id, 0.0)  # type: ignore[attr-defined]  # annotated
    return make_turn(run.priority, run.queued_at, now, share=share, number=run.pk)


def list_run_workers() -> list[SeenWorker]:
    """The living workers that take runs."""
    return [worker for worker in list_workers() if worker.takes(Run.queue)]


def explain_wait(ask: Ask) -> str:
    """Why no living worker can take it, in words; empty where one could."""
    workers = list_run_workers()
    if any(worker.machine.meets(ask) for worker in workers):
        return ""
    if not workers:
        return _("No worker for training is up.")
    wanted = describe_ask(ask)
    have = describe_most(workers)
    return _("It waits for a worker with %(wanted)s, and none is up. Those that are up have at most: %(have)s.") % {
        "wanted": wanted,
        "have": have,
    }


def describe_ask(ask: Ask) -> str:
    """2 GPUs of at least 40 GB, label a100."""
    parts = []
    if ask.gpus:
        parts.append(ngettext("%(count)d GPU", "%(count)d GPUs", ask.gpus) % {"count": ask.gpus})
    if ask.gpus and ask.gpu_memory_gb:
        parts[-1] = _("%(gpus)s of at least %(size)d GB") % {"gpus": parts[-1], "size": ask.gpu_memory_gb}
    if ask.label:
        parts.append(_("the label %(label)s") % {"label": ask.label})
    return ", ".join(parts)


def describe_most(workers: Iterable[SeenWorker]) -> str:
    """The most GPUs, the largest of them, and every label, over all these workers."""
    machines = [worker.machine for worker in workers]
    count = max(len(machine.gpus) for machine in machines)
    parts = [ngettext("%(count)d GPU", "%(count)d GPUs", count) % {"count": count}]
    if count:
        largest = max(gpu.memory // GB for machine in machines for gpu in machine.gpus)
        parts[0] = _("%(gpus)s of up to %(size)d GB") % {"gpus": parts[0], "size": largest}
    labels = sorted({label for machine in machines for label in machine.labels})
    parts.append(_("labels %(labels)s") % {"labels": ", ".join(labels)} if labels else _("no label"))
    return ", ".join(parts)
