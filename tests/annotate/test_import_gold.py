"""Known answers that come in with their pairs: a file makes gold as the page of gold does, and never changes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.importing.problems import LineProblem
from annotate.importing.reader import PARSERS
from annotate.importing.rows import KnownAnswer, PairRow
from annotate.models import AuditAction, AuditEvent, GoldAnswer, Import, Membership, Project, Role
from annotate.services.assignments import next_comparison
from annotate.services.datasets import CARD_NAME, build_dataset_version, freeze_dataset
from annotate.services.gold import change_gold
from annotate.services.imports import perform_import
from annotate.services.work_here import do_work_here
from models_registry.leases import WorkFailed
from models_registry.models import WorkState
from tests.annotate.test_import_comparisons import claim, run, start
from tests.annotate.votes import vote

GOOD = {"winner": "a", "grade": "significantly", "explanation": "The other one is wrong."}


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path


def line(number: int = 0, gold: Any = None, **fields: Any) -> dict[str, Any]:
    pair = {"prompt": f"Question {number}?", "responses": [f"Good {number}.", f"Bad {number}."], "winner": "a"}
    return pair | ({} if gold is None else {"gold": gold}) | fields


def dump(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(fields).encode() + b"\n" for fields in lines)


def read_answers(project: Project) -> dict[str, tuple[str, str, str]]:
    """Prompt: the text that wins, the grade, why."""
    found = {}
    for gold in GoldAnswer.objects.filter(comparison__project=project).select_related("comparison__prompt"):
        pair = gold.comparison
        better = {"a": pair.response_a.text, "b": pair.response_b.text, "": ""}[gold.winner]
        found[pair.prompt.messages[0]["content"]] = (better, gold.grade, gold.explanation)
    return found


def test_some_lines_of_a_file_are_gold(project: Project) -> None:
    work = run(project, dump(*(line(number, GOOD if number % 3 == 0 else None) for number in range(30))))
    assert work.state == WorkState.FINISHED, work.cause
    assert read_answers(project) == {
        f"Question {number}?": (f"Good {number}.", "significantly", GOOD["explanation"]) for number in range(0, 30, 3)
    }
    # The coin that swaps a pair swaps its answer with it.
    assert {gold.winner for gold in GoldAnswer.objects.all()} == {"a", "b"}
    assert set(project.comparisons.filter(gold=None).values_list("need", "taken")) == {(1, 0)}
    assert set(project.comparisons.exclude(gold=None).values_list("need", "taken")) == {(0, 0)}
    assert work.report["gold"] == {"made": 10, "kept": 0, "differs": 0, "differing_lines": []}


def test_each_is_in_the_audit_log(project: Project) -> None:
    run(project, dump(line(0, GOOD), line(1), line(2, {"winner": "", "grade": "unsure"})))
    events = AuditEvent.objects.filter(action=AuditAction.GOLD_MADE).order_by("pk")
    made = GoldAnswer.objects.order_by("pk")
    assert [(event.by, event.number) for event in events] == [(project.created_by, gold.comparison_id) for gold in made]
    assert events[1].after == {"winner": "", "grade": "unsure", "explanation": "", "is_active": True}


def test_gold_of_a_file_is_handed_out_as_gold(project: Project, labeler: User) -> None:
    Project.objects.filter(pk=project.pk).update(qualification_pairs=1, gold_bar=0.5)
    project.refresh_from_db()
    run(project, dump(line(0), line(1, GOOD)))
    first = next_comparison(labeler=labeler, project=project)
    assert first is not None and first.kind == "qualification"


@pytest.mark.parametrize(
    ("format", "fields"),
    [
        ("pairs", {"prompt": "Why?", "chosen": "Because.", "rejected": "So."}),
        (
            "hh-rlhf",
            {"chosen": "\n\nHuman: Why?\n\nAssistant: Because.", "rejected": "\n\nHuman: Why?\n\nAssistant: So."},
        ),
    ],
)
def test_where_one_is_chosen_it_is_a(format: str, fields: dict[str, Any]) -> None:
    row = PARSERS[format](fields | {"gold": {"winner": "b", "grade": "slightly", "seen": 3}})
    assert isinstance(row, PairRow) and row.gold == KnownAnswer("b", "slightly") and row.second == "So."
    assert row.ignored == {"gold.seen"}


@pytest.mark.parametrize(
    ("gold", "field", "words"),
    [
        ("a", "gold", "'gold' is a text, not an object"),
        ([], "gold", "'gold' is a list"),
        ({"winner": "a"}, "gold.grade", "'gold.grade' is missing"),
        ({"winner": "a", "grade": "hugely"}, "gold.grade", "gold.grade is hugely; it must be one of significantly"),
        ({"winner": "a", "grade": 3}, "gold.grade", "gold.grade is a number"),
        ({"winner": "left", "grade": "slightly"}, "gold.winner", "gold.winner is left; it must be one of a, b"),
        ({"winner": "", "grade": "slightly"}, "gold.winner", "The grade slightly needs a winner"),
        ({"grade": "slightly"}, "gold.winner", "The grade slightly needs a winner, a or b"),
        ({"winner": "a", "grade": "equal"}, "gold.winner", "The grade equal goes without a winner"),
        (GOOD | {"explanation": 1}, "gold.explanation", "is a number, not a text"),
        (GOOD | {"explanation": "x" * 1001}, "gold.explanation", "has 1,001 characters; at most 1,000"),
        (GOOD | {"explanation": "\x00"}, "gold.explanation", "a NUL"),
    ],
)
def test_what_is_no_answer_is_named_by_field(gold: Any, field: str, words: str) -> None:
    with pytest.raises(LineProblem) as problem:
        PARSERS["pairs"](line(gold=gold))
    assert problem.value.field == field and words in problem.value.reason


def test_a_bad_answer_in_the_middle_keeps_all_out_or_itself(project: Project) -> None:
    content = dump(line(0, GOOD), line(1, {"winner": "a", "grade": "better"}), line(2, GOOD))
    work = run(project, content)
    assert work.cause_code == "bad_lines" and "line 2. This project does not offer the answer better" in work.cause
    assert work.report["listed"][0] | {"reason": ""} == {
        "line": 2, "code": "not_offered", "field": "gold.grade", "reason": ""
    }  # fmt: skip
    assert not GoldAnswer.objects.exists() and not project.comparisons.exists()
    work = run(project, content, on_bad_line="leave_out")
    assert work.report["gold"]["made"] == 2 and project.comparisons.count() == 2


def test_what_the_project_would_hold_back_cannot_be_gold(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(holds_identity_leaks=True)
    project.refresh_from_db()
    leak = {"responses": ["I am ChatGPT, a large language model.", "Six minutes."]}
    work = run(project, dump(line(0), line(1, GOOD) | leak))
    assert work.report["listed"][0]["code"] == "gold_leaks" and not GoldAnswer.objects.exists()
    assert run(project, dump(line(1) | leak)).state == WorkState.FINISHED


def test_settings_that_change_meanwhile_fail_in_words_and_leave_nothing(project: Project) -> None:
    """The answer was offered when the file was checked, and is not when its rows enter."""
    work = claim(start(project, dump(line(0), line(1, {"grade": "unsure"}))))
    assert work.project.scale == "three"  # and so it stays in this object, by which lines are checked
    Project.objects.filter(pk=project.pk).update(scale="four")
    with pytest.raises(WorkFailed, match="does not offer the answer") as failure:
        perform_import(work, lambda: None)
    assert failure.value.code == "changed_meanwhile"
    assert not GoldAnswer.objects.exists() and not project.comparisons.exists()


# -- A second time ----------------------------------------------------------------------------------------------------


def test_the_same_file_again_neither_doubles_nor_changes_gold(project: Project) -> None:
    content = dump(*(line(number, GOOD) for number in range(8)), line(8))
    run(project, content)
    before = read_answers(project)
    work = run(project, content)
    assert read_answers(project) == before and project.comparisons.count() == 9
    assert work.report["gold"] == {"made": 0, "kept": 8, "differs": 0, "differing_lines": []}
    swapped = line(1, GOOD | {"winner": "b", "explanation": "Else."}, responses=["Bad 1.", "Good 1."], winner="b")
    assert run(project, dump(swapped)).report["gold"]["kept"] == 1


def test_another_answer_to_a_known_pair_changes_nothing_and_is_told(project: Project, admin: User) -> None:
    run(project, dump(line(0, GOOD), line(1, GOOD), line(2)))
    retired = GoldAnswer.objects.order_by("pk").last()
    assert retired is not None
    change_gold(gold=retired, by=admin, is_active=False)
    before, needs = read_answers(project), list(project.comparisons.order_by("pk").values_list("need"))
    work = run(project, dump(line(0, GOOD | {"winner": "b"}), line(1, GOOD), line(2, GOOD)))
    assert work.report["gold"] == {"made": 0, "kept": 1, "differs": 2, "differing_lines": [1, 3]}
    assert read_answers(project) == before
    assert needs == list(project.comparisons.order_by("pk").values_list("need"))
    retired.refresh_from_db()
    assert not retired.is_active


def test_two_answers_to_one_pair_in_a_file_are_a_problem(project: Project) -> None:
    same, other = line(0, GOOD), line(0, GOOD | {"winner": "b"})
    work = run(project, dump(same, same, other, line(0), line(1), line(1, GOOD)), on_bad_line="leave_out")
    assert [(entry["line"], entry["code"], entry["field"]) for entry in work.report["listed"]] == [
        (3, "claims_differ", "gold"),
        (6, "claims_differ", "gold"),
    ]
    assert work.report["duplicates"]["in_file"] == 2
    assert list(read_answers(project)) == ["Question 0?"]


# -- Who, and where it never goes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", [Aggregation.RECORDED, Aggregation.MAJORITY])
def test_gold_of_a_file_is_in_no_dataset(project: Project, labeler: User, aggregation: Aggregation) -> None:
    run(project, dump(*(line(number, GOOD if number % 2 else None) for number in range(12))))
    for comparison in project.comparisons.filter(gold=None):
        vote(comparison, labeler)
    rule = DatasetRule(aggregation=aggregation, eval_share=0.0)
    version = do_work_here(
        lambda: freeze_dataset(project=project, rule=rule, by=project.created_by), build_dataset_version
    )
    text = version.train_path.read_text() + (version.folder / CARD_NAME).read_text()
    assert len(version.train_path.read_text().splitlines()) == 6
    assert "Good 0." in text and not any(f"Good {odd}." in text for odd in range(1, 12, 2))
    assert GOOD["explanation"] not in text


def test_those_who_lead_import_gold(sign_in: Callable[[User], Client], project: Project, labeler: User) -> None:
    url = reverse("import_list", args=[project.slug])
    for role, status in ((Role.LABELER, 403), (Role.REVIEWER, 403), (Role.LEAD, 302)):
        Membership.objects.filter(user=labeler).update(role=role)
        file = SimpleUploadedFile("a.jsonl", dump(line(0, GOOD)))
        upload = {"file": file, "format": "pairs", "on_bad_line": "reject"}
        assert sign_in(labeler).post(url, upload).status_code == status, role
    work = Import.objects.get()
    perform_import(claim(work), lambda: None)
    assert GoldAnswer.objects.get().created_by == labeler
    page = sign_in(labeler).get(reverse("import_detail", args=[work.pk])).content.decode()
    assert "Gold pairs made: 1" in page
    assert "Imports" in sign_in(labeler).get(reverse("project_detail", args=[project.slug])).content.decode()


def test_the_page_names_lines_whose_answer_was_not_taken(
    sign_in: Callable[[User], Client], project: Project, admin: User
) -> None:
    run(project, dump(line(0, GOOD), line(1)))
    work = run(project, dump(line(0, GOOD), line(1, GOOD)))
    page = sign_in(admin).get(reverse("import_detail", args=[work.pk])).content.decode()
    assert "Known answers that the project has already: 1" in page
    assert "another known answer, or none: 1 (line 2)" in page
