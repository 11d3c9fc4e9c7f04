"""A frozen version's files on a machine that did not freeze it."""

from __future__ import annotations

from collections.abc import Callable

from annotate.models import DatasetVersion
from models_registry import depot
from models_registry.models import WorkState


def fetch_dataset(version: DatasetVersion, between: Callable[[], object] = lambda: None) -> None:
    """Brings a finished version's files from the store where they are not here. Raises StoreError."""
    here = version.train_path.is_file() and version.eval_path.is_file()
    if version.state == WorkState.FINISHED and not here:
        depot.fetch(version.counts, version.folder, between)
