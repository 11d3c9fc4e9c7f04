"""What the commands of this room share: who acts, and how an import's report is printed."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.core.management.base import CommandError, OutputWrapper

from annotate.importing.problems import NOTE_LABELS, PROBLEM_LABELS
from annotate.models import Import, Project
from models_registry.models import WorkState

_LINES_SHOWN = 20


def find_admin(username: str) -> User:
    """The active admin of this name; without a name the first one. Raises CommandError."""
    admins = User.objects.filter(is_staff=True, is_active=True).order_by("pk")
    admin = admins.filter(username=username).first() if username else admins.first()
    if admin is None:
        who = f"There is no active admin named {username}." if username else "There is no admin yet."
        raise CommandError(f"{who} Make one on the page People, or by `make run`.")
    return admin


def find_project(slug: str) -> Project:
    """Raises CommandError naming the projects there are."""
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        known = ", ".join(Project.objects.values_list("slug", flat=True)) or "none"
        raise CommandError(f"There is no project with the short name {slug!r}. There are: {known}.")
    return project


def print_report(out: OutputWrapper, work: Import) -> None:
    """The report of an import, as the report page shows it. A failed import's cause is left to the caller."""
    report = work.report
    if not report:
        return
    rows = "prompts" if work.format == Import.Format.PROMPTS else "comparisons"
    entered = report["imported"] if work.state == WorkState.FINISHED else 0
    out.write(f"{work.file_name}: {report['lines']} lines, {entered} {rows} entered, {report['bad_lines']} bad lines.")
    twice = report["duplicates"]
    if twice["in_file"] or twice["in_project"]:
        out.write(f"  left out as duplicates: {twice['in_file']} in the file, {twice['in_project']} in the project")
    if report["votes"]:
        out.write(f"  {report['votes']} votes of {report['workers']} workers")
    gold = report["gold"]
    if gold["made"] or gold["kept"] or gold["differs"]:
        stayed = f"{gold['kept']} there already, {gold['differs']} unlike the project's and left out"
        out.write(f"  gold: {gold['made']} made, {stayed}")
    for code, count in report["notes"].items():
        out.write(f"  {count} × {NOTE_LABELS[code]}")
    for name, count in report["ignored_fields"].items():
        out.write(f"  {count} × field {name!r} not kept")
    for code, count in report["problems"].items():
        out.write(f"  {count} × {PROBLEM_LABELS[code]}")
    for entry in report["listed"][:_LINES_SHOWN]:
        out.write(f"    line {entry['line']}: {entry['reason']}")
    if (more := report["bad_lines"] - _LINES_SHOWN) > 0:
        out.write(f"    … and {more} more")
