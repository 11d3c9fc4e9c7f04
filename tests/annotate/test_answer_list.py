"""Looking back at one's own answers: what is listed, narrowed and never told; page and API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from annotate.models import Choice, Comparison, Project, SkipReason
from annotate.selectors.answers import SKIPPED, list_answers
from annotate.services.judgments import skip_comparison, undo_judgment
from tests.annotate.test_change_answer import freeze
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.test_undo import judge
from tests.conftest import MakeComparison

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def address(project: Project) -> str:
    return f"/projects/{project.slug}/compare/answers/"


def read(response: Any) -> str:
    return str(response.content.decode())


def test_newest_first_only_ones_own_and_only_what_stands(
    project: Project, labeler: User, teammate: User, make_comparison: MakeComparison, sign_in: SignIn, address: str
) -> None:
    for _number in range(3):
        make_comparison(need=2)
    votes = [judge(labeler, project) for _number in range(2)]
    held = hand_out(labeler, project)
    skip = skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER, note="dull")
    judge(teammate, project)
    assert list(list_answers(project, labeler)) == [skip, *reversed(votes)]
    page = read(sign_in(labeler).get(address))
    assert page.index("Question 3?") < page.index("Question 2?") < page.index("Question 1?")
    assert "Skipped: Something else: dull" in page
    undo_judgment(labeler=labeler, project=project)
    assert list(list_answers(project, labeler)) == list(reversed(votes))


def test_sides_are_those_that_were_shown(
    project: Project, labeler: User, make_comparison: MakeComparison, sign_in: SignIn, address: str
) -> None:
    make_comparison(a="First text.", b="Second text.")
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    for left in "ab":
        vote.assignment.left_response = left
        vote.assignment.save()
        page = read(sign_in(labeler).get(address))
        assert (page.index("First text.") < page.index("Second text.")) == (left == "a")
    for secret in ("secret-origin", "recorded", "winner", "seed", "surplus"):
        assert secret not in page


@pytest.mark.parametrize(
    ("words", "found"),
    [("Eier", [1]), ("eier", [1]), ("밥을", [2]), ('say "hi"', [3]), ("role", []), ("assistant", []), ("%", [4]),
     ("_", []), ("two\nlines", [3]), ("because", [1]), ("다른 답", [2]), ("'; --", []), ("  ", [4, 3, 2, 1])],
)  # fmt: skip
def test_search_looks_into_all_texts_to_the_letter(
    project: Project, labeler: User, make_comparison: MakeComparison, words: str, found: list[int], address: str,
    sign_in: SignIn,
) -> None:  # fmt: skip
    project.rationale = "optional"
    project.save()
    make_comparison("Wie kochen Eier?")
    make_comparison("밥을 어떻게 짓나요?", a="다른 답입니다")
    make_comparison(messages=[{"role": "user", "content": 'They say "hi" on two\nlines.'}])
    make_comparison(b="100 % sure.")
    votes = [judge(labeler, project) for _number in range(4)]
    votes[0].rationale = "Just because."
    votes[0].save()
    numbers = {vote.comparison_id: number for number, vote in enumerate(votes, 1)}
    assert [numbers[said.comparison_id] for said in list_answers(project, labeler, words=words.strip())] == found
    assert read(sign_in(labeler).get(address, {"words": words})).count("<article") == len(found)


def test_narrowed_to_an_answer(project: Project, labeler: User, comparisons: list[Comparison]) -> None:
    left, unsure = judge(labeler, project, Choice.LEFT_SLIGHTLY), judge(labeler, project)
    held = hand_out(labeler, project)
    skip = skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER)
    for answer, said in ((Choice.LEFT_SLIGHTLY, left), (Choice.UNSURE, unsure), (SKIPPED, skip)):
        assert list(list_answers(project, labeler, answer=answer)) == [said]


def test_pages_keep_what_was_asked_for(
    project: Project, labeler: User, make_comparison: MakeComparison, sign_in: SignIn, address: str
) -> None:
    for _number in range(21):
        make_comparison()
        judge(labeler, project)
    page = read(sign_in(labeler).get(address, {"answer": "unsure", "words": "Question"}))
    assert page.count("<article") == 20
    assert 'href="?answer=unsure&amp;words=Question&amp;page=2"' in page
    assert read(sign_in(labeler).get(address, {"page": "2"})).count("<article") == 1


@pytest.mark.parametrize("query", [{"answer": "best"}, {"words": "x" * 201}, {"words": "a\x00b"}])
def test_a_bad_question_is_told_in_words(
    project: Project, labeler: User, sign_in: SignIn, api: Api, address: str, query: dict[str, str]
) -> None:
    response = sign_in(labeler).get(address, query)
    assert response.status_code == 422
    assert "text-error" in read(response)
    refused = api(labeler).get(f"/api/v1/projects/{project.slug}/answers/", query)
    assert refused.status_code == 400 and set(refused.json()) == set(query)


def test_queries_do_not_grow_with_the_list(
    project: Project,
    labeler: User,
    make_comparison: MakeComparison,
    sign_in: SignIn,
    address: str,
    django_assert_max_num_queries: Any,
) -> None:
    for _number in range(12):
        make_comparison()
        judge(labeler, project)
    client = sign_in(labeler)
    with django_assert_max_num_queries(12):
        client.get(address)


def test_api_lists_answers_with_their_pairs(
    project: Project, labeler: User, comparisons: list[Comparison], api: Api
) -> None:
    vote = judge(labeler, project, Choice.LEFT_SLIGHTLY)
    judge(labeler, project)
    freeze(vote)
    client, url = api(labeler), f"/api/v1/projects/{project.slug}/answers/"
    rows = client.get(url, {"answer": "left_slightly"}).json()["results"]
    assert [(row["token"], row["frozen_in"]) for row in rows] == [(str(vote.token), 3)]
    assert {rows[0]["left"], rows[0]["right"]} == {"First answer to question 1.", "Second answer to question 1."}
    assert not {"winner", "left_response", "seed", "surplus"} & set(rows[0])
    assert [row["choice"] for row in client.get(url).json()["results"]] == ["unsure", "left_slightly"]
