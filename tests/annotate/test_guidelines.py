"""Versions of the guidelines: each change is one, labelers read the newest before they go on, votes name theirs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Assignment, Choice, Comparison, GuidelineReading, Judgment, Project
from annotate.services.assignments import next_comparison
from annotate.services.guidelines import (
    GuidelinesChangedError,
    GuidelinesUnreadError,
    acknowledge_guidelines,
    publish_guidelines,
)
from annotate.services.judgments import submit_judgment, undo_judgment
from tests.annotate.test_next_comparison import hand_out

Api = Callable[[User], APIClient]
SignIn = Callable[[User], Client]


def publish(project: Project, text: str) -> None:
    project.guidelines = text
    project.save()
    publish_guidelines(project=project, by=project.created_by)


def test_each_change_is_a_version_and_no_change_is_none(project: Project, admin: User) -> None:
    for text in ("One.", "One.", "Two.", "One.", ""):
        publish(project, text)
    versions = list(project.guideline_versions.order_by("number").values_list("number", "text"))
    assert versions == [(1, "One."), (2, "Two."), (3, "One."), (4, "")]


def test_nothing_is_handed_out_before_the_newest_is_read(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    publish(project, "One.")
    with pytest.raises(GuidelinesUnreadError, match="version 1"):
        next_comparison(labeler=labeler, project=project)
    assert not Assignment.objects.exists()
    for _click in range(2):
        acknowledge_guidelines(labeler=labeler, project=project, number=1)
    held = hand_out(labeler, project)
    publish(project, "Two.")
    with pytest.raises(GuidelinesChangedError):
        acknowledge_guidelines(labeler=labeler, project=project, number=1)
    with pytest.raises(GuidelinesUnreadError, match="version 2"):
        next_comparison(labeler=labeler, project=project)
    acknowledge_guidelines(labeler=labeler, project=project, number=2)
    assert hand_out(labeler, project).token == held.token  # the pair they held is still theirs
    assert GuidelineReading.objects.count() == 2


def test_nobody_reads_for_somebody_else_and_nothing_to_read_stops_nobody(
    project: Project, labeler: User, teammate: User, comparisons: list[Comparison]
) -> None:
    publish(project, "One.")
    acknowledge_guidelines(labeler=labeler, project=project, number=1)
    with pytest.raises(GuidelinesUnreadError):
        next_comparison(labeler=teammate, project=project)
    publish(project, " \n")
    assert next_comparison(labeler=teammate, project=project)


def test_a_vote_names_the_version_its_labeler_had_read(
    project: Project, labeler: User, comparisons: list[Comparison]
) -> None:
    without = submit_judgment(
        labeler=labeler, project=project, token=hand_out(labeler, project).token, choice=Choice.UNSURE
    )
    publish(project, "One.")
    acknowledge_guidelines(labeler=labeler, project=project, number=1)
    held = hand_out(labeler, project)
    publish(project, "Two.")  # while the labeler still reads the pair: the answer is taken
    under_one = submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
    undo_judgment(labeler=labeler, project=project)
    numbers = [said.guidelines and said.guidelines.number for said in Judgment.objects.order_by("pk")]
    assert without.guidelines is None and numbers == [None, 1, 1]
    assert under_one.guidelines is not None and under_one.guidelines.text == "One."


def test_the_page_shows_them_first_and_again_after_a_change(
    project: Project, labeler: User, admin: User, comparisons: list[Comparison], sign_in: SignIn
) -> None:
    url, read = reverse("compare", args=[project.slug]), reverse("compare_guidelines", args=[project.slug])
    form = {"name": project.name, "question": project.question, "guidelines": "*New*", "votes_per_comparison": "1"}
    sign_in(admin).post(reverse("project_edit", args=[project.slug]), form)
    client = sign_in(labeler)
    page = client.get(url).content.decode()
    assert "I have read them" in page and "<em>New</em>" in page and "Question 1?" not in page
    assert client.post(read, {"number": "many"}, follow=True).status_code == 200
    page = client.post(read, {"number": 1}, follow=True).content.decode()
    assert "Question 1?" in page and "I have read them" not in page
    publish(Project.objects.get(), "Newer")
    token = Assignment.objects.get().token
    desk = client.post(url, {"token": token, "choice": "unsure"}, headers={"hx-request": "true"})
    assert desk.status_code == 200 and "The guidelines have changed" in desk.content.decode()
    assert Judgment.objects.count() == 1
    told = client.post(read, {"number": 1}, headers={"hx-request": "true"})
    assert told.status_code == 409 and "changed meanwhile" in told.content.decode()


def test_the_api_asks_for_the_reading_too(
    project: Project, labeler: User, comparisons: list[Comparison], api: Api
) -> None:
    base = f"/api/v1/projects/{project.slug}/"
    assert api(labeler).get(base + "guidelines/").json()["number"] == 0
    publish(project, "One.")
    refused = api(labeler).post(base + "next/")
    assert refused.status_code == 409 and "Read version 1" in refused.json()["detail"]
    assert api(labeler).get(base + "guidelines/").json() == {"number": 1, "text": "One.", "is_read": False}
    assert api(labeler).post(base + "guidelines/", {"number": 2}).status_code == 409
    assert api(labeler).post(base + "guidelines/", {"number": 0}).status_code == 400
    assert api(labeler).post(base + "guidelines/", {"number": 1}).json()["is_read"] is True
    token = api(labeler).post(base + "next/").json()["pair"]["token"]
    said = api(labeler).post(base + "judgments/", {"token": token, "choice": "unsure"}).json()
    assert said["guidelines"] == 1
