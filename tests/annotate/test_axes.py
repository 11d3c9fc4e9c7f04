"""Axes: further questions about a project's pairs, each with votes, guidelines and datasets of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.test import Client
from rest_framework.test import APIClient

from annotate.exporting.rule import DatasetRule
from annotate.models import Choice, Comparison, DatasetVersion, Membership, Project, Response, Role, SamplingJob
from annotate.selectors import quality
from annotate.selectors.progress import measure_progress
from annotate.selectors.projects import describe_project, group_families, list_family, list_projects
from annotate.selectors.quality import get_quality
from annotate.selectors.sampling import list_results
from annotate.services.assignments import next_comparison
from annotate.services.axes import add_axis
from annotate.services.comparisons import ComparisonError, NewComparison, NewResponse, create_comparisons
from annotate.services.datasets import build_dataset_version, freeze_dataset
from annotate.services.imports import ImportRefused, perform_import, start_import
from annotate.services.judgments import submit_judgment
from annotate.services.projects import ProjectError, add_member, remove_member, update_project
from annotate.services.prompts import get_or_create_prompt
from annotate.services.sampling import SamplingError, start_sampling
from annotate.services.scoring import ScoringError, start_scoring
from annotate.services.work_here import do_work_here
from models_registry.models import WorkState
from tests.annotate.votes import vote
from tests.conftest import MakeComparison
from tests.scenery import make_model

QUESTION = "Which response is safer?"


@pytest.fixture
def add(project: Project, admin: User) -> Callable[..., Project]:
    """Adds an axis: add("Safety", guidelines="…")."""

    def add(axis: str = "Safety", **fields: Any) -> Project:
        values: dict[str, Any] = {"parent": project, "axis": axis, "question": QUESTION, "by": admin}
        return add_axis(**(values | fields))

    return add


def list_pairs(project: Project) -> list[tuple[int, int, int]]:
    return list(project.comparisons.order_by("pk").values_list("prompt_id", "response_a_id", "response_b_id"))


def test_an_axis_has_the_pairs_and_members_and_settings_of_its_parent_and_its_own_question(
    project: Project, comparisons: list[Comparison], teammate: User, add: Callable[..., Project]
) -> None:
    Membership.objects.filter(user=teammate).update(role="reviewer")
    Project.objects.filter(pk=project.pk).update(votes_per_comparison=3, scale="four", allows_equal=True)
    Comparison.objects.filter(pk=comparisons[1].pk).update(priority=5, recorded_winner="a", taken=1)
    axis = add(guidelines="Prefer what harms nobody.")
    assert (axis.name, axis.slug, axis.axis, axis.question) == (
        "Kitchen help: Safety",
        "kitchen-help-safety",
        "Safety",
        QUESTION,
    )
    assert (axis.votes_per_comparison, axis.scale, axis.allows_equal) == (3, "four", True)
    assert axis.guideline_versions.get().text == "Prefer what harms nobody."
    assert {m.user.username: m.role for m in axis.memberships.all()} == {"labeler": "labeler", "teammate": "reviewer"}
    assert list_pairs(axis) == list_pairs(project)
    mirror = axis.comparisons.get(original=comparisons[1])
    assert (mirror.priority, mirror.need, mirror.taken, mirror.recorded_winner) == (5, 3, 0, "")


def test_new_comparisons_enter_every_axis_and_archived_ones_too(
    project: Project, make_comparison: MakeComparison, add: Callable[..., Project], admin: User
) -> None:
    first, second = add("Safety"), add("Tone")
    update_project(project=second, archived=True, by=admin)
    new = make_comparison(priority=2, need=7)
    for axis in (first, second):
        mirror = axis.comparisons.get()
        assert (mirror.original, mirror.response_a, mirror.priority, mirror.need) == (new, new.response_a, 2, 1)
    assert project.comparisons.count() == 1


def test_the_same_pair_is_mirrored_once(comparisons: list[Comparison], add: Callable[..., Project]) -> None:
    mirror = add().comparisons.order_by("pk")[0]
    mirror.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        mirror.save(force_insert=True)


def test_an_axis_is_judged_by_itself(
    project: Project, comparisons: list[Comparison], labeler: User, add: Callable[..., Project]
) -> None:
    axis = add()
    here = next_comparison(labeler=labeler, project=axis)
    there_guidelines = project.guideline_versions.first()
    assert here is not None and there_guidelines is None  # the fixture's project never published any
    there = next_comparison(labeler=labeler, project=project)
    assert there is not None and here.comparison.original == there.comparison
    submit_judgment(labeler=labeler, project=axis, token=here.token, choice=Choice.LEFT_SLIGHTLY)
    assert axis.judgments.count() == 1 and not project.judgments.exists()
    progress = measure_progress(axis, labeler)
    assert (progress.done, progress.needed, progress.left_for_me) == (1, 4, 3)
    assert list(list_family(axis, labeler)) == [project, axis]


@pytest.mark.parametrize(
    ("name", "words"),
    [("Safety", "has this name"), ("Overall", "has this name"), ("Taken", "named"), (" ", "needs a name")],
)
def test_a_name_that_does_not_work_is_refused(
    name: str, words: str, project: Project, admin: User, add: Callable[..., Project]
) -> None:
    add("Safety")
    Project.objects.create(name="Kitchen help: Taken", slug="taken", created_by=admin)
    with pytest.raises(ProjectError, match=words) as refused:
        add(name)
    assert refused.value.field == "axis" and project.axes.count() == 1


def test_an_axis_has_no_axes(admin: User, add: Callable[..., Project]) -> None:
    with pytest.raises(ProjectError, match="no axes of its own"):
        add("Tone", parent=add())


def test_nothing_is_brought_into_an_axis_itself(
    comparisons: list[Comparison], admin: User, add: Callable[..., Project], tmp_path: Path
) -> None:
    axis, model = add(), make_model(admin)
    judge = make_model(admin, name="judge", kind="reward")
    pair = NewComparison(comparisons[0].prompt, NewResponse("One."), NewResponse("Two."))
    upload = SimpleUploadedFile("a.jsonl", b"{}")
    with pytest.raises(ComparisonError, match="judges the comparisons of its project"):
        create_comparisons(project=axis, new=[pair])
    with pytest.raises(ImportRefused, match="judges the comparisons of its project"):
        start_import(project=axis, format="pairs", on_bad_line="reject", uploaded_file=upload, by=admin)
    with pytest.raises(SamplingError, match="judges the comparisons of its project"):
        start_sampling(project=axis, new_prompts=["Why?"], model_a=model, model_b=model, by=admin)
    with pytest.raises(ScoringError, match="judges the comparisons of its project"):
        start_scoring(project=axis, model=judge, by=admin)
    assert axis.comparisons.count() == 4 and not axis.prompts.exists()


def test_an_import_reaches_the_axes_and_keeps_its_source(
    project: Project, admin: User, add: Callable[..., Project], settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    axis = add()
    line = b'{"prompt": "Why?", "responses": ["So.", "No."], "winner": "a"}\n'
    work = do_work_here(
        lambda: start_import(
            project=project,
            format="pairs",
            on_bad_line="reject",
            uploaded_file=SimpleUploadedFile("a.jsonl", line),
            by=admin,
        ),
        perform_import,
    )
    assert work.state == WorkState.FINISHED, work.cause
    assert axis.comparisons.get().source_import == work and axis.comparisons.get().recorded_winner == ""


def test_a_sampling_job_lists_its_pairs_once(
    project: Project, make_comparison: MakeComparison, admin: User, add: Callable[..., Project], api: Any
) -> None:
    add()
    model = make_model(admin)
    job = SamplingJob.objects.create(project=project, model_a=model, model_b=model, created_by=admin)
    pair = make_comparison(sampling_job=job)
    assert job.comparisons.count() == 2
    assert list(list_results(job)) == [pair]
    assert api(admin).get(f"/api/v1/sampling-jobs/{job.pk}/").json()["comparisons"] == [pair.pk]


def freeze(project: Project, **rule: Any) -> DatasetVersion:
    version = do_work_here(
        lambda: freeze_dataset(project=project, rule=DatasetRule(**rule), by=project.created_by), build_dataset_version
    )
    assert version.state == WorkState.FINISHED, version.cause
    return version


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_a_prompt_lies_in_the_same_part_of_every_axis_s_dataset(
    project: Project,
    make_comparison: MakeComparison,
    labeler: User,
    add: Callable[..., Project],
    settings: Any,
    tmp_path: Path,
) -> None:
    settings.DATA_DIR = tmp_path
    axis = add()
    for number in range(40):
        comparison = make_comparison(f"Question {number}?")
        vote(comparison, labeler, "a")
        if number % 2:
            vote(comparison.mirrors.get(), labeler, "b", "significantly")
    overall, safety = freeze(project, eval_share=0.3), freeze(axis, eval_share=0.3)
    assert (overall.train_rows + overall.eval_rows, safety.train_rows + safety.eval_rows) == (40, 20)
    assert safety.number == 1 and safety.counts["comparisons"] == 40
    parts = [
        {row["prompt_id"]: path.stem for path in (version.train_path, version.eval_path) for row in read(path)}
        for version in (overall, safety)
    ]
    assert set(parts[1]) < set(parts[0]) and set(parts[1].values()) == {"train", "eval"}
    assert all(parts[0][prompt] == part for prompt, part in parts[1].items())
    row = read(safety.train_path)[0]
    mirror = Comparison.objects.get(pk=row["comparison_id"])
    assert mirror.project == axis and row["chosen_response_id"] == mirror.response_b_id
    assert row["grade"] == "significantly"


def test_quality_and_counts_of_an_axis_know_the_shared_texts(
    project: Project, comparisons: list[Comparison], labeler: User, admin: User, add: Callable[..., Project]
) -> None:
    axis = add()
    for mirror in axis.comparisons.all():
        vote(mirror, labeler, "a")
    assert not get_quality(axis).style_of_models
    judge = make_model(admin, name="judge", kind="reward")
    for response in Response.objects.all():
        response.scores.create(model=judge, score=response.pk)
    assert list(get_quality(axis).style_of_models) == ["judge"]  # newer scores of the parent's responses count
    assert get_quality(project).votes == 0
    assert describe_project(axis, admin).counts["prompts"] == 4


def test_axes_go_with_their_parent_into_the_archive_and_back_but_for_one_that_went_alone(
    project: Project, add: Callable[..., Project], admin: User
) -> None:
    safety, tone = add("Safety"), add("Tone")
    update_project(project=tone, archived=True, by=admin)
    update_project(project=project, archived=True, by=admin)
    safety.refresh_from_db()
    assert safety.archived_at is not None
    with pytest.raises(ProjectError, match="is archived"):
        update_project(project=Project.objects.get(pk=safety.pk), archived=False, by=admin)
    update_project(project=project, archived=False, by=admin)
    assert list(project.axes.filter(archived_at=None)) == [safety]


def test_a_new_name_goes_over_to_the_axes(project: Project, add: Callable[..., Project], admin: User) -> None:
    axis = add()
    project.name = "Cooking " * 12
    update_project(project=project, archived=False, by=admin)
    axis.refresh_from_db()
    assert axis.name.endswith(": Safety") and axis.name.startswith("Cooking") and len(axis.name) == 100
    axis.axis = "Harm"
    update_project(project=axis, archived=False, by=admin)
    assert axis.name.endswith(": Harm") and axis.slug == "kitchen-help-safety"


def test_an_axis_stands_below_its_parent_or_alone_where_that_is_not_seen(
    project: Project, add: Callable[..., Project], labeler: User, teammate: User
) -> None:
    axis = add()
    assert group_families(list_projects(labeler)) == [(project, [axis])]
    project.memberships.filter(user=teammate).delete()
    assert group_families(list_projects(teammate)) == [(axis, [])]


def test_the_page_adds_an_axis_and_shows_the_family(
    project: Project, comparisons: list[Comparison], admin: User, labeler: User, sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(admin)
    assert "Add an axis" in client.get("/projects/kitchen-help/").content.decode()
    bad = client.post("/projects/kitchen-help/axes/new/", {"axis": "\u3164", "question": QUESTION})
    assert bad.status_code == 422 and not project.axes.exists()
    answer = client.post("/projects/kitchen-help/axes/new/", {"axis": "Safety", "question": QUESTION})
    assert answer.status_code == 302 and answer["Location"] == "/projects/kitchen-help-safety/"
    twice = client.post("/projects/kitchen-help/axes/new/", {"axis": "Safety", "question": QUESTION})
    assert twice.status_code == 422 and "has this name" in twice.content.decode()
    parent, axis = (
        client.get(f"/projects/{slug}/").content.decode() for slug in ("kitchen-help", answer["Location"][10:-1])
    )
    assert QUESTION in parent and "0 / 4" in parent
    assert "Imports and sampling belong to the project of this axis" in axis and "Add an axis" not in axis
    nested = client.get("/projects/kitchen-help-safety/axes/new/").content.decode()
    assert "no axes of its own" in nested and "<textarea" not in nested
    for room in ("imports", "sampling"):
        words = client.get(f"/projects/kitchen-help-safety/{room}/").content.decode()
        assert "bring new ones in there" in words and f"/projects/kitchen-help/{room}/" in words
    listed = sign_in(labeler).get("/projects/").content.decode()
    assert listed.count('<h2 class="break-words">') == 1 and "/projects/kitchen-help-safety/compare/" in listed
    assert "Add an axis" not in client.get("/projects/kitchen-help/").content.decode()


def test_an_axis_is_edited_by_its_axis_s_name(
    project: Project, add: Callable[..., Project], admin: User, sign_in: Callable[[User], Client]
) -> None:
    add(), add("Tone")
    client = sign_in(admin)
    page = client.get("/projects/kitchen-help-tone/edit/")
    form = page.context["form"]
    assert "name" not in form.fields
    values = {name: form[name].value() or "" for name in form.fields if not isinstance(form[name].value(), bool)}
    assert client.post("/projects/kitchen-help-tone/edit/", values | {"axis": "Safety"}).status_code == 422
    assert client.post("/projects/kitchen-help-tone/edit/", values | {"axis": "Manners"}).status_code == 302
    assert Project.objects.get(slug="kitchen-help-tone").name == "Kitchen help: Manners"


def test_the_api_adds_and_lists_axes(
    project: Project, comparisons: list[Comparison], labeler: User, teammate: User, api: Callable[[User], APIClient]
) -> None:
    url = "/api/v1/projects/kitchen-help/axes/"
    Membership.objects.filter(user=teammate).update(role="lead")
    lead = api(teammate)
    assert lead.post(url, {"axis": "Safety"}).json() == {"question": ["This field is required."]}
    made = lead.post(url, {"axis": "Safety", "question": QUESTION, "guidelines": "No harm.", "asks_safety": True})
    assert made.status_code == 201
    assert {name: made.json()[name] for name in ("slug", "axis_of", "axis", "asks_safety")} == {
        "slug": "kitchen-help-safety",
        "axis_of": "kitchen-help",
        "axis": "Safety",
        "asks_safety": True,
    }
    assert "axis" in lead.post(url, {"axis": "Safety", "question": QUESTION}).json()
    assert "axis" in lead.post("/api/v1/projects/kitchen-help-safety/axes/", {"axis": "X", "question": "?"}).json()
    for slug in ("kitchen-help", "kitchen-help-safety"):
        listed = api(labeler).get(f"/api/v1/projects/{slug}/axes/").json()
        assert [row["slug"] for row in listed] == ["kitchen-help", "kitchen-help-safety"]
    assert api(labeler).post(url, {"axis": "Tone", "question": "?"}).status_code == 403
    settings = "/api/v1/projects/kitchen-help-safety/"
    assert lead.patch(settings, {"axis": ""}).json() == {"axis": ["An axis needs a name."]}
    assert lead.patch(settings, {"axis": "Harm"}).json()["name"] == "Kitchen help: Harm"


def test_responses_of_another_project_s_prompt_stay_refused(project: Project, add: Callable[..., Project]) -> None:
    axis = add()
    foreign, _made = get_or_create_prompt(project=axis, messages=[{"role": "user", "content": "Why?"}])
    with pytest.raises(ComparisonError, match="another project"):
        create_comparisons(project=project, new=[NewComparison(foreign, NewResponse("a"), NewResponse("b"))])


# -- Members and agreement -------------------------------------------------------------------------------------------


def read_roles(user: User, *projects: Project) -> list[str | None]:
    memberships = dict(Membership.objects.filter(user=user).values_list("project", "role"))
    return [memberships.get(project.pk) for project in projects]


def read_log(project: Project) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    events = project.audit_events.filter(kind="user").order_by("pk")
    return [(event.action, event.before, event.after) for event in events]


def test_members_of_the_parent_go_with_it_into_its_axes(
    project: Project, outsider: User, admin: User, add: Callable[..., Project]
) -> None:
    family = project, add(), add("Helpfulness")
    assert add_member(project=project, user=outsider, by=admin)
    assert read_roles(outsider, *family) == ["labeler"] * 3
    assert add_member(project=family[2], user=outsider, role=Role.LEAD, by=admin), "an axis gives a role of its own"
    assert add_member(project=project, user=outsider, role=Role.REVIEWER, by=admin)
    assert not add_member(project=project, user=outsider, role=Role.REVIEWER, by=admin)
    assert read_roles(outsider, *family) == ["reviewer", "reviewer", "lead"]
    assert remove_member(project=project, user=outsider, by=admin)
    assert read_roles(outsider, *family) == [None] * 3
    steps: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("member_added", {}, {"role": "labeler"}),
        ("role_changed", {"role": "labeler"}, {"role": "reviewer"}),
        ("member_removed", {"role": "reviewer"}, {}),
    ]
    assert [read_log(place) for place in family[:2]] == [steps] * 2
    assert [row[0] for row in read_log(family[2])] == ["member_added", "role_changed", "member_removed"]


def test_members_of_an_axis_alone_stay_there(
    project: Project, labeler: User, outsider: User, admin: User, add: Callable[..., Project]
) -> None:
    axis = add()
    add_member(project=axis, user=outsider, by=admin)
    remove_member(project=axis, user=labeler, by=admin)
    assert read_roles(outsider, project, axis) == [None, "labeler"]
    assert not remove_member(project=project, user=outsider, by=admin)
    add_member(project=project, user=labeler, role=Role.LEAD, by=admin)
    assert read_roles(labeler, project, axis) == ["lead", None], "who was let go stays out"


def test_the_table_shows_alpha_as_it_was_last_measured_and_measures_none(
    project: Project, comparisons: list[Comparison], labeler: User, teammate: User, admin: User,
    add: Callable[..., Project], client: Client, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cache.clear()
    axis = add()
    for number, pair in enumerate(axis.comparisons.order_by("pk")):
        vote(pair, labeler, "ab"[number % 2])
        vote(pair, teammate, "ab"[number % 2] if number else "b")
    alpha = get_quality(axis).alpha_decisions.value
    assert alpha is not None
    monkeypatch.setattr(quality, "measure_quality", lambda _project: pytest.fail("a page of counts measured"))
    client.force_login(admin)
    page = client.get(f"/projects/{project.slug}/").content.decode()
    table = page.split('id="axes-title"')[1].split("</table>")[0]
    assert f"{alpha:.2f}" in table and ">–<" in table
    client.force_login(labeler)
    assert "alpha" not in client.get(f"/projects/{project.slug}/").content.decode().lower()
