"""Who works on what, and whose devices are free."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass, field

from django.db.models import F
from django.utils.translation import gettext_lazy as _

from models_registry.leases import HANDLERS, list_work_models
from models_registry.models import LeasedWork, WorkState
from models_registry.workers import SeenWorker, list_workers
from training.models import Run, RunShare

KINDS = {
    "run": _("Training"),
    "runshare": _("Training together"),
    "tokenpreview": _("Token preview"),
    "samplingjob": _("Sampling"),
    "scoringjob": _("Scoring"),
    "modelimport": _("Preparing a model"),
    "datasetversion": _("Freezing a dataset"),
    "import": _("Import"),
}


@dataclass(frozen=True)
class BusyWorker:
    """A worker and the rows that it owns now."""

    worker: SeenWorker
    works: list[LeasedWork] = field(default_factory=list)

    @property
    def state(self) -> str:
        """silent, leaving, working or idle."""
        if not self.worker.is_alive:
            return "silent"
        if self.worker.is_leaving:
            return "leaving"
        return "working" if self.works else "idle"


def list_busy_workers() -> list[BusyWorker]:
    """Every worker that was seen within a day, by name; one query a kind of work."""
    owned: dict[str, list[LeasedWork]] = {}
    for model in list_work_models():
        for work in model._default_manager.filter(state=WorkState.RUNNING).defer("log_tail"):
            owned.setdefault(name_worker(work.owner), []).append(work)
    return [BusyWorker(worker, owned.get(worker.name, [])) for worker in list_workers()]


def list_run_workers() -> list[SeenWorker]:
    """The living workers that take runs."""
    return [worker for worker in list_workers() if worker.takes(Run.queue)]


def list_places(workers: Iterable[SeenWorker], without: Container[str] = ()) -> dict[str, SeenWorker]:
    """One worker for each set of devices, by its name: those of one place cannot work at the same time."""
    return {worker.place: worker for worker in workers if worker.place not in without}


def list_free(workers: Collection[SeenWorker]) -> list[SeenWorker]:
    """Those of all workers on whose devices nobody works. For workers, who know what is worked where."""
    # A part whose attempt is over ends in a moment, or lies with a worker that is gone.
    live = RunShare.objects.filter(run__state=WorkState.RUNNING, run__epoch=F("run_epoch"))
    busy: set[str] = set()
    for model, handler in HANDLERS.items():
        if handler.slot == HANDLERS[Run].slot:
            rows = live if model is RunShare else model._default_manager.all()
            owners = rows.filter(state=WorkState.RUNNING).values_list("owner", flat=True)
            busy |= {name_worker(owner) for owner in owners}
    taken = {worker.place for worker in workers if worker.name in busy}
    return [worker for worker in workers if worker.place not in taken]


def name_worker(owner: str) -> str:
    """Of the owner of a row, without its process."""
    return owner.rpartition(":")[0]
