"""Gold pairs: making them, handing them out unnoticed, and keeping them out of everything that is made of votes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from annotate.exporting.candidates import iterate_candidates, read_cutoff
from annotate.exporting.rule import Aggregation, DatasetRule
from annotate.models import Assignment, Choice, Comparison, GoldAnswer, Grade, Judgment, Project, Role, SkipReason
from annotate.selectors.answers import map_frozen
from annotate.selectors.budget import forecast_budget
from annotate.selectors.gold import list_gold_judgments
from annotate.selectors.progress import measure_progress
from annotate.selectors.projects import list_members
from annotate.selectors.quality import measure_quality
from annotate.selectors.tape import Plan
from annotate.services.assignments import next_comparison
from annotate.services.changes import reopen_answer
from annotate.services.datasets import build_dataset_version, freeze_dataset, preview_dataset
from annotate.services.frozen import FrozenAnswerError
from annotate.services.gold import GoldError, change_gold, make_gold, unmake_gold
from annotate.services.judgments import skip_comparison, submit_judgment, undo_judgment
from annotate.services.work_here import do_work_here
from tests.annotate.test_next_comparison import hand_out
from tests.annotate.votes import vote
from tests.conftest import MakeComparison

Api = Callable[[User], APIClient]


def make_gold_pairs(make_comparison: MakeComparison, admin: User, count: int) -> list[GoldAnswer]:
    """Pairs whose better response is a, significantly."""
    return [
        make_gold(comparison=make_comparison(), winner="a", grade=Grade.SIGNIFICANTLY, by=admin)
        for _number in range(count)
    ]


def answer(labeler: User, project: Project, choice: Choice = Choice.UNSURE) -> Judgment:
    held = hand_out(labeler, project)
    return submit_judgment(labeler=labeler, project=project, token=held.token, choice=choice)


def test_every_answer_moves_every_figure_alike(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    """Gold, ordinary, taken back and answered again, skipped: nothing that a labeler sees tells which it was."""
    Project.objects.filter(pk=project.pk).update(gold_rate=0.4, gold_bar=0.05)
    project.refresh_from_db()
    make_gold_pairs(make_comparison, admin, 8)
    for _number in range(14):
        make_comparison(need=2)
    answer(teammate, project)
    draw = random.Random(7)
    before = measure_progress(project, labeler)
    while held := next_comparison(labeler=labeler, project=project):
        assert measure_progress(project, labeler) == before
        skips = draw.random() < 0.15
        if skips:
            skip_comparison(labeler=labeler, project=project, token=held.token, reason=SkipReason.OTHER)
        else:
            submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.UNSURE)
        after = measure_progress(project, labeler)
        assert after.left_for_me == before.left_for_me - 1
        assert after.needed == before.needed
        assert (after.done, after.done_by_me) == (before.done + (not skips), before.done_by_me + (not skips))
        if draw.random() < 0.3:
            following = next_comparison(labeler=labeler, project=project)
            again = undo_judgment(labeler=labeler, project=project)
            assert (again.comparison_id, measure_progress(project, labeler)) == (held.comparison_id, before)
            said = submit_judgment(labeler=labeler, project=project, token=again.token, choice=Choice.UNSURE)
            after = measure_progress(project, labeler)
            assert not said.surplus and next_comparison(labeler=labeler, project=project) == following
        before = after
    assert before.left_for_me == 0
    kinds = Counter(Assignment.objects.filter(labeler=labeler).values_list("kind", flat=True))
    assert kinds["ordinary"] == 14 and kinds["gold"]


def test_coins_fall_at_the_rate_and_otherwise_for_each() -> None:
    def draw_tape(key: bytes) -> list[bool]:
        return [Plan((1,), place, 0, 0.25, key).find_next() == Assignment.Kind.GOLD for place in range(1000)]

    tapes = [draw_tape(bytes([number]) * 32) for number in range(4)]
    assert all(0.2 < sum(tape) / 1000 < 0.3 for tape in tapes) and len({tuple(tape) for tape in tapes}) == 4
    assert not any(Plan((), place, 0, 0.25, b"k" * 32).find_next() == Assignment.Kind.GOLD for place in range(100))


@given(
    st.integers(0, 12),
    st.integers(0, 30),
    st.integers(0, 40),
    st.floats(0, 0.5),
    st.integers(0, 12),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 12),
    st.floats(0, 0.3),
)
def test_what_is_ahead_is_what_comes(
    pool: int, place: int, ordinary: int, rate: float, owed: int, key: bytes, judged: int, repeat_rate: float
) -> None:
    """The count that stands on the page, against walking the tape turn by turn."""
    owed = min(owed, pool)
    plan = Plan(tuple(range(pool)), place, owed, rate, key, tuple(range(judged)), repeat_rate)
    came, waiting, at = 0, ordinary, plan
    while at.owed or waiting:
        kind = Assignment.Kind.GOLD if at.owed else at.find_next()
        gold, again = kind == Assignment.Kind.GOLD, kind == Assignment.Kind.REPEAT
        came, waiting = came + gold + again, waiting - (not (gold or again))
        at = replace(at, pool=at.pool[gold:], repeats=at.repeats[again:], place=at.place + 1, owed=max(0, at.owed - 1))
    assert plan.count_ahead(ordinary) == came


def test_gold_is_judged_by_several_and_takes_no_place(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    project.gold_rate, project.gold_bar = 0.5, 0.05
    project.save()
    make_gold_pairs(make_comparison, admin, 5)
    for _number in range(25):
        make_comparison(need=2)
    for person in (labeler, teammate):
        while next_comparison(labeler=person, project=project):
            answer(person, project, Choice.LEFT_SLIGHTLY)
    gold = Comparison.objects.exclude(gold=None)
    assert set(gold.values_list("taken", "need")) == {(0, 0)}
    assert [Judgment.objects.filter(comparison=pair).count() for pair in gold] == [2] * 5
    assert not Judgment.objects.filter(surplus=True).exists()


def test_an_answer_to_gold_looks_like_any_other(
    project: Project, labeler: User, admin: User, make_comparison: MakeComparison, api: Api
) -> None:
    project.qualification_pairs, project.gold_bar = 1, 0.05
    project.save()
    make_gold_pairs(make_comparison, admin, 1)
    make_comparison()
    client, url = api(labeler), f"/api/v1/projects/{project.slug}/"
    seen = []
    for kind in ("qualification", "ordinary"):
        desk = client.post(f"{url}next/").json()
        token = desk["pair"]["token"]
        assert Assignment.objects.get(token=token).kind == kind
        flag = client.post(f"{url}flags/", {"token": token, "reason": "unclear"})
        sent = client.post(f"{url}judgments/", {"token": token, "choice": "unsure"})
        seen.append((set(desk["pair"]), set(flag.json()), set(sent.json()), sent.json()["grade"]))
    assert seen[0] == seen[1]
    told = f"{client.get(f'{url}judgments/').json()} {seen}"
    assert not [word for word in ("gold", "kind", "qualif", "comparison", "surplus", "winner") if word in told]
    assert not [name for name in client.get(url).json() if "gold" in name or "qualif" in name]


def test_answers_to_gold_close_as_others_do(
    project: Project, labeler: User, admin: User, make_comparison: MakeComparison
) -> None:
    project.qualification_pairs, project.gold_bar = 1, 0.05
    project.save()
    make_gold_pairs(make_comparison, admin, 1)
    for _number in range(3):
        make_comparison()
    said = [answer(labeler, project, Choice.LEFT_SLIGHTLY) for _number in range(3)]
    said.append(answer(labeler, project, Choice.UNSURE))
    rule = DatasetRule(eval_share=0.0)
    version = do_work_here(lambda: freeze_dataset(project=project, rule=rule, by=admin), build_dataset_version)
    assert map_frozen(said) == {vote.pk: 1 for vote in said[:3]}
    assert version.judgments.count() == 2
    with pytest.raises(FrozenAnswerError):
        reopen_answer(labeler=labeler, project=project, token=said[0].token)


def test_reviewers_get_no_gold(project: Project, labeler: User, admin: User, make_comparison: MakeComparison) -> None:
    """They can read the answers."""
    project.gold_rate, project.qualification_pairs = 0.5, 2
    project.save()
    make_gold_pairs(make_comparison, admin, 5)
    for _number in range(6):
        make_comparison()
    project.memberships.filter(user=labeler).update(role=Role.REVIEWER)
    for _number in range(6):
        answer(labeler, project)
    assert next_comparison(labeler=labeler, project=project) is None
    assert set(Assignment.objects.values_list("kind", flat=True)) == {"ordinary"}


def test_votes_on_gold_enter_nothing(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    """Datasets by every rule, label quality, the forecast, the counts of members: the votes before and after."""
    project.qualification_pairs, project.gold_bar = 1, 0.05
    project.save()
    was_ordinary = make_comparison(need=2, recorded_winner="a")
    vote(was_ordinary, labeler)
    kept = make_comparison(need=2, recorded_winner="b")
    vote(kept, labeler)
    make_gold(comparison=was_ordinary, winner="b", grade=Grade.SLIGHTLY, by=admin)
    while next_comparison(labeler=teammate, project=project):
        answer(teammate, project)
    assert set(Judgment.objects.values_list("comparison", flat=True)) == {was_ordinary.pk, kept.pk}
    for aggregation in Aggregation:
        rule = DatasetRule(aggregation=aggregation, eval_share=0.0)
        tally = preview_dataset(project=project, rule=rule).tally
        assert tally.comparisons == 1, aggregation
        on_gold = Judgment.objects.filter(comparison=was_ordinary).values_list("pk", flat=True)
        assert not {*tally.judgments["train"], *tally.judgments["eval"]} & set(on_gold)
    for recorded in (True, False):
        found = list(iterate_candidates(project, read_cutoff(project), recorded=recorded))
        assert [candidate.comparison for candidate in found] == [kept]
    assert (measure_quality(project).votes, measure_quality(project).comparisons) == (2, 1)
    assert forecast_budget(project).timed == 2
    assert {member.username: member.votes for member in list_members(project)} == {"labeler": 1, "teammate": 1}  # type: ignore[attr-defined]
    assert len(list_gold_judgments(project)) == 1, "what was said before it was gold is no gold judgment"


def test_making_a_pair_gold_frees_its_places_and_takes_no_answer_away(
    project: Project, labeler: User, teammate: User, admin: User, make_comparison: MakeComparison
) -> None:
    comparison = make_comparison(need=2)
    held = hand_out(labeler, project)
    gold = make_gold(comparison=comparison, winner="a", grade=Grade.SLIGHTLY, by=admin)
    comparison.refresh_from_db()
    assert (comparison.need, comparison.taken) == (0, 0)
    assert next_comparison(labeler=teammate, project=project) is None
    project.max_votes = 3
    project.save()
    submit_judgment(labeler=labeler, project=project, token=held.token, choice=Choice.LEFT_SLIGHTLY)
    comparison.refresh_from_db()
    assert (comparison.need, comparison.taken, Judgment.objects.count()) == (0, 0, 1)
    with pytest.raises(GoldError, match="already"):
        make_gold(comparison=comparison, winner="b", grade=Grade.SLIGHTLY, by=admin)
    unmake_gold(gold=gold, by=admin)
    comparison.refresh_from_db()
    assert (comparison.need, comparison.taken) == (1, 1)


def test_judged_gold_is_retired_and_never_changed(
    project: Project, labeler: User, admin: User, make_comparison: MakeComparison
) -> None:
    project.qualification_pairs = 1
    project.save()
    (gold,) = make_gold_pairs(make_comparison, admin, 1)
    change_gold(gold=gold, by=admin, winner="b", grade=Grade.SLIGHTLY)
    answer(labeler, project, Choice.UNSURE)
    for change in ({"winner": "a"}, {"grade": Grade.NEGLIGIBLY}):
        with pytest.raises(GoldError, match="Retire"):
            change_gold(gold=gold, by=admin, **change)
    with pytest.raises(GoldError, match="Retire"):
        unmake_gold(gold=gold, by=admin)
    assert len(list_gold_judgments(project)) == 1
    assert not change_gold(gold=gold, by=admin, is_active=False, explanation="The key was wrong.").is_active
    assert not list_gold_judgments(project), "it counts for and against nobody"


@pytest.mark.parametrize(
    ("winner", "grade", "field"),
    [
        ("", Grade.SLIGHTLY, "winner"),
        ("a", Grade.UNSURE, "winner"),
        ("", Grade.EQUAL, "grade"),
        ("a", Grade.BETTER, "grade"),
    ],
)
def test_a_known_answer_is_one_that_the_project_offers(
    admin: User, make_comparison: MakeComparison, winner: str, grade: Grade, field: str
) -> None:
    with pytest.raises(GoldError) as caught:
        make_gold(comparison=make_comparison(), winner=winner, grade=grade, by=admin)
    assert caught.value.field == field and not GoldAnswer.objects.exists()
