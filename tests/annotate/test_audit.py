"""The audit log: what services change is written down with who did it, and nothing changes what is written."""

from __future__ import annotations

import csv
from collections.abc import Callable
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse
from django.utils.text import capfirst
from rest_framework.test import APIClient

from annotate.exporting.rule import DatasetRule
from annotate.models import (
    AuditAction,
    AuditEvent,
    Comparison,
    DatasetVersion,
    Flag,
    Import,
    Membership,
    Project,
    Role,
    SamplingJob,
)
from annotate.models.audit import Change
from annotate.project_forms import ProjectEditForm
from annotate.services.audit import MAX_TEXT, record
from annotate.services.datasets import cancel_dataset, freeze_dataset, remove_dataset
from annotate.services.flags import resolve_flag
from annotate.services.projects import add_member, create_project, remove_member, update_project
from models_registry.leases import CannotCancel
from models_registry.models import LeasedWork, WorkState
from tests.annotate.votes import vote
from tests.scenery import make_model

SignIn = Callable[[User], Client]


def read_log(project: Project) -> list[tuple[str, str, dict[str, object], dict[str, object]]]:
    events = AuditEvent.objects.filter(project=project).order_by("pk")
    return [(event.action, event.name, event.before, event.after) for event in events]


def test_settings_are_noted_with_what_they_were(project: Project, admin: User) -> None:
    project.votes_per_comparison, project.reason_tags = 3, ["shorter"]
    update_project(project=project, archived=False, by=admin)
    update_project(project=project, archived=False, by=admin)
    before = {"votes_per_comparison": 1, "reason_tags": []}
    after = {"votes_per_comparison": 3, "reason_tags": ["shorter"]}
    published: tuple[str, str, dict[str, object], dict[str, object]] = (
        "guidelines_published",
        f"guidelines 1 of {project}",
        {},
        {"version": 1},
    )
    assert read_log(project) == [("project_changed", project.name, before, after), published]
    assert AuditEvent.objects.first().by == admin  # type: ignore[union-attr]


def test_a_new_project_and_its_guidelines(admin: User) -> None:
    project = create_project(project=Project(name="Soups", guidelines="Hot."), by=admin)
    assert [row[0] for row in read_log(project)] == ["project_created", "guidelines_published"]
    update_project(project=project, archived=True, by=admin)
    assert list(AuditEvent.objects.latest("pk").after) == ["archived_at"]


def test_members_and_their_roles(project: Project, outsider: User, admin: User) -> None:
    add_member(project=project, user=outsider, by=admin)
    add_member(project=project, user=outsider, by=admin)
    add_member(project=project, user=outsider, role=Role.LEAD, by=admin)
    remove_member(project=project, user=outsider, by=admin)
    assert not remove_member(project=project, user=outsider, by=admin)
    assert read_log(project) == [
        ("member_added", "outsider", {}, {"role": "labeler"}),
        ("role_changed", "outsider", {"role": "labeler"}, {"role": "lead"}),
        ("member_removed", "outsider", {"role": "lead"}, {}),
    ]
    assert not Membership.objects.filter(user=outsider).exists()


def test_datasets_made_cancelled_and_removed(
    project: Project, comparisons: list[Comparison], labeler: User, admin: User
) -> None:
    vote(comparisons[0], labeler)
    version = freeze_dataset(project=project, rule=DatasetRule(eval_share=0.0), by=admin)
    cancel_dataset(version=version, by=admin)
    with pytest.raises(CannotCancel):
        cancel_dataset(version=version, by=admin)
    remove_dataset(version=version, by=admin)
    assert [row[0] for row in read_log(project)] == ["dataset_frozen", "dataset_cancelled", "dataset_removed"]


def test_what_failed_and_is_tried_again(project: Project, admin: User, sign_in: SignIn) -> None:
    base = make_model(admin)
    version = DatasetVersion.objects.create(project=project, number=1, rule={}, judgment_cutoff=0, created_by=admin)
    work: dict[str, LeasedWork] = {
        "dataset_retry": version,
        "import_retry": Import.objects.create(project=project, format="pairs", file_name="a.jsonl", created_by=admin),
        "sampling_retry": SamplingJob.objects.create(project=project, model_a=base, model_b=base, created_by=admin),
    }
    for name, row in work.items():
        row.state = WorkState.FAILED
        row.save()
        for _twice in range(2):
            assert sign_in(admin).post(reverse(name, args=[row.pk])).status_code == 302
        row.refresh_from_db()
        assert row.state == WorkState.QUEUED
    assert [row[0] for row in read_log(project)] == ["dataset_retried", "import_retried", "sampling_retried"]
    assert {event.by for event in project.audit_events.all()} == {admin}


def test_settings_read_as_on_their_page(project: Project, admin: User) -> None:
    project.allows_equal, project.reason_tags, project.rationale = True, ["shorter", "kinder"], "required"
    update_project(project=project, archived=True, by=admin)
    shown = {change.name: (change.before, change.after) for change in read_changes(project)}
    form = ProjectEditForm(instance=project)
    assert set(shown) == {
        capfirst(form[name].label) for name in ("allows_equal", "reason_tags", "rationale", "archived")
    }
    assert sorted(shown.values(), key=str) == [
        ("not asked for", "must be given"), ("off", "on"), ("off", "on"), (None, "shorter, kinder"),
    ]  # fmt: skip
    update_project(project=project, archived=False, by=admin)
    (change,) = read_changes(project)
    assert (change.name, change.before, change.after) == ("Archived", "on", "off")


def read_changes(project: Project) -> list[Change]:
    """Of the last change of settings."""
    return project.audit_events.filter(action="project_changed").latest("pk").changes


def test_a_flag_is_noted_once(comparisons: list[Comparison], labeler: User, admin: User) -> None:
    flag = Flag.objects.create(comparison=comparisons[0], labeler=labeler, reason="other")
    assert resolve_flag(flag=flag, by=admin) and not resolve_flag(flag=flag, by=admin)
    ((action, _name, _before, after),) = read_log(comparisons[0].project)
    assert (action, after) == ("flag_resolved", {"comparison": comparisons[0].pk, "reason": "other"})


def test_long_texts_are_cut_and_unknown_actions_named_by_their_code(project: Project) -> None:
    event = record(AuditAction.PROJECT_CHANGED, project=project, by=None, about=project, after={"question": "x" * 999})
    assert event.after == {"question": "x" * MAX_TEXT + "…"} and event.by is None
    assert AuditEvent(action="long_forgotten").action_label == "long_forgotten"


def test_the_database_refuses_to_change_an_event(project: Project) -> None:
    event = record(AuditAction.PROJECT_CHANGED, project=project, by=None, about=project)
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        AuditEvent.objects.filter(pk=event.pk).update(name="somebody else")
    assert AuditEvent.objects.get().name == project.name


# -- The page, the file and the API -----------------------------------------------------------------------------------


@pytest.fixture
def log(project: Project, outsider: User, admin: User) -> Project:
    project.votes_per_comparison = 3
    update_project(project=project, archived=False, by=admin)
    add_member(project=project, user=outsider, by=admin)
    record(AuditAction.IMPORT_STARTED, project=project, by=None, about=Import(pk=7, file_name="=cmd|'x'!A1"))
    other = create_project(project=Project(name="Soups", slug="soups"), by=outsider)
    assert other.audit_events.count() == 1
    return project


def test_the_page_filters_by_person_action_and_day(log: Project, admin: User, sign_in: SignIn) -> None:
    address = reverse("audit_log", args=[log.slug])

    def show(**query: str) -> str:
        return str(sign_in(admin).get(address, query).content.decode()).split('aria-label="Changes"')[1]

    everything = show()
    assert "Votes per comparison" in everything and "1 <span" in everything and "a rule" in everything
    assert "Soups" not in everything
    assert "Member added" in show(action="member_added") and "Settings changed" not in show(action="member_added")
    assert "a rule" not in show(by=str(admin.pk)) and "Member added" in show(by=str(admin.pk))
    assert "Nothing matches." in show(until="2001-01-01") and "Member added" in show(since="2001-01-01")
    assert "Member added" in show(by="x", action="x", since="x", until="9999-12-31")


def test_the_file_holds_no_formula(log: Project, admin: User, sign_in: SignIn) -> None:
    response = sign_in(admin).get(reverse("audit_csv", args=[log.slug]), {"action": "import_started"})
    head, line = csv.reader(StringIO(b"".join(response.streaming_content).decode()))  # type: ignore[attr-defined]
    row = dict(zip(head, line, strict=True))
    assert (row["who"], row["kind"], row["number"], row["name"]) == ("", "import", "7", "'=cmd|'x'!A1")


def test_the_api_lists_the_log(log: Project, admin: User, api: Callable[[User], APIClient]) -> None:
    address = reverse("api_audit", args=[log.slug])
    rows = api(admin).get(address).json()["results"]
    actions = ["import_started", "member_added", "project_changed"]
    assert [row["action"] for row in rows if row["action"] != "guidelines_published"] == actions
    assert rows[1]["by"] == "admin" and rows[1]["after"] == {"role": "labeler"}
    assert len(api(admin).get(address, {"action": "member_added"}).json()["results"]) == 1
    assert api(admin).get(address, {"since": "yesterday"}).status_code == 400
    assert api(admin).post(address, {}).status_code == 405
