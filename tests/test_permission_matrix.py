"""Every route times every person times every method, generated from the URL resolver.

A new route without a row in MATRIX fails, and so does a row without a route.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from knox.models import AuthToken

from annotate.models import (
    Assignment,
    Comparison,
    Flag,
    GoldAnswer,
    Import,
    Membership,
    Project,
    SamplingJob,
    ScoringJob,
)
from annotate.services.drafts import save_draft
from models_registry.models import Notice
from tests.annotate.votes import vote
from tests.scenery import make_dataset, make_import, make_model, make_run
from training.models import RunShare, TokenPreview

PEOPLE = ("anonymous", "outsider", "labeler", "reviewer", "lead", "admin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Row:
    """``who`` may call the route with ``methods``: open (all), person (signed in), member, reviewer or lead (of the
    project, each with what those before may), admin, owner, nobody (a program with a secret of its own)."""

    who: str
    methods: str
    args: str = ""
    """Which objects of the world stand in the address, by the names of ``World``."""
    leads: str = ""
    """Methods that are for leads too where the others are for admins."""
    admins: str = ""
    """Methods that are for admins alone where the others are for more people."""


MATRIX: dict[str, Row] = {
    "home": Row("person", "GET"),
    "notice_list": Row("person", "GET"),
    "notice_bell": Row("person", "GET"),
    "notice_open": Row("owner", "POST", "notice"),
    "notice_read_all": Row("person", "POST"),
    "notice_settings": Row("person", "GET POST"),
    "api_notice_list": Row("person", "GET"),
    "api_notice_read": Row("owner", "POST", "notice"),
    "api_notice_read_all": Row("person", "POST"),
    "api_notice_settings": Row("person", "GET PUT"),
    "healthz": Row("open", "GET"),
    "readyz": Row("open", "GET"),
    "metrics": Row("nobody", "GET"),
    "set_language": Row("open", "POST"),
    "account_login": Row("open", "GET POST"),
    "account_logout": Row("open", "GET POST"),
    "account_signup": Row("open", "GET"),
    "account_inactive": Row("open", "GET"),
    "account_change_password": Row("person", "GET POST"),
    "account": Row("person", "GET"),
    "token_create": Row("person", "GET POST"),
    "token_revoke": Row("owner", "POST", "token"),
    "person_list": Row("admin", "GET"),
    "person_add": Row("admin", "GET POST"),
    "person_reset_password": Row("admin", "POST", "person"),
    "person_set_active": Row("admin", "POST", "person"),
    "api_login": Row("open", "POST"),
    "api_logout": Row("person", "POST"),
    "api_schema": Row("person", "GET"),
    "api_docs": Row("person", "GET"),
    "project_list": Row("person", "GET"),
    "project_create": Row("admin", "GET POST"),
    "project_detail": Row("member", "GET", "project"),
    "project_edit": Row("lead", "GET POST", "project"),
    "axis_new": Row("lead", "GET POST", "project"),
    "member_list": Row("lead", "GET POST", "project"),
    "member_role": Row("lead", "POST", "member"),
    "member_remove": Row("lead", "POST", "other_member"),
    "compare": Row("member", "GET POST", "project"),
    "compare_skip": Row("member", "POST", "project"),
    "compare_guidelines": Row("member", "POST", "project"),
    "compare_flag": Row("member", "POST", "project"),
    "held_list": Row("reviewer", "GET", "project"),
    "comparison_release": Row("reviewer", "POST", "comparison"),
    "comparison_drop": Row("reviewer", "POST", "comparison"),
    "flag_resolve": Row("reviewer", "POST", "flag"),
    "compare_undo": Row("member", "POST", "project"),
    "compare_appeal": Row("member", "POST", "project"),
    "compare_heartbeat": Row("member", "POST", "project"),
    "compare_draft": Row("member", "POST", "project"),
    "compare_ahead": Row("member", "GET", "project"),
    "answer_list": Row("member", "GET", "project"),
    "answer_change": Row("owner", "GET POST", "answer"),
    "import_list": Row("lead", "GET POST", "project"),
    "import_detail": Row("lead", "GET", "import"),
    "import_cancel": Row("lead", "POST", "import"),
    "import_retry": Row("lead", "POST", "import"),
    "gold_list": Row("reviewer", "GET", "project"),
    "gold_edit": Row("reviewer", "GET POST", "comparison"),
    "gold_retire": Row("reviewer", "POST", "gold"),
    "standing_list": Row("reviewer", "GET", "project"),
    "standing_detail": Row("reviewer", "GET POST", "member"),
    "project_quality": Row("lead", "GET", "project"),
    "display_csv": Row("lead", "GET", "project"),
    "dataset_list": Row("lead", "GET", "project"),
    "dataset_new": Row("admin", "GET POST", "project"),
    "dataset_detail": Row("lead", "GET", "dataset"),
    "dataset_download": Row("admin", "GET", "file"),
    "dataset_cancel": Row("admin", "POST", "dataset"),
    "dataset_retry": Row("admin", "POST", "dataset"),
    "dataset_remove": Row("admin", "POST", "dataset"),
    "dataset_votes": Row("lead", "GET", "dataset"),
    "comparison_detail": Row("reviewer", "GET", "comparison"),
    "labeler_detail": Row("lead", "GET", "other_member"),
    "audit_log": Row("lead", "GET", "project"),
    "audit_csv": Row("lead", "GET", "project"),
    "review_queue": Row("reviewer", "GET", "project"),
    "review_pair": Row("reviewer", "GET POST", "comparison"),
    "review_decide": Row("reviewer", "POST", "comparison"),
    "sampling_list": Row("admin", "GET POST", "project"),
    "sampling_detail": Row("admin", "GET", "sampling"),
    "sampling_status": Row("admin", "GET", "sampling"),
    "sampling_cancel": Row("admin", "POST", "sampling"),
    "sampling_retry": Row("admin", "POST", "sampling"),
    "scoring_start": Row("admin", "POST", "project"),
    "scoring_status": Row("admin", "GET", "project"),
    "run_list": Row("admin", "GET"),
    "run_new": Row("admin", "GET POST"),
    "run_changes": Row("admin", "GET"),
    "run_estimate": Row("admin", "GET"),
    "run_detail": Row("admin", "GET", "run"),
    "run_status": Row("admin", "GET", "run"),
    "run_metrics": Row("admin", "GET", "run"),
    "run_metrics_csv": Row("admin", "GET", "run"),
    "run_log": Row("admin", "GET", "run"),
    "run_share_log": Row("admin", "GET", "share"),
    "run_cancel": Row("admin", "POST", "run"),
    "run_follow": Row("admin", "POST", "run"),
    "run_limits": Row("admin", "POST", "run"),
    "run_usage": Row("admin", "GET", "run"),
    "run_pause": Row("admin", "POST", "run"),
    "run_resume": Row("admin", "POST", "run"),
    "run_tags": Row("admin", "POST", "run"),
    "run_compare": Row("admin", "GET"),
    "run_retry": Row("admin", "POST", "run"),
    "run_priority": Row("admin", "POST", "run"),
    "preview_start": Row("admin", "POST"),
    "preview_detail": Row("admin", "GET", "preview"),
    "preview_status": Row("admin", "GET", "preview"),
    "worker_list": Row("admin", "GET"),
    "model_list": Row("admin", "GET"),
    "model_add": Row("admin", "GET POST"),
    "model_detail": Row("admin", "GET", "model"),
    "model_push": Row("admin", "POST", "model"),
    "api_model_pushes": Row("admin", "GET POST", "model"),
    "api_model_pushed": Row("admin", "GET"),
    "model_win_rates": Row("admin", "GET", "reward"),
    "model_retry": Row("admin", "POST", "model"),
    "model_cancel": Row("admin", "POST", "model"),
    "model_promote": Row("admin", "GET POST", "model"),
    "model_withdraw": Row("admin", "POST", "model"),
    "archive": Row("admin", "GET POST", "archivable"),
    "lineage": Row("lead", "GET", "lineage"),
    "model_compare": Row("admin", "GET"),
    "garbage": Row("admin", "GET POST"),
    "garbage_put_back": Row("admin", "POST"),
    "archive_restore": Row("admin", "POST", "archivable"),
    "api_project_list": Row("person", "GET", admins="POST"),
    "api_project_detail": Row("member", "GET", "project", leads="PATCH"),
    "api_member_list": Row("lead", "GET POST", "project"),
    "api_member_detail": Row("lead", "PUT DELETE", "other_member"),
    "api_axis_list": Row("member", "GET", "project", leads="POST"),
    "api_next_comparison": Row("member", "POST", "project"),
    "api_judgment_list": Row("member", "GET POST", "project"),
    "api_judgment_undo": Row("member", "POST", "project"),
    "api_answer_list": Row("member", "GET", "project"),
    "api_answer_change": Row("owner", "POST", "answer"),
    "api_draft": Row("owner", "GET PUT", "draft"),
    "api_comparison_skip": Row("member", "POST", "project"),
    "api_guidelines": Row("member", "GET POST", "project"),
    "api_comparison_flag": Row("member", "POST", "project"),
    "api_assignment_heartbeat": Row("member", "POST", "project"),
    "api_held_list": Row("reviewer", "GET", "project"),
    "api_comparison_hold": Row("reviewer", "POST", "comparison"),
    "api_gold_list": Row("reviewer", "GET POST", "project"),
    "api_gold_detail": Row("reviewer", "GET PATCH DELETE", "gold"),
    "api_own_standing": Row("member", "GET POST", "project"),
    "api_standing_list": Row("reviewer", "GET", "project"),
    "api_standing_detail": Row("reviewer", "GET POST", "member"),
    "api_import_list": Row("lead", "GET POST", "project"),
    "api_import_detail": Row("lead", "GET", "import"),
    "api_dataset_list": Row("admin", "GET POST", "project", leads="GET"),
    "api_dataset_detail": Row("admin", "GET DELETE", "dataset", leads="GET"),
    "api_dataset_file": Row("admin", "GET", "file"),
    "api_quality": Row("lead", "GET", "project"),
    "api_displays": Row("lead", "GET", "project"),
    "api_labeler": Row("lead", "GET", "other_member"),
    "api_audit": Row("lead", "GET", "project"),
    "api_review_queue": Row("reviewer", "GET", "project"),
    "api_review": Row("reviewer", "GET POST", "comparison"),
    "api_review_decision": Row("reviewer", "POST", "comparison"),
    "api_sampling_list": Row("admin", "GET POST", "project"),
    "api_sampling_detail": Row("admin", "GET", "sampling"),
    "api_recipe_list": Row("admin", "GET"),
    "api_run_list": Row("admin", "GET POST"),
    "api_run_estimate": Row("admin", "POST"),
    "api_run_detail": Row("admin", "GET", "run"),
    "api_run_cancel": Row("admin", "POST", "run"),
    "api_run_clone": Row("admin", "POST", "run"),
    "api_run_follow": Row("admin", "POST DELETE", "run"),
    "api_run_limits": Row("admin", "POST", "run"),
    "api_run_usage": Row("admin", "GET", "run"),
    "api_run_pause": Row("admin", "POST", "run"),
    "api_run_resume": Row("admin", "POST", "run"),
    "api_run_tags": Row("admin", "PUT", "run"),
    "api_run_retry": Row("admin", "POST", "run"),
    "api_run_priority": Row("admin", "POST", "run"),
    "api_run_metrics": Row("admin", "GET", "run"),
    "api_preview_list": Row("admin", "GET POST"),
    "api_preview_detail": Row("admin", "GET", "preview"),
    "api_worker_list": Row("admin", "GET"),
    "api_model_list": Row("admin", "GET POST"),
    "api_model_detail": Row("admin", "GET", "model"),
    "api_model_promotions": Row("admin", "GET POST", "model"),
    "api_lineage": Row("lead", "GET", "lineage"),
    "api_model_compare": Row("admin", "GET"),
    "api_garbage": Row("admin", "GET POST"),
    "api_garbage_put_back": Row("admin", "POST"),
    "api_archive": Row("admin", "GET POST DELETE", "archivable"),
    "api_model_win_rates": Row("admin", "GET", "reward"),
}


@dataclass
class World:
    """One of everything, so that every address leads to something."""

    arguments: dict[str, tuple[object, ...]]


@pytest.fixture
def world(
    project: Project, comparisons: list[Comparison], admin: User, labeler: User, teammate: User, outsider: User
) -> World:
    base = make_model(admin)
    reward = make_model(admin, name="judge", kind="reward")
    dataset = make_dataset(project)
    dataset.folder.mkdir(parents=True, exist_ok=True)
    dataset.train_path.write_text('{"prompt": [], "comparison_id": 1}\n')
    run = make_run(dataset, base, state="running", hosts=2)
    job = SamplingJob.objects.create(project=project, model_a=base, model_b=base, created_by=admin)
    preview = TokenPreview.objects.create(
        dataset_version=dataset, base_model=base, method="dpo", config={}, created_by=admin
    )
    arguments = {
        "": (),
        "preview": (preview.pk,),
        "project": (project.slug,),
        "person": (outsider.pk,),
        "model": (base.pk,),
        "reward": (reward.pk,),
        "lineage": ("dataset", dataset.pk),
        "archivable": ("datasets", dataset.pk),
        "model_import": (make_import(base).model.pk,),
        "dataset": (dataset.pk,),
        "file": (dataset.pk, "train"),
        "comparison": (comparisons[0].pk,),
        "run": (run.pk,),
        "share": (run.pk, RunShare.objects.create(run=run, run_epoch=1, rank=1, created_by=admin).rank),
        "notice": (Notice.objects.create(user=admin, topic="run_failed", kind="run", number=run.pk, name="x").pk,),
        "flag": (Flag.objects.create(comparison=comparisons[0], labeler=labeler, reason="other").pk,),
        "answer": (project.slug, vote(comparisons[0], admin).token),
        "draft": (project.slug, make_draft(comparisons[2], admin)),
        "sampling": (job.pk,),
        "scoring": (ScoringJob.objects.create(project=project, model=reward, created_by=admin).pk,),
        "import": (Import.objects.create(project=project, format="pairs", file_name="a.jsonl", created_by=admin).pk,),
        "gold": (make_judged_gold(comparisons[3], admin),),
        "member": (project.slug, labeler.pk),
        "other_member": (project.slug, teammate.pk),
        "token": (AuthToken.objects.create(user=admin)[0].token_key,),
    }
    return World(arguments)


def make_draft(comparison: Comparison, labeler: User) -> UUID:
    """The token of a pair that somebody has begun to answer; its lease has ended."""
    now = timezone.now()
    pair = Assignment.objects.create(
        comparison=comparison,
        project=comparison.project,
        labeler=labeler,
        state=Assignment.State.EXPIRED,
        holds_place=False,
        left_response="a",
        seed=0,
        leased_at=now,
        expires_at=now,
    )
    save_draft(labeler=labeler, project=comparison.project, token=pair.token, choice="unsure")
    return pair.token


def make_judged_gold(comparison: Comparison, admin: User) -> int:
    """A gold pair that was handed out, and so cannot be unmade."""
    handed_out = Assignment.objects.filter(pk=vote(comparison, admin).assignment_id)
    handed_out.update(kind=Assignment.Kind.GOLD, holds_place=False)
    return GoldAnswer.objects.create(comparison=comparison, grade="unsure", created_by=admin).comparison_id


def iterate_routes(resolver: URLResolver | None = None) -> list[URLPattern]:
    found = []
    for pattern in (resolver or get_resolver()).url_patterns:
        found += iterate_routes(pattern) if isinstance(pattern, URLResolver) else [pattern]
    return found


ROUTES = sorted({pattern.name or str(pattern.pattern) for pattern in iterate_routes()})


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert sorted(MATRIX) == ROUTES


def may(person: str, row: Row, method: str) -> bool:
    if person in ("lead", "admin") and method in row.leads.split():
        return True
    if method in row.admins.split():
        return person == "admin"
    return (
        method in row.methods.split()
        and {
            "open": True,
            "person": person != "anonymous",
            "member": person in ("labeler", "reviewer", "lead", "admin"),
            "reviewer": person in ("reviewer", "lead", "admin"),
            "lead": person in ("lead", "admin"),
            "admin": person == "admin",
            "nobody": False,
            "owner": person == "admin",  # the token and the answer of this world are the admin's
        }[row.who]
    )


def is_denial(response: object) -> bool:
    status = response.status_code  # type: ignore[attr-defined]
    to_login = status == 302 and "/accounts/login/?next=" in response["Location"]  # type: ignore[index]
    return to_login or status in (401, 403, 404, 405)


@pytest.mark.parametrize("name", ROUTES)
def test_who_may_call_a_route(
    name: str, world: World, project: Project, labeler: User, outsider: User, admin: User, client: Client
) -> None:
    row = MATRIX[name]
    url = reverse(name, args=world.arguments[row.args])
    is_api = url.startswith("/api/")
    content_type = "application/json" if is_api else "application/x-www-form-urlencoded"
    people: dict[str, User | None] = {"anonymous": None, "outsider": outsider, "labeler": labeler, "admin": admin}
    for role in ("reviewer", "lead"):
        member = people[role] = User.objects.create_user(role, password=f"{role}'s password")
        Membership.objects.create(project=project, user=member, role=role)
    for person in PEOPLE:
        signed_in = False
        for method in METHODS:
            if not signed_in:
                cache.clear()  # of the counters of failed logins
                client.logout()
                if user := people[person]:
                    client.force_login(user)
            response = client.generic(method, url, data="{}" if is_api else "", content_type=content_type)
            where = f"{method} {url} as {person}: {response.status_code}"
            assert response.status_code < 500, where
            if may(person, row, method):
                assert not is_denial(response), where
            else:
                assert is_denial(response), where
            signed_in = is_denial(response)  # what is let through may end the session


def takes(name: str) -> str:
    """All methods that anybody may call it with."""
    row = MATRIX.get(name, Row("", ""))
    return f"{row.methods} {row.leads} {row.admins}"


# The API's login takes no session, so a foreign page gains nothing by it.
POSTED = [name for name in ROUTES if name != "api_login" and "POST" in takes(name)]


@pytest.mark.parametrize("name", POSTED)
def test_no_page_takes_a_post_from_another_site(name: str, world: World, admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    url = reverse(name, args=world.arguments[MATRIX[name].args])
    assert client.post(url).status_code == 403
