"""Sampling and scoring: from prompts to comparisons in the queue, with the real programs on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from annotate.models import Comparison, Project, Prompt, Response, ResponseScore, SamplingJob, ScoringJob
from annotate.services.sampling import SamplingError, sample_responses, start_sampling
from annotate.services.scoring import ScoringError, score_responses, start_scoring
from models_registry import leases, tasks
from models_registry.models import ModelKind, ModelVersion
from models_registry.supervisor import ProgramJob
from tests.conftest import MakeComparison
from tests.scenery import make_model
from tests.tiny_models import make_tiny_policy

Start = Callable[..., SamplingJob]


@pytest.fixture(autouse=True)
def worker(settings: Any, tmp_path: Path) -> None:
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    settings.DATA_DIR = tmp_path
    settings.HEARTBEAT_SECONDS = 0.2


@pytest.fixture
def policy(admin: User) -> ModelVersion:
    return make_model(admin, "policy")


@pytest.fixture
def judge(admin: User) -> ModelVersion:
    return make_model(admin, "judge", kind=ModelKind.REWARD)


@pytest.fixture
def start(project: Project, admin: User, policy: ModelVersion) -> Start:
    """start(new_prompts=[...]): with everything else as it should be."""

    def start(**changed: Any) -> SamplingJob:
        usual: dict[str, Any] = {"project": project, "model_a": policy, "model_b": policy, "by": admin}
        usual |= {"max_new_tokens": 8, "seed": 3}
        return start_sampling(**(usual | changed))

    return start


def make_tiny_judge(folder: Path, policy: Path) -> None:
    import torch

    from models_registry.inference.load import load_reward_model, load_tokenizer

    load_reward_model(policy, torch.float32).save_pretrained(folder)
    load_tokenizer(policy).save_pretrained(folder)


class CannedSupervisor:
    """Stands for the programs' side: files in the folder, as the programs leave them."""

    def __init__(self, responses: list[dict[str, Any]], scores: list[dict[str, Any]] | None = None) -> None:
        self.responses, self.scores = responses, scores or []
        self.jobs: list[ProgramJob] = []

    def run(self, job: ProgramJob, folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True)
        job.write_inputs(folder)
        self.jobs.append(job)
        name, rows = ("responses", self.responses) if "generate" in job.command[1] else ("scores", self.scores)
        with (folder / f"{name}.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        return {}


def answer(prompt: Prompt, sampler: int, text: str) -> dict[str, Any]:
    return {"prompt_id": prompt.pk, "sampler": sampler, "text": text, "tokens": 3, "finish": "eos", "seed": 5}


def claim(job: SamplingJob) -> SamplingJob:
    work = leases.claim(job, "host:1")
    assert work is not None
    return work


@pytest.mark.django_db(transaction=True)
def test_prompts_become_scored_comparisons(
    start: Start, policy: ModelVersion, judge: ModelVersion, project: Project
) -> None:
    make_tiny_policy(policy.folder)
    make_tiny_judge(judge.folder, policy.folder)
    project.votes_per_comparison = 2
    project.save()
    job = start(new_prompts=["How do I bake bread?", "What is the capital of France?"], reward_model=judge)
    assert tasks.run_next("gpu")
    job.refresh_from_db()
    assert job.state == "finished", job.cause + job.log_tail
    assert job.message.startswith("2 comparisons")
    comparisons = list(Comparison.objects.filter(sampling_job=job))
    assert [comparison.need for comparison in comparisons] == [2, 2]
    response = comparisons[0].response_a
    assert response.model == policy
    assert (response.sampling["temperature"], response.sampling["top_p"]) == (0.7, 0.95)
    assert {"seed", "tokens", "finish"} <= response.sampling.keys()
    assert comparisons[0].response_b.sampling["temperature"] == 1.0
    assert ResponseScore.objects.filter(model=judge).count() == 4
    assert not job.folder.exists()
    with pytest.raises(ScoringError, match="has scored every response"):
        start_scoring(project=project, model=judge, by=job.created_by)


def test_scoring_job_scores_what_has_no_score(
    make_comparison: MakeComparison, project: Project, judge: ModelVersion, admin: User
) -> None:
    comparisons = [make_comparison(), make_comparison()]
    scored = comparisons[0].response_a
    ResponseScore.objects.create(response=scored, model=judge, score=99.0)
    job = start_scoring(project=project, model=judge, by=admin)
    others = [comparisons[0].response_b, comparisons[1].response_a]
    rows: list[dict[str, Any]] = [{"id": response.pk, "score": 0.5} for response in others]
    supervisor = CannedSupervisor([], [*rows, {"id": comparisons[1].response_b_id, "error": "too long"}])
    work = leases.claim(job, "host:1")
    assert work is not None
    score_responses(work, supervisor)  # type: ignore[arg-type]
    job.refresh_from_db()
    assert (job.state, job.message) == ("finished", "2 scored, 1 too long for the model")
    scores = dict(ResponseScore.objects.values_list("response", "score"))
    assert scores == {scored.pk: 99.0} | {response.pk: 0.5 for response in others}


def test_equal_and_failed_answers_are_left_out_and_counted(start: Start) -> None:
    job = start(new_prompts=["One?", "Two?", "Three?"])
    one, two, three = job.prompts.order_by("pk")
    rows = [answer(one, 0, "Same."), answer(one, 1, "Same."), answer(two, 0, "This."), answer(two, 1, "That.\x00")]
    rows += [answer(three, 0, "A."), {"prompt_id": three.pk, "sampler": 1, "error": "The prompt is too long."}]
    sample_responses(claim(job), CannedSupervisor(rows))  # type: ignore[arg-type]
    job.refresh_from_db()
    assert job.state == "finished"
    assert "both responses are the same text (1)" in job.message
    assert "The prompt is too long. (1)" in job.message
    (comparison,) = Comparison.objects.all()
    assert (comparison.prompt, comparison.response_b.text) == (two, "That.\N{REPLACEMENT CHARACTER}")


def test_nothing_to_compare_fails_in_words(start: Start) -> None:
    job = start(new_prompts=["One?"])
    rows = [answer(job.prompts.get(), sampler, "Same.") for sampler in (0, 1)]
    with pytest.raises(leases.WorkFailed, match="both responses are the same text"):
        sample_responses(claim(job), CannedSupervisor(rows))  # type: ignore[arg-type]


def test_former_owner_files_nothing(start: Start) -> None:
    job = start(new_prompts=["One?"])
    prompt, work = job.prompts.get(), claim(job)
    leases.requeue(work)
    again = claim(job)
    rows = [answer(prompt, 0, "This."), answer(prompt, 1, "That.")]
    with pytest.raises(leases.LeaseLost):
        sample_responses(work, CannedSupervisor(rows))  # type: ignore[arg-type]
    assert not Response.objects.exists()
    sample_responses(again, CannedSupervisor(rows))  # type: ignore[arg-type]
    assert Comparison.objects.count() == 1


def test_interrupted_job_keeps_what_it_had(start: Start) -> None:
    job = start(new_prompts=["One?"])
    prompt, first = job.prompts.get(), claim(job)
    (first.attempt_folder / "generate").mkdir(parents=True)
    (first.attempt_folder / "generate/responses.jsonl").write_text(json.dumps(answer(prompt, 0, "Kept.")) + "\n")
    leases.requeue(first)
    sample_responses(claim(job), CannedSupervisor([answer(prompt, 1, "New.")]))  # type: ignore[arg-type]
    assert Comparison.objects.get().response_a.text == "Kept."


def test_program_is_told_models_and_settings(start: Start, admin: User, judge: ModelVersion) -> None:
    other = make_model(admin, "another policy")
    job = start(new_prompts=["One?"], model_b=other, temperature_b=0.0, top_p=0.5, reward_model=judge)
    prompt = job.prompts.get()
    rows = [answer(prompt, 0, "This."), answer(prompt, 1, "That.")]
    supervisor = CannedSupervisor(
        rows, [{"id": f"{prompt.pk}:0", "score": 1.5}, {"id": f"{prompt.pk}:1", "error": "x"}]
    )
    sample_responses(claim(job), supervisor)  # type: ignore[arg-type]
    generate, score = supervisor.jobs
    samplers = generate.config["samplers"]
    assert [(sampler["model"], sampler["temperature"]) for sampler in samplers] == [
        (str(job.model_a.folder), 0.7),
        (str(other.folder), 0.0),
    ]
    assert {(sampler["top_p"], sampler["max_new_tokens"], sampler["seed"]) for sampler in samplers} == {(0.5, 8, 3)}
    assert score.config["model"] == str(judge.folder)
    (stored,) = ResponseScore.objects.all()
    assert (stored.response.text, stored.score) == ("This.", 1.5)


class TestStart:
    def test_same_prompt_twice_is_asked_once(self, start: Start, project: Project) -> None:
        first = start(new_prompts=["One?", "One?"])
        again = start(new_prompts=["One?"], prompts=list(first.prompts.all()))
        assert Prompt.objects.filter(project=project).count() == 1
        assert again.prompts.count() == 1

    def test_dialogues_are_prompts_too(self, start: Start) -> None:
        turns = [("user", "Hello."), ("assistant", "Hello!"), ("user", "Bake me bread.")]
        job = start(new_prompts=[[{"role": role, "content": content} for role, content in turns]])
        assert len(job.prompts.get().messages) == 3

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"new_prompts": []}, "prompts"),
            ({"new_prompts": ["  "]}, "new_prompts"),
            ({"new_prompts": [[{"role": "assistant", "content": "Hi"}]]}, "new_prompts"),
            ({"new_prompts": ["a\x00b"]}, "new_prompts"),
            ({"temperature_a": 2.5}, "temperature_a"),
            ({"temperature_a": 0.0, "temperature_b": 0.0}, "temperature_b"),
            ({"top_p": 0.0}, "top_p"),
            ({"max_new_tokens": 5000}, "max_new_tokens"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_refuses_with_the_field(self, start: Start, changed: dict[str, Any], field: str) -> None:
        with pytest.raises(SamplingError) as caught:
            start(**({"new_prompts": ["One?"]} | changed))
        assert caught.value.field == field
        assert not SamplingJob.objects.exists()

    def test_refuses_models_that_cannot_answer(self, start: Start, admin: User, judge: ModelVersion) -> None:
        absent = make_model(admin, "on its way", ready=False)
        for changed, field in (
            ({"model_a": judge}, "model_a"),
            ({"model_b": absent}, "model_b"),
            ({"reward_model": make_model(admin, "no judge")}, "reward_model"),
        ):
            with pytest.raises(SamplingError) as caught:
                start(new_prompts=["One?"], **changed)
            assert caught.value.field == field

    def test_refuses_prompts_of_another_project(self, start: Start, admin: User) -> None:
        elsewhere = Project.objects.create(name="Elsewhere", slug="elsewhere", created_by=admin)
        prompt = start(new_prompts=["One?"], project=elsewhere).prompts.get()
        with pytest.raises(SamplingError, match="another project"):
            start(prompts=[prompt])

    def test_scoring_needs_a_ready_reward_model(
        self, make_comparison: MakeComparison, project: Project, policy: ModelVersion, admin: User
    ) -> None:
        make_comparison()
        for model in (policy, make_model(admin, "late judge", kind=ModelKind.REWARD, ready=False)):
            with pytest.raises(ScoringError):
                start_scoring(project=project, model=model, by=admin)
        assert not ScoringJob.objects.exists()
