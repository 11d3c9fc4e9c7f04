"""What Prometheus reads: by its own parser, with a secret of its own, and the same from every web process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import OperationalError
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import DjangoAssertNumQueries

from annotate.models import Comparison, Import, Judgment, Project
from models_registry.leases import list_work_models
from models_registry.models import Worker
from models_registry.workers import beat
from tests.annotate.votes import vote
from tests.e2e.house import find_free_port

TOKEN = "a secret for the tests alone"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families) and {family.type for family in families} <= {
        "counter",
        "gauge",
        "histogram",
    }
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@pytest.fixture
def scrape(settings: Any, client: Client) -> Any:
    """scrape(): the samples, by name without ``plumbline_`` and values of labels."""
    settings.METRICS_TOKEN = TOKEN

    def scrape() -> dict[tuple[str, ...], float]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; version=1.0.0; charset=utf-8")
        samples = parse(answer.content.decode())
        return {
            (name.removeprefix("plumbline_"), *(value for _label, value in labels)): value
            for (name, labels), value in samples.items()
        }

    return scrape


@pytest.mark.django_db
def test_only_the_token_opens_it(client: Client, admin: User, settings: Any) -> None:
    client.force_login(admin)
    assert client.get("/metrics").status_code == 404  # none is set
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
    settings.METRICS_TOKEN = TOKEN
    wrong = ("", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, f"Token {TOKEN}", "Bearer ümlaut")
    for shown in wrong:
        answer = client.get("/metrics", headers={"Authorization": shown})
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer"), shown
        assert b"plumbline_" not in answer.content
    assert client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def make_import(project: Project, state: str, **fields: Any) -> Import:
    by = project.created_by
    return Import.objects.create(
        project=project, format="pairs", file_name="a.jsonl", created_by=by, state=state, **fields
    )


def test_work_that_waits_and_work_that_nobody_renews(scrape: Any, project: Project) -> None:
    make_import(project, "queued")
    old = make_import(project, "queued")
    Import.objects.filter(pk=old.pk).update(created_at=Now() - timedelta(minutes=10))
    make_import(project, "running", lease_until=Now() + timedelta(minutes=1))
    make_import(project, "running", lease_until=Now() - timedelta(minutes=1))
    make_import(project, "failed")
    found = scrape()
    states = {state: found["work", "import", state] for state in ("queued", "running", "finished", "failed")}
    assert states == {"queued": 2, "running": 2, "finished": 0, "failed": 1}
    assert found["work_expired_leases", "import"] == 1
    assert 599 < found["work_oldest_queued_seconds", "import"] < 660
    assert found["work_oldest_queued_seconds", "run"] == 0
    Import.objects.filter(pk=old.pk).update(started_at=Now() - timedelta(minutes=2))  # begun once and given back
    assert 119 < scrape()["work_oldest_queued_seconds", "import"] < 180


def test_workers_that_live_take_work_and_have_fallen_silent(scrape: Any, db: None) -> None:
    assert scrape()["workers", "gpu"] == 0
    beat("gpu-1@a", ["gpu"])
    beat("gpu-2@a", ["gpu"], is_leaving=True)
    beat("both@b", ["gpu", "short"])
    beat("dead@c", ["short"])
    Worker.objects.filter(name="dead@c").update(seen_at=Now() - timedelta(hours=1))
    found = scrape()
    assert (found["workers", "gpu"], found["workers", "short"]) == (2, 1)
    age = time.time() - found["worker_last_heartbeat_timestamp_seconds", "dead@c"]
    assert 3590 < age < 3700


def test_votes_disk_and_build(scrape: Any, comparisons: list[Comparison], labeler: User) -> None:
    vote(comparisons[0], labeler)
    newest = vote(comparisons[1], labeler)
    found = scrape()
    assert found["judgments",] == newest.pk >= Judgment.objects.count()
    assert found["data_dir_free_bytes",] > 1 << 20 and found["database_up",] == 1
    assert next(key for key in found if key[0] == "build_info")[3] == "0.1.0"


def test_requests_by_route_method_and_status(scrape: Any, project: Project, client: Client) -> None:
    def count() -> dict[tuple[str, ...], float]:
        return {key[1:]: value for key, value in scrape().items() if key[0] == "http_requests_total"}

    before = count()
    client.get(f"/projects/{project.slug}/")
    client.get("/nothing/here")
    client.get("/static/nothing.css")
    client.generic("MAKEUP", "/healthz")
    after = count()
    added = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    # Labels in the order of their names: method, route, status.
    expected = [
        ("GET", "project_detail", "302"),
        ("GET", "none", "404"),
        ("GET", "static", "404"),
        ("other", "healthz", "405"),
        ("GET", "metrics", "200"),
    ]
    assert added == dict.fromkeys(expected, 1.0)


def test_a_scrape_counts_no_votes_one_by_one(
    scrape: Any, comparisons: list[Comparison], labeler: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """A query for each kind of work, one for the workers, one for the votes: however much there is."""
    vote(comparisons[0], labeler)
    with django_assert_num_queries(len(list_work_models()) + 2) as seen:
        scrape()
    (votes,) = [query["sql"] for query in seen.captured_queries if "annotate_judgment" in query["sql"]]
    assert "MAX(" in votes and "COUNT(" not in votes


def test_a_database_that_is_away(scrape: Any, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("config.metrics.collect_work", fail)
    found = scrape()
    assert found["database_up",] == 0 and not any(key[0] == "work" for key in found)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The web server as it is shipped, with two processes, on an empty database; gives its address."""
    port = find_free_port()
    environment = os.environ | {"DATA_DIR": str(tmp_path), "PORT": str(port), "WEB_WORKERS": "2"}
    environment |= {"METRICS_TOKEN": TOKEN, "DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}"}
    argv = [sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "config.wsgi"]
    process = subprocess.Popen(argv, env=environment, cwd=django_settings.BASE_DIR)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def fetch(url: str) -> str:
    """On a connection of its own, so that either process may answer."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.read().decode())


def wait_until_up(server: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            fetch(f"{server}/metrics")
            return
        except OSError:
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.1)


def test_any_web_process_answers_for_all(server: str) -> None:
    wait_until_up(server)
    for _number in range(30):
        fetch(f"{server}/healthz")
    key = ("plumbline_http_requests_total", (("method", "GET"), ("route", "healthz"), ("status", "200")))
    for _process in range(6):
        samples = parse(fetch(f"{server}/metrics"))
        assert samples[key] == 30
    count = ("plumbline_http_request_duration_seconds_count", (("method", "GET"), ("route", "healthz")))
    assert samples[count] == 30
    assert samples["plumbline_database_up", ()] == 0  # nothing was migrated, and the rest is there all the same


def test_the_table_for_people_names_every_metric(scrape: Any, client: Client, db: None) -> None:
    beat("gpu@here", ["gpu"])
    client.get("/healthz")
    named = re.findall(
        r"^\| `plumbline_(\w+)`", (django_settings.BASE_DIR / "docs/operations.md").read_text(), re.MULTILINE
    )
    ends = ("_bucket", "_sum", "_count", "_created")
    shown = {key[0] for key in scrape()}
    assert {re.sub(f"({'|'.join(ends)})$", "", name) for name in shown} - {"http_requests"} == set(named)
