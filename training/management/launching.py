"""What the commands that launch runs share: finding the parts and reading settings from a command line."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from annotate.management.printing import find_admin
from annotate.models import DatasetVersion
from models_registry.models import ModelVersion
from training.engine.config import METHODS
from training.engine.recipes import RECIPES
from training.forms import propose_name
from training.models import Run
from training.services import LaunchErrors, launch_run


def add_launch_arguments(parser: CommandParser) -> None:
    parser.add_argument("--dataset", type=int, help="Number of the dataset version, as in its address.")
    parser.add_argument("--base", help="Name of the base model.")
    parser.add_argument("--method", choices=METHODS)
    parser.add_argument("--recipe", choices=list(RECIPES), default="", help="Published settings to begin with.")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="A setting; may be repeated.")
    parser.add_argument("--by", default="", help="Name of the admin who launches it (default: the first admin).")


def launch_from(options: dict[str, Any], *, name: str = "", **extra: Any) -> Run:
    """Queues a run as the options say, ``extra`` settings over theirs; raises CommandError with field and reason."""
    missing = [name for name in ("dataset", "base", "method") if not options[name]]
    if missing:
        raise CommandError(f"--{missing[0]}: is needed to launch a run")
    dataset = DatasetVersion.objects.filter(pk=options["dataset"]).first()
    if dataset is None:
        raise CommandError(f"--dataset: there is no version {options['dataset']}")
    base = ModelVersion.objects.filter(name=options["base"]).first()
    if base is None:
        raise CommandError(f"--base: there is no model named {options['base']}")
    recipe = RECIPES.get(options["recipe"])
    values = dict(recipe.values if recipe else {}) | read_settings(options["set"]) | extra
    try:
        return launch_run(
            dataset_version=dataset,
            base_model=base,
            method=options["method"],
            values=values,
            name=name or propose_name(options["method"], base),
            recipe=options["recipe"],
            by=find_admin(options["by"]),
        )
    except LaunchErrors as wrong:
        raise CommandError("; ".join(f"{field}: {reason}" for field, reason in wrong.errors)) from wrong


def read_settings(pairs: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` by name; the engine checks names and values."""
    for pair in pairs:
        if "=" not in pair:
            raise CommandError(f"--set {pair}: must be written as NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)
