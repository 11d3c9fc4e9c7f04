"""Win rates of policies, judged by a reward model: the numbers, the page, the API."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Project, Prompt, Response, ResponseScore
from annotate.services.prompts import get_or_create_prompt
from models_registry.models import ModelVersion
from tests.scenery import make_model
from training.engine.stats import wilson_interval
from training.win_rates import MOST_POLICIES, WinRate, find_judged_project, get_win_rates

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def judge(admin: User) -> ModelVersion:
    return make_model(admin, "judge", kind="reward")


@pytest.fixture
def old(admin: User) -> ModelVersion:
    return make_model(admin, "old policy")


@pytest.fixture
def new(admin: User) -> ModelVersion:
    return make_model(admin, "new policy")


def ask(project: Project, number: int) -> Prompt:
    return get_or_create_prompt(project=project, messages=[{"role": "user", "content": f"Question {number}?"}])[0]


def answer(
    prompt: Prompt, model: ModelVersion | None, *scores: float | None, by: ModelVersion | None = None
) -> list[Response]:
    """A response for each score; None: not scored."""
    made = []
    for score in scores:
        response = Response.objects.create(prompt=prompt, model=model, text=f"{model} {score}")
        made.append(response)
        if score is not None and by:
            ResponseScore.objects.create(response=response, model=by, score=score)
    return made


def test_wins_ties_and_gaps_by_hand(
    project: Project, judge: ModelVersion, old: ModelVersion, new: ModelVersion
) -> None:
    """A win, a defeat, a tie, two wins: 3.5 of 5; the scores of another judge do not count."""
    for number, (first, second) in enumerate([(0.0, 1.0), (2.0, 0.5), (1.0, 1.0), (-1.0, 1.0), (0.0, 3.0)]):
        prompt = ask(project, number)
        answer(prompt, old, first, by=judge)
        (response,) = answer(prompt, new, second, by=judge)
        ResponseScore.objects.create(response=response, model=make_judge(judge, number), score=-100)
    found = get_win_rates(project=project, judge=judge)
    assert [policy.model for policy in found.policies] == [old, new]
    old_over_new, new_over_old = found.cells[0][1], found.cells[1][0]
    assert old_over_new is not None and new_over_old is not None
    assert (new_over_old.prompts, new_over_old.rate, new_over_old.unscored) == (5, 0.7, 0)
    assert new_over_old.interval == pytest.approx(wilson_interval(3.5, 5))
    assert new_over_old.mean_gap == pytest.approx((1 - 1.5 + 0 + 2 + 3) / 5)
    assert old_over_new.rate == pytest.approx(0.3)
    assert old_over_new.interval == pytest.approx(wilson_interval(1.5, 5))
    assert old_over_new.mean_gap == pytest.approx(-0.9)
    assert (found.cells[0][0], found.cells[1][1]) == (None, None)


def make_judge(judge: ModelVersion, number: int) -> ModelVersion:
    return make_model(judge.created_by, f"another judge {number}", kind="reward")


def test_a_prompt_with_several_responses_counts_once(
    project: Project, judge: ModelVersion, old: ModelVersion, new: ModelVersion
) -> None:
    """Of the pairs (3, 1), (3, 4), (0, 1), (0, 4) the old one wins a quarter; the unscored third response is left."""
    prompt = ask(project, 1)
    answer(prompt, old, 3.0, 0.0, None, by=judge)
    answer(prompt, new, 1.0, 4.0, by=judge)
    found = get_win_rates(project=project, judge=judge)
    cell = found.cells[0][1]
    assert cell == WinRate(1, 0, 0.25, wilson_interval(0.25, 1), -1.0)
    assert [(policy.prompts, policy.responses, policy.unscored) for policy in found.policies] == [(1, 3, 1), (1, 2, 0)]
    assert found.unscored == 1


def test_what_is_missing_is_counted_and_other_projects_do_not_count(
    project: Project, judge: ModelVersion, old: ModelVersion, new: ModelVersion, admin: User
) -> None:
    answer(ask(project, 1), old, 1.0, by=judge)  # nobody else answered
    both = ask(project, 2)
    answer(both, old, 1.0, by=judge)
    answer(both, new, None)
    again = ask(project, 3)
    answer(again, old, None)
    answer(again, new, 1.0, by=judge)
    other = Project.objects.create(name="Other", slug="other", created_by=admin)
    elsewhere = ask(other, 1)
    answer(elsewhere, old, 1.0, by=judge)
    answer(elsewhere, new, 2.0, by=judge)
    cell = get_win_rates(project=project, judge=judge).cells[0][1]
    assert cell == WinRate(0, 2, None, (0.0, 1.0), None)


def test_imported_responses_are_a_policy_where_a_model_answered_too(
    project: Project, judge: ModelVersion, new: ModelVersion
) -> None:
    prompt = ask(project, 1)
    answer(prompt, None, 1.0, 2.0, by=judge)
    answer(prompt, new, 3.0, by=judge)
    answer(ask(project, 2), None, 1.0, 2.0, by=judge)
    imported, model = get_win_rates(project=project, judge=judge).policies
    assert (imported.name, imported.model, imported.prompts) == ("Imported responses", None, 1)
    assert model.model == new


def test_a_few_queries_whatever_the_size(
    project: Project,
    judge: ModelVersion,
    admin: User,
    django_assert_max_num_queries: Callable[..., object],
) -> None:
    models = [make_model(admin, f"policy {number}") for number in range(MOST_POLICIES + 2)]
    for number, model in enumerate(models):
        for question in range(number + 1):
            answer(ask(project, question), model, float(question), by=judge)
    with django_assert_max_num_queries(2):  # type: ignore[attr-defined]
        found = get_win_rates(project=project, judge=judge)
    assert [policy.model for policy in found.policies] == models[2:]
    assert found.left_out == 2
    assert all(cell is None or cell.rate == 0.5 for row in found.cells for cell in row)


def test_the_page_shows_the_table_and_leads_to_scoring(
    sign_in: SignIn, admin: User, project: Project, judge: ModelVersion, old: ModelVersion, new: ModelVersion
) -> None:
    for number in range(20):
        prompt = ask(project, number)
        answer(prompt, old, 0.0, by=judge)
        answer(prompt, new, 1.5 if number else None, by=judge)
    client = sign_in(admin)
    page = " ".join(client.get(reverse("model_win_rates", args=[judge.pk])).content.decode().split())
    low, high = wilson_interval(19, 19)
    assert f'100.0 %</span> <span class="muted block whitespace-nowrap">{100 * low:.0f} % – {100 * high:.0f} %' in page
    assert "n 19, +1.50" in page and "n 19, -1.50" in page
    assert "1 prompt without a score" in page
    assert f'action="{reverse("scoring_start", args=[project.slug])}"' in page
    assert f'name="model" value="{judge.pk}"' in page
    for model in (judge, new):
        assert (
            reverse("model_win_rates", args=[judge.pk])
            in client.get(reverse("model_detail", args=[model.pk])).content.decode()
        )


def test_the_page_asks_for_what_is_missing(
    sign_in: SignIn, admin: User, project: Project, judge: ModelVersion, old: ModelVersion
) -> None:
    client = sign_in(admin)
    url = reverse("model_win_rates", args=[judge.pk])
    assert "No model has answered a prompt yet" in client.get(url).content.decode()
    answer(ask(project, 1), old, 1.0, by=judge)
    page = client.get(url).content.decode()
    assert "Only one policy has answered here" in page
    assert reverse("scoring_start", args=[project.slug]) not in page, "all is scored"
    assert client.get(reverse("model_win_rates", args=[old.pk])).status_code == 404, "a policy judges nothing"
    assert client.get(url, {"project": "nothing-here"}).status_code == 404


def test_the_project_scored_last_is_shown_until_another_is_chosen(
    sign_in: SignIn, admin: User, project: Project, judge: ModelVersion, old: ModelVersion
) -> None:
    other = Project.objects.create(name="Another", slug="another", created_by=admin)
    silent = Project.objects.create(name="A silent one", slug="silent", created_by=admin)
    answer(ask(other, 1), old, None)
    assert find_judged_project(judge) == other
    answer(ask(project, 1), old, 1.0, by=judge)
    answer(ask(other, 1), old, 1.0, by=judge)
    assert find_judged_project(judge) == other
    answer(ask(project, 1), old, 1.0, by=judge)
    assert find_judged_project(judge) == project
    client = sign_in(admin)
    page = client.get(reverse("model_win_rates", args=[judge.pk]))
    assert page.context["project"] == project and silent not in page.context["projects"]
    chosen = client.get(reverse("model_win_rates", args=[judge.pk]), {"project": "another"})
    assert chosen.context["project"] == other


def test_the_api_tells_both_directions(
    api: Api, admin: User, project: Project, judge: ModelVersion, old: ModelVersion, new: ModelVersion
) -> None:
    for number, (one, two) in enumerate(pairwise([3.0, 1.0, 2.0, 2.0])):
        prompt = ask(project, number)
        answer(prompt, old, one, by=judge)
        answer(prompt, new, two, by=judge)
    client = api(admin)
    answer(ask(project, 0), None, 0.0)
    url = f"/api/v1/models/{judge.pk}/win-rates/"
    found = client.get(url, {"project": project.slug}).json()
    assert (found["judge"], found["project"]) == (judge.pk, project.slug)
    imported, policy, _other = found["policies"]
    assert imported == {"model": None, "name": "Imported responses", "prompts": 1, "responses": 1, "unscored": 1}
    assert policy == {"model": old.pk, "name": "old policy", "prompts": 3, "responses": 3, "unscored": 0}
    rates = {(rate["first"], rate["second"]): rate for rate in found["win_rates"]}
    assert len(rates) == 6 and rates[None, old.pk]["unscored"] == 1
    first, second = rates[old.pk, new.pk], rates[new.pk, old.pk]
    assert first == {
        "first": old.pk,
        "second": new.pk,
        "prompts": 3,
        "unscored": 0,
        "rate": 0.5,
        "interval": pytest.approx(list(wilson_interval(1.5, 3))),
        "mean_gap": pytest.approx(1 / 3),
    }
    assert second["rate"] == 0.5
    assert second["mean_gap"] == pytest.approx(-1 / 3)
    assert client.get(url).json() == {"project": ["Name the project by its slug."]}
    assert client.get(url, {"project": "nothing-here"}).status_code == 404
    assert client.get(f"/api/v1/models/{old.pk}/win-rates/", {"project": project.slug}).status_code == 404
