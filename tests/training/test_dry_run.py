"""What a run would take, by itself: memory, batches, lengths, speed, disk and warnings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.models import DatasetVersion
from models_registry.machines import GB, Gpu, Machine
from models_registry.models import ModelVersion, Worker, WorkState
from models_registry.workers import beat
from tests import scenery
from tests.tiny_models import make_tiny_policy
from training.dry_run import timing, words
from training.dry_run.device import Device
from training.dry_run.estimate import Estimate, estimate_disk, estimate_launch
from training.dry_run.lengths import CHARACTERS, COUNTED, LIKE, LIMIT, Lengths, count_tokens
from training.dry_run.memory import MOST, Setup, estimate_memory, propose_batch
from training.dry_run.shape import ModelShape, find_shape, make_shape
from training.engine.config import METHODS, TrainingConfig
from training.models import Layout, Method, Sharding, TokenPreview
from training.placing import Placement
from training.services import LaunchErrors

repeatable = settings(derandomize=True, max_examples=60, deadline=None)
SMOL = ModelShape(134_515_008, 30, 576, 1536, 49152, adapter_width=305_280, context_length=8192)
LENGTHS = Lengths(COUNTED, 1000, 100, prompt=60, chosen=80, rejected=70, longest=400, largest=700)
H200 = Device("cuda", "NVIDIA H200", 150 * GB, worker="one@here")
CPU = Machine(processor="EPYC", cores=2, memory=24 * GB, disk_free=100 * GB)

Ask = Callable[..., Estimate]


def set_up(method: str = "dpo", device: Device = H200, lengths: Lengths = LENGTHS, **values: Any) -> Setup:
    return Setup(SMOL, TrainingConfig.from_dict(method, values), lengths, device)


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, settings: Any) -> None:
    """A dataset's folder is named by its number: an earlier test's may lie there."""
    settings.DATA_DIR = tmp_path


@pytest.fixture
def ask(dataset: DatasetVersion, base: ModelVersion) -> Ask:
    """ask(method="dpo", values={...}): what such a run would take."""

    def ask(method: str = "dpo", *, gpus: int = 0, **changed: Any) -> Estimate:
        usual: dict[str, Any] = {"dataset_version": dataset, "base_model": base, "values": {}}
        placement = changed.pop("placement", Placement(gpus=gpus))
        return estimate_launch(method=method, placement=placement, **(usual | changed))

    return ask


def make_preview(dataset: DatasetVersion, base: ModelVersion, **values: Any) -> TokenPreview:
    """As a worker files it: 100 of 271 rows are used."""
    config = TrainingConfig.from_dict("dpo", values)
    quantiles: dict[str, Any] = {
        "min": 9,
        "median": 50,
        "p90": 90,
        "p99": 200,
        "max": 300,
        "histogram": [{"up_to": 64, "rows": 271}],
    }
    return TokenPreview.objects.create(
        method="dpo",
        dataset_version=dataset,
        base_model=base,
        config=config.to_dict(),
        key=str(values),
        state=WorkState.FINISHED,
        created_by=base.created_by,
        result={
            "limits": {
                "max_length": config.max_length,
                "prompt_limit": config.prompt_limit,
                "overlong": config.overlong,
                "asked": config.max_length,
            },
            "data": {"read": 271, "used": 100},
            "held_out": {"used": 20},
            "dropped": [{"name": "identical_sides", "rows": 71}, {"name": "too_long", "rows": 100}],
            "sizes": {"prompt": 5000, "chosen": 3000, "rejected": 2000, "longest": 250, "largest": 330},
            "lengths": dict.fromkeys(("prompt", "chosen", "rejected", "longest"), quantiles),
        },
    )


# -- Memory and the batch that fits -----------------------------------------------------------------------------------


@repeatable
@given(
    method=st.sampled_from(METHODS),
    batch=st.integers(1, 64),
    longest=st.integers(1, 4000),
    lora=st.sampled_from([0, 16]),
    bf16=st.booleans(),
    kind=st.sampled_from(["cpu", "cuda"]),
    checkpointing=st.sampled_from(["on", "off"]),
)
def test_more_rows_or_longer_ones_never_take_less(
    method: str, batch: int, longest: int, lora: int, bf16: bool, kind: str, checkpointing: str
) -> None:
    values = {"lora_r": lora, "precision": "bf16" if bf16 else "fp32", "gradient_checkpointing": checkpointing}
    lengths = dataclasses.replace(LENGTHS, longest=longest, largest=2 * longest)
    longer = dataclasses.replace(lengths, longest=longest + 7, largest=2 * longest + 14)
    device = Device(kind, memory=80 * GB)
    needed = estimate_memory(set_up(method, device, lengths, **values), batch).total
    assert needed <= estimate_memory(set_up(method, device, lengths, **values), batch + 1).total
    assert needed <= estimate_memory(set_up(method, device, longer, **values), batch).total
    assert all(size >= 0 for size in estimate_memory(set_up(method, device, lengths, **values), batch).parts.values())


@repeatable
@given(
    batch=st.integers(1, 64),
    accumulation=st.integers(1, 64),
    memory=st.integers(1, 64),
    longest=st.integers(8, 4000),
    auto=st.booleans(),
)
def test_the_proposed_batch_fits_and_a_step_sees_the_same_rows(
    batch: int, accumulation: int, memory: int, longest: int, auto: bool
) -> None:
    values: dict[str, Any] = {"batch_size": batch, "gradient_accumulation": accumulation, "max_length": 8192}
    values |= {"tokens_per_pass": 2**20}
    values |= {} if auto else {"gradient_checkpointing": "off"}
    lengths = dataclasses.replace(LENGTHS, longest=longest, largest=2 * longest)
    setup = set_up("dpo", dataclasses.replace(H200, memory=memory * GB), lengths, **values)
    rows, found = batch * accumulation, propose_batch(setup)
    fitting = [
        size
        for size in range(1, rows + 1)
        if rows % size == 0
        and max(size, rows // size) <= MOST
        and estimate_memory(setup, size).total <= setup.device.usable
    ]
    if found is None:
        assert not fitting
    else:
        assert found in fitting
        assert found == max(fitting) or estimate_memory(setup, max(fitting)).recomputes


def test_without_a_known_memory_nothing_is_proposed() -> None:
    assert propose_batch(set_up(device=Device("cpu"))) is None


def test_lora_trains_little_and_a_reward_model_has_no_logits() -> None:
    full, lora = (estimate_memory(set_up(lora_r=rank), 4).parts for rank in (0, 16))
    assert full["gradients"] == 4 * SMOL.parameters and full["optimizer"] == 8 * SMOL.parameters
    assert lora["gradients"] == 4 * 16 * 305_280
    assert full["logits"] and not estimate_memory(set_up("reward"), 4).parts["logits"]
    assert full["reference"] == 0  # the base before its first step


def test_shards_divide_what_copies_repeat() -> None:
    copies, shards = (
        estimate_memory(dataclasses.replace(set_up(), layout=Layout(2, 2, sharding)), 4)
        for sharding in (Sharding.COPIES, Sharding.SHARDS)
    )
    assert copies.parts["optimizer"] == 4 * shards.parts["optimizer"]
    assert copies.parts["activations"] == shards.parts["activations"]
    assert copies.total > shards.total


def test_auto_computes_activations_twice_where_they_would_not_fit() -> None:
    roomy, narrow = (
        estimate_memory(set_up(device=dataclasses.replace(H200, memory=size * GB)), 64) for size in (150, 8)
    )
    assert (roomy.recomputes, narrow.recomputes) == (False, True)
    assert narrow.parts["activations"] < roomy.parts["activations"]


# -- The model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "lora_r"), [("dpo", 0), ("reward", 0), ("dpo", 8), ("reward", 8)])
def test_parameters_are_those_of_the_real_model(
    tmp_path: Path, settings: Any, admin: User, method: str, lora_r: int
) -> None:
    """Also of a model that was registered before the registry filed its shape."""
    from models_registry.inference.load import load_tokenizer
    from training.engine.optimizer import list_trainable
    from training.engine.trainee import add_adapters, load_trainee

    settings.DATA_DIR = tmp_path
    model = scenery.make_model(admin, facts={"parameters": 1})
    make_tiny_policy(model.folder)
    shape = find_shape(model)
    config = TrainingConfig.from_dict(method, {"lora_r": lora_r})
    trainee = load_trainee(model.folder, load_tokenizer(model.folder), config, reward=method == "reward")
    assert shape.count_whole(method) == sum(weight.numel() for weight in trainee.parameters())
    if lora_r:
        trainee = add_adapters(trainee, config, reward=method == "reward")
    assert shape.count_trained(method, lora_r) == sum(weight.numel() for weight in list_trainable(trainee).values())


def test_a_model_known_by_its_parameters_alone_is_guessed() -> None:
    shape = make_shape({"parameters": 7_000_000_000})
    assert shape.is_guess and 40 <= shape.layers <= 70 and shape.width == 64 * shape.layers
    assert 0.9 < 12 * shape.layers * shape.width**2 / 7e9 < 1.1


# -- Lengths ----------------------------------------------------------------------------------------------------------


def test_steps_are_exact_with_a_preview_of_these_settings(
    ask: Ask, dataset: DatasetVersion, base: ModelVersion
) -> None:
    make_preview(dataset, base, max_length=256)
    found = ask(values={"max_length": 256, "batch_size": 3, "gradient_accumulation": 2, "epochs": 2})
    assert (found.lengths.source, found.lengths.is_exact, found.steps_per_epoch, found.steps) == (COUNTED, True, 17, 34)
    assert found.tokens == 2 * (2 * 5000 + 3000 + 2000)
    assert (found.lengths.longest, found.lengths.eval_rows) == (250, 20)
    assert ask("ipo", values={"max_length": 256}).lengths.source == COUNTED


def test_a_preview_with_other_limits_still_tells_lengths(ask: Ask, dataset: DatasetVersion, base: ModelVersion) -> None:
    make_preview(dataset, base, max_length=256)
    found = ask(values={"max_length": 1024})
    assert (found.lengths.source, found.lengths.rows, found.lengths.longest) == (LIKE, 200, 300)
    assert ask(values={"max_length": 64}).lengths.longest == 64
    assert ask(values={"max_length": 32, "overlong": "drop"}).lengths.rows == 1


def test_without_a_preview_lengths_are_guessed_from_characters(
    dataset_version: DatasetVersion, base: ModelVersion
) -> None:
    found = estimate_launch(dataset_version=dataset_version, base_model=base, method="dpo", values={})
    assert (found.lengths.source, found.lengths.is_exact, found.lengths.rows) == (CHARACTERS, False, 12)
    assert 12 <= found.lengths.prompt <= 20
    assert found.lengths.longest < 60
    assert any("guessed" in text for text in words.list_sources(found))


def test_of_a_large_file_a_part_is_read_and_no_row_is_taken_for_the_longest(
    dataset_version: DatasetVersion, base: ModelVersion
) -> None:
    line = dataset_version.train_path.read_text().splitlines()[0] + "\n"
    dataset_version.train_path.write_text(line * 20_000)
    dataset_version.train_rows, dataset_version.train_sha256 = 20_000, "large"
    dataset_version.save()
    values = {"max_length": 512}
    found = estimate_launch(dataset_version=dataset_version, base_model=base, method="dpo", values=values)
    assert (found.lengths.rows, found.lengths.longest) == (20_000, 512)
    assert 12 <= found.lengths.prompt <= 20


def test_where_the_file_is_not_here_the_limit_is_taken(ask: Ask, dataset: DatasetVersion) -> None:
    found = ask(values={"max_length": 300})
    assert (found.lengths.source, found.lengths.longest, found.lengths.rows) == (LIMIT, 300, dataset.train_rows)


def test_characters_by_hand() -> None:
    assert (count_tokens(""), count_tokens("abcd"), count_tokens("abcde"), count_tokens("안녕 ab")) == (0, 1, 2, 3)


# -- Devices and whether it fits --------------------------------------------------------------------------------------


def test_the_smallest_living_worker_that_may_take_it_is_looked_at(ask: Ask) -> None:
    assert (ask().device.kind, ask().fits_memory, ask().device.worker) == ("cpu", None, "")
    beat("big@here", ["gpu"], Machine(gpus=(Gpu("NVIDIA H200", 150 * GB),), memory=99 * GB, disk_free=500 * GB))
    beat("small@here", ["gpu"], Machine(gpus=(Gpu("NVIDIA L4", 24 * GB),), labels=("l4",), disk_free=500 * GB))
    beat("cpu@here", ["gpu"], CPU)
    beat("short@here", ["short"], Machine(memory=GB))
    beat("gone@here", ["gpu"], Machine(memory=GB))
    Worker.objects.filter(name="gone@here").update(seen_at=Now() - timedelta(hours=1))
    one, large = ask(gpus=1), ask(placement=Placement(gpus=1, gpu_memory_gb=80))
    assert (one.device.name, large.device.name) == ("NVIDIA L4", "NVIDIA H200")
    assert (one.device.memory, large.device.memory) == (24 * GB, 80 * GB)  # it may come to one that has no more
    assert one.fits_memory and not words.list_warnings(one)
    assert ask().device.worker in ("small@here", "cpu@here")


def test_what_fits_nowhere_is_said_with_what_is_missing(ask: Ask, admin: User, base: ModelVersion) -> None:
    beat("cpu@here", ["gpu"], dataclasses.replace(CPU, memory=2 * GB, disk_free=GB))
    found = ask()
    said = {warning.code: warning.text for warning in words.list_warnings(found)}
    assert found.fits_memory is False and said.keys() == {"memory", "disk"}
    assert "No batch is small enough" in said["memory"] and "cpu@here" in said["memory"]
    assert words.say_verdict(found).startswith("Fits on no worker that is up")
    assert "It waits for a worker with 2 GPUs" in words.list_warnings(ask(gpus=2))[0].text


def test_a_larger_worker_is_named(ask: Ask) -> None:
    beat("small@here", ["gpu"], dataclasses.replace(CPU, memory=2 * GB))
    beat("large@here", ["gpu"], CPU)
    found = ask()
    assert found.larger and found.larger.worker == "large@here"
    assert "large@here has enough" in words.list_warnings(found)[0].text


def test_limits_and_days_are_warned_of(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    beat("cpu@here", ["gpu"], CPU)
    codes = [warning.code for warning in words.list_warnings(ask(limit_hours=0.001, limit_gb=0.5))]
    assert codes == ["disk_limit", "hour_limit"]
    assert not words.list_warnings(ask(limit_hours=100, limit_gb=50))
    monkeypatch.setattr(timing, "CORE_FLOPS", {"fp32": 1e8, "bf16": 1e8})
    assert [warning.code for warning in words.list_warnings(ask())] == ["long"]


def test_what_could_not_be_launched_is_not_estimated(ask: Ask) -> None:
    with pytest.raises(LaunchErrors) as wrong:
        ask(values={"batch_size": 0}, placement=Placement(gpu_memory_gb=8), limit_gb=-1)
    assert {name for name, _reason in wrong.value.errors} == {"batch_size", "gpu_memory_gb", "limit_gb"}


def test_several_gpus_share_the_steps_and_show_their_configuration(ask: Ask) -> None:
    one, four = ask(gpus=1), ask(placement=Placement(gpus=4, sharding=Sharding.SHARDS))
    assert (one.steps, four.steps, four.effective_batch) == (34, 9, 32)
    assert not one.launcher and '"FSDP"' in four.launcher and "num_processes: 4" in four.launcher


# -- Time -------------------------------------------------------------------------------------------------------------


def test_time_is_scaled_from_the_run_that_is_most_like(ask: Ask, dataset: DatasetVersion, base: ModelVersion) -> None:
    assert ask().speed.run is None
    make_preview(dataset, base)
    other = scenery.make_model(base.created_by, "far larger", facts=scenery.FACTS | {"parameters": 10**10})
    near = scenery.make_run(dataset, base, state="running")
    far = scenery.make_run(dataset, other, state="running")
    for run in (near, far):
        scenery.finish_run(run)
    found = ask(values={"epochs": 2})
    assert found.speed.run == near and not found.speed.is_same_hardware
    # The same settings on the same data: the seconds of that run, beside the start and the reference.
    trained = found.seconds - timing.START_S - found.reference_seconds
    assert trained == pytest.approx(401.23 * found.tokens / 184_220, rel=0.1)
    assert ask(gpus=1).speed.run is None  # of another kind of device


def test_the_same_hardware_goes_before_a_nearer_model(ask: Ask, dataset: DatasetVersion, base: ModelVersion) -> None:
    beat("cpu@here", ["gpu"], CPU)
    other = scenery.make_model(base.created_by, "larger", facts=scenery.FACTS | {"parameters": 3 * 10**8})
    for model, hardware in ((base, "another"), (other, "EPYC")):
        scenery.finish_run(scenery.make_run(dataset, model, state="running"), hardware=hardware)
    found = ask().speed
    assert found.is_same_hardware and found.run and found.run.base_model == other


def test_results_of_older_versions_are_passed_over(ask: Ask, dataset: DatasetVersion, base: ModelVersion) -> None:
    run = scenery.make_run(dataset, base, state="running")
    scenery.finish_run(run, pairs=0)
    run = scenery.make_run(dataset, base, state="running")
    scenery.finish_run(run)
    run.result.pop("tokens")
    run.save()
    assert ask().speed.run is None


def test_twice_the_epochs_take_twice_the_steps_and_nearly_the_time() -> None:
    setup = set_up()
    one, two = (timing.count_work(setup, rows_seen=n * 1000, steps=n * 125, recomputes=False) for n in (1, 2))
    assert 1.9 < two.training / one.training <= 2
    assert one.reference == two.reference > 0
    assert timing.count_work(set_up("orpo"), rows_seen=1000, steps=125, recomputes=False).reference == 0
    # C = 6·N·D, with the head where the loss reads and attention on top.
    plain = timing.count_work(set_up("reward", eval_steps=0), rows_seen=1000, steps=125, recomputes=False)
    assert 1 < plain.training / (6 * SMOL.body * 1000 * 210) < 1.25


# -- Disk -------------------------------------------------------------------------------------------------------------


@repeatable
@given(
    steps=st.integers(1, 500), every=st.integers(0, 100), keep=st.integers(2, 9), method=st.sampled_from(list(Method))
)
def test_checkpoints_are_kept_as_asked(steps: int, every: int, keep: int, method: Method) -> None:
    setup = set_up(method.value, save_steps=every, keep_checkpoints=keep)
    disk = estimate_disk(setup, steps, H200)
    saves = len({step for step in range(1, steps + 1) if every and step % every == 0} | {steps})
    assert disk.checkpoints == min(keep, saves)
    assert disk.checkpoint == 12 * setup.trained
    assert disk.peak >= disk.checkpoints * disk.checkpoint + disk.model
    assert disk.needed >= disk.peak and disk.fits  # nothing is known to be too small


def test_the_disk_of_the_worker_counts(ask: Ask) -> None:
    beat("cpu@here", ["gpu"], dataclasses.replace(CPU, disk_free=6 * GB))
    assert ask().disk.fits
    beat("cpu@here", ["gpu"], dataclasses.replace(CPU, disk_free=3 * GB))
    assert [warning.code for warning in words.list_warnings(ask())] == ["disk"]


def test_a_preview_files_the_sizes_of_the_rows_that_are_used(tmp_path: Path) -> None:
    from tests.tiny_models import train_tiny_tokenizer
    from tests.training.engine.runs import make_record, write_jsonl
    from training.engine.preview import preview

    path = write_jsonl(tmp_path / "train.jsonl", [make_record("a", "yes", "no no"), make_record("b", "same", "same")])
    found = preview(path, train_tiny_tokenizer(), TrainingConfig.from_dict("dpo", {}))
    sizes = json.loads(json.dumps(found["sizes"]))
    parts = [sizes[name] for name in ("prompt", "chosen", "rejected")]
    assert found["data"]["used"] == 1 and sum(parts) == found["tokens"]["total"] == sizes["largest"]
    assert sizes["longest"] == parts[0] + max(parts[1:])
