"""Which run a worker takes next, and why a run waits.

Only runs that the worker's machine can hold are looked at; among them turns.py decides. A project's share is the device
time that its runs took within WINDOW: a GPU a second, or the worker's processor where a run asks for no GPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import F, Q, Window
from django.db.models.functions import Greatest, RowNumber
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from models_registry.machines import GB, Ask, Machine
from models_registry.models import LeasedWork, WorkState
from models_registry.turns import Turn, make_turn
from models_registry.workers import SeenWorker
from training.gang import list_startable
from training.models import Run, RunShare
from training.workers import list_places, list_run_workers

WINDOW = timedelta(hours=24)
FIRST = -1_000_000
"""Before every rank that priority and waiting can give."""
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
    waiting = waiting.filter(Q(hosts=1) | Q(pk__in=list_startable(waiting.filter(hosts__gt=1).defer("log_tail"))))
    heads = waiting.annotate(place=place, project_id=F("dataset_version__project")).filter(place=1)
    rows = list(heads.defer("log_tail"))
    shares = measure_shares(now) if len(rows) > 1 else {}
    return [(_make_turn(run, shares, now), run) for run in rows]


def list_waiting_shares(machine: Machine) -> list[tuple[Turn, LeasedWork]]:
    """Parts of runs that have begun, with turns before all other work: devices are held for them.

    Those of attempts that are over may go to anybody, who then strikes them off.
    """
    is_live = Q(run__state=WorkState.RUNNING, run__epoch=F("run_epoch"))
    shares = RunShare.objects.filter(state=WorkState.QUEUED, cancel_requested=False).select_related("run")
    found = shares.filter(~is_live | find_fitting(machine, "run__")).defer("log_tail", "run__log_tail")
    return [(Turn(FIRST - share.run.priority, 0.0, share.run.queued_at, share.pk), share) for share in found]


def find_fitting(machine: Machine, prefix: str = "") -> Q:
    """Of rows with ``gpus``, ``gpu_memory_gb`` and ``label``: what the machine can hold, as Machine.meets says."""
    devices = Q(**{f"{prefix}gpus": 0})
    for count, size in enumerate(machine.gpu_sizes_gb, start=1):
        devices |= Q(**{f"{prefix}gpus": count, f"{prefix}gpu_memory_gb__lte": size})
    return devices & Q(**{f"{prefix}label__in": ["", *machine.labels]})


def measure_shares(now: datetime) -> dict[int, float]:
    """Device seconds by project: what ended or runs within WINDOW before ``now``, of each run its last attempt."""
    lately = Q(state=WorkState.RUNNING) | Q(finished_at__gt=now - WINDOW)
    rows = Run.objects.filter(lately, started_at__isnull=False)
    devices = F("hosts") * Greatest("gpus", 1)
    columns = ("dataset_version__project", "devices", "started_at", "finished_at")
    return sum_shares(rows.annotate(devices=devices).values_list(*columns), now)


def sum_shares(
    attempts: Iterable[tuple[int, int, datetime | None, datetime | None]], now: datetime
) -> dict[int, float]:
    """Of (project, devices, begun, ended); what has not ended counts LEAST_CHARGE_S at least."""
    shares: dict[int, float] = {}
    for project, devices, begun, ended in attempts:
        seconds = ((ended or now) - max(begun or now, now - WINDOW)).total_seconds()
        seconds = max(0.0 if ended else LEAST_CHARGE_S, seconds)
        shares[project] = shares.get(project, 0.0) + devices * seconds
    return shares


def _make_turn(run: Run, shares: dict[int, float], now: datetime) -> Turn:
    share = shares.get(run.project_id, 0.0)  # type: ignore[attr-defined]  # annotated
    return make_turn(run.priority, run.queued_at, now, share=share, number=run.pk)


def explain_wait(ask: Ask, hosts: int = 1) -> str:
    """Why no living worker can take it, or too few can, in words; empty where it could be worked."""
    workers = list_run_workers()
    fitting = list_places(worker for worker in workers if worker.machine.meets(ask))
    if len(fitting) >= hosts:
        return ""
    if not workers:
        return _("No worker for training is up.")
    wanted = describe_ask(ask)
    if hosts > 1:
        words = {"hosts": hosts, "count": len(fitting), "wanted": wanted}
        if wanted:
            return (
                _("It waits for %(hosts)d workers with %(wanted)s, each with devices of its own (%(count)d up).")
                % words
            )
        return _("It waits for %(hosts)d workers, each with devices of its own (%(count)d up).") % words
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
