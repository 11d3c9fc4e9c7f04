"""The audit of `make bench-labeling` finds what it is there for, when the data are damaged on purpose."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F

from annotate.models import Choice, Comparison, Judgment, Project, SkipReason
from annotate.services.assignments import next_comparison
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from benchmarks.labeling.audit import Findings, Log, audit
from tests.conftest import MakeComparison

CLEAN = Findings(lost=0, doubled=0, over_assigned=0, miscounted=0)


@pytest.fixture
def log(labeler: User, project: Project, make_comparison: MakeComparison) -> Log:
    """A vote, a vote taken back and given anew, and a skip."""
    for _number in range(3):
        make_comparison(need=2)
    log = Log(labeler.pk)
    for choice in ("left_slightly", "unsure"):
        token = hand_out(labeler, project)
        submit_judgment(labeler=labeler, project=project, token=token, choice=Choice(choice))
        log.votes[str(token)] = choice
    log.undone.add(str(token))
    anew = undo_judgment(labeler=labeler, project=project)
    submit_judgment(labeler=labeler, project=project, token=anew.token, choice=Choice.RIGHT_SLIGHTLY)
    log.votes[str(anew.token)] = "right_slightly"
    token = hand_out(labeler, project)
    skip_comparison(labeler=labeler, project=project, token=token, reason=SkipReason.UNFIT)
    log.skips.add(str(token))
    log.sent = {*log.votes, *log.skips}
    return log


def hand_out(labeler: User, project: Project) -> UUID:
    pair = next_comparison(labeler=labeler, project=project)
    assert pair is not None
    return pair.token


def examine(project: Project, log: Log) -> Findings:
    return audit(project, [log], after=0)


def test_all_is_well(project: Project, log: Log) -> None:
    assert examine(project, log) == CLEAN


def test_finds_a_lost_answer(project: Project, log: Log) -> None:
    vote = Judgment.objects.order_by("pk")[0]
    vote.delete()
    assert examine(project, log).lost == 1


def test_finds_a_changed_answer_and_a_lost_skip(project: Project, log: Log) -> None:
    Judgment.objects.filter(action=Judgment.Action.VOTE, grade="slightly").update(grade="negligibly")
    Judgment.objects.filter(action=Judgment.Action.SKIP).delete()
    assert examine(project, log).lost == 3


def test_finds_an_answer_that_stands_no_more_and_one_that_came_back(project: Project, log: Log) -> None:
    last = Judgment.objects.filter(action=Judgment.Action.VOTE).order_by("-pk")[0]
    undo = Judgment.objects.get(action=Judgment.Action.UNDO)
    first = Judgment.objects.order_by("pk")[0]
    Judgment.objects.filter(pk=last.pk).update(supersedes=first)
    Judgment.objects.filter(pk=undo.pk).update(supersedes=None)
    findings = examine(project, log)
    assert findings.lost == 2, "the first does not stand, and the one taken back does"


def test_finds_a_doubled_answer(project: Project, log: Log) -> None:
    vote = Judgment.objects.order_by("pk")[0]
    vote.pk, vote.token = None, uuid4()
    vote.save(force_insert=True)
    assert examine(project, log).doubled == 2, "twice on one pair, and one of them was never sent"


def test_finds_an_over_assigned_pair(project: Project, log: Log) -> None:
    comparison = Judgment.objects.order_by("pk")[0].comparison
    with connection.constraint_checks_disabled():
        Comparison.objects.filter(pk=comparison.pk).update(need=0, taken=0)
    findings = examine(project, log)
    assert (findings.over_assigned, findings.miscounted) == (1, 1)


def test_finds_a_place_that_nobody_holds(project: Project, log: Log) -> None:
    Comparison.objects.filter(pk=Comparison.objects.order_by("-pk")[0].pk).update(taken=F("taken") + 1)
    assert examine(project, log) == Findings(lost=0, doubled=0, over_assigned=0, miscounted=1)
