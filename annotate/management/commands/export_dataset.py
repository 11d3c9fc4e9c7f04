"""Freezes a dataset version at once, without a worker, and prints its counts.

python manage.py export_dataset --project SLUG [--aggregation majority] [--min-votes 2] [--out FOLDER]
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.exporting.aggregate import LEFT_OUT_LABELS
from annotate.exporting.rule import STRENGTHS, Aggregation, DatasetRule, RuleError
from annotate.management.printing import find_admin, find_project
from annotate.models import DatasetVersion
from annotate.services.datasets import CARD_NAME, DatasetError, build_dataset_version, freeze_dataset
from annotate.services.work_here import do_work_here
from models_registry.models import WorkState


class Command(BaseCommand):
    help = "Freezes a dataset version of a project at once and prints its counts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", required=True, help="Short name (slug) of the project.")
        parser.add_argument("--aggregation", choices=Aggregation.values, default=DatasetRule.aggregation)
        parser.add_argument("--min-votes", type=int, default=DatasetRule.min_votes)
        parser.add_argument("--grades", nargs="+", choices=list(STRENGTHS), default=list(DatasetRule.grades))
        parser.add_argument("--no-surplus", action="store_true", help="Leave surplus votes out.")
        parser.add_argument("--leave-out-labelers", nargs="+", default=[], metavar="USERNAME")
        parser.add_argument("--eval-share", type=float, default=DatasetRule.eval_share)
        parser.add_argument("--split-seed", type=int, default=DatasetRule.split_seed)
        parser.add_argument("--notes", default="")
        parser.add_argument("--out", type=Path, help="Folder to copy train.jsonl, eval.jsonl and README.md into.")
        parser.add_argument("--by", default="", help="Name of the admin who freezes it (default: the first admin).")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["out"]:
            _make_folder(options["out"])  # before anything is frozen in vain
        freeze = partial(
            freeze_dataset,
            project=find_project(options["project"]),
            rule=_build_rule(options),
            notes=options["notes"][:300],
            by=find_admin(options["by"]),
        )
        try:
            version = do_work_here(freeze, build_dataset_version)
        except RuleError as error:
            raise CommandError(f"--{error.field.replace('_', '-')}: {error.reason}") from error
        except DatasetError as error:
            raise CommandError(str(error)) from error
        if version.state != WorkState.FINISHED:
            raise CommandError(version.cause)
        self._print_counts(version)
        if options["out"]:
            self._copy_files(version, options["out"])

    def _print_counts(self, version: DatasetVersion) -> None:
        self.stdout.write(f"{version}: {version.train_rows} rows for training, {version.eval_rows} for evaluation.")
        for name in ("grades", "votes", "prompts", "labelers", "mean_margin", "mean_agreement"):
            self.stdout.write(f"  {name}: {version.counts[name]}")
        for reason, count in version.left_out.items():
            self.stdout.write(f"  left out, {LEFT_OUT_LABELS[reason]}: {count}")
        self.stdout.write(f"  {version.train_path}  sha256 {version.train_sha256}")
        self.stdout.write(f"  {version.eval_path}  sha256 {version.eval_sha256}")

    def _copy_files(self, version: DatasetVersion, out: Path) -> None:
        for source in (version.train_path, version.eval_path, version.folder / CARD_NAME):
            try:
                shutil.copyfile(source, out / source.name)
            except OSError as error:
                raise CommandError(f"{source.name} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"  copied to {out}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--out: {path} cannot be made a folder: {error.strerror}.") from error


def _build_rule(options: dict[str, Any]) -> DatasetRule:
    names: list[str] = options["leave_out_labelers"]
    labelers = dict(User.objects.filter(username__in=names).values_list("username", "pk"))
    if unknown := sorted(set(names) - set(labelers)):
        raise CommandError(f"--leave-out-labelers: there is no account named {unknown[0]}.")
    return DatasetRule(
        aggregation=options["aggregation"],
        min_votes=options["min_votes"],
        grades=tuple(grade for grade in STRENGTHS if grade in options["grades"]),
        count_surplus=not options["no_surplus"],
        left_out_labelers=tuple(sorted(labelers.values())),
        eval_share=options["eval_share"],
        split_seed=options["split_seed"],
    )
