"""What the commands about runs share: options in, the parts and settings they name out; following runs to their end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.urls import reverse

from annotate.management.printing import find_admin, find_project
from annotate.models import DatasetVersion
from models_registry.models import ModelVersion
from training.engine.config import METHODS
from training.engine.recipes import RECIPES
from training.forms import FIELD_OF, list_usable_datasets, propose_name
from training.models import Run, Sharding
from training.placing import KEPT, USUAL, Placement
from training.services import LaunchErrors, launch_run

LOOK_EVERY_S = 2.0
OPTIONS = ("dataset", "base", "method", "recipe", "name", *KEPT)
"""What has an option of its own; every other field is a setting."""


@dataclass(frozen=True)
class Asked:
    """A run as a command line asks for it; nothing but the existence of its parts is checked."""

    dataset_version: DatasetVersion
    base_model: ModelVersion
    method: str
    recipe: str
    values: dict[str, Any]
    placement: Placement


def add_launch_arguments(parser: CommandParser) -> None:
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--dataset", metavar="NUMBER", help="A dataset version: its number as in its address, or kitchen-help/1."
    )
    data.add_argument("--project", metavar="SLUG", help="The newest dataset version of this project, kitchen-help say.")
    parser.add_argument("--base", metavar="NAME", help="Name of the base model.")
    parser.add_argument("--method", choices=METHODS, help="Needed unless the recipe says it.")
    parser.add_argument("--recipe", choices=list(RECIPES), default="", help="Published settings to begin with.")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="A setting; may be repeated.")
    place = parser.add_argument_group("where it is trained")
    place.add_argument("--gpus", type=int, default=USUAL.gpus, help="On each machine; 0 takes any worker (default).")
    place.add_argument("--gpu-memory-gb", type=int, default=USUAL.gpu_memory_gb, help="Of each GPU, at least.")
    place.add_argument("--label", default=USUAL.label, help="Only workers that have it.")
    place.add_argument("--hosts", type=int, default=USUAL.hosts, help="Workers that train it together (default: 1).")
    place.add_argument("--sharding", choices=Sharding.values, default=USUAL.sharding, help="How several GPUs hold it.")


def add_launcher_argument(parser: CommandParser) -> None:
    parser.add_argument("--by", default="", help="Name of the admin who launches it (default: the first admin).")


def read_asked(options: dict[str, Any]) -> Asked:
    """The parts that the options name. Raises CommandError with option and reason."""
    method = options["method"] or (RECIPES[options["recipe"]].method if options["recipe"] else "")
    wanted = {"dataset or --project": options["dataset"] or options["project"], "base": options["base"]}
    for name, value in (wanted | {"method or --recipe": method}).items():
        if not value:
            raise CommandError(f"--{name}: is needed")
    return Asked(
        dataset_version=_find_newest(options["project"]) if options["project"] else _find_version(options["dataset"]),
        base_model=_find_model(options["base"]),
        method=method,
        recipe=options["recipe"],
        values=read_settings(options["set"]),
        placement=Placement(**{name: options[name] for name in KEPT}),
    )


def launch_asked(asked: Asked, *, name: str = "", by: str = "", **extra: Any) -> Run:
    """Queues the run, ``extra`` settings over its own; raises CommandError with option and reason."""
    try:
        return launch_run(
            dataset_version=asked.dataset_version,
            base_model=asked.base_model,
            method=asked.method,
            values=asked.values | extra,
            name=name or propose_name(asked.method, asked.base_model),
            recipe=asked.recipe,
            placement=asked.placement,
            limit_hours=settings.RUN_LIMIT_HOURS or None,
            limit_gb=settings.RUN_LIMIT_GB or None,
            by=find_admin(by),
        )
    except LaunchErrors as wrong:
        raise CommandError(name_options(wrong.errors)) from wrong


def name_options(errors: Sequence[tuple[str, str]]) -> str:
    """Reasons behind the options that they are about: ``--set beta: must be a number``."""
    named = [(FIELD_OF.get(field, field), reason) for field, reason in errors]
    return "; ".join(
        f"--{name.replace('_', '-') if name in OPTIONS else f'set {name}'}: {reason}" for name, reason in named
    )


def read_settings(pairs: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` by name; the engine checks names and values."""
    values: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise CommandError(f"--set {pair}: must be written as NAME=VALUE")
        if name.strip() in values:
            raise CommandError(f"--set {name.strip()}: is given twice")
        values[name.strip()] = value.strip()
    return values


def follow_runs(runs: Sequence[Run], out: OutputWrapper) -> list[Run]:
    """Waits until the runs are over, saying what becomes of them meanwhile; gives them as they are then."""
    said: dict[int, str] = {}
    while True:
        found = Run.objects.defer("log_tail").in_bulk([run.pk for run in runs])
        for run in (found[run.pk] for run in runs):
            words = f"Run {run.pk}: {_describe_progress(run)}"
            if said.get(run.pk) != words:
                said[run.pk] = words
                out.write(words)
        out.flush()
        if all(run.is_at_rest for run in found.values()):
            return [found[run.pk] for run in runs]
        time.sleep(LOOK_EVERY_S)


def locate(run: Run) -> str:
    """The path of the run's page."""
    return reverse("run_detail", args=[run.pk])


def _describe_progress(run: Run) -> str:
    if run.state == "failed":
        return f"failed: {run.cause}"
    if run.message:
        return f"{run.state}: {run.message}"
    return f"{run.state}, step {run.step} of {run.total_steps}" if run.total_steps else run.state


def _find_version(text: str) -> DatasetVersion:
    """By its number as in its address, or by its project's short name and its number there."""
    slug, _slash, number = text.rpartition("/")
    versions = DatasetVersion.objects.filter(project=find_project(slug)) if slug else DatasetVersion.objects.all()
    by = "number" if slug else "pk"
    found = versions.filter(**{by: number}).first() if number.isdecimal() and len(number) < 19 else None
    if found is None:
        known = ", ".join(f"{each.pk} or {each.project.slug}/{each.number}" for each in versions.order_by("pk"))
        raise CommandError(f"--dataset: there is no version {text!r}. There are: {known or 'none'}.")
    return found


def _find_newest(slug: str) -> DatasetVersion:
    """The newest version of a project that can be trained on."""
    found = list_usable_datasets().filter(project=find_project(slug)).order_by("-number").first()
    if found is None:
        raise CommandError(f"--project: {slug} has no finished dataset version with training pairs.")
    return found


def _find_model(name: str) -> ModelVersion:
    found = ModelVersion.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(ModelVersion.objects.order_by("pk").values_list("name", flat=True))
        raise CommandError(f"--base: there is no model named {name!r}. There are: {known or 'none'}.")
    return found
