"""JSON lines: each names its request or its work, none what people and models wrote."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError
from django.test import Client
from rest_framework.test import APIClient

from annotate.models import Comparison, Judgment, Project
from annotate.services.assignments import next_comparison
from config.logs import build_logging
from models_registry import leases, tasks
from models_registry.leases import HANDLERS, Handler
from models_registry.log_lines import JsonLine, PlainLine, bind_log_fields
from models_registry.models import ModelImport, ModelSource, ModelVersion
from tests.e2e.house import find_free_port


@pytest.fixture
def lines() -> Iterator[Any]:
    """lines(): what was logged so far, as LOG_FORMAT=json writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    root, own = logging.getLogger(), logging.getLogger("config.request_log")
    before = root.level, own.level
    root.addHandler(handler)
    root.setLevel("INFO")
    own.setLevel("INFO")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(before[0])
    own.setLevel(before[1])


FAREWELL = "worker: Warm shutdown (MainProcess)"
"""Celery prints it from its signal handler, past all logging."""


def find_request(lines: list[dict[str, Any]]) -> dict[str, Any]:
    (line,) = [line for line in lines if line["logger"] == "config.request_log"]
    return line


def test_a_request_has_one_line_with_all_that_matters(
    lines: Any, client: Client, labeler: User, project: Project
) -> None:
    client.force_login(labeler)
    answer = client.get(f"/projects/{project.slug}/?q=private+words", headers={"X-Request-ID": "proxy-0123456789"})
    line = find_request(lines())
    assert line.pop("duration_ms") > 0 and line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "config.request_log",
        "message": "GET project_detail 200",
        "request": "proxy-0123456789",
        "method": "GET",
        "route": "project_detail",
        "status": 200,
        "user": labeler.pk,
    }
    assert answer["X-Request-ID"] == "proxy-0123456789"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given", ["", "short", "x" * 65, "no spaces here", 'quote"-12345', "schlüssel-123", "-leading-123"]
)
def test_an_odd_number_of_a_request_is_not_taken_over(given: str, lines: Any, client: Client) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": given})
    number = answer["X-Request-ID"]
    assert number != given and len(number) == 32 and find_request(lines())["request"] == number


@pytest.mark.django_db
def test_every_request_has_a_number_of_its_own(client: Client) -> None:
    assert client.get("/healthz")["X-Request-ID"] != client.get("/healthz")["X-Request-ID"]


def test_callers_of_the_api_and_strangers(lines: Any, api: Any, client: Client, labeler: User) -> None:
    caller: APIClient = api(labeler)
    caller.get("/api/v1/projects/")
    assert find_request(lines())["user"] == labeler.pk
    client.get("/accounts/login/")
    assert lines()[-1]["user"] is None


def test_what_is_logged_during_a_request_names_it(lines: Any, client: Client, admin: User) -> None:
    client.force_login(admin)
    client.get("/runs/999/", headers={"X-Request-ID": "one-of-a-kind"})
    assert {line["request"] for line in lines()} == {"one-of-a-kind"}
    assert {line["logger"] for line in lines()} == {"django.request", "config.request_log"}  # the 404 of Django's own


def test_no_words_of_people_or_models(
    lines: Any, client: Client, labeler: User, comparisons: list[Comparison], project: Project
) -> None:
    Project.objects.update(rationale="optional")
    client.force_login(labeler)
    place = next_comparison(project=project, labeler=labeler)
    assert place is not None
    client.get(f"/projects/{project.slug}/compare/")
    client.post(
        f"/projects/{project.slug}/compare/",
        {"token": place.token, "choice": "left_slightly", "rationale": "my private reasons"},
    )
    assert Judgment.objects.count() == 1
    written = json.dumps(lines())
    assert "compare" in written
    for word in ("private reasons", "First answer", "Second answer", "Question 1", str(place.token), "labeler's"):
        assert word not in written


@pytest.mark.parametrize("form", [JsonLine(), PlainLine()])
def test_the_row_that_postgres_refused_stays_out(form: logging.Formatter) -> None:
    text = "null value violates not-null\nDETAIL:  Failing row contains (1, private\nwords).\nCONTEXT:  COPY t"
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise IntegrityError(text) from error
    except IntegrityError:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "it failed", None, sys.exc_info())
    written = form.format(record)
    assert "private" not in written and "words)" not in written
    assert written.count("left out of the log") == 2 and "null value" in written and "CONTEXT" in written


def test_one_line_whatever_is_logged() -> None:
    record = logging.LogRecord("a", logging.INFO, "f", 1, "two\nlines of %s", ("Grüße",), None)
    written = JsonLine().format(record)
    assert "\n" not in written and json.loads(written)["message"] == "two\nlines of Grüße" and "Grüße" in written


def test_threads_that_copy_the_context_carry_its_fields() -> None:
    seen: list[str] = []

    def log_something() -> None:
        seen.append(JsonLine().format(logging.LogRecord("a", logging.INFO, "f", 1, "m", None, None)))

    with bind_log_fields(work=1, epoch=2):
        with bind_log_fields(epoch=3):
            thread = threading.Thread(target=copy_context().run, args=(log_something,))
            thread.start()
            thread.join()
        log_something()
    log_something()
    found = [(line.get("work"), line.get("epoch")) for line in map(json.loads, seen)]
    assert found == [(1, 3), (1, 2), (None, None)]


def test_every_line_of_work_names_it(
    lines: Any, admin: User, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path

    def run(_work: Any, _still_mine: Any) -> None:
        logging.getLogger("annotate.services.anything").warning("in the middle")

    handlers = HANDLERS | {ModelImport: Handler(run, is_program=False)}
    monkeypatch.setattr(leases, "HANDLERS", handlers)
    monkeypatch.setattr(tasks, "HANDLERS", handlers)
    model = ModelVersion.objects.create(name="m", source=ModelSource.DEMO, created_by=admin)
    work = ModelImport.objects.create(model=model, created_by=admin)
    assert tasks.run_next("gpu")
    found = [(line["message"], line["kind"], line["work"], line["epoch"]) for line in lines()]
    assert ("in the middle", "modelimport", work.pk, 1) in found and len(found) >= 3
    assert {row[1:] for row in found} == {("modelimport", work.pk, 1)}


def test_the_thread_that_renews_a_lease_names_its_work(
    lines: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_work: Any) -> bool:
        failed.set()
        raise OperationalError("away")

    failed = threading.Event()
    settings.HEARTBEAT_SECONDS = 0.01
    monkeypatch.setattr(leases, "extend", fail)
    with bind_log_fields(work=9, epoch=2), leases.keep_alive(ModelImport(pk=9)):
        assert failed.wait(30)
    assert {(line["work"], line["epoch"]) for line in lines()} == {(9, 2)}


def test_text_shows_no_requests_that_went_well() -> None:
    assert build_logging("text", "INFO")["loggers"]["config.request_log"]["level"] == "WARNING"
    assert build_logging("json", "INFO")["loggers"]["config.request_log"]["level"] == "INFO"


def test_web_server_and_worker_write_nothing_else(tmp_path: Path) -> None:
    """The shipped commands, from their first line to their last."""
    port = find_free_port()
    environment = os.environ | {"DATA_DIR": str(tmp_path), "PORT": str(port), "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
    environment |= {"DATABASE_URL": f"sqlite:///{tmp_path / 'empty.sqlite3'}", "CELERY_BROKER_URL": "files://"}
    web = [sys.executable, "-m", "gunicorn", "-c", "python:config.gunicorn", "config.wsgi"]
    worker = [sys.executable, "-m", "celery", "-A", "config", "-q", "worker", "-Q", "short", "-c", "1", "-l", "INFO"]
    found = {}
    for name, argv in {"web": web, "worker": worker}.items():
        with (tmp_path / name).open("wb") as out:
            quiet = [argv[0], "-W", "ignore", *argv[1:]]  # celery warns those who run it as root
            process = subprocess.Popen(quiet, env=environment, cwd=django_settings.BASE_DIR, stdout=out, stderr=out)
        try:
            wait_for_line(tmp_path / name, "Listening at" if name == "web" else " ready.")
            if name == "web":
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
                    number = answer.headers["X-Request-ID"]
        finally:
            process.terminate()
            process.wait(60)
        written = (tmp_path / name).read_text().replace(FAREWELL, "")
        found[name] = [json.loads(line) for line in written.splitlines() if line]
    (line,) = [line for line in found["web"] if line["logger"] == "config.request_log"]
    assert (line["request"], line["route"]) == (number, "healthz")
    assert all({"time", "level", "logger", "message"} <= set(line) for line in found["web"] + found["worker"])


def wait_for_line(path: Path, words: str) -> None:
    deadline = time.monotonic() + 120
    while words not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()[-3000:]
        time.sleep(0.1)


def test_a_page_that_is_not_for_its_asker_is_one_line_without_a_traceback() -> None:
    refused = logging.makeLogRecord({"msg": "Forbidden", "exc_info": (ValueError, ValueError("x"), None)})
    broken = logging.makeLogRecord(dict(refused.__dict__))
    refused.status_code, broken.status_code = 403, 500
    (check,) = build_logging("text", "INFO")["handlers"]["console"]["filters"]
    keeps = build_logging("text", "INFO")["filters"][check]["callback"]
    assert keeps(refused) and keeps(broken)
    assert refused.exc_info is None and broken.exc_info
