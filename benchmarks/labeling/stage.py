"""What a benchmark of labeling finds in its database: a project, its comparisons, votes of old, and signed-in labelers.

A million comparisons are four million rows. They go in as rows, not as objects: COPY on PostgreSQL, executemany on
SQLite. Every column has the model's default unless it is named here, so that a new field needs no change here.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.utils import timezone
from knox.models import get_token_model

from annotate.models import (
    Assignment,
    Comparison,
    GuidelineReading,
    Judgment,
    Membership,
    Project,
    Prompt,
    Response,
)
from annotate.services.guidelines import publish_guidelines

VOTES = 2
"""Votes that each comparison needs: two, so that places can be given away too often."""
JUDGED_BEFORE = 0.2
"""The share of the comparisons that have all their votes already."""
_SEED = 2026
_TEXTS = 3000


@dataclass(frozen=True)
class Person:
    """A labeler, signed in for the API and for the pages."""

    id: int
    token: str
    session: str


def fill_project(comparisons: int, labelers: int, judged_share: float = JUDGED_BEFORE) -> tuple[Project, list[Person]]:
    """A project with so many comparisons, the first of them judged, and its labelers."""
    judged = int(comparisons * judged_share)
    admin = User.objects.create_user("bench-lead", is_staff=True)
    project = Project.objects.create(
        name="Load",
        slug="load",
        guidelines="Prefer the **better** answer.",
        votes_per_comparison=VOTES,
        created_by=admin,
    )
    guidelines = publish_guidelines(project=project, by=admin)
    users = User.objects.bulk_create(
        User(username=f"labeler-{number}", password=make_password(None)) for number in range(1, labelers + 1)
    )
    Membership.objects.bulk_create(Membership(project=project, user=user) for user in users)
    if guidelines:
        GuidelineReading.objects.bulk_create(GuidelineReading(version=guidelines, labeler=user) for user in users)
    with transaction.atomic():
        _fill_content(project, comparisons, judged)
        _fill_votes(project, [user.pk for user in users], judged)
        with connection.cursor() as cursor:
            tables = [Prompt, Response, Comparison, Assignment, Judgment]
            for statement in connection.ops.sequence_reset_sql(no_style(), tables):
                cursor.execute(statement)
    if connection.vendor == "postgresql":  # what autovacuum does within minutes of such a load
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    return project, [_sign_in(user) for user in users]


def _fill_content(project: Project, comparisons: int, judged: int) -> None:
    draw = random.Random(_SEED)
    questions = [_write_text(draw, 8, 30) for _number in range(_TEXTS)]
    answers = [_write_text(draw, 15, 90) for _number in range(_TEXTS)]
    numbers = range(1, comparisons + 1)
    _insert(
        Prompt(project=project, messages=[]),
        (
            {
                "id": n,
                "messages": json.dumps([{"role": "user", "content": f"{questions[n % _TEXTS]} ({n})"}]),
                "digest": f"{n:064x}",
            }
            for n in numbers
        ),
    )
    _insert(
        Response(prompt_id=1),
        (
            {"id": 2 * n - 1 + side, "prompt_id": n, "text": f"{answers[(n * (7 + 4 * side)) % _TEXTS]} {side}{n}"}
            for n in numbers
            for side in (0, 1)
        ),
    )
    _insert(
        Comparison(project=project, prompt_id=1, response_a_id=1, response_b_id=2, need=VOTES),
        (
            {
                "id": n,
                "prompt_id": n,
                "response_a_id": 2 * n - 1,
                "response_b_id": 2 * n,
                "taken": VOTES if n <= judged else 0,
            }
            for n in numbers
        ),
    )


def _fill_votes(project: Project, labelers: list[int], judged: int) -> None:
    """Votes of old on the first ``judged`` comparisons, by labelers drawn for each; three of four for ``a``."""
    now = timezone.now()
    draw = random.Random(_SEED)
    given = {"project": project, "assignment_id": 1, "comparison_id": 1, "labeler_id": labelers[0], "seed": 1}
    said, handed_out = [], []
    dealt = [(pair, who) for pair in range(1, judged + 1) for who in draw.sample(labelers, VOTES)]
    for number, (pair, who) in enumerate(dealt):
        left, winner = draw.choice("ab"), draw.choice("aaab")
        common = {
            "id": number + 1,
            "comparison_id": pair,
            "labeler_id": who,
            "token": uuid.UUID(int=number + 1, version=4).hex,
            "left_response": left,
        }
        side = "left" if left == winner else "right"
        handed_out.append(common)
        said.append(common | {"assignment_id": number + 1, "side": side, "winner": winner})
    _insert(
        Assignment(**_without(given, "assignment_id"), leased_at=now, expires_at=now, state=Assignment.State.DONE),
        handed_out,
    )
    vote = {"action": Judgment.Action.VOTE, "grade": "slightly", "shown_at": now, "seconds": 12.0}
    _insert(Judgment(**given, **vote, token=uuid.uuid4()), said)


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _insert(example: models.Model, rows: Iterable[dict[str, Any]]) -> None:
    """Adds rows that are like ``example`` but for the columns they name."""
    fields = example._meta.concrete_fields
    common = [_prepare(field, example) for field in fields]
    places = {field.attname: place for place, field in enumerate(fields)}
    columns = ", ".join(connection.ops.quote_name(name) for name in places)
    table = connection.ops.quote_name(example._meta.db_table)

    def complete() -> Iterator[list[Any]]:
        for row in rows:
            values = common.copy()
            for column, value in row.items():
                values[places[column]] = value
            yield values

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for values in complete():
                    copy.write_row(values)
        else:
            marks = ", ".join("?" * len(places))
            connection.connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", complete())  # noqa: S608


def _prepare(field: models.Field[Any, Any], example: models.Model) -> Any:
    value = field.pre_save(example, add=True)
    return json.dumps(value) if isinstance(field, models.JSONField) else field.get_db_prep_save(value, connection)


def _write_text(draw: random.Random, least: int, most: int) -> str:
    """Words of Latin letters, in sentences; now and then a list, as models like to write."""
    words = ["".join(draw.choices("aeiourtnslmdp", k=draw.randint(2, 9))) for _word in range(draw.randint(least, most))]
    if draw.random() < 0.2:
        return "\n".join(f"- **{word}**: {' '.join(words[n : n + 6])}" for n, word in enumerate(words[::6]))
    return " ".join(words).capitalize() + "."


def _sign_in(user: User) -> Person:
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session.save()
    return Person(user.pk, get_token_model().objects.create(user)[1], str(session.session_key))
