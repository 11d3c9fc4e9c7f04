"""The graph of how things came of each other, walked both ways from any of them.

    votes (a project's imports, sampling jobs) -> dataset version -> run -> model -> sampling job -> dataset version ...

One walk goes back to causes, one forward to effects, generation by generation; each generation costs the same few
queries, however much there is, and what is too much to read is folded into a count. Whoever does not lead a project
sees of it that there is something, and neither name nor number; the walk ends there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotate.models import (
    Comparison,
    DatasetVersion,
    DatasetVersionJudgment,
    Import,
    Judgment,
    Membership,
    Role,
    SamplingJob,
)
from models_registry.models import ModelVersion
from models_registry.permissions import Person, is_admin
from training.models import Run

GENERATIONS = 16
"""Steps of a walk in one direction; four make a turn of the loop."""
SHOWN = 8
"""Things of one kind in one generation; the newest of them, the rest is counted."""

MODEL, RUN, DATASET, SAMPLING, IMPORT, COMPARISON = "model", "run", "dataset", "sampling", "import", "comparison"
Key = tuple[str, int]


@dataclass(frozen=True)
class Node:
    """One thing. ``links`` are the things of the generation before it (seen from the start) that it hangs on.

    A hidden one has no name and no address. ``detail`` counts votes, answers or pairs.
    """

    kind: str
    number: int
    name: str
    detail: str = ""
    url: str = ""
    is_archived: bool = False
    is_hidden: bool = False
    links: tuple[Key, ...] = ()

    @property
    def key(self) -> Key:
        return self.kind, self.number

    @property
    def mark(self) -> str:
        """Its address within the page."""
        return f"{self.kind}-{self.number}"


@dataclass(frozen=True)
class Generation:
    """What is equally far from the start; ``folded`` names what was too much, by kind."""

    nodes: list[Node]
    folded: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lineage:
    """``back``: nearest causes first; ``forward``: nearest effects first. ``is_cut`` where a walk would go on."""

    start: Node
    back: list[Generation]
    forward: list[Generation]
    is_cut: bool


Edges = dict[Key, dict[Key, str]]
"""From a thing of one generation to those of the next, each with what is to be said of it."""


def get_lineage(kind: str, number: int, *, reader: Person) -> Lineage | None:
    """The graph around one thing; None where there is no such thing. May the reader see it is asked before."""
    view = _View(reader)
    start = view.read([(kind, number)]).get((kind, number))
    if start is None:
        return None
    back, cut_back = _walk(start.key, _BACK, view)
    forward, cut_forward = _walk(start.key, _FORWARD, view)
    return Lineage(start, back, forward, cut_back or cut_forward)


def _walk(start: Key, steps: Mapping[str, Iterable[Step]], view: _View) -> tuple[list[Generation], bool]:
    seen, front = {start}, [start]
    generations: list[Generation] = []
    for _number in range(GENERATIONS):
        edges = _follow(front, steps)
        links: defaultdict[Key, list[Key]] = defaultdict(list)
        details: dict[Key, str] = {}
        for source, targets in edges.items():
            for target, words in targets.items():
                if target not in seen:
                    links[target].append(source)
                    details[target] = words
        if not links:
            return generations, False
        shown, folded = _fold(links)
        nodes = view.read(shown)
        listed = [
            replace(
                node, links=tuple(links[node.key]), detail=node.detail or ("" if node.is_hidden else details[node.key])
            )
            for node in nodes.values()
        ]
        generations.append(Generation(listed, folded))
        seen.update(links)
        front = [node.key for node in listed if not node.is_hidden]
    return generations, bool(front)


def _fold(links: Mapping[Key, Any]) -> tuple[list[Key], list[str]]:
    by_kind: defaultdict[str, list[Key]] = defaultdict(list)
    for key in sorted(links, key=lambda key: -key[1]):
        by_kind[key[0]].append(key)
    shown = [key for keys in by_kind.values() for key in keys[:SHOWN]]
    return shown, [count_more(kind, len(keys) - SHOWN) for kind, keys in by_kind.items() if len(keys) > SHOWN]


def count_more(kind: str, number: int) -> str:
    words = {
        MODEL: ngettext("%(number)d more model", "%(number)d more models", number),
        RUN: ngettext("%(number)d more run", "%(number)d more runs", number),
        DATASET: ngettext("%(number)d more dataset version", "%(number)d more dataset versions", number),
        SAMPLING: ngettext("%(number)d more sampling job", "%(number)d more sampling jobs", number),
        IMPORT: ngettext("%(number)d more import", "%(number)d more imports", number),
    }
    return words[kind] % {"number": number}


# -- Edges ------------------------------------------------------------------------------------------------------------

Step = Callable[[list[int]], Iterable[tuple[int, Key, str]]]
"""From the numbers of one kind: (number, what hangs on it, words)."""


def _follow(front: list[Key], steps: Mapping[str, Iterable[Step]]) -> Edges:
    edges: defaultdict[Key, dict[Key, str]] = defaultdict(dict)
    for kind in dict.fromkeys(kind for kind, _number in front):
        numbers = [number for each, number in front if each == kind]
        for step in steps.get(kind, ()):
            for number, target, words in step(numbers):
                edges[kind, number][target] = words
    return edges


def _model_to_its_run(models: list[int]) -> Iterable[tuple[int, Key, str]]:
    for number, run in Run.objects.filter(model__in=models).values_list("model_id", "pk"):
        yield number or 0, (RUN, run), ""


def _run_to_its_parts(runs: list[int]) -> Iterable[tuple[int, Key, str]]:
    for number, base, version in Run.objects.filter(pk__in=runs).values_list(
        "pk", "base_model_id", "dataset_version_id"
    ):
        yield number, (MODEL, base), _("base model")
        yield number, (DATASET, version), ""


def _dataset_to_sources(versions: list[int]) -> Iterable[tuple[int, Key, str]]:
    """Which jobs and files brought the pairs that its votes are about."""
    votes = DatasetVersionJudgment.objects.filter(dataset_version__in=versions).order_by()
    job, file = "judgment__comparison__sampling_job", "judgment__comparison__source_import"
    for row in votes.values("dataset_version", job, file).annotate(votes=Count("pk")):
        words = count_votes(row["votes"])
        if row[job]:
            yield row["dataset_version"], (SAMPLING, row[job]), words
        elif row[file]:
            yield row["dataset_version"], (IMPORT, row[file]), words


def _sampling_to_models(jobs: list[int]) -> Iterable[tuple[int, Key, str]]:
    rows = SamplingJob.objects.filter(pk__in=jobs).values_list("pk", "model_a_id", "model_b_id", "reward_model_id")
    for number, first, second, judge in rows:
        if judge:
            yield number, (MODEL, judge), _("scored the answers")
        for model in {first, second}:
            yield number, (MODEL, model), _("answered")


def _model_to_uses(models: list[int]) -> Iterable[tuple[int, Key, str]]:
    for number, run in Run.objects.filter(base_model__in=models).values_list("base_model_id", "pk"):
        yield number, (RUN, run), _("trained from it")
    for field_name, words in (
        ("reward_model_id", _("it scored the answers")),
        ("model_b_id", _("it answered")),
        ("model_a_id", _("it answered")),
    ):
        jobs = SamplingJob.objects.filter(**{f"{field_name}__in": models}).order_by()
        for number, job in jobs.values_list(field_name, "pk"):
            yield number or 0, (SAMPLING, job), words


def _run_to_its_model(runs: list[int]) -> Iterable[tuple[int, Key, str]]:
    for number, model in Run.objects.filter(pk__in=runs, model__isnull=False).values_list("pk", "model_id"):
        yield number, (MODEL, model or 0), ""


def _dataset_to_runs(versions: list[int]) -> Iterable[tuple[int, Key, str]]:
    for number, run in Run.objects.filter(dataset_version__in=versions).values_list("dataset_version_id", "pk"):
        yield number, (RUN, run), ""


def _source_to_datasets(field_name: str) -> Step:
    def step(numbers: list[int]) -> Iterable[tuple[int, Key, str]]:
        source = f"judgment__comparison__{field_name}"
        votes = DatasetVersionJudgment.objects.filter(**{f"{source}__in": numbers}).order_by()
        for row in votes.values(source, "dataset_version").annotate(votes=Count("pk")):
            yield row[source], (DATASET, row["dataset_version"]), count_votes(row["votes"])

    return step


def _comparison_to_sources(pairs: list[int]) -> Iterable[tuple[int, Key, str]]:
    fields = ("pk", "sampling_job_id", "source_import_id", "response_a__model_id", "response_b__model_id")
    for number, job, file, first, second in Comparison.objects.filter(pk__in=pairs).values_list(*fields):
        if job:
            yield number, (SAMPLING, job), ""
        elif file:
            yield number, (IMPORT, file), ""
        else:
            yield from ((number, (MODEL, model), _("answered")) for model in {first, second} if model)


def _comparison_to_datasets(pairs: list[int]) -> Iterable[tuple[int, Key, str]]:
    votes = DatasetVersionJudgment.objects.filter(judgment__comparison__in=pairs).order_by()
    for row in votes.values("judgment__comparison", "dataset_version").annotate(votes=Count("pk")):
        yield row["judgment__comparison"], (DATASET, row["dataset_version"]), count_votes(row["votes"])


def count_votes(number: int) -> str:
    return ngettext("%(number)d vote", "%(number)d votes", number) % {"number": number}


_BACK: dict[str, tuple[Step, ...]] = {
    MODEL: (_model_to_its_run,),
    RUN: (_run_to_its_parts,),
    DATASET: (_dataset_to_sources,),
    SAMPLING: (_sampling_to_models,),
    COMPARISON: (_comparison_to_sources,),
}
_FORWARD: dict[str, tuple[Step, ...]] = {
    MODEL: (_model_to_uses,),
    RUN: (_run_to_its_model,),
    DATASET: (_dataset_to_runs,),
    SAMPLING: (_source_to_datasets("sampling_job"),),
    IMPORT: (_source_to_datasets("source_import"),),
    COMPARISON: (_comparison_to_datasets,),
}


# -- What a reader may see of it --------------------------------------------------------------------------------------


class _View:
    """Rows as nodes, as this reader may see them: an admin everything, a lead what belongs to their projects."""

    def __init__(self, reader: Person) -> None:
        self._sees_all = is_admin(reader)
        led = Membership.objects.filter(user__pk=reader.pk or 0, role=Role.LEAD) if not self._sees_all else None
        self._led = set(led.values_list("project", flat=True)) if led is not None else set()

    def read(self, keys: Iterable[Key]) -> dict[Key, Node]:
        """In the order of ``keys``; what is not there is left out."""
        wanted: defaultdict[str, list[int]] = defaultdict(list)
        for kind, number in keys:
            wanted[kind].append(number)
        found: dict[Key, Node] = {}
        for kind, numbers in wanted.items():
            found |= {node.key: node for node in _READERS[kind](self, numbers)}
        return found

    def models(self, numbers: list[int]) -> Iterable[Node]:
        rows = ModelVersion.objects.filter(pk__in=numbers).only("name", "kind", "archived_at").order_by("-pk")
        for row in rows:
            yield self._show(MODEL, row, self._sees_all, row.name, "model_detail")

    def runs(self, numbers: list[int]) -> Iterable[Node]:
        for row in Run.objects.filter(pk__in=numbers).only("name", "archived_at").order_by("-pk"):
            yield self._show(RUN, row, self._sees_all, row.name, "run_detail")

    def datasets(self, numbers: list[int]) -> Iterable[Node]:
        rows = DatasetVersion.objects.filter(pk__in=numbers).select_related("project").order_by("-pk")
        for row in rows.only("number", "archived_at", "project__name"):
            yield self._show(DATASET, row, self._leads(row.project_id), str(row), "dataset_detail")

    def sampling_jobs(self, numbers: list[int]) -> Iterable[Node]:
        rows = SamplingJob.objects.filter(pk__in=numbers).select_related("project").order_by("-pk")
        for row in rows.only("project__name"):
            name = _("sampling %(number)d, %(project)s") % {"number": row.pk, "project": row.project.name}
            page = "sampling_detail" if self._sees_all else ""
            yield self._show(SAMPLING, row, self._leads(row.project_id), name, page)

    def imports(self, numbers: list[int]) -> Iterable[Node]:
        rows = Import.objects.filter(pk__in=numbers).select_related("project").order_by("-pk")
        for row in rows.only("file_name", "project__name"):
            name = f"{row.file_name}, {row.project.name}"
            yield self._show(IMPORT, row, self._leads(row.project_id), name, "import_detail")

    def comparisons(self, numbers: list[int]) -> Iterable[Node]:
        said = Count("judgments", filter=Q(judgments__action=Judgment.Action.VOTE, judgments__superseded_by=None))
        for row in Comparison.objects.filter(pk__in=numbers).annotate(said=said):
            name = _("comparison %(number)d") % {"number": row.pk}
            node = self._show(COMPARISON, row, self._leads(row.project_id), name, "comparison_detail")
            yield replace(node, detail="" if node.is_hidden else count_votes(row.said))

    def _leads(self, project: int) -> bool:
        return self._sees_all or project in self._led

    def _show(self, kind: str, row: Any, may_see: bool, name: str, page: str) -> Node:
        if not may_see:
            return Node(kind, row.pk, NAMES[kind](), is_hidden=True)
        url = reverse(page, args=[row.pk]) if page else ""
        return Node(kind, row.pk, name, url=url, is_archived=bool(getattr(row, "archived_at", None)))


NAMES: dict[str, Callable[[], str]] = {
    MODEL: lambda: _("Model"),
    RUN: lambda: _("Run"),
    DATASET: lambda: _("Dataset version"),
    SAMPLING: lambda: _("Sampling"),
    IMPORT: lambda: _("Import"),
    COMPARISON: lambda: _("Comparison"),
}
_READERS: dict[str, Callable[[_View, list[int]], Iterable[Node]]] = {
    MODEL: _View.models,
    RUN: _View.runs,
    DATASET: _View.datasets,
    SAMPLING: _View.sampling_jobs,
    IMPORT: _View.imports,
    COMPARISON: _View.comparisons,
}
