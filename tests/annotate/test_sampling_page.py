"""Sampling and scoring: pages and API. What the programs do is in tests/models_registry/inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Comparison, Project, Prompt, Response, ResponseScore, SamplingJob, ScoringJob
from annotate.services.comparisons import NewResponse, create_comparison
from annotate.services.prompts import get_or_create_prompt
from models_registry.models import ModelKind, ModelVersion, WorkState
from tests import scenery

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def policy(admin: User) -> ModelVersion:
    return scenery.make_model(admin)


@pytest.fixture
def scorer(admin: User) -> ModelVersion:
    return scenery.make_model(admin, "scorer", kind=ModelKind.REWARD)


@pytest.fixture
def url(project: Project) -> str:
    return reverse("sampling_list", args=[project.slug])


def fill(policy: ModelVersion, **changes: Any) -> dict[str, Any]:
    values = {
        "prompts_from": "new",
        "text": "How long do eggs boil?",
        "limit": 20,
        "model_a": policy.pk,
        "model_b": policy.pk,
        "temperature_a": 0.7,
        "temperature_b": 1.0,
        "top_p": 0.95,
        "max_new_tokens": 64,
        "seed": 3,
        "reward_model": "",
    }
    return values | changes


def make_results(job: SamplingJob, text: str = "Six **minutes**.") -> Comparison:
    prompt, _created = get_or_create_prompt(project=job.project, messages=[{"role": "user", "content": "Eggs?"}])
    job.prompts.add(prompt)
    return create_comparison(
        project=job.project,
        prompt=prompt,
        response_a=NewResponse(text=text, model=job.model_a, sampling={"tokens": 4, "finish": "length"}),
        response_b=NewResponse(text="No idea.", model=job.model_b, sampling={"tokens": 3, "finish": "eos"}),
        sampling_job=job,
    )


def test_without_a_model_the_page_says_what_to_do(sign_in: SignIn, admin: User, url: str) -> None:
    page = sign_in(admin).get(url).content.decode()
    assert "No model is ready to answer." in page
    assert reverse("model_list") in page


def test_a_new_prompt_is_sent_to_the_models(
    sign_in: SignIn, admin: User, project: Project, url: str, policy: ModelVersion, scorer: ModelVersion
) -> None:
    answer = sign_in(admin).post(url, fill(policy, reward_model=scorer.pk))
    job = SamplingJob.objects.get()
    assert answer.headers["Location"] == reverse("sampling_detail", args=[job.pk])
    assert [prompt.messages[0]["content"] for prompt in job.prompts.all()] == ["How long do eggs boil?"]
    assert (job.seed, job.max_new_tokens, job.reward_model, job.state) == (3, 64, scorer, WorkState.QUEUED)


def test_prompts_of_the_project_newest_first_and_without_those_that_were_answered(
    sign_in: SignIn, admin: User, project: Project, url: str, policy: ModelVersion, comparisons: list[Comparison]
) -> None:
    newest = list(Prompt.objects.filter(project=project).order_by("-pk"))
    Response.objects.filter(prompt=newest[0]).update(model=policy)
    client = sign_in(admin)
    client.post(url, fill(policy, prompts_from="unsampled", text="", limit=2))
    client.post(url, fill(policy, prompts_from="newest", text="", limit=2))
    newest_job, unsampled_job = SamplingJob.objects.order_by("-pk")
    assert set(unsampled_job.prompts.all()) == set(newest[1:3])
    assert set(newest_job.prompts.all()) == set(newest[:2])


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"text": "  "}, "text", "Write a prompt"),
        ({"prompts_from": "newest", "limit": ""}, "limit", "Say how many"),
        ({"prompts_from": "newest", "limit": "100000"}, "limit", "less than or equal"),
        ({"prompts_from": "newest"}, "prompts_from", "no such prompt"),
        ({"prompts_from": "all"}, "prompts_from", "Select a valid choice"),
        ({"temperature_a": "9"}, "temperature_a", "less than or equal"),
        ({"temperature_a": "nan"}, "temperature_a", "Enter a number"),
        ({"temperature_a": "0", "temperature_b": "0"}, "temperature_b", "same response twice"),
        ({"top_p": "0"}, "top_p", "greater than or equal"),
        ({"max_new_tokens": "2.5"}, "max_new_tokens", "whole number"),
        ({"seed": "-1"}, "seed", "greater than or equal"),
        ({"seed": "99999999999"}, "seed", "less than or equal"),
        ({"model_a": "scorer"}, "model_a", "Select a valid choice"),
        ({"model_b": "999"}, "model_b", "Select a valid choice"),
        ({"text": "a\x00b"}, "text", "Null characters"),
    ],
)
def test_bad_input_gets_words_at_its_field(
    sign_in: SignIn,
    admin: User,
    url: str,
    policy: ModelVersion,
    scorer: ModelVersion,
    changes: dict[str, str],
    field: str,
    words: str,
) -> None:
    if changes.get("model_a") == "scorer":
        changes = {"model_a": str(scorer.pk)}
    answer = sign_in(admin).post(url, fill(policy, **changes))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert words in page.partition(f'id="id_{field}_error">')[2].partition("<")[0]
    assert not SamplingJob.objects.exists()


def test_the_job_page_polls_until_it_is_over_and_then_shows_the_results(
    sign_in: SignIn, admin: User, project: Project, policy: ModelVersion, scorer: ModelVersion
) -> None:
    job = SamplingJob.objects.create(
        project=project, model_a=policy, model_b=policy, reward_model=scorer, created_by=admin, state=WorkState.RUNNING
    )
    client = sign_in(admin)
    detail, status = reverse("sampling_detail", args=[job.pk]), reverse("sampling_status", args=[job.pk])
    for address in (detail, status):
        assert "every 2s" in client.get(address).content.decode()
    pair = make_results(job, "Six **minutes** <img src=x onerror=alert(1)>")
    ResponseScore.objects.create(response=pair.response_a, model=scorer, score=1.234)
    SamplingJob.objects.filter(pk=job.pk).update(state=WorkState.FINISHED)
    for address in (detail, status):
        page = client.get(address).content.decode()
        assert "every 2s" not in page
        assert "<strong>minutes</strong>" in page
        assert "<img src=x" not in page
        assert "1.23" in page
        assert "cut off at the limit" in page
        assert reverse("compare", args=[project.slug]) in page


def test_cancelling_and_trying_again(sign_in: SignIn, admin: User, project: Project, policy: ModelVersion) -> None:
    job = SamplingJob.objects.create(project=project, model_a=policy, model_b=policy, created_by=admin)
    client = sign_in(admin)
    client.post(reverse("sampling_cancel", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == WorkState.CANCELLED
    assert "over already" in client.post(reverse("sampling_cancel", args=[job.pk]), follow=True).content.decode()
    client.post(reverse("sampling_retry", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == WorkState.QUEUED


def test_a_reward_model_is_sent_over_the_responses(
    sign_in: SignIn, admin: User, project: Project, url: str, scorer: ModelVersion, comparisons: list[Comparison]
) -> None:
    client = sign_in(admin)
    assert "Score the responses" in client.get(url).content.decode()
    start = reverse("scoring_start", args=[project.slug])
    client.post(start, {"model": scorer.pk})
    assert (ScoringJob.objects.get().model, ScoringJob.objects.get().state) == (scorer, WorkState.QUEUED)
    status = reverse("scoring_status", args=[project.slug])
    assert "every 3s" in client.get(status).content.decode()
    ScoringJob.objects.update(state=WorkState.FINISHED)
    assert "every 3s" not in client.get(status).content.decode()
    page = client.post(start, {"model": "x"}, follow=True).content.decode()
    assert "Choose one of the listed reward models." in page


def test_scoring_twice_says_that_all_is_scored(
    sign_in: SignIn, admin: User, project: Project, scorer: ModelVersion, comparisons: list[Comparison]
) -> None:
    for response in Response.objects.all():
        ResponseScore.objects.create(response=response, model=scorer, score=0)
    start = reverse("scoring_start", args=[project.slug])
    page = sign_in(admin).post(start, {"model": scorer.pk}, follow=True).content.decode()
    assert "has scored every response" in page


def test_jobs_through_the_api(
    api: Api, admin: User, project: Project, policy: ModelVersion, comparisons: list[Comparison]
) -> None:
    client = api(admin)
    url = f"/api/v1/projects/{project.slug}/sampling-jobs/"
    first = Prompt.objects.filter(project=project).earliest("pk")
    asked = {"model_a": policy.pk, "model_b": policy.pk, "prompts": [first.pk], "new_prompts": ["New?"], "newest": 2}
    made = client.post(url, asked)
    assert made.status_code == 202
    job = SamplingJob.objects.get()
    assert set(made.json()["prompts"]) == set(job.prompts.values_list("pk", flat=True))
    assert job.prompts.count() == 4
    make_results(job)
    assert [row["id"] for row in client.get(url).json()["results"]] == [job.pk]
    one = client.get(f"/api/v1/sampling-jobs/{job.pk}/").json()
    assert (one["project"], len(one["comparisons"]), one["state"]) == (project.slug, 1, "queued")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompts": [987654]}, "prompts"),
        ({}, "prompts"),
        ({"new_prompts": [""]}, "new_prompts"),
        ({"new_prompts": ["x"], "temperature_a": 5}, "temperature_a"),
        ({"new_prompts": ["x"], "top_p": "wide"}, "top_p"),
        ({"new_prompts": ["x"], "model_b": 987654}, "model_b"),
        ({"new_prompts": ["x"], "newest": 10**9}, "newest"),
        ({"new_prompts": ["x"], "seed": 2**31}, "seed"),
        ({"prompts": [2**70]}, "prompts"),
    ],
)
def test_bad_requests_name_field_and_reason(
    api: Api, admin: User, project: Project, policy: ModelVersion, changes: dict[str, Any], field: str
) -> None:
    url = f"/api/v1/projects/{project.slug}/sampling-jobs/"
    answer = api(admin).post(url, {"model_a": policy.pk, "model_b": policy.pk} | changes)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not SamplingJob.objects.exists()


def test_sampling_is_for_admins(
    sign_in: SignIn, api: Api, labeler: User, admin: User, project: Project, url: str, policy: ModelVersion
) -> None:
    job = SamplingJob.objects.create(project=project, model_a=policy, model_b=policy, created_by=admin)
    client = sign_in(labeler)
    for address in (
        url,
        reverse("sampling_detail", args=[job.pk]),
        reverse("sampling_status", args=[job.pk]),
        reverse("scoring_status", args=[project.slug]),
    ):
        assert client.get(address).status_code == 403
    for name in ("sampling_cancel", "sampling_retry"):
        assert client.post(reverse(name, args=[job.pk])).status_code == 403
    assert client.post(reverse("scoring_start", args=[project.slug])).status_code == 403
    assert api(labeler).get(f"/api/v1/projects/{project.slug}/sampling-jobs/").status_code == 403
    assert api(labeler).post(f"/api/v1/projects/{project.slug}/sampling-jobs/").status_code == 403
    assert api(labeler).get(f"/api/v1/sampling-jobs/{job.pk}/").status_code == 403
