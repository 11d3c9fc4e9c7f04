"""Freezing a version: what enters, what is left out, the same bytes again, nothing half done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User

from annotate.exporting.rule import DatasetRule, RuleError
from annotate.models import Comparison, DatasetVersion, Judgment, Project
from annotate.services.datasets import DatasetError, build_dataset_version, freeze_dataset, preview_dataset
from annotate.services.work_here import do_work_here
from models_registry import leases
from models_registry.models import WorkState
from tests.annotate.votes import undo, vote
from tests.scenery import make_dataset

MakeComparison = Callable[..., Comparison]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    return tmp_path


def freeze(project: Project, **rule: Any) -> DatasetVersion:
    fields = DatasetRule(**({"eval_share": 0.0} | rule))
    return do_work_here(
        lambda: freeze_dataset(project=project, rule=fields, by=project.created_by), build_dataset_version
    )


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def claim(version: DatasetVersion, owner: str = "worker") -> DatasetVersion:
    claimed = leases.claim(version, owner)
    assert claimed is not None
    return claimed


def test_a_row_says_all_there_is_to_say(
    project: Project, make_comparison: MakeComparison, labeler: User, teammate: User, admin: User
) -> None:
    comparison = make_comparison("How long do eggs boil?", "Six minutes.", "A while.", need=3)
    said = [
        vote(comparison, labeler, "b", "significantly"),
        vote(comparison, teammate, "b", "negligibly"),
        vote(comparison, admin, "a", "slightly"),
    ]
    Judgment.objects.filter(pk=said[2].pk).update(left_response="b", side="right")
    version = freeze(project)
    assert version.state == WorkState.FINISHED, version.cause
    (row,) = read(version.train_path)
    assert row == {
        "prompt": [{"role": "user", "content": "How long do eggs boil?"}],
        "chosen": [{"role": "assistant", "content": "A while."}],
        "rejected": [{"role": "assistant", "content": "Six minutes."}],
        "margin": 0.5,
        "grade": "negligibly",
        "votes": 3,
        "votes_for": 2,
        "votes_chosen_left": 1,
        "agreement": 0.666667,
        "comparison_id": comparison.pk,
        "prompt_id": comparison.prompt_id,
        "chosen_response_id": comparison.response_b_id,
        "rejected_response_id": comparison.response_a_id,
        "judgment_ids": [judgment.pk for judgment in said],
        "adjudication_id": None,
        "safety": None,
    }
    assert version.train_sha256 == hashlib.sha256(version.train_path.read_bytes()).hexdigest()
    assert (version.train_rows, version.eval_rows, version.eval_path.read_bytes()) == (1, 0, b"")
    assert set(version.judgments.all()) == set(said)
    assert version.train_path.stat().st_mode & 0o077 == 0
    assert [path.name for path in version.folder.iterdir() if path.is_dir()] == []


def test_ties_and_both_bad_stay_out_and_are_counted_in_the_card(
    project: Project, comparisons: list[Comparison], labeler: User, teammate: User
) -> None:
    for comparison, grade in zip(comparisons, ("equal", "both_bad", "unsure", "better"), strict=True):
        vote(comparison, labeler, "b" if grade == "better" else "", grade)
    vote(comparisons[0], teammate, "a")
    version = freeze(project)
    (row,) = read(version.train_path)
    assert (row["grade"], row["margin"], row["comparison_id"]) == ("better", 0.666667, comparisons[3].pk)
    assert version.left_out == {"equal": 1, "both_bad": 1, "unsure": 1}
    assert version.counts["votes_without_side"] == {"equal": 1, "both_bad": 1, "unsure": 1}
    card = (version.folder / "README.md").read_text()
    assert "never make a pair: unsure 1, both equally good 1, both bad 1." in card and "better 0.6667" in card


def test_undone_changed_and_later_votes_do_not_count(
    project: Project, comparisons: list[Comparison], labeler: User, admin: User
) -> None:
    undo(vote(comparisons[0], labeler))
    changed = vote(comparisons[1], labeler, "a")
    vote(comparisons[1], labeler, "b", supersedes=changed)
    late = vote(comparisons[2], labeler, "a")
    version = freeze_dataset(project=project, rule=DatasetRule(eval_share=0.0), by=admin)
    undo(late)
    vote(comparisons[3], labeler, "a")
    claimed = claim(version)
    build_dataset_version(claimed, lambda: None)
    rows = read(version.train_path)
    assert [row["comparison_id"] for row in rows] == [comparisons[1].pk, comparisons[2].pk]
    assert rows[0]["chosen_response_id"] == comparisons[1].response_b_id
    claimed.refresh_from_db()
    assert claimed.left_out == {"no_votes": 2}


def test_counts_say_what_was_left_out_and_why(
    project: Project, make_comparison: MakeComparison, labeler: User, teammate: User
) -> None:
    good, tie, unsure, few, empty, _unjudged = (make_comparison(need=2) for _number in range(6))
    empty.response_b.text = " "
    empty.response_b.save()
    for comparison, one, two in ((good, "a", "a"), (tie, "a", "b"), (unsure, "", ""), (empty, "a", "a")):
        vote(comparison, labeler, one)
        vote(comparison, teammate, two)
    vote(few, labeler)
    version = freeze(project, min_votes=2)
    reasons = {"tie": 1, "unsure": 1, "too_few_votes": 1, "no_votes": 1, "empty_response": 1}
    assert version.left_out == reasons and version.train_rows == 1
    assert version.counts["votes"] == 2 and version.counts["votes_left_out"]["tie"] == 2
    assert (version.counts["grades"], version.counts["labelers"]) == ({"slightly": 1}, 2)
    preview = preview_dataset(project=project, rule=DatasetRule(eval_share=0.0, min_votes=2))
    assert preview.tally.left_out == reasons and preview.tally.total_rows == 1 and preview.warning == ""


def test_building_again_after_a_crash_gives_the_same_bytes(
    project: Project, make_comparison: MakeComparison, labeler: User, monkeypatch: pytest.MonkeyPatch, admin: User
) -> None:
    for number in range(40):
        vote(make_comparison(), labeler, "ab"[number % 2])
    version = freeze_dataset(project=project, rule=DatasetRule(eval_share=0.4), by=admin)
    with monkeypatch.context() as patch:
        patch.setattr("annotate.services.datasets.leases.finish", lambda *_args, **_fields: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_dataset_version(claim(version), lambda: None)
    assert not version.votes.exists() and version.state != WorkState.FINISHED
    first = version.train_path.read_bytes(), version.eval_path.read_bytes()
    vote(make_comparison(), labeler)
    DatasetVersion.objects.update(state=WorkState.QUEUED)
    build_dataset_version(claim(version, "another"), lambda: None)
    assert (version.train_path.read_bytes(), version.eval_path.read_bytes()) == first
    version.refresh_from_db()
    assert version.state == WorkState.FINISHED and version.train_rows + version.eval_rows == 40
    assert version.votes.filter(split="eval").count() == version.eval_rows > 5
    train, evaluation = read(version.train_path), read(version.eval_path)
    assert not {row["prompt_id"] for row in train} & {row["prompt_id"] for row in evaluation}


def test_an_owner_that_lost_its_lease_stores_nothing(
    project: Project, comparisons: list[Comparison], labeler: User, admin: User
) -> None:
    vote(comparisons[0], labeler)
    version = freeze_dataset(project=project, rule=DatasetRule(eval_share=0.0), by=admin)
    old = claim(version)
    DatasetVersion.objects.update(state=WorkState.QUEUED)
    claim(version, "another")
    with pytest.raises(leases.LeaseLost):
        build_dataset_version(old, lambda: None)
    version.refresh_from_db()
    assert version.state == WorkState.RUNNING and not version.votes.exists() and version.train_rows == 0


def queue(project: Project, comparisons: list[Comparison], **rule: Any) -> DatasetVersion:
    """A version whose votes were taken back between the look at them and the freezing."""
    return make_dataset(
        project,
        rule=DatasetRule(**rule).as_json(),
        state=WorkState.QUEUED,
        finished_at=None,
        judgment_cutoff=Judgment.objects.count() and Judgment.objects.latest("pk").pk,
        counts={"comparison_cutoff": comparisons[-1].pk},
    )


def fail_to_build(version: DatasetVersion) -> leases.WorkFailed:
    with pytest.raises(leases.WorkFailed) as caught:
        build_dataset_version(claim(version), lambda: None)
    assert not version.train_path.exists()
    return caught.value


def test_no_rows_is_refused_and_fails_in_words(project: Project, comparisons: list[Comparison]) -> None:
    with pytest.raises(DatasetError, match="4 × no votes yet"):
        freeze(project)
    assert not DatasetVersion.objects.exists()
    failure = fail_to_build(queue(project, comparisons))
    assert failure.code == "no_rows" and "4 × no votes yet" in str(failure)


def test_all_rows_in_the_evaluation_part_is_refused_and_fails_in_words(
    project: Project, make_comparison: MakeComparison, labeler: User
) -> None:
    comparison = make_comparison("Only this?")
    vote(comparison, labeler)
    seed = next(
        number
        for number in range(50)
        if preview_dataset(project=project, rule=DatasetRule(eval_share=0.5, split_seed=number)).warning
    )
    with pytest.raises(DatasetError, match="1 prompts"):
        freeze(project, eval_share=0.5, split_seed=seed)
    failure = fail_to_build(queue(project, [comparison], eval_share=0.5, split_seed=seed))
    assert failure.code == "no_train_rows" and "1 prompts" in str(failure)


def test_numbers_count_up_within_a_project(project: Project, comparisons: list[Comparison], labeler: User) -> None:
    vote(comparisons[0], labeler)
    assert [freeze(project).number for _time in range(3)] == [1, 2, 3]


def test_an_empty_project_and_a_bad_rule_are_refused(project: Project, admin: User) -> None:
    with pytest.raises(DatasetError, match="no comparisons"):
        freeze_dataset(project=project, rule=DatasetRule(), by=admin)
    with pytest.raises(RuleError, match="no account with number 999"):
        freeze_dataset(project=project, rule=DatasetRule(left_out_labelers=(999,)), by=admin)
    assert not DatasetVersion.objects.exists()


def test_other_projects_and_their_votes_stay_out(
    project: Project, make_comparison: MakeComparison, labeler: User, admin: User
) -> None:
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    vote(make_comparison(project=other), labeler)
    mine = make_comparison()
    vote(mine, labeler)
    assert [row["comparison_id"] for row in read(freeze(project).train_path)] == [mine.pk]


def test_queries_do_not_grow_with_the_rows_of_a_chunk(
    project: Project, make_comparison: MakeComparison, labeler: User, django_assert_max_num_queries: Any
) -> None:
    for _number in range(60):
        vote(make_comparison(), labeler)
    with django_assert_max_num_queries(8):
        assert preview_dataset(project=project, rule=DatasetRule()).tally.comparisons == 60
