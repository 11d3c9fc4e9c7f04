"""Who works on what, for the page of the workers and the API."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _

from models_registry.leases import list_work_models
from models_registry.models import LeasedWork, WorkState
from models_registry.workers import SeenWorker, list_workers

KINDS = {
    "run": _("Training"),
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
            owned.setdefault(work.owner.rpartition(":")[0], []).append(work)
    return [BusyWorker(worker, owned.get(worker.name, [])) for worker in list_workers()]
