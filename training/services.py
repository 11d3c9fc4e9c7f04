"""Launching runs, working them, and filing what came of them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from annotate.exporting.shared import fetch_dataset
from annotate.models import AuditAction, DatasetVersion
from annotate.services.audit import record, record_change
from models_registry import depot, leases
from models_registry.disk import is_disk_full
from models_registry.inference.model_files import read_model_facts
from models_registry.machines import describe_machine
from models_registry.models import LeasedWork, ModelKind, ModelSource, ModelVersion
from models_registry.network import find_interface, find_own_address
from models_registry.program_folder import ProgramFolder
from models_registry.services import find_free_name, hold_models, place_model
from models_registry.supervisor import ProgramJob, Supervisor, wait_under_lease
from models_registry.work import WorkState
from training.accelerate_config import ALONE, LAUNCH_FILE, Meeting, describe_launch, write_launch
from training.checkpoints import free_store, list_checkpoints, list_resumable, mirrored, store_log
from training.curve_levels import file_metrics
from training.engine.config import ConfigErrors, TrainingConfig
from training.engine.recipes import RECIPES, fill_in
from training.engine_texts import SHAPE_CAUSE
from training.gang import gathered, gone_with_it, is_joined, is_wanted
from training.limits import check_limits, file_usage, say_reached
from training.models import Layout, Method, Priority, Run, RunShare, TokenPreview
from training.placing import USUAL, Placement, list_priority_errors
from training.run_tags import BadTags, check_tags, set_tags
from training.selectors import get_metric_series
from training.shapes import Finding, describe_setting, find_bad_shapes


class LaunchErrors(ValueError):
    """A run cannot be launched: ``errors`` is a list of (field, reason), as in the engine's ConfigErrors."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in errors))
        self.errors = errors


@transaction.atomic
def launch_run(
    *,
    dataset_version: DatasetVersion,
    base_model: ModelVersion,
    method: str,
    values: Mapping[str, Any],
    name: str,
    notes: str = "",
    recipe: str = "",
    cloned_from: Run | None = None,
    placement: Placement = USUAL,
    limit_hours: float | None = None,
    limit_gb: float | None = None,
    tags: Sequence[str] = (),
    by: User,
) -> Run:
    """Queues a training run; ``values`` are the engine's settings as a form or JSON gives them.

    What they leave out is as in the ``recipe``, else as usual. ``cloned_from`` is only noted. Raises LaunchErrors.
    """
    name = " ".join(name.split())
    hold_models(base_model)
    config, errors = check_launch(dataset_version, base_model, method, values, recipe)
    limits = {"limit_hours": limit_hours, "limit_gb": limit_gb}
    if errors := errors + _check_name(name) + placement.list_errors() + check_limits(limits) + _check_tags(tags):
        raise LaunchErrors(errors)
    try:
        with transaction.atomic():
            run = Run.objects.create(
                name=name,
                method=method,
                base_model=base_model,
                dataset_version=dataset_version,
                config=config,
                notes=notes[:300],
                recipe=recipe,
                cloned_from=cloned_from,
                **placement.list_fields(),
                **limits,
                created_by=by,
            )
    except IntegrityError as error:
        raise LaunchErrors([_say_taken(name)]) from error
    leases.enqueue(run, by_all=placement.is_choosy)
    what = {"dataset": dataset_version.number, "method": method, "base": base_model.name}
    what |= {"cloned from": cloned_from.name} if cloned_from else {}
    what |= placement.describe_choices()
    if tags:
        set_tags(run=run, names=tags, by=by)
    record(AuditAction.RUN_LAUNCHED, project=dataset_version.project, by=by, about=run, after=what)
    return run


def clone_run(*, run: Run, values: Mapping[str, Any], name: str, notes: str = "", by: User) -> Run:
    """Launches the same again, ``values`` over its settings. Raises LaunchErrors."""
    return launch_run(
        dataset_version=run.dataset_version,
        base_model=run.base_model,
        method=run.method,
        values={**run.config, **values},
        name=name,
        notes=notes,
        recipe=run.recipe,
        placement=Placement.of(run),
        tags=[tag.name for tag in run.tags.all()],
        cloned_from=run,
        limit_hours=run.limit_hours,
        limit_gb=run.limit_gb,
        by=by,
    )


@transaction.atomic
def cancel_run(*, run: Run, by: User) -> None:
    """A waiting run is cancelled at once, a running one saves a checkpoint first. Raises leases.CannotCancel."""
    if leases.request_cancel(run):
        record(AuditAction.RUN_CANCELLED, project=run.dataset_version.project, by=by, about=run)


@transaction.atomic
def retry_run(*, run: Run, by: User) -> None:
    """A failed or cancelled run goes on from its newest sound checkpoint. Raises leases.CannotRetry.

    Locks the base's row, then the run's.
    """
    hold_models(run.base_model)
    if Run.objects.select_for_update(of=("self",)).get(pk=run.pk).archived_at:
        raise leases.CannotRetry(_("%(name)s is archived. Restore it first.") % {"name": run.name})
    if run.base_model.weights_removed_at:
        raise leases.CannotRetry(run.base_model.explain_unusable())
    leases.retry(run)
    Run.objects.filter(pk=run.pk).update(queued_at=Now())  # it did not wait in between
    record(AuditAction.RUN_RETRIED, project=run.dataset_version.project, by=by, about=run)


@transaction.atomic
def pause_run(*, run: Run, by: User) -> None:
    """A waiting run is held back, a running one saves a checkpoint and leaves its device. Raises leases.CannotPause."""
    if leases.request_pause(run):
        record(AuditAction.RUN_PAUSED, project=run.dataset_version.project, by=by, about=run)


@transaction.atomic
def resume_run(*, run: Run, by: User) -> None:
    """A paused run waits for a worker again and goes on from its checkpoint. Raises leases.CannotResume."""
    run.refresh_from_db(fields=["active_seconds", "disk_bytes", "limit_hours", "limit_gb"])
    if run.state == WorkState.PAUSED and (reached := say_reached(run)):
        raise leases.CannotResume(reached)
    leases.resume(run)
    Run.objects.filter(pk=run.pk).update(queued_at=Now())
    record(AuditAction.RUN_RESUMED, project=run.dataset_version.project, by=by, about=run)


@transaction.atomic
def change_limits(*, run: Run, limit_hours: float | None, limit_gb: float | None, by: User) -> None:
    """Holds from the next renewal of a running run's lease on. Raises LaunchErrors."""
    limits = {"limit_hours": limit_hours, "limit_gb": limit_gb}
    if errors := check_limits(limits):
        raise LaunchErrors(errors)
    before = {name: getattr(run, name) for name in limits}
    Run.objects.filter(pk=run.pk).update(**limits)
    project = run.dataset_version.project
    record_change(AuditAction.RUN_LIMITS_CHANGED, project=project, by=by, about=run, before=before, after=limits)


MOVES: dict[str, Callable[..., None]] = {
    "cancel": cancel_run,
    "pause": pause_run,
    "resume": resume_run,
    "retry": retry_run,
}
"""What a person can do with a run that was launched."""
REFUSALS = (leases.CannotCancel, leases.CannotPause, leases.CannotResume, leases.CannotRetry)


@transaction.atomic
def change_priority(*, run: Run, priority: int, reason: str, by: User) -> None:
    """Of a run that waits. Raises LaunchErrors, ``priority`` where it does not wait any more."""
    if errors := list_priority_errors(priority, reason):
        raise LaunchErrors(errors)
    if not Run.objects.filter(pk=run.pk, state=WorkState.QUEUED).update(priority=priority):
        raise LaunchErrors([("priority", _("Only a run that waits has a place in the queue."))])
    before, after = ({"priority": Priority(value).name.lower()} for value in (run.priority, priority))
    after |= {"reason": reason} if reason else {}
    record(AuditAction.RUN_MOVED, project=run.dataset_version.project, by=by, about=run, before=before, after=after)


def train_model(work: Run, supervisor: Supervisor) -> None:
    """Runs the engine and registers the model, under the lease."""
    with gathered(work) as gang:
        bring_inputs(work, work)
        job = replace(
            _describe_program(work, work.attempt_folder, list_resumable(work), gang.meet()),
            on_metrics=partial(watch_metrics, work),
            find_progress=lambda: max([0, *(step for _epoch, step in list_checkpoints(work))]),
            on_usage=partial(file_usage, work),
            check=gang.check,
        )
        _file_left_metrics(work)
        with _pausing_on_full_disk(work), mirrored(work), gang.explained():
            result = supervisor.run(job, work.attempt_folder)
    with leases.keep_alive(work) as still_mine:  # hashing large weights takes a while
        facts = read_model_facts(work.attempt_folder / "model")
        facts |= depot.deposit(work, "model", work.attempt_folder / "model", still_mine)
        depot.insist(work, lambda: store_log(work), still_mine)
    _register_result(work, result | {"hardware": describe_machine().device_name}, facts)
    _free_disk(work)


def train_share(work: RunShare, supervisor: Supervisor) -> None:
    """Trains one machine's part of a run and leaves the rest to its first worker; see gang.py."""
    run = work.run

    def require_wanted() -> None:
        if not (is_wanted(work) and is_joined(work)):
            raise leases.WorkCancelled

    def find_meeting() -> str:
        require_wanted()
        work.refresh_from_db(fields=["address", "port"])
        return "" if work.port else "Waiting for the other workers"

    require_wanted()
    bring_inputs(run, work)
    leases.note(work, ready_at=Now())
    wait_under_lease(work, find_meeting)
    meeting = Meeting(work.address, work.port, work.rank)
    job = replace(_describe_program(run, work.attempt_folder, [], meeting), check=require_wanted)
    try:
        with gone_with_it(work):
            supervisor.run(job, work.attempt_folder)
    finally:
        shutil.rmtree(work.folder, ignore_errors=True)
    leases.finish(work, message="")


def _describe_program(run: Run, folder: Path, resume_from: list[str], meeting: Meeting) -> ProgramJob:
    """The engine's program of one machine, which works in ``folder``."""
    version, base, layout = run.dataset_version, run.base_model, run.layout
    config = {
        "method": run.method,
        "model": str(base.folder),
        "name": run.name,
        "model_name": base.name,
        "licence": base.licence,
        "recipe": run.recipe,
        "train_file": str(version.train_path),
        "train_sha256": version.train_sha256,
        "eval_file": str(version.eval_path) if version.eval_rows else None,
        "resume_from": resume_from,
        "reference_cache": str(settings.DATA_DIR / "reference-cache"),
        "values": run.config,
    }
    several = describe_launch(layout, meeting) if layout.processes > 1 else None
    return ProgramJob(
        build_launch_command(folder / LAUNCH_FILE if several else None),
        config,
        env=describe_surroundings(layout, meeting),
        write_inputs=lambda folder: write_launch(folder, several),
    )


def bring_inputs(asked: Run | TokenPreview, work: LeasedWork) -> None:
    """Sees to it that base model and data are on this machine, under the lease of ``work``."""
    depot.bring(
        work,
        lambda still_mine: depot.fetch_model(asked.base_model, still_mine),
        lambda still_mine: fetch_dataset(asked.dataset_version, still_mine),
    )


def _file_left_metrics(work: Run) -> None:
    """What earlier attempts measured but did not come to file: a resumed run does not do all those steps again."""
    filed = work.metrics.order_by("-step").values_list("step", flat=True).first() or 0
    for epoch in range(1, work.epoch):
        files = ProgramFolder(work.folder / f"attempt-{epoch}")
        while (left := files.peek_metrics())[0]:
            lines, offset = left
            with transaction.atomic():
                leases.extend(work)
                file_metrics(work, [line for line in lines if int(line["step"]) >= filed])
            files.accept_metrics(offset)


@contextmanager
def _pausing_on_full_disk(work: Run) -> Iterator[None]:
    """The checkpoint before is whole, so the run can wait until somebody has made room."""
    try:
        yield
    except (leases.WorkFailed, OSError) as error:
        if not (is_disk_full(error) or getattr(error, "code", "") == "disk_full"):
            raise
        if work.cancel_requested:
            raise leases.WorkCancelled from error
        full = "The disk is full. Free some space, then resume the run."
        text = str(error) if isinstance(error, leases.WorkFailed) else full
        raise leases.WorkPaused("disk_full", text) from error


def watch_metrics(work: Run, lines: list[dict[str, Any]]) -> None:
    """Files the lines and notes which bad shapes the curves have now; within the transaction that holds the lease."""
    file_metrics(work, lines)
    lost = [asdict(Finding("not_finite", line["step"], 0, 0)) for line in lines if line.get("loss", 0) is None]
    total_steps = Run.objects.values_list("total_steps", flat=True).get(pk=work.pk)  # the lease wrote it, not ``work``
    setting = describe_setting(work.method, work.config, total_steps, work.dataset_version.eval_rows)
    found = [asdict(finding) for finding in find_bad_shapes(get_metric_series(run=work), setting)]
    kept = [alert for alert in work.alerts if alert["code"] == "not_finite"] or lost[:1]
    if work.alerts != kept + found:
        were_none = not work.alerts
        work.alerts = kept + found
        Run.objects.filter(pk=work.pk).update(alerts=work.alerts)
        if were_none and work.alerts:  # what comes and goes later is on the page
            leases.tell(work, "odd", SHAPE_CAUSE + work.alerts[0]["code"])


def build_launch_command(own: Path | None = None) -> list[str]:
    """Arguments for Python that start the engine: by itself, or as several processes by accelerate's launcher.

    ``own`` is a configuration made for the run; see accelerate_config.py. Else ACCELERATE_CONFIG may name one, by its
    path or as accelerate-fsdp.yaml, which lies beside this file; that one then says which devices are used and by how
    many processes.
    """
    engine = ["-m", "training.engine.run"]
    chosen = os.environ.get("ACCELERATE_CONFIG")
    config = own or (Path(__file__).parent / chosen if chosen else None)
    return ["-m", "training.engine.launch", "--config_file", str(config), *engine] if config else engine


def describe_surroundings(layout: Layout, meeting: Meeting = ALONE) -> dict[str, str]:
    """What the engine finds in its environment: threads for each process, its devices, and the way to other machines.

    Machines of which no GPU was asked for train on their processors: one may have a GPU and another none.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, _count_cores() // layout.processes_here))
    said = {"OMP_NUM_THREADS": threads}
    if layout.hosts > 1:
        interface = find_interface(find_own_address(meeting.address))
        said |= {"GLOO_SOCKET_IFNAME": interface} if interface and "GLOO_SOCKET_IFNAME" not in os.environ else {}
        return said | ({} if layout.gpus else {"CUDA_VISIBLE_DEVICES": ""})
    if not (_has_gpu() or layout.processes > 1 or "ACCELERATE_CONFIG" in os.environ):
        said["ACCELERATE_USE_CPU"] = "true"
    return said


def _count_cores() -> int:
    """Cores that this process may use; two threads of one core do not multiply matrices faster than one."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    smt = Path("/sys/devices/system/cpu/smt/active")
    return max(1, usable // 2) if smt.exists() and smt.read_text().strip() == "1" else usable


def _has_gpu() -> bool:
    """Asked of the kernel: importing torch would cost the worker half a gigabyte."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible not in ("", "-1") and Path("/dev/nvidiactl").exists()


def check_launch(
    dataset_version: DatasetVersion, base_model: ModelVersion, method: str, values: Mapping[str, Any], recipe: str
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Every setting of a run, and all that speaks against it as (field, reason); without settings where they err."""
    errors = _check_parts(dataset_version, base_model, method)
    if recipe and (recipe not in RECIPES or RECIPES[recipe].method != method):
        errors.append(("recipe", _("There is no such recipe for this method.")))
    try:
        return TrainingConfig.from_dict(method, fill_in(recipe, method, values)).to_dict(), errors
    except ConfigErrors as wrong:
        return {}, errors + wrong.errors


def _check_parts(dataset_version: DatasetVersion, base_model: ModelVersion, method: str) -> list[tuple[str, str]]:
    """Why these cannot make a run: (field, reason)."""
    errors = []
    if dataset_version.state != WorkState.FINISHED:
        errors.append(("dataset_version", _("%(version)s is not finished.") % {"version": dataset_version}))
    elif not dataset_version.train_rows:
        errors.append(("dataset_version", _("%(version)s has no training pairs.") % {"version": dataset_version}))
    if dataset_version.archived_at:
        errors.append(("dataset_version", _("%(name)s is archived. Restore it first.") % {"name": dataset_version}))
    if unusable := base_model.explain_unusable():
        errors.append(("base_model", unusable))
    elif method != Method.REWARD and base_model.kind != ModelKind.POLICY:
        words = {"method": Method(method).label, "model": base_model}
        errors.append(("base_model", _("%(method)s needs a policy; %(model)s is a reward model.") % words))
    return errors


def _check_name(name: str) -> list[tuple[str, str]]:
    if not name:
        return [("name", _("A name is needed."))]
    if len(name) > 100 or not name.isprintable():
        return [("name", _("At most 100 characters that can be shown."))]
    if Run.objects.filter(name=name).exists():
        return [_say_taken(name)]
    return []


def _check_tags(tags: Sequence[str]) -> list[tuple[str, str]]:
    try:
        check_tags(tags)
    except BadTags as error:
        return [("tags", str(error))]
    return []


def _say_taken(name: str) -> tuple[str, str]:
    return "name", _("There is a run named %(name)s already.") % {"name": repr(name)}


def _register_result(work: Run, result: dict[str, Any], facts: dict[str, Any]) -> None:
    for attempts_left in (2, 1, 0):
        try:
            with transaction.atomic():
                leases.finish(work, result=result, checkpoints=[], message="")
                model = ModelVersion.objects.create(
                    name=find_free_name(work.name),
                    kind=ModelKind.REWARD if work.method == Method.REWARD else ModelKind.POLICY,
                    source=ModelSource.RUN,
                    base=work.base_model,
                    metrics={part: result.get(part) for part in ("train", "eval", "steps", "pairs")},
                    licence=work.base_model.licence,
                    created_by=work.created_by,
                )
                Run.objects.filter(pk=work.pk).update(model=model)
                place_model(model, work.attempt_folder / "model", facts)
                return
        except IntegrityError:  # somebody took the name between the look and the write
            if not attempts_left:
                raise


def _free_disk(work: Run) -> None:
    """The model is registered: checkpoints and earlier attempts are of no more use, the last attempt's log is."""
    for epoch in range(1, work.epoch):
        shutil.rmtree(work.folder / f"attempt-{epoch}", ignore_errors=True)
    shutil.rmtree(work.attempt_folder / "checkpoints", ignore_errors=True)
    free_store(work)
