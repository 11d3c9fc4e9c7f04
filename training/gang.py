"""Runs that several machines train together: the workers come together, stay together, and end together.

The worker that claims the run has rank 0. For each further rank it queues a RunShare, which another worker takes as it
takes any work: by compare-and-swap, under a lease of its own. When all have brought their inputs, the first one names
an address and a port, and each starts accelerate with its rank. Nobody's part can be taken over: whoever is lost ends
the attempt for all, and the run goes on from its checkpoint with whoever is there then.

Devices are held only for a run that can begin: with as many free places as it needs, or, once it has waited for
HOLD_AFTER, with as many as are up, since it might never find them free at once. One run gathers at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from models_registry import leases
from models_registry.hints import send_hint
from models_registry.leases import DatabaseLost, WorkCancelled, WorkCrashed, WorkFailed, WorkGivenBack
from models_registry.models import WorkState
from models_registry.network import find_free_port, find_own_address
from models_registry.program_folder import ProgramFolder
from models_registry.supervisor import read_clock, wait_under_lease
from models_registry.workers import SeenWorker
from training.accelerate_config import ALONE, Meeting
from training.models import Run, RunShare
from training.workers import list_free, list_places, list_run_workers, name_worker

HOLD_AFTER = timedelta(hours=1)
"""A run that has waited for so long holds the devices of those that have joined until the others are free, too."""
JOIN_S = 300.0
"""How long free workers may take to join before the attempt is given up as a crash."""
BROKEN_S = 5.0
"""How long the first worker's program may take to end by itself once another part is over."""
SETTLE_S = 8.0
"""How long the cause of a broken attempt is waited for: whoever knows it may be about to file it."""
PEER_LOST, LEFT = "peer_lost", "left"
"""Causes of a share: another process is gone; its worker was asked to leave."""


class Gang:
    """The shares of one attempt, seen by the worker that has rank 0. A run of one machine has none."""

    def __init__(self, work: Run) -> None:
        self._work = work
        self._shares = RunShare.objects.filter(run=work, run_epoch=work.epoch).defer("log_tail")
        self._idle_since = self._broken_since = 0.0

    @transaction.atomic
    def call(self) -> None:
        """Queues a share for each further rank and calls the workers; what is left of earlier attempts goes."""
        leases.extend(self._work)
        dismiss(RunShare.objects.filter(run=self._work))
        for rank in range(1, self._work.hosts):
            share = RunShare.objects.create(
                run=self._work, run_epoch=self._work.epoch, rank=rank, created_by=self._work.created_by
            )
            leases.enqueue(share, by_all=True)

    def meet(self) -> Meeting:
        """Waits until all have joined and are ready, and tells them where to meet.

        Raises WorkGivenBack where they will not come, and what wait_under_lease raises.
        """
        if self._work.hosts == 1:
            return ALONE
        wait_under_lease(self._work, self._find_hindrance)
        address, port = find_own_address(), find_free_port()
        if not self._shares.filter(state=WorkState.RUNNING, epoch=1).update(address=address, port=port):
            raise WorkCrashed("The workers lost touch with each other.")
        return Meeting(address, port)

    def check(self) -> None:
        """Ends the program when a part of it is over, and it does not notice: NCCL waits for ten minutes."""
        if not self._find_lost():
            self._broken_since = 0.0
        elif not self._broken_since:
            self._broken_since = read_clock()
        elif read_clock() - self._broken_since > BROKEN_S:
            raise WorkCrashed("The workers lost touch with each other.")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Where the program inside breaks for want of another part, what happened to that one decides what follows."""
        try:
            yield
        except WorkFailed as error:
            if error.code != PEER_LOST:
                raise
            raise self._find_cause() from error
        except WorkCrashed as error:
            if self._work.hosts == 1:
                raise
            raise self._find_cause() from error

    def _find_hindrance(self) -> str:
        """What is still waited for, in words; empty where all are ready."""
        workers = list_run_workers()
        fits = [worker for worker in workers if worker.machine.meets(self._work.ask)]
        free = [worker for worker in list_free(workers) if worker in fits]
        shares = list(self._shares.all())  # after the workers: one who joins in between is not missed in both
        if any(not (share.state == WorkState.QUEUED or is_joined(share)) for share in shares):
            raise self._find_cause()
        missing = sum(share.state == WorkState.QUEUED for share in shares)
        if missing:
            owners = {name_worker(work.owner) for work in (self._work, *shares)}
            ours = {worker.place for worker in workers if worker.name in owners}
            self._require_prospect(
                missing, others=len(list_places(fits, without=ours)), free=len(list_places(free, without=ours))
            )
            for _share in range(missing):  # an idle process of a worker that is busy may have heard the call before
                send_hint(RunShare.queue)
            return f"Waiting for other workers: {self._work.hosts - missing} of {self._work.hosts} are here"
        return "" if all(share.ready_at for share in shares) else "Waiting until all workers have the data"

    def _require_prospect(self, missing: int, *, others: int, free: int) -> None:
        """Raises WorkGivenBack where so many will not come soon, or another run gathers that goes first.

        There are so many ``others`` whose machines would do, of which some are ``free``.
        """
        if any(_rank(other) < _rank(self._work) for other in list_gathering().exclude(pk=self._work.pk)):
            raise WorkGivenBack("Another run of several machines goes first.")
        if free >= missing:
            self._idle_since = self._idle_since or read_clock()
            if read_clock() - self._idle_since > JOIN_S:
                raise WorkCrashed("Workers that are free did not join.")
            return
        self._idle_since = 0.0
        if not is_patient(self._work) or others < missing:
            raise WorkGivenBack("Not enough workers are free for all its parts; waiting for them.")

    def _find_lost(self) -> list[RunShare]:
        """Those that will not come to a good end; nobody may take one up again."""
        return [share for share in self._shares.all() if not (is_joined(share) or share.state == WorkState.FINISHED)]

    def _find_cause(self) -> Exception:
        """Why the attempt broke: what a worker filed that knows, or that one is gone."""
        deadline = time.monotonic() + SETTLE_S
        try:
            with leases.keep_alive(self._work):
                while not (cause := self._read_cause(is_late=time.monotonic() > deadline)):
                    time.sleep(0.5)
        except (DatabaseError, InterfaceError):
            return DatabaseLost()
        return cause

    def _read_cause(self, *, is_late: bool) -> Exception | None:
        """None while somebody may yet file it."""
        lost = self._find_lost()
        failed = {share.cause_code: share.cause for share in lost if share.cause_code}
        if LEFT in failed:
            return WorkGivenBack("A worker that took part was shut down; waiting to go on.")
        for code, cause in failed.items():
            if code != PEER_LOST:
                return WorkFailed(code, cause)
        if is_late or len(lost) == self._work.hosts - 1 or len(failed) < len(lost):
            return WorkCrashed("The workers lost touch with each other.")
        return None


@contextmanager
def gathered(work: Run) -> Iterator[Gang]:
    """The other workers of this attempt, called at once and dismissed where it breaks."""
    gang = Gang(work)
    if work.hosts == 1:
        yield gang
        return
    gang.call()
    try:
        yield gang
    except Exception:
        with suppress(DatabaseError, InterfaceError):  # then they will see for themselves that the attempt is over
            dismiss(RunShare.objects.filter(run=work, run_epoch=work.epoch))
        raise


@contextmanager
def gone_with_it(work: RunShare) -> Iterator[None]:
    """Whatever ends the program inside ends this share for good, with the cause for the first worker to read."""
    try:
        yield
    except WorkGivenBack as error:
        raise WorkFailed(LEFT, str(error)) from error
    except WorkCrashed as error:
        if ProgramFolder(work.attempt_folder).read_status().state == "stopped":  # all were asked to
            raise WorkCancelled from error
        raise WorkFailed(PEER_LOST, str(error)) from error


def dismiss(shares: QuerySet[RunShare]) -> None:
    """Whoever is still there, or was called, need not stay."""
    for share in shares.filter(state__in=[WorkState.QUEUED, WorkState.RUNNING]):
        with suppress(leases.CannotCancel):  # it ended in this moment
            leases.request_cancel(share)


def list_startable(waiting: Iterable[Run]) -> list[int]:
    """Of these runs of several machines, those that could gather now, by number."""
    runs = list(waiting)
    if not runs or list_gathering().exists():
        return []
    workers = list_run_workers()
    free = list_free(workers)
    return [run.pk for run in runs if count_places(run, workers if is_patient(run) else free) >= run.hosts]


def list_gathering() -> QuerySet[Run]:
    """Runs that were claimed and whose workers have not met yet."""
    met = RunShare.objects.filter(run=OuterRef("pk"), run_epoch=OuterRef("epoch"), port__gt=0)
    return Run.objects.filter(~Exists(met), state=WorkState.RUNNING, hosts__gt=1)


def count_places(run: Run, workers: Iterable[SeenWorker]) -> int:
    """How many of them could each train a part of it, those that share a device counted once."""
    return len(list_places(worker for worker in workers if worker.machine.meets(run.ask)))


def is_patient(run: Run) -> bool:
    """Whether it has waited so long that devices are held for it."""
    return timezone.now() - run.queued_at > HOLD_AFTER


def is_joined(share: RunShare) -> bool:
    """Whether the worker that took it still has it: one that comes after it knows nothing of the others."""
    return share.state == WorkState.RUNNING and share.epoch == 1


def is_wanted(share: RunShare) -> bool:
    """Whether its run is still at the attempt that it is a part of, or has just come to a good end with it."""
    states = [WorkState.RUNNING, WorkState.FINISHED]
    return Run.objects.filter(pk=share.run_id, epoch=share.run_epoch, state__in=states).exists()


def _rank(run: Run) -> tuple[int, datetime, int]:
    """The smallest gathers first."""
    return -run.priority, run.queued_at, run.pk
