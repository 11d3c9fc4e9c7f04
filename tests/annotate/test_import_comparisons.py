"""Bringing a file in: the service, its crashes, the page and the API."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.importing import lines
from annotate.models import Comparison, Import, Project, Prompt, Response
from annotate.services.comparisons import create_comparisons
from annotate.services.imports import ImportRefused, perform_import, start_import
from annotate.services.work_here import do_work_here
from models_registry import leases
from models_registry.models import WorkState


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def make_lines(number: int, start: int = 0, **fields: Any) -> bytes:
    return b"".join(
        json.dumps({"prompt": f"Question {n}?", "chosen": f"Good {n}.", "rejected": f"Bad {n}."} | fields).encode()
        + b"\n"
        for n in range(start, start + number)
    )


def start(project: Project, content: bytes, format: str = "pairs", on_bad_line: str = "reject") -> Import:
    upload = SimpleUploadedFile("pairs.jsonl", content)
    return start_import(
        project=project, format=format, on_bad_line=on_bad_line, uploaded_file=upload, by=project.created_by
    )


def run(project: Project, content: bytes, **how: str) -> Import:
    return do_work_here(lambda: start(project, content, **how), perform_import)


def claim(work: Import) -> Import:
    claimed = leases.claim(work, "worker")
    assert claimed is not None
    return claimed


def is_empty(project: Project) -> bool:
    return not (project.comparisons.exists() or project.prompts.exists() or Response.objects.exists())


def test_the_upload_is_stored_first_and_digested(project: Project, data_dir: Path) -> None:
    content = make_lines(3)
    work = start(project, content)
    stored = data_dir / "imports" / str(work.pk) / "upload"
    assert stored.read_bytes() == content and stored.stat().st_mode & 0o777 == 0o600
    assert (work.sha256, work.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert work.state == WorkState.QUEUED and is_empty(project)


def test_good_lines_become_comparisons(project: Project) -> None:
    project.votes_per_comparison = 3
    project.save()
    work = run(project, make_lines(1200))
    assert work.state == WorkState.FINISHED, work.cause
    assert work.report["imported"] == work.report["new_prompts"] == project.comparisons.count() == 1200
    stored = project.comparisons.select_related("prompt", "response_a", "response_b").order_by("pk")
    for number, comparison in enumerate(stored):
        assert comparison.prompt.messages == [{"role": "user", "content": f"Question {number}?"}]
        texts = {"a": comparison.response_a.text, "b": comparison.response_b.text}
        assert texts.pop(comparison.recorded_winner) == f"Good {number}."
        assert list(texts.values()) == [f"Bad {number}."]
        assert comparison.need == 3 and comparison.source_import_id == work.pk
        assert comparison.response_a.origin == f"import {work.pk}, line {number + 1}"


def test_the_order_of_responses_does_not_tell_the_winner(project: Project) -> None:
    run(project, make_lines(400))
    won_by_first = project.comparisons.filter(recorded_winner="a").count()
    assert 150 < won_by_first < 250
    by_number = project.comparisons.order_by("pk").values_list("response_a_id", "response_b_id")
    assert all(first < second for first, second in by_number), "nor may the numbers of the responses"


def test_any_bad_line_keeps_the_whole_file_out(project: Project) -> None:
    work = run(project, make_lines(50) + b"not json\n" + make_lines(50, start=50))
    assert work.state == WorkState.FAILED and work.cause_code == "bad_lines"
    assert "1 of 101 lines is bad" in work.cause and "line 51" in work.cause
    assert work.report["problems"] == {"not_json": 1} and work.report["listed"][0]["line"] == 51
    assert is_empty(project)


def test_bad_lines_are_left_out_when_asked(project: Project) -> None:
    work = run(project, make_lines(50) + b"not json\n" + make_lines(50, start=50), on_bad_line="leave_out")
    assert work.state == WorkState.FINISHED and work.report["imported"] == project.comparisons.count() == 100
    assert work.report["bad_lines"] == 1


def test_the_same_file_twice_doubles_nothing(project: Project) -> None:
    run(project, make_lines(700))
    work = run(project, make_lines(710))
    assert work.state == WorkState.FINISHED and project.comparisons.count() == 710
    assert work.report["duplicates"] == {"in_file": 0, "in_project": 700} and work.report["imported"] == 10
    swapped = b'{"prompt": "Question 1?", "responses": ["Bad 1.", "Good 1."]}\n' * 2
    work = run(project, swapped)
    assert work.report["duplicates"] == {"in_file": 1, "in_project": 1} and work.report["imported"] == 0


def test_prompts_alone(project: Project) -> None:
    content = b"".join(b'{"prompt": "Why %d?"}\n' % number for number in range(20))
    work = run(project, content, format="prompts")
    assert work.report["imported"] == project.prompts.count() == 20 and not project.comparisons.exists()
    work = run(project, content + b'{"prompt": "New?"}', format="prompts")
    assert (work.report["imported"], work.report["duplicates"]["in_project"]) == (1, 20)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a\u2028b\u200f c\r\n", "  [x](javascript:alert(1)) "])
def test_stored_texts_are_those_of_the_file(project: Project, text: str) -> None:
    run(project, json.dumps({"prompt": text, "responses": [text, "b"], "winner": "b"}).encode())
    comparison = Comparison.objects.select_related("prompt", "response_a", "response_b").get()
    assert comparison.prompt.messages[0]["content"] == text
    assert {comparison.response_a.text, comparison.response_b.text} == {text, "b"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\n\n", "no_rows"),
        (b"hello\n", "no_rows"),
        (gzip.compress(b"x" * 9_000_000), "gzip_ratio"),
        (gzip.compress(make_lines(100))[:-9], "gzip_damaged"),
    ],
)
def test_files_that_hold_nothing_fail_in_words(project: Project, content: bytes, code: str) -> None:
    work = run(project, content, on_bad_line="leave_out")
    assert (work.state, work.cause_code) == (WorkState.FAILED, code)
    assert work.cause and work.report["file_problem"] == {"code": code, "reason": work.cause}
    assert is_empty(project)


def test_a_file_damaged_at_its_end_brings_nothing_in(project: Project) -> None:
    packed = gzip.compress(make_lines(3000))
    work = run(project, packed[: len(packed) * 2 // 3], on_bad_line="leave_out")
    assert work.cause_code == "gzip_damaged" and work.report["good_lines"] > 100
    assert is_empty(project)


def test_a_crash_amid_the_inserts_leaves_nothing_behind(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = create_comparisons, []

    def fail_at_the_third_batch(**fields: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise DatabaseError("the connection is gone")
        return real(**fields)

    work = claim(start(project, make_lines(1600)))
    with monkeypatch.context() as patch:
        patch.setattr("annotate.services.import_rows.create_comparisons", fail_at_the_third_batch)
        with pytest.raises(DatabaseError):
            perform_import(work, lambda: None)
    assert is_empty(project)
    # The next owner starts over, and it is all there once.
    Import.objects.update(state=WorkState.QUEUED)
    perform_import(claim(work), lambda: None)
    assert project.comparisons.count() == 1600


def test_an_owner_that_lost_its_lease_brings_nothing_in(project: Project) -> None:
    old = claim(start(project, make_lines(10)))
    Import.objects.update(state=WorkState.QUEUED)
    claim(old)
    with pytest.raises(leases.LeaseLost):
        perform_import(old, lambda: None)
    assert is_empty(project)
    assert Import.objects.get().state == WorkState.RUNNING


def test_a_cancelled_import_brings_nothing_in(project: Project) -> None:
    asked = []

    def still_mine() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise leases.WorkCancelled

    with pytest.raises(leases.WorkCancelled):
        perform_import(claim(start(project, make_lines(2000))), still_mine)
    assert is_empty(project)


def test_what_is_too_large_or_empty_is_not_even_stored(
    project: Project, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.services.imports.MAX_FILE_BYTES", 1000)
    for content in (b"", b"x" * 1001):
        with pytest.raises(ImportRefused):
            start(project, content)
    assert not Import.objects.exists() and list((data_dir / "imports").iterdir()) == []


def test_more_rows_than_sqlite_can_take_at_once_are_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("other databases let labelers write meanwhile")
    monkeypatch.setattr("annotate.services.imports.MAX_ROWS_SQLITE", 50)
    assert run(project, make_lines(50)).state == WorkState.FINISHED
    work = run(project, make_lines(51))
    assert work.cause_code == "too_many_rows" and "Split it" in work.cause and project.comparisons.count() == 50


def test_text_beyond_the_cap_fails_the_import(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_FILE_BYTES", 2000)
    work = run(project, make_lines(100), on_bad_line="leave_out")
    assert work.cause_code == "file_too_large" and is_empty(project)


# -- Page and API -----------------------------------------------------------------------------------------------------


def test_page_uploads_and_shows_the_report(sign_in: Callable[[User], Client], admin: User, project: Project) -> None:
    client = sign_in(admin)
    url = reverse("import_list", args=[project.slug])
    assert "Nothing was imported yet" in client.get(url).content.decode()
    upload = SimpleUploadedFile("<b>my</b> pairs.jsonl", make_lines(2) + b'{"prompt": "<i>x</i>", "responses": 1}\n')
    response = client.post(url, {"file": upload, "format": "pairs", "on_bad_line": "leave_out"})
    work = Import.objects.get()
    assert response.status_code == 302 and response["Location"] == reverse("import_detail", args=[work.pk])
    page = client.get(response["Location"]).content.decode()
    assert 'hx-trigger="every 1s"' in page and "<b>my" not in page
    perform_import(claim(work), lambda: None)
    page = client.get(response["Location"]).content.decode()
    assert "hx-trigger" not in page.split('id="import-report"')[1]
    assert "responses&#x27; is a number" in page and 'scope="row" class="text-end font-medium tabular-nums">3<' in page
    fragment = client.get(response["Location"], headers={"HX-Request": "true"}).content.decode()
    assert fragment.lstrip().startswith('<div id="import-report"') and "<html" not in fragment
    assert "2 entered" in client.get(url).content.decode()


def test_page_says_what_is_wrong_with_an_upload(
    sign_in: Callable[[User], Client], admin: User, project: Project
) -> None:
    client, url = sign_in(admin), reverse("import_list", args=[project.slug])
    response = client.post(url, {"format": "pairs", "on_bad_line": "reject"})
    assert response.status_code == 422 and "required" in response.content.decode()
    empty = SimpleUploadedFile("a.jsonl", b"")
    response = client.post(url, {"file": empty, "format": "pairs", "on_bad_line": "reject"})
    assert response.status_code == 422 and "The file is empty" in response.content.decode()
    response = client.post(url, {"file": SimpleUploadedFile("a.jsonl", b"x"), "format": "csv", "on_bad_line": "x"})
    assert response.status_code == 422 and not Import.objects.exists()


def test_cancel_and_retry(sign_in: Callable[[User], Client], admin: User, project: Project) -> None:
    client, work = sign_in(admin), start(project, make_lines(2))
    client.post(reverse("import_cancel", args=[work.pk]))
    work.refresh_from_db()
    assert work.state == WorkState.CANCELLED
    client.post(reverse("import_retry", args=[work.pk]))
    perform_import(claim(work), lambda: None)
    assert project.comparisons.count() == 2
    response = client.post(reverse("import_retry", args=[work.pk]), follow=True)
    assert "Only what failed or was cancelled" in response.content.decode()


def test_api_imports_through_the_same_service(api: Callable[[User], APIClient], admin: User, project: Project) -> None:
    client, url = api(admin), reverse("api_import_list", args=[project.slug])
    upload = SimpleUploadedFile("a.jsonl", make_lines(2) + b"x\n")
    response = client.post(url, {"file": upload, "format": "pairs", "on_bad_line": "leave_out"}, format="multipart")
    assert response.status_code == 202 and response.data["state"] == "queued"
    perform_import(claim(Import.objects.get()), lambda: None)
    data = client.get(reverse("api_import_detail", args=[response.data["id"]])).json()
    assert data["state"] == "finished" and data["report"]["imported"] == 2
    assert data["report"]["listed"] == [
        {"line": 3, "code": "not_json", "field": "", "reason": "Not JSON at character 1: Expecting value."}
    ]
    assert [row["id"] for row in client.get(url).json()["results"]] == [data["id"]]
    bad = client.post(url, {"file": SimpleUploadedFile("a", b""), "format": "xml"}, format="multipart")
    assert bad.status_code == 400 and set(bad.json()) >= {"format"}


def test_nobody_else_imports(
    sign_in: Callable[[User], Client], api: Callable[[User], APIClient], labeler: User, project: Project
) -> None:
    upload = {"file": SimpleUploadedFile("a.jsonl", make_lines(1)), "format": "pairs", "on_bad_line": "reject"}
    assert sign_in(labeler).post(reverse("import_list", args=[project.slug]), upload).status_code == 403
    assert api(labeler).post(reverse("api_import_list", args=[project.slug]), {}).status_code == 403
    assert not Import.objects.exists() and not Prompt.objects.exists()
