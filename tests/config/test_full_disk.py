"""A full disk is said in words, with what to do: on pages, in fragments and by the API; see also the worker's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.cache.backends.filebased import FileBasedCache
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Project, Prompt
from models_registry.disk import is_disk_full
from tests import scenery

LONG = "A sentence that fills the disk. " * 2000
FULL = "The server&#x27;s disk is full, so nothing can be saved now."

only_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="tells SQLite how large it may grow")


@pytest.fixture
def full_database(transactional_db: None) -> Iterator[None]:
    """SQLite may take no further page, which it reports as it reports a full disk. Pages that tests before have freed
    are filled, but for a few on which the test's own fixtures find room."""
    with connection.cursor() as cursor:
        usual, free, size = (
            cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("max_page_count", "freelist_count", "page_size")
        )
        cursor.execute("CREATE TABLE filler (bytes BLOB)")
        cursor.execute("INSERT INTO filler VALUES (zeroblob(%s))", [max(0, free - 5) * (size - 4)])
        cursor.execute("PRAGMA max_page_count = 1")  # clamped to what there is
        yield
        cursor.execute(f"PRAGMA max_page_count = {usual}")
        cursor.execute("DROP TABLE filler")


@pytest.fixture
def full_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel refuses each write of the files that count logins."""

    def write(*_args: object, **_kwargs: object) -> None:
        Path("/dev/full").write_text("x", encoding="utf-8")

    monkeypatch.setattr(FileBasedCache, "set", write)


@only_sqlite
def test_a_page_says_what_is_full_and_what_to_do(full_database: None, project: Project, admin: User) -> None:
    answer = edit_guidelines(project, admin)
    page = answer.content.decode()
    assert answer.status_code == 503 and int(answer["Retry-After"]) > 0
    assert FULL in page and "must free some space" in page and f'href="{reverse("home")}"' in page
    project.refresh_from_db()
    assert project.guidelines != LONG


@only_sqlite
def test_a_fragment_is_one_line_for_the_script_to_show(full_database: None, project: Project, admin: User) -> None:
    answer = edit_guidelines(project, admin, **{"hx-request": "true"})
    assert (answer.status_code, answer["Content-Type"]) == (503, "text/plain; charset=utf-8")
    assert answer.content.decode().startswith("The server's disk is full")
    assert "<" not in answer.content.decode()


@only_sqlite
def test_the_api_says_it_as_json(
    full_database: None, project: Project, admin: User, api: Callable[[User], APIClient]
) -> None:
    model = scenery.make_model(admin)
    client = api(admin)
    client.raise_request_exception = False
    body = {"new_prompts": [LONG], "model_a": model.pk, "model_b": model.pk}
    answer = client.post(reverse("api_sampling_list", args=[project.slug]), body)
    assert answer.status_code == 503 and answer["Retry-After"]
    assert answer.json()["detail"].startswith("The server's disk is full")
    assert not Prompt.objects.exists()


def test_a_login_that_cannot_be_counted_says_so(full_cache: None, labeler: User) -> None:
    """In words of the page and of the API; where tries cannot be counted, nobody is let in."""
    client = Client(raise_request_exception=False)
    page = client.post(reverse("account_login"), {"login": "labeler", "password": "wrong"})
    assert page.status_code == 503 and FULL in page.content.decode()
    body = {"username": "labeler", "password": "wrong"}
    answer = client.post(reverse("api_login"), body, content_type="application/json")
    assert answer.status_code == 503 and "disk is full" in answer.json()["detail"]


def test_other_failures_stay_what_they_are(monkeypatch: pytest.MonkeyPatch, labeler: User, client: Client) -> None:
    def fail(*_args: object) -> None:
        raise OperationalError("something else")

    monkeypatch.setattr("config.views.describe_house", fail)
    client.raise_request_exception = False
    client.force_login(labeler)
    answer = client.get(reverse("home"))
    assert answer.status_code == 500 and "Something broke on our side" in answer.content.decode()


def test_the_error_below_the_error_counts() -> None:
    """Django's own says no more than a text; PostgreSQL's code stands in the one that it was raised from."""
    error = OperationalError("could not extend file")
    assert not is_disk_full(error) and not is_disk_full(None)
    error.__cause__ = psycopg.errors.DiskFull("could not extend file")
    assert is_disk_full(error)


def edit_guidelines(project: Project, admin: User, **headers: str) -> Any:
    client = Client(raise_request_exception=False)
    client.force_login(admin)
    form = {"name": project.name, "question": project.question, "guidelines": LONG, "votes_per_comparison": "1"}
    return client.post(reverse("project_edit", args=[project.slug]), form, headers=headers)
