"""A run from queue to registry, with the real engine under accelerate on a tiny model."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from safetensors.torch import load_file

from annotate.models import AuditEvent, DatasetVersion
from models_registry import leases, supervisor, tasks
from models_registry.machines import describe_machine
from models_registry.models import ModelVersion
from models_registry.selectors import list_models
from tests.tiny_models import make_tiny_policy
from training import checkpoints, services
from training.accelerate_config import describe_launch, write_yaml
from training.checkpoints import list_checkpoints
from training.curve_levels import file_metrics
from training.models import Layout, Run, RunMetric

Launch = Callable[..., Run]
STEPS = 60
TAKEN = "log-probabilities were taken from an earlier run"
TINY: dict[str, float] = {
    "batch_size": 2,
    "gradient_accumulation": 1,
    "epochs": 10,
    "max_length": 128,
    "max_prompt_length": 64,
}
TINY |= {"logging_steps": 1, "eval_steps": 20, "save_steps": 1, "learning_rate": 1e-3}


@pytest.fixture(autouse=True)
def worker(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often: a tiny model is trained in seconds, and a cancel must come in between."""
    for room in ("annotate", "models_registry", "training"):
        import_module(f"{room}.tasks")
    settings.HEARTBEAT_SECONDS = 0.1
    monkeypatch.setattr(supervisor, "POLL_S", 0.05)


@pytest.mark.django_db(transaction=True)
def test_cancelled_run_goes_on_from_its_checkpoint_to_the_registry(
    launch: Launch, base_model: ModelVersion, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    make_tiny_policy(base_model.folder)
    run = launch(values=TINY)

    def file_and_cancel(work: Run, lines: list[dict[str, Any]]) -> None:
        file_metrics(work, lines)
        if any(line["step"] >= 3 for line in lines):
            leases.request_cancel(work)

    monkeypatch.setattr("training.services.file_metrics", file_and_cancel)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert run.state == "cancelled", run.cause + run.log_tail
    assert 3 <= run.step < STEPS
    left_off = run.step

    services.retry_run(run=run, by=run.created_by)
    monkeypatch.setattr("training.services.file_metrics", file_metrics)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert (run.state, run.epoch) == ("finished", 2), run.cause + run.log_tail
    assert f"Taken up from step {left_off} of {STEPS}." in run.result["notes"]
    assert run.result["hardware"] == describe_machine().device_name  # what estimates of later runs are scaled from

    model = list_models().get(trained_by=run)
    assert (model.name, model.kind, model.source, model.base) == (run.name, "policy", "run", base_model)
    assert (model.is_ready, model.licence) == (True, "apache-2.0")
    assert (model.folder / "model.safetensors").exists()
    assert model.facts["architecture"] == "LlamaForCausalLM"
    assert model.metrics["eval"]["pairs"] == 4
    assert not list(run.folder.glob("attempt-*/checkpoints"))

    steps = RunMetric.objects.filter(run=run).values_list("step", "values")
    assert [step for step, _values in steps] == list(range(STEPS + 1))
    final = dict(steps)[STEPS]
    assert {"loss", "rewards/margins", "eval_loss"} <= final.keys()  # two lines of one step are one row
    assert "Taken up" in run.log_tail
    assert any(TAKEN in note for note in run.result["notes"])  # by the second attempt from the first

    other = launch(name="another", values=TINY | {"max_steps": 1, "beta": 0.5})
    assert tasks.run_next("gpu")
    other.refresh_from_db()
    assert other.state == "finished", other.cause + other.log_tail
    assert any(TAKEN in note for note in other.result["notes"])
    assert len(list((settings.DATA_DIR / "reference-cache").iterdir())) == 1


@pytest.mark.django_db(transaction=True)
def test_paused_run_leaves_the_device_and_ends_bit_equal(
    launch: Launch, base_model: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_policy(base_model.folder)
    run = launch(values=TINY | {"epochs": 4, "save_steps": 0})  # the only checkpoint is the one of the pause

    def pause(work: Run, lines: list[dict[str, Any]]) -> None:
        file_metrics(work, lines)
        if any(line["step"] >= 3 for line in lines):
            services.pause_run(run=run, by=run.created_by)

    monkeypatch.setattr("training.services.file_metrics", pause)
    assert tasks.run_next("gpu")
    monkeypatch.setattr("training.services.file_metrics", file_metrics)
    run.refresh_from_db()
    assert (run.state, run.crashes, run.cause) == ("paused", 0, ""), run.cause + run.log_tail
    assert 3 <= run.step < 24
    assert not tasks.run_next("gpu")

    services.resume_run(run=run, by=run.created_by)
    plain = launch(name="in one go", values=TINY | {"epochs": 4, "save_steps": 0})
    assert tasks.run_next("gpu") and tasks.run_next("gpu")
    models = list_models().filter(trained_by__in=[run, plain])
    weights = {(model.folder / "model.safetensors").read_bytes() for model in models}
    assert (len(models), len(weights)) == (2, 1)
    actions = AuditEvent.objects.filter(kind="run", number=run.pk).values_list("action", "by__username")
    who = run.created_by.username
    assert {("run_paused", who), ("run_resumed", who)} < set(actions)


@pytest.mark.django_db(transaction=True)
def test_full_disk_and_limit_pause_a_run_that_then_goes_on(
    launch: Launch, base_model: ModelVersion, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel refuses the trainer files of more than 1.5 MB: its optimizer's state does not fit."""
    make_tiny_policy(base_model.folder)
    run = launch(values=TINY | {"epochs": 4})

    def fill(work: Run, lines: list[dict[str, Any]]) -> None:
        file_metrics(work, lines)
        if any(line["step"] >= 2 for line in lines):
            pid = json.loads((work.attempt_folder / "status.json").read_text())["pid"]
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    monkeypatch.setattr("training.services.file_metrics", fill)
    assert tasks.run_next("gpu")
    monkeypatch.setattr("training.services.file_metrics", file_metrics)
    run.refresh_from_db()
    assert (run.state, run.cause_code, run.crashes) == ("paused", "disk_full", 0), run.cause + run.log_tail
    assert "Free some space" in run.cause
    assert 2 <= max(step for _epoch, step in list_checkpoints(run)) <= run.step

    services.resume_run(run=run, by=admin)
    services.change_limits(run=run, limit_hours=1e-4, limit_gb=None, by=admin)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert (run.state, run.cause_code, run.epoch) == ("paused", "hour_limit", 2), run.cause + run.log_tail
    services.change_limits(run=run, limit_hours=1, limit_gb=None, by=admin)
    services.resume_run(run=run, by=admin)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert (run.state, run.step, run.cause) == ("finished", 24, ""), run.cause + run.log_tail
    assert run.active_seconds > 0.36 and run.disk_bytes > 1_000_000


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", ["nan_loss", "out_of_memory", "bad_data"])
def test_what_would_fail_again_is_not_tried_again(
    launch: Launch,
    base_model: ModelVersion,
    dataset_version: DatasetVersion,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    """An infinite weight; a kernel that gives the trainer no further memory; a line that is no pair."""
    make_tiny_policy(base_model.folder, width=768 if code == "out_of_memory" else 96)
    if code == "nan_loss":
        spoil_weights(base_model.folder)
    elif code == "out_of_memory":
        monkeypatch.setattr("training.services.file_metrics", refuse_memory)
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "100000")  # a gradient is asked for anew, not kept from before
    else:
        dataset_version.train_path.write_text(dataset_version.train_path.read_text() + "{}\n")
        dataset_version.train_sha256 = hashlib.sha256(dataset_version.train_path.read_bytes()).hexdigest()
        dataset_version.save()
    run = launch(values=TINY)
    assert tasks.run_next("gpu")
    run.refresh_from_db()
    assert (run.state, run.cause_code, run.crashes, run.epoch) == ("failed", code, 0, 1), run.cause + run.log_tail
    assert not tasks.run_next("gpu")


def spoil_weights(folder: Path) -> None:
    from safetensors.torch import save_file

    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][5] = float("inf")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def refuse_memory(work: Run, lines: list[dict[str, Any]]) -> None:
    file_metrics(work, lines)
    pid = json.loads((work.attempt_folder / "status.json").read_text())["pid"]
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_AS, (2**20, 2**20))


def test_metrics_of_one_step_are_merged_and_done_again_overwritten(launch: Launch) -> None:
    run = launch()
    file_metrics(run, [{"step": 1, "loss": 0.9}, {"step": 1, "eval_loss": 0.8}, {"step": 2, "loss": 0.7}])
    file_metrics(run, [{"step": 2, "loss": 0.6}, {"step": 3, "loss": 0.5}])
    rows = dict(RunMetric.objects.filter(run=run).values_list("step", "values"))
    assert rows == {1: {"loss": 0.9, "eval_loss": 0.8}, 2: {"loss": 0.6}, 3: {"loss": 0.5}}


def test_steps_that_an_earlier_attempt_could_not_file_are_not_missing_from_the_curves(launch: Launch) -> None:
    """Measured while the database was away, or in the last seconds of a worker that was killed."""
    run = launch()
    for epoch, lines in ((1, "12345"), (2, "4")):
        folder = run.folder / f"attempt-{epoch}"
        folder.mkdir(parents=True)
        text = "".join(f'{{"step": {step}, "loss": 0.{step}}}\n' for step in lines)
        (folder / "metrics.jsonl").write_text(text + '{"step": 6, "lo', encoding="utf-8")
    file_metrics(run, [{"step": 1, "loss": 9.0}, {"step": 2, "loss": 0.2}])
    Run.objects.filter(pk=run.pk).update(epoch=2)
    claimed = leases.claim(run, "host:3")
    assert claimed is not None and claimed.epoch == 3
    services._file_left_metrics(claimed)
    losses = {row.step: row.values["loss"] for row in RunMetric.objects.filter(run=run)}
    assert losses == {1: 9.0, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5}


def test_resumes_from_any_earlier_attempt_with_a_checkpoint(launch: Launch) -> None:
    run = launch()
    run.epoch = 4
    assert checkpoints.list_resumable(run) == []
    for attempt, step in ((1, 40), (2, 60), (4, 80)):
        (run.folder / f"attempt-{attempt}" / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    (run.folder / "attempt-3").mkdir()
    assert checkpoints.list_resumable(run) == [str(run.folder / f"attempt-{attempt}") for attempt in (2, 1)]


def test_device_is_said_outright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert services.describe_surroundings(Layout())["ACCELERATE_USE_CPU"] == "true"
    assert "ACCELERATE_USE_CPU" not in services.describe_surroundings(Layout(2))  # it would make them one
    monkeypatch.setattr(services, "_has_gpu", lambda: True)
    assert "ACCELERATE_USE_CPU" not in services.describe_surroundings(Layout())


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(services, "_count_cores", lambda: 6)
    assert [services.describe_surroundings(Layout(number))["OMP_NUM_THREADS"] for number in (1, 2, 8)] == [
        "6",
        "3",
        "1",
    ]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert services.describe_surroundings(Layout(2))["OMP_NUM_THREADS"] == "5"


def test_configuration_of_the_launcher_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says itself how many processes there are and on what."""
    assert services.build_launch_command() == ["-m", "training.engine.run"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("ACCELERATE_CONFIG", "accelerate-fsdp.yaml")
    assert find_option(services.build_launch_command(), "--config_file").exists()
    assert "ACCELERATE_USE_CPU" not in services.describe_surroundings(Layout())
    monkeypatch.setenv("ACCELERATE_CONFIG", str(tmp_path / "own.yaml"))
    assert find_option(services.build_launch_command(), "--config_file") == tmp_path / "own.yaml"


def test_configuration_that_shards() -> None:
    """Read back as YAML it is what was meant, and what accelerate's own example of this version says."""
    config = describe_launch(Layout(4, sharding="shards"))
    assert yaml.safe_load(write_yaml(config)) == config
    example = yaml.safe_load((Path(services.__file__).parent / "accelerate-fsdp.yaml").read_text())
    assert config == example | {"num_processes": 4}


def find_option(command: list[str], name: str) -> Path:
    return Path(command[command.index(name) + 1])


def test_model_gets_a_free_name_and_the_kind_of_its_method(launch: Launch, base_model: ModelVersion) -> None:
    run = launch(name="tiny base", method="reward")
    work = leases.claim(run, "host:1")
    assert work is not None
    (work.attempt_folder / "model").mkdir(parents=True)
    services._register_result(work, {"steps": 1}, {"architecture": "LlamaForSequenceClassification"})
    run.refresh_from_db()
    assert run.model is not None
    assert (run.model.name, run.model.kind) == ("tiny base (2)", "reward")


def test_former_owner_registers_nothing(launch: Launch) -> None:
    work = leases.claim(launch(), "host:1")
    assert work is not None
    (work.attempt_folder / "model").mkdir(parents=True)
    leases.requeue(work)
    with pytest.raises(leases.LeaseLost):
        services._register_result(work, {"steps": 1}, {"kind": "policy"})
    assert not ModelVersion.objects.filter(source="run").exists()
    assert (work.attempt_folder / "model").exists()
