"""The page of a lineage: drawn for eyes, and told generation by generation for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from rest_framework.request import Request

from annotate.models import Project
from annotate.permissions import get_labeler, require_lead
from models_registry.permissions import Person, get_admin
from training.lineage import COMPARISON, DATASET, MODEL, NAMES, RUN, SAMPLING, Generation, Lineage, Node, get_lineage

STARTS = (MODEL, RUN, DATASET, SAMPLING, COMPARISON)
"""Where a walk may begin."""

COLUMN, ROW, BOX, TALL, ACROSS = 232, 92, 212, 52, 4
LETTERS = 23
"""What a box holds of a name. Its end tells most: numbers and methods stand there."""


@dataclass(frozen=True)
class Box:
    node: Node
    x: int
    y: int
    is_start: bool

    @property
    def kind(self) -> str:
        return NAMES[self.node.kind]()

    @property
    def short(self) -> str:
        name = self.node.name
        return name if len(name) <= LETTERS else f"{name[: LETTERS - 12]}…{name[-11:]}"


@dataclass(frozen=True)
class Drawing:
    """Causes above, effects below; ``lines`` are the paths of an SVG."""

    width: int
    height: int
    boxes: list[Box]
    lines: list[str]


@require_safe
@never_cache
def show_lineage(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    lineage = find_lineage(request, kind, pk)
    context = {
        "lineage": lineage,
        "drawing": draw(lineage),
        "back": tell(lineage.back),
        "forward": tell(lineage.forward),
    }
    return render(request, "training/lineage.html", context)


def find_lineage(request: HttpRequest | Request, kind: str, pk: int) -> Lineage:
    """Asks who the reader is before anything is looked up. Raises Http404, PermissionDenied."""
    if kind in (DATASET, COMPARISON):
        reader: Person = get_labeler(request)
        projects = Project.objects.filter(**{"dataset_versions" if kind == DATASET else "comparisons": pk})
        require_lead(reader, get_object_or_404(projects))
    else:
        reader = get_admin(request)
    found = get_lineage(kind, pk, reader=reader) if kind in STARTS else None
    if found is None:
        raise Http404
    return found


@dataclass(frozen=True)
class Told:
    """A thing in words: what it is, and the names of what it hangs on."""

    node: Node
    kind: str
    links: list[Node]


def tell(generations: Sequence[Generation]) -> list[tuple[list[Told], list[str]]]:
    """Each generation with its things and what was folded; where there is one link alone it goes without saying."""
    known = {node.key: node for generation in generations for node in generation.nodes}
    told = []
    for generation in generations:
        branches = len({link for node in generation.nodes for link in node.links}) > 1
        things = [
            Told(node, NAMES[node.kind](), [known[link] for link in node.links if link in known] if branches else [])
            for node in generation.nodes
        ]
        told.append((things, generation.folded))
    return told


def draw(lineage: Lineage) -> Drawing:
    """A row a generation, as many boxes in it as fit; what does not fit stands in the list below the drawing."""
    rows = [[*generation.nodes[:ACROSS]] for generation in reversed(lineage.back)]
    middle = len(rows)
    rows += [[lineage.start], *([*generation.nodes[:ACROSS]] for generation in lineage.forward)]
    width = COLUMN * max(len(row) for row in rows)
    places: dict[tuple[int, tuple[str, int]], Box] = {}
    for number, row in enumerate(rows):
        left = (width - COLUMN * len(row)) // 2 + (COLUMN - BOX) // 2
        for at, node in enumerate(row):
            places[number, node.key] = Box(node, left + at * COLUMN, number * ROW + 4, number == middle)
    lines = []
    for (number, _key), box in places.items():
        nearer = number + 1 if number < middle else number - 1
        for link in box.node.links:
            if end := places.get((nearer, link)):
                upper, lower = (box, end) if number < middle else (end, box)
                lines.append(_draw_line(upper, lower))
    return Drawing(width, len(rows) * ROW - ROW + TALL + 8, list(places.values()), lines)


def _draw_line(upper: Box, lower: Box) -> str:
    x, y, to_x, to_y = upper.x + BOX // 2, upper.y + TALL, lower.x + BOX // 2, lower.y
    half = (y + to_y) // 2
    return f"M{x} {y}C{x} {half} {to_x} {half} {to_x} {to_y - 5}m-4 -4l4 5l4 -5"
