"""The shelf for models in the layout of the Hugging Face hub: one folder a model, which any other tool can load.

It is named by HUB_URL; without it, it lies in the house's store, or else in DATA_DIR, below ``hub``. The names of the
folders are made here, of the model's name and number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.text import slugify

from models_registry.inference.model_files import select_model_files
from models_registry.models import ModelVersion
from models_registry.store import MANIFEST, FolderStore, NotStored, Store, get_file, get_folder, open_store, open_url


def open_hub(*, hurried: bool = False) -> tuple[Store, str]:
    """The store, and what comes before the names of the folders in it. Raises StoreError."""
    if settings.HUB_URL:
        return open_url(settings.HUB_URL, hurried=hurried), ""
    return open_store(hurried=hurried) or FolderStore(Path(settings.DATA_DIR)), "hub/"


def locate_hub() -> str:
    """Where the folders lie, for people. Raises StoreError."""
    store, prefix = open_hub()
    return f"{store.url}/{prefix}".rstrip("/")


def name_folder(model: ModelVersion) -> str:
    return f"{slugify(model.name)[:80].strip('-') or 'model'}-{model.pk}"


def list_pushed() -> list[str]:
    """The folders that hold a model, whoever put them there; no request can name another. Raises StoreError."""
    store, prefix = open_hub(hurried=True)  # a person waits for the page
    keys = (key.removeprefix(prefix).split("/") for key in store.list(prefix.rstrip("/")))
    return sorted(parts[0] for parts in keys if len(parts) == 2 and parts[1] == "config.json")


def pull_folder(name: str, target: Path, between: Callable[[], object]) -> dict[str, Any]:
    """Fetches a folder of ``list_pushed`` and says where from; checked by its manifest if it was pushed by a house.

    Raises StoreError, ProgramError where it holds nothing that may be taken over.
    """
    store, prefix = open_hub()
    key = prefix + name
    origin = {"name": name, "url": f"{store.url}/{key}"}
    if store.exists(f"{key}/{MANIFEST}"):
        get_folder(store, key, target, between=between)
        return origin
    names = [path.removeprefix(f"{key}/") for path in store.list(key)]
    if not names:
        raise NotStored(f"{store.url}/{key} is not there any more.")
    for file in select_model_files(names):
        between()
        get_file(store, f"{key}/{file}", target / file)
    return origin
