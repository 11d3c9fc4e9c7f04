"""Several labelers at once: no place given twice, no vote lost, whatever the order of things.

A state machine tries orders that nobody thinks of; threads try real simultaneity. Both run on SQLite and PostgreSQL.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from annotate.models import Assignment, Choice, Comparison, Judgment, Project, SkipReason
from annotate.services.assignments import extend_lease, next_comparison
from annotate.services.changes import reopen_answer
from annotate.services.comparisons import NewComparison, NewResponse, create_comparisons
from annotate.services.judgments import (
    AnswerConflictError,
    UndoError,
    skip_comparison,
    submit_judgment,
    undo_judgment,
)
from annotate.services.places import reap_expired
from annotate.services.prompts import get_or_create_prompt

PEOPLE = st.integers(0, 2)
CHOICES = st.sampled_from(Project(allows_equal=True, allows_both_bad=True).choices)


def build_project(needs: list[int], people: int, max_votes: int | None = None) -> tuple[Project, list[User]]:
    """A project with one comparison for each need, and its labelers."""
    labelers = [User.objects.create(username=f"person {number}") for number in range(people)]
    project = Project.objects.create(
        name="p", slug="p", created_by=labelers[0], allows_equal=True, allows_both_bad=True, max_votes=max_votes
    )
    prompt, _created = get_or_create_prompt(project=project, messages=[{"role": "user", "content": "?"}])
    for need in needs:
        new = NewComparison(prompt, NewResponse("one"), NewResponse("two"), need=need)
        create_comparisons(project=project, new=[new])
    return project, labelers


def read_comparisons(project: Project) -> list[Comparison]:
    """With all that was handed out and said; read at once, for it is looked at after every step."""
    return list(Comparison.objects.filter(project=project).prefetch_related("assignments__judgments", "judgments"))


def list_standing(said: Iterable[Judgment]) -> list[Judgment]:
    """What nothing came after, oldest first."""
    said = sorted(said, key=lambda row: row.pk)
    superseded = {row.supersedes_id for row in said}
    return [row for row in said if row.pk not in superseded]


def list_votes(comparison: Comparison) -> list[Judgment]:
    """Those that count."""
    return [vote for vote in list_standing(comparison.judgments.all()) if vote.action == "vote" and not vote.is_repeat]


def check_places(comparisons: list[Comparison]) -> None:
    """What must hold at every moment."""
    leases: dict[int, int] = defaultdict(int)
    for comparison in comparisons:
        rows = list(comparison.assignments.all())
        held = [row for row in rows if row.holds_place]
        assert comparison.taken == len(held) <= comparison.need
        filling = [vote.assignment_id for vote in list_votes(comparison) if not vote.surplus]
        leased = [row.pk for row in held if row.state == "leased"]
        assert sorted(filling + leased) == sorted(row.pk for row in held)
        for row in rows:
            leases[row.labeler_id] += row.state == "leased"
            chain = sorted(row.judgments.all(), key=lambda said: said.pk)
            assert [said.supersedes_id for said in chain] == [None, *(said.pk for said in chain)][: len(chain)]
            standing = chain[-1].action if chain else "undo"
            assert (row.state in {"leased", "expired"}) == (standing == "undo")
    assert all(count <= 1 for count in leases.values())


def check_overlap(project: Project, comparisons: list[Comparison]) -> None:
    """Where all votes are in and they disagree, no more can be asked for; and never more than the maximum is."""
    for comparison in comparisons:
        votes = [vote for vote in list_votes(comparison) if vote.grade != "unsure"]
        answers = {vote.winner or vote.grade for vote in votes}
        leased = any(row.state == "leased" and row.holds_place for row in comparison.assignments.all())
        if project.max_votes and comparison.taken == comparison.need and not leased and len(answers) > 1:
            assert comparison.need >= project.max_votes
        assert comparison.need <= max(3, project.max_votes or 0)


def label_the_rest(project: Project, labelers: list[User], now: datetime) -> None:
    """One after the other, each until nothing is left for them."""
    for user in labelers:
        while held := next_comparison(labeler=user, project=project, now=now):
            submit_judgment(labeler=user, project=project, token=held.token, choice=Choice.UNSURE, now=now)


class LabelingRoom(RuleBasedStateMachine):
    """Three labelers, four comparisons; what each of them said is kept beside and held against the tables."""

    max_votes: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now: datetime = timezone.now()
        self.project, self.people = build_project([1, 2, 1, 3], 3, self.max_votes)
        self.tokens: dict[int, list[UUID]] = defaultdict(list)
        self.said: dict[UUID, str] = {}
        self.stack: dict[int, list[UUID]] = defaultdict(list)
        self.changes: dict[UUID, UUID] = {}

    def teardown(self) -> None:
        try:
            self.finish_everything()
        finally:
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    @rule(person=PEOPLE)
    def ask(self, person: int) -> None:
        assignment = next_comparison(labeler=self.people[person], project=self.project, now=self.now)
        if assignment:
            self.tokens[person].append(assignment.token)

    @rule(person=PEOPLE, back=st.integers(0, 3), choice=CHOICES)
    def submit(self, person: int, back: int, choice: Choice) -> None:
        """The token just got, or an old one: a retry, a late answer, another tab."""
        if len(self.tokens[person]) <= back:
            return
        token = self.tokens[person][-1 - back]
        act = partial(
            submit_judgment,
            labeler=self.people[person],
            project=self.project,
            token=token,
            choice=choice,
            now=self.now,
        )
        if self.is_refused(person, token, choice):
            with pytest.raises(AnswerConflictError):
                act()
        else:
            assert act().choice == choice
            self.note(person, token, choice)

    @rule(person=PEOPLE, back=st.integers(0, 2))
    def skip(self, person: int, back: int) -> None:
        if len(self.tokens[person]) <= back:
            return
        token = self.tokens[person][-1 - back]
        act = partial(
            skip_comparison,
            labeler=self.people[person],
            project=self.project,
            token=token,
            reason=SkipReason.OTHER,
            now=self.now,
        )
        if self.is_refused(person, token, "skip"):
            with pytest.raises(AnswerConflictError):
                act()
        else:
            act()
            self.note(person, token, "skip")

    @rule(person=PEOPLE)
    def undo(self, person: int) -> None:
        if not self.stack[person]:
            with pytest.raises(UndoError):
                undo_judgment(labeler=self.people[person], project=self.project, now=self.now)
            return
        token = self.stack[person].pop()
        for _click in range(2):
            again = undo_judgment(labeler=self.people[person], project=self.project, token=token, now=self.now)
            assert again.token != token
        self.tokens[person].append(again.token)

    @rule(person=PEOPLE, which=st.integers(0, 5))
    def reopen(self, person: int, which: int) -> None:
        """Any answer that stands, not only the last. What stands and what is held stay as they are."""
        if not self.stack[person]:
            return
        token = self.stack[person][which % len(self.stack[person])]
        for _click in range(2):
            again = reopen_answer(labeler=self.people[person], project=self.project, token=token, now=self.now)
            assert again.token not in self.said
        self.changes[again.token] = token
        self.tokens[person].append(again.token)

    @rule(minutes=st.sampled_from([1, 10, 20]))
    def let_time_pass(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def reap(self) -> None:
        reap_expired(now=self.now)

    @precondition(lambda self: any(self.tokens.values()))
    @rule(person=PEOPLE)
    def beat(self, person: int) -> None:
        if self.tokens[person]:
            extend_lease(labeler=self.people[person], project=self.project, token=self.tokens[person][-1], now=self.now)

    @invariant()
    def places_are_right(self) -> None:
        comparisons = read_comparisons(self.project)
        check_places(comparisons)
        check_overlap(self.project, comparisons)

    @invariant()
    def nothing_said_is_lost(self) -> None:
        rows = list(Judgment.objects.filter(project=self.project))
        assert {row.token: row.choice or "skip" for row in rows if row.action != "undo"} == self.said
        standing = [row for row in list_standing(rows) if row.action != "undo"]
        for person, user in enumerate(self.people):
            assert [row.token for row in standing if row.labeler_id == user.pk] == self.stack[person]

    def is_refused(self, person: int, token: UUID, what: str) -> bool:
        """Something else was said with this token, or what was said was taken back."""
        return token in self.said and (self.said[token] != what or token not in self.stack[person])

    def note(self, person: int, token: UUID, what: str) -> None:
        if token not in self.said:
            self.said[token] = what
            self.stack[person].append(token)
            if (old := self.changes.get(token)) in self.stack[person]:
                self.stack[person].remove(old)

    def finish_everything(self) -> None:
        """Whatever happened, labelers who go on reach the end, and only pairs all of them answered may stay open."""
        self.now += timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS + 1)
        label_the_rest(self.project, self.people * 2, self.now)
        comparisons = read_comparisons(self.project)
        check_places(comparisons)
        for comparison in comparisons:
            ended = [row for row in comparison.assignments.all() if row.state in ("done", "skipped")]
            answered = sum(row.kind != "repeat" for row in ended)
            assert comparison.taken == comparison.need or answered == len(self.people)


class DisputedRoom(LabelingRoom):
    """The same, where disagreement asks for a third vote."""

    max_votes = 3


class RepeatingRoom(DisputedRoom):
    """Where whatever somebody judged comes again at once, while other pairs are left."""

    def __init__(self) -> None:
        super().__init__()
        self.project.repeat_rate, self.project.repeat_after_days = 1.0, 0

    @invariant()
    def repeats_are_swapped_and_take_no_place(self) -> None:
        for again in Assignment.objects.filter(kind="repeat"):
            first = Assignment.objects.exclude(kind="repeat").get(comparison=again.comparison, labeler=again.labeler)
            assert again.left_response != first.left_response and not again.holds_place
            assert all(said.is_repeat and not said.surplus for said in again.judgments.all())


@pytest.mark.django_db
@pytest.mark.parametrize("room", [LabelingRoom, DisputedRoom, RepeatingRoom])
def test_any_order_of_events(room: type[LabelingRoom]) -> None:
    run_state_machine_as_test(
        room,
        settings=hypothesis_settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db(transaction=True)
def test_real_simultaneity() -> None:
    """Six labelers in threads, each request sent twice at once, some leases cut short by a seventh."""
    project, labelers = build_project([2] * 12, 6)
    start, hurry_is_over = Barrier(7), Event()
    accepted: dict[UUID, str] = {}

    def twice(act: Callable[[], object], pool: ThreadPoolExecutor) -> list[object]:
        def run() -> object:
            try:
                return act()
            except UndoError as error:
                return error
            finally:
                connection.close()

        return [future.result() for future in [pool.submit(run), pool.submit(run)]]

    def label(number: int) -> None:
        rng, user = random.Random(number), labelers[number]
        start.wait()
        with ThreadPoolExecutor(2) as pool:
            while True:
                disturbed = not hurry_is_over.is_set()
                held, same = twice(lambda: next_comparison(labeler=user, project=project), pool)
                if held is None or same is None:
                    return
                assert isinstance(held, Assignment) and isinstance(same, Assignment)
                # While leases are cut short, the one of the first request may be over before the second asks.
                assert held.token == same.token or disturbed
                choice = rng.choice(project.choices)
                give: dict[str, Any] = {"labeler": user, "project": project, "token": held.token}
                if rng.random() < 0.1:
                    twice(lambda: skip_comparison(**give, reason=SkipReason.OTHER), pool)  # noqa: B023
                    continue
                votes = twice(lambda: submit_judgment(**give, choice=choice), pool)  # noqa: B023
                assert votes[0] == votes[1]
                accepted[held.token] = choice
                if rng.random() < 0.15:
                    undone = twice(lambda: undo_judgment(**give), pool)  # noqa: B023
                    assert len({row.token for row in undone if isinstance(row, Assignment)}) == 1

    def hurry() -> None:
        """Ends everybody's leases now and then, as if their time were over."""
        start.wait()
        late = timezone.now() + timedelta(seconds=settings.ASSIGNMENT_LEASE_SECONDS)
        for step in range(12):
            reap_expired(now=late + timedelta(seconds=step / 10))
        hurry_is_over.set()
        connection.close()

    with ThreadPoolExecutor(7) as pool:
        for future in [*(pool.submit(label, number) for number in range(6)), pool.submit(hurry)]:
            future.result(timeout=120)
    check_places(read_comparisons(project))
    stored = {row.token: row.choice for row in Judgment.objects.filter(action="vote")}
    assert stored == accepted
    # Places that a skip freed after everybody else had left wait for whoever comes back.
    label_the_rest(project, labelers, timezone.now())
    check_places(read_comparisons(project))
    assert not Comparison.objects.filter(project=project).exclude(taken=2).exists()
