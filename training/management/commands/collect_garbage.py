"""Shows what nothing needs any more, and with --delete takes it away; see training/garbage.py."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat

from training import garbage, trash


class Command(BaseCommand):
    help = "Lists files that nothing needs; --delete moves them to the trash and empties what lay there long enough."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--delete", action="store_true", help="Act; without it nothing is changed.")
        parser.add_argument("--all", action="store_true", help="Also list what stays, and why.")
        parser.add_argument("--put-back", metavar="NAME", help="Put something back from the trash, by its name there.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["put_back"]:
                self._put_back(options["put_back"])
            elif options["delete"]:
                self._collect()
            else:
                self._show(with_rest=options["all"])
        except trash.TrashError as error:
            raise CommandError(str(error)) from error

    def _show(self, *, with_rest: bool) -> None:
        plan = garbage.make_plan()
        self._list("would go", plan.goes)
        if with_rest:
            self._list("stays", plan.stays)
        self.stdout.write(f"{len(plan.goes)} would go, {_size(plan.bytes)}; {_size(plan.kept_bytes)} stay.")
        for entry in trash.list_entries():
            self.stdout.write(f"in the trash: {entry.name}  {entry.place}  {_size(entry.bytes)}")
        if plan.goes:
            self.stdout.write("Nothing was changed. Add --delete to move it to the trash.")

    def _collect(self) -> None:
        done = garbage.collect(by=None)
        self._list("to the trash", done.taken)
        self._list("stays after all", done.spared)
        for entry in done.emptied:
            self.stdout.write(f"gone for good: {entry.place}  {_size(entry.bytes)}")
        taken, emptied = sum(thing.bytes for thing in done.taken), sum(entry.bytes for entry in done.emptied)
        self.stdout.write(f"{_size(taken)} went to the trash, {_size(emptied)} left it for good.")

    def _put_back(self, name: str) -> None:
        entry = trash.find_entry(name)
        if entry is None:
            raise CommandError(f"--put-back: there is nothing named {name!r} in the trash.")
        garbage.put_back(entry, by=None)
        self.stdout.write(f"{entry.place} lies where it lay.")

    def _list(self, words: str, things: list[garbage.Thing]) -> None:
        for thing in things:
            self.stdout.write(f"{words}: {thing.place}  {_size(thing.bytes)}  {thing.owner}. {thing.reason}")


def _size(size: int) -> str:
    return filesizeformat(size).replace("\xa0", " ")
