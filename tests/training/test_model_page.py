"""A model's page: its facts and its lineage, back to the votes and forward to what came of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.models import Assignment, Comparison, DatasetVersion, Judgment, Response, ResponseScore, SamplingJob
from models_registry.models import ModelKind, ModelVersion, WorkState
from tests import scenery
from tests.training.evaluations import make_evaluation

SignIn = Callable[[User], Client]


def vote(comparison: Comparison, labeler: User, dataset: DatasetVersion) -> None:
    assignment = Assignment.objects.create(
        comparison=comparison,
        project=comparison.project,
        labeler=labeler,
        state="done",
        left_response="a",
        seed=0,
        leased_at=timezone.now(),
        expires_at=timezone.now(),
    )
    judgment = Judgment.objects.create(
        assignment=assignment,
        comparison=comparison,
        project=comparison.project,
        labeler=labeler,
        action="vote",
        grade="slightly",
        side="left",
        winner="a",
        token=uuid.uuid4(),
        left_response="a",
        seed=0,
        shown_at=timezone.now(),
        seconds=3,
    )
    dataset.votes.create(judgment=judgment, split="train")


def test_lineage_walks_from_the_votes_through_each_generation_to_the_model(
    sign_in: SignIn,
    admin: User,
    labeler: User,
    teammate: User,
    dataset: DatasetVersion,
    base: ModelVersion,
    comparisons: list[Comparison],
) -> None:
    for comparison in comparisons[:3]:
        vote(comparison, labeler, dataset)
    vote(comparisons[3], teammate, dataset)
    child = scenery.finish_run(scenery.make_run(dataset, base, name="child"))
    grandchild = scenery.finish_run(scenery.make_run(dataset, child, "orpo", name="grandchild"))
    page = " ".join(sign_in(admin).get(reverse("model_detail", args=[grandchild.pk])).content.decode().split())
    chain = page[page.index('id="lineage"') : page.index('id="facts"')]
    assert "<strong>4</strong> votes</a> by 2 labelers" in chain
    places = [chain.index(f">{name}<") for name in ("SmolLM2-135M-Instruct", "child", "grandchild")]
    assert places == sorted(places)
    for url in ("dataset_detail", "run_detail"):
        assert reverse(url, args=[dataset.pk if url == "dataset_detail" else grandchild.trained_by.pk]) in chain
    assert "65.5 %" in page


def test_the_plots_of_an_evaluation_stand_on_the_page(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion
) -> None:
    model = scenery.finish_run(scenery.make_run(dataset, base, "reward"))
    client, url = sign_in(admin), reverse("model_detail", args=[model.pk])
    ModelVersion.objects.filter(pk=model.pk).update(metrics={"eval": make_evaluation()})
    assert re.findall(r'data-plot-of="(\w+)"', client.get(url).content.decode()) == [
        "accuracy",
        "calibration",
        "rewards",
    ]
    assert "data-plot-of" not in client.get(reverse("model_detail", args=[base.pk])).content.decode()


def test_the_page_shows_what_came_of_a_model(
    sign_in: SignIn, admin: User, dataset: DatasetVersion, base: ModelVersion, comparisons: list[Comparison]
) -> None:
    project = dataset.project
    job = SamplingJob.objects.create(project=project, model_a=base, model_b=base, created_by=admin)
    Response.objects.filter(pk=comparisons[0].response_a_id).update(model=base)
    run = scenery.make_run(dataset, base)
    page = sign_in(admin).get(reverse("model_detail", args=[base.pk])).content.decode()
    for address in (reverse("sampling_detail", args=[job.pk]), reverse("run_detail", args=[run.pk])):
        assert address in page
    assert "1 response stored" in page


def test_a_reward_model_says_how_much_it_scored(
    sign_in: SignIn, admin: User, base: ModelVersion, comparisons: list[Comparison]
) -> None:
    scorer = scenery.make_model(admin, "scorer", kind=ModelKind.REWARD)
    for comparison in comparisons[:2]:
        ResponseScore.objects.create(response=comparison.response_a, model=scorer, score=0.5)
    page = sign_in(admin).get(reverse("model_detail", args=[scorer.pk])).content.decode()
    assert "2 responses scored" in page
    assert "method=reward" in page


def test_facts_name_architecture_licence_and_digests(sign_in: SignIn, admin: User, base: ModelVersion) -> None:
    page = sign_in(admin).get(reverse("model_detail", args=[base.pk])).content.decode()
    for words in ("LlamaForCausalLM", "134,515,008", "8,192 tokens", "BF16", "apache-2.0", "5af571cbf074e6d2"):
        assert words in page, words


def test_a_model_on_its_way_shows_progress_and_a_failed_one_its_cause(sign_in: SignIn, admin: User, db: None) -> None:
    model = scenery.make_model(admin, "coming", ready=False)
    work = scenery.make_import(model, state=WorkState.RUNNING, message="Fetching 12 of 98 MB", step=1, total_steps=4)
    client = sign_in(admin)
    url = reverse("model_detail", args=[model.pk])
    page = client.get(url).content.decode()
    assert "Fetching 12 of 98 MB" in page
    assert "every 2s" in page
    assert reverse("run_new") not in page
    work.state, work.cause = WorkState.FAILED, "The hub cannot be reached."
    work.save()
    fragment = client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "The hub cannot be reached." in fragment
    assert "every 2s" not in fragment
    assert reverse("model_retry", args=[model.pk]) in fragment
