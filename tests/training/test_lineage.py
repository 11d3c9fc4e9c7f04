"""The lineage: walked both ways from anything, folded where it is large, and silent about what a reader may not see."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.models import (
    Assignment,
    Comparison,
    DatasetVersion,
    DatasetVersionJudgment,
    Judgment,
    Membership,
    Project,
    Response,
    Role,
    SamplingJob,
)
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from tests.annotate.votes import vote
from training.archiving import archive
from training.lineage import GENERATIONS, SHOWN, Lineage, get_lineage
from training.models import Run

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


class Loop:
    """Two turns of the loop: base -> sampling -> votes -> version 1 -> run -> model -> sampling -> version 2 -> run."""

    def __init__(self, base: ModelVersion, project: Project, pairs: list[Comparison], labeler: User) -> None:
        self.base, self.pairs = base, pairs
        self.first_job = self._sample(project, base, pairs[0])
        self.first = self._freeze(project, 1, pairs[0], labeler)
        self.run = scenery.make_run(self.first, base)
        self.model = scenery.finish_run(self.run)
        self.second_job = self._sample(project, self.model, pairs[1])
        self.second = self._freeze(project, 2, pairs[1], labeler)
        self.last_run = scenery.make_run(self.second, self.model, state=WorkState.FAILED)

    def _sample(self, project: Project, model: ModelVersion, pair: Comparison) -> SamplingJob:
        job = SamplingJob.objects.create(
            project=project, model_a=model, model_b=self.base, state=WorkState.FINISHED, created_by=model.created_by
        )
        Comparison.objects.filter(pk=pair.pk).update(sampling_job=job)
        Response.objects.filter(pk=pair.response_a_id).update(model=model)
        return job

    def _freeze(self, project: Project, number: int, pair: Comparison, labeler: User) -> DatasetVersion:
        version = scenery.make_dataset(project, number)
        DatasetVersionJudgment.objects.create(dataset_version=version, judgment=vote(pair, labeler), split="train")
        return version


@pytest.fixture
def loop(base: ModelVersion, project: Project, comparisons: list[Comparison], labeler: User) -> Loop:
    return Loop(base, project, comparisons, labeler)


def read(kind: str, number: int, reader: User) -> Lineage:
    found = get_lineage(kind, number, reader=reader)
    assert found is not None
    return found


def name(generations: Any) -> list[set[tuple[str, int]]]:
    return [{node.key for node in generation.nodes} for generation in generations]


def test_one_walks_back_to_the_votes_and_forward_to_new_answers(loop: Loop, admin: User) -> None:
    found = read("model", loop.model.pk, admin)
    assert name(found.back) == [
        {("run", loop.run.pk)},
        {("model", loop.base.pk), ("dataset", loop.first.pk)},
        {("sampling", loop.first_job.pk)},
    ]
    assert name(found.forward) == [
        {("sampling", loop.second_job.pk), ("run", loop.last_run.pk)},
        {("dataset", loop.second.pk)},
    ]
    [job] = found.back[2].nodes
    assert (job.detail, job.links) == ("1 vote", (("dataset", loop.first.pk),))
    assert not found.is_cut
    last = read("run", loop.last_run.pk, admin)
    assert ("sampling", loop.first_job.pk) in {key for generation in name(last.back) for key in generation}
    pair = read("comparison", loop.pairs[0].pk, admin)
    assert name(pair.back) == [{("sampling", loop.first_job.pk)}, {("model", loop.base.pk)}]
    assert name(pair.forward)[:3] == [
        {("dataset", loop.first.pk)},
        {("run", loop.run.pk)},
        {("model", loop.model.pk)},
    ]


def test_what_is_archived_can_still_be_walked_to(loop: Loop, admin: User) -> None:
    archive(loop.base, reason="x", by=admin)
    [node] = [node for node in read("run", loop.run.pk, admin).back[0].nodes if node.kind == "model"]
    assert (node.name, node.is_archived) == (loop.base.name, True)


def test_pages_lead_to_it_and_say_it_in_words(sign_in: SignIn, loop: Loop, admin: User) -> None:
    client = sign_in(admin)
    starts = {
        "model": reverse("model_detail", args=[loop.model.pk]),
        "run": reverse("run_detail", args=[loop.run.pk]),
        "dataset": reverse("dataset_detail", args=[loop.first.pk]),
        "sampling": reverse("sampling_detail", args=[loop.first_job.pk]),
        "comparison": reverse("comparison_detail", args=[loop.pairs[0].pk]),
    }
    for kind, page in starts.items():
        address = reverse("lineage", args=[kind, int(page.strip("/").rpartition("/")[2])])
        assert f'href="{address}"' in client.get(page).content.decode(), kind
        told = client.get(address).content.decode()
        assert loop.run.name in told
        assert "<svg" in told
    for gone in (["model", 10**9], ["person", admin.pk], ["dataset", 10**9]):
        assert client.get(reverse("lineage", args=gone)).status_code == 404


def test_who_leads_one_project_learns_no_name_of_another(api: Api, loop: Loop, admin: User, teammate: User) -> None:
    other = Project.objects.create(name="Hidden things", slug="hidden", created_by=admin)
    SamplingJob.objects.filter(pk=loop.second_job.pk).update(project=other)
    DatasetVersion.objects.filter(pk=loop.second.pk).update(project=other)
    Membership.objects.filter(user=teammate).update(role=Role.LEAD)
    client = api(teammate)
    answer = client.get(reverse("api_lineage", args=["dataset", loop.first.pk]))
    assert answer.status_code == 200
    told = answer.content.decode()
    for secret in ("Hidden things", loop.run.name, loop.model.name, loop.base.name):
        assert secret not in told
    [run] = answer.json()["forward"][0]["nodes"]
    assert (run["name"], run["id"], run["url"], run["is_hidden"]) == ("Run", None, "", True)
    assert len(answer.json()["forward"]) == 1, "the walk ends at what is hidden"
    assert client.get(reverse("api_lineage", args=["comparison", loop.pairs[0].pk])).status_code == 200
    for kind, number in (("dataset", loop.second.pk), ("model", loop.model.pk), ("run", 1), ("sampling", 1)):
        assert client.get(reverse("api_lineage", args=[kind, number])).status_code in (403, 404)


def test_the_api_tells_the_same_with_links(api: Api, loop: Loop, admin: User) -> None:
    told = api(admin).get(reverse("api_lineage", args=["model", loop.model.pk])).json()
    assert told["start"]["id"] == loop.model.pk
    [run] = told["back"][0]["nodes"]
    assert (run["kind"], run["id"], run["links"]) == ("run", loop.run.pk, [{"kind": "model", "id": loop.model.pk}])


def count(kind: str, number: int, reader: User) -> int:
    with CaptureQueriesContext(connection) as queries:
        read(kind, number, reader)
    return len(queries)


def test_a_wide_graph_is_folded_and_costs_no_more(loop: Loop, admin: User) -> None:
    few = count("model", loop.base.pk, admin)
    for _number in range(3 * SHOWN):
        scenery.make_run(loop.first, loop.base)
    assert count("model", loop.base.pk, admin) <= few
    wide = read("model", loop.base.pk, admin).forward[0]
    runs = [node for node in wide.nodes if node.kind == "run"]
    assert (len(runs), wide.folded) == (SHOWN, [f"{3 * SHOWN + 1 - SHOWN} more runs"])


def test_a_large_registry_is_drawn_within_a_second(
    sign_in: SignIn, admin: User, project: Project, make_comparison: Any, labeler: User
) -> None:
    """500 models in one line and 100,000 votes behind each of the newest versions' runs."""
    now = timezone.now()
    models, runs = [scenery.make_model(admin, "m0")], []
    jobs = [
        SamplingJob.objects.create(project=project, model_a=models[0], model_b=models[0], created_by=admin)
        for _number in range(100)
    ]
    pairs = [make_comparison() for _number in range(100)]
    for pair, job in zip(pairs, jobs, strict=True):
        Comparison.objects.filter(pk=pair.pk).update(sampling_job=job)
    spare = Assignment(
        comparison=pairs[0], project=project, labeler=labeler, state="done", left_response="a", seed=0,
        leased_at=now, expires_at=now, holds_place=False,
    )  # fmt: skip
    spare.save()
    said = [
        Judgment(
            assignment=spare,
            comparison=pairs[number % 100],
            project=project,
            labeler=labeler,
            action="vote",
            grade="unsure",
            left_response="a",
            seed=0,
            shown_at=now,
            seconds=1,
            token=f"{number:032x}",
        )
        for number in range(20_000)
    ]
    Judgment.objects.bulk_create(said, batch_size=2000)
    numbers = list(Judgment.objects.values_list("pk", flat=True))
    versions = [scenery.make_dataset(project, number) for number in range(1, 6)]
    for version in versions:
        rows = (DatasetVersionJudgment(dataset_version=version, judgment_id=pk, split="train") for pk in numbers)
        DatasetVersionJudgment.objects.bulk_create(rows, batch_size=4000)
    for number in range(1, 500):
        models.append(scenery.make_model(admin, f"m{number}", base=models[-1]))
        runs.append(
            Run(
                name=f"r{number}",
                method="dpo",
                base_model=models[-2],
                dataset_version=versions[number % 5],
                config={},
                model=models[-1],
                created_by=admin,
                state=WorkState.FINISHED,
            )
        )
    Run.objects.bulk_create(runs)
    client, address = sign_in(admin), reverse("lineage", args=["model", models[250].pk])
    client.get(address)
    began = time.process_time()
    with CaptureQueriesContext(connection) as queries:
        page = client.get(address)
    took = time.process_time() - began
    print(f"{took:.2f} s of CPU, {len(queries)} queries")
    assert page.status_code == 200
    assert "It goes on beyond what is drawn" in page.content.decode()
    assert len(queries) <= 2 * GENERATIONS * 12
    assert took < 1
