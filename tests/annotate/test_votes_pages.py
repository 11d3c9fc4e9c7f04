"""From a frozen version back to single votes, and from a comparison forward to the versions that rest on it."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from annotate.exporting.rule import DatasetRule
from annotate.models import Choice, Comparison, DatasetVersion, Project
from annotate.services.assignments import next_comparison
from annotate.services.datasets import build_dataset_version, freeze_dataset
from annotate.services.judgments import submit_judgment, undo_judgment
from annotate.services.work_here import do_work_here


@pytest.fixture
def version(project: Project, comparisons: list[Comparison], labeler: User, admin: User) -> DatasetVersion:
    """Two votes, the second of them after an undo."""
    for choice in (Choice.LEFT_SLIGHTLY, Choice.LEFT_SIGNIFICANTLY):
        judge(project, labeler, choice)
    undo_judgment(labeler=labeler, project=project)
    judge(project, labeler, Choice.RIGHT_NEGLIGIBLY)
    rule = DatasetRule(eval_share=0.0)
    return do_work_here(lambda: freeze_dataset(project=project, rule=rule, by=admin), build_dataset_version)


def judge(project: Project, labeler: User, choice: Choice) -> None:
    assignment = next_comparison(labeler=labeler, project=project)
    assert assignment
    submit_judgment(labeler=labeler, project=project, token=assignment.token, choice=choice)


def test_the_votes_behind_a_version_are_listed_and_lead_to_their_pairs(
    client: Client, admin: User, version: DatasetVersion
) -> None:
    client.force_login(admin)
    page = client.get(reverse("dataset_votes", args=[version.pk])).content.decode()
    assert "2 votes" in page
    assert "slightly better" in page and "negligibly better" in page
    assert "significantly" not in page  # it was undone
    for judgment in version.judgments.all():
        assert reverse("comparison_detail", args=[judgment.comparison_id]) in page


def test_a_comparison_shows_all_that_was_said_and_what_learned_from_it(
    client: Client, admin: User, version: DatasetVersion
) -> None:
    client.force_login(admin)
    undone = version.judgments.order_by("pk").last()
    assert undone
    page = client.get(reverse("comparison_detail", args=[undone.comparison_id])).content.decode()
    assert "significantly better" in page and "Undo" in page and "negligibly better" in page
    assert "secret-origin-a" in page
    assert reverse("dataset_detail", args=[version.pk]) in page


def test_a_pair_without_votes_says_so(client: Client, admin: User, comparisons: list[Comparison]) -> None:
    client.force_login(admin)
    page = client.get(reverse("comparison_detail", args=[comparisons[0].pk])).content.decode()
    assert "Nothing yet." in page and "in no dataset version yet" in page
