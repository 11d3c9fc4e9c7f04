"""How far the labeling is: exact in a small project, and in a large one without counting it for every page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotate.models import Choice, Comparison, Judgment, Project, SkipReason
from annotate.selectors import progress, totals
from annotate.selectors.progress import find_undoable, measure_progress
from annotate.services.assignments import next_comparison
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from tests.conftest import MakeComparison


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Twelve comparisons make a large project here, whose figures are kept for hours."""
    monkeypatch.setattr(totals, "EXACT_UP_TO", 10)
    monkeypatch.setattr(totals, "_KEPT_S_PER_COMPARISON", 1000.0)
    monkeypatch.setattr(progress, "_LOOK_AHEAD", 4)
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def dozen(make_comparison: MakeComparison) -> list[Comparison]:
    return [make_comparison() for _number in range(12)]


def vote(labeler: User, project: Project) -> Judgment:
    pair = next_comparison(labeler=labeler, project=project)
    assert pair is not None
    return submit_judgment(labeler=labeler, project=project, token=pair.token, choice=Choice.UNSURE)


def test_a_large_project_counts_ones_own_turns_at_once_and_others_later(
    labeler: User, teammate: User, project: Project, dozen: list[Comparison], large: None
) -> None:
    assert measure_progress(project, labeler).left_for_me == 12
    vote(labeler, project)
    vote(teammate, project)
    pair = next_comparison(labeler=labeler, project=project)
    assert pair is not None
    mine = measure_progress(project, labeler)
    assert (mine.done_by_me, mine.left_for_me) == (1, 11), "mine is gone, the teammate's is not, what I hold is left"
    skip_comparison(labeler=labeler, project=project, token=pair.token, reason=SkipReason.UNFIT)
    assert measure_progress(project, labeler).left_for_me == 10
    undo_judgment(labeler=labeler, project=project)
    assert measure_progress(project, labeler).left_for_me == 11


def test_the_votes_of_all_are_counted_again_when_their_time_is_over(
    labeler: User, project: Project, dozen: list[Comparison], large: None
) -> None:
    assert measure_progress(project, labeler).done == 0
    vote(labeler, project)
    assert measure_progress(project, labeler).done == 0
    with time_machine.travel(datetime.now(tz=UTC) + timedelta(hours=4)):
        assert measure_progress(project, labeler).done == 1


def test_one_counts_again_and_the_others_do_not_wait(large: None) -> None:
    counted = iter([1, 2])

    def count_slowly() -> int:
        result = next(counted)
        if result == 2:  # somebody else asks in the middle of it
            assert totals.keep("figure", pytest.fail, lambda _figure: 0.01) == 1
        return result

    assert totals.keep("figure", count_slowly, lambda _figure: 0.001) == 1
    while totals.keep("figure", count_slowly, lambda _figure: 60.0) == 1:
        pass
    assert totals.keep("figure", pytest.fail, lambda _figure: 60.0) == 2


def test_the_last_pairs_of_a_large_project_are_counted_one_by_one(
    labeler: User, teammate: User, project: Project, dozen: list[Comparison], large: None
) -> None:
    measure_progress(project, labeler)
    for _turn in range(9):
        vote(teammate, project)
    assert measure_progress(project, labeler).left_for_me == 3
    for _turn in range(3):
        vote(teammate, project)
    end = measure_progress(project, labeler)
    assert (end.left_for_me, end.done, end.needed) == (0, 12, 12)


def test_a_large_project_is_not_counted_for_every_page(
    labeler: User, project: Project, dozen: list[Comparison], large: None
) -> None:
    measure_progress(project, labeler)
    with CaptureQueriesContext(
        connection,
    ) as asked:
        measure_progress(project, labeler)
    assert len(asked) == 2
    assert not [query["sql"] for query in asked if "SUM(" in query["sql"]]


def test_undo_finds_the_last_standing_answer_behind_many_that_were_taken_back(
    labeler: User, project: Project, make_comparison: MakeComparison
) -> None:
    make_comparison()
    make_comparison()
    first = vote(labeler, project)
    for _time in range(12):
        vote(labeler, project)
        undo_judgment(labeler=labeler, project=project)
    assert find_undoable(project, labeler) == first
    undo_judgment(labeler=labeler, project=project)
    assert find_undoable(project, labeler) is None


def test_nothing_is_left_in_an_archived_project(dozen: list[Comparison], labeler: User, project: Project) -> None:
    vote(labeler, project)
    project.archived_at = datetime.now(UTC)
    project.save()
    assert (measure_progress(project, labeler).done_by_me, measure_progress(project, labeler).left_for_me) == (1, 0)
