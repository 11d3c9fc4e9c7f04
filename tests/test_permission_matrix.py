"""Every route times every person times every method, generated from the URL resolver.

A new route without a row in MATRIX fails, and so does a row without a route.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from knox.models import AuthToken

from annotate.models import Comparison, Import, Project, SamplingJob, ScoringJob
from tests.scenery import make_dataset, make_import, make_model, make_run
from training.models import TokenPreview

PEOPLE = ("anonymous", "outsider", "labeler", "admin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Row:
    """``who`` may call the route with ``methods``: open (all), person (signed in), member (of the project),
    admin, owner."""

    who: str
    methods: str
    args: str = ""
    """Which objects of the world stand in the address, by the names of ``World``."""


MATRIX: dict[str, Row] = {
    "home": Row("person", "GET"),
    "healthz": Row("open", "GET"),
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
    "project_edit": Row("admin", "GET POST", "project"),
    "member_list": Row("admin", "GET POST", "project"),
    "member_remove": Row("admin", "POST", "member"),
    "compare": Row("member", "GET POST", "project"),
    "compare_skip": Row("member", "POST", "project"),
    "compare_undo": Row("member", "POST", "project"),
    "compare_heartbeat": Row("member", "POST", "project"),
    "import_list": Row("admin", "GET POST", "project"),
    "import_detail": Row("admin", "GET", "import"),
    "import_cancel": Row("admin", "POST", "import"),
    "import_retry": Row("admin", "POST", "import"),
    "dataset_list": Row("admin", "GET", "project"),
    "dataset_new": Row("admin", "GET POST", "project"),
    "dataset_detail": Row("admin", "GET", "dataset"),
    "dataset_download": Row("admin", "GET", "file"),
    "dataset_cancel": Row("admin", "POST", "dataset"),
    "dataset_retry": Row("admin", "POST", "dataset"),
    "dataset_remove": Row("admin", "POST", "dataset"),
    "dataset_votes": Row("admin", "GET", "dataset"),
    "comparison_detail": Row("admin", "GET", "comparison"),
    "sampling_list": Row("admin", "GET POST", "project"),
    "sampling_detail": Row("admin", "GET", "sampling"),
    "sampling_status": Row("admin", "GET", "sampling"),
    "sampling_cancel": Row("admin", "POST", "sampling"),
    "sampling_retry": Row("admin", "POST", "sampling"),
    "scoring_start": Row("admin", "POST", "project"),
    "scoring_status": Row("admin", "GET", "project"),
    "run_list": Row("admin", "GET"),
    "run_new": Row("admin", "GET POST"),
    "run_detail": Row("admin", "GET", "run"),
    "run_status": Row("admin", "GET", "run"),
    "run_metrics": Row("admin", "GET", "run"),
    "run_log": Row("admin", "GET", "run"),
    "run_cancel": Row("admin", "POST", "run"),
    "run_retry": Row("admin", "POST", "run"),
    "preview_start": Row("admin", "POST"),
    "preview_detail": Row("admin", "GET", "preview"),
    "preview_status": Row("admin", "GET", "preview"),
    "model_list": Row("admin", "GET"),
    "model_add": Row("admin", "GET POST"),
    "model_detail": Row("admin", "GET", "model"),
    "model_win_rates": Row("admin", "GET", "reward"),
    "model_retry": Row("admin", "POST", "model"),
    "model_cancel": Row("admin", "POST", "model"),
    "api_project_list": Row("person", "GET"),
    "api_project_detail": Row("member", "GET", "project"),
    "api_next_comparison": Row("member", "POST", "project"),
    "api_judgment_list": Row("member", "GET POST", "project"),
    "api_judgment_undo": Row("member", "POST", "project"),
    "api_comparison_skip": Row("member", "POST", "project"),
    "api_assignment_heartbeat": Row("member", "POST", "project"),
    "api_import_list": Row("admin", "GET POST", "project"),
    "api_import_detail": Row("admin", "GET", "import"),
    "api_dataset_list": Row("admin", "GET POST", "project"),
    "api_dataset_detail": Row("admin", "GET DELETE", "dataset"),
    "api_dataset_file": Row("admin", "GET", "file"),
    "api_sampling_list": Row("admin", "GET POST", "project"),
    "api_sampling_detail": Row("admin", "GET", "sampling"),
    "api_recipe_list": Row("admin", "GET"),
    "api_run_list": Row("admin", "GET POST"),
    "api_run_detail": Row("admin", "GET", "run"),
    "api_run_cancel": Row("admin", "POST", "run"),
    "api_run_retry": Row("admin", "POST", "run"),
    "api_run_metrics": Row("admin", "GET", "run"),
    "api_preview_list": Row("admin", "GET POST"),
    "api_preview_detail": Row("admin", "GET", "preview"),
    "api_model_list": Row("admin", "GET POST"),
    "api_model_detail": Row("admin", "GET", "model"),
    "api_model_win_rates": Row("admin", "GET", "reward"),
}


@dataclass
class World:
    """One of everything, so that every address leads to something."""

    arguments: dict[str, tuple[object, ...]]


@pytest.fixture
def world(project: Project, comparisons: list[Comparison], admin: User, labeler: User, outsider: User) -> World:
    base = make_model(admin)
    reward = make_model(admin, name="judge", kind="reward")
    dataset = make_dataset(project)
    dataset.folder.mkdir(parents=True, exist_ok=True)
    dataset.train_path.write_text('{"prompt": [], "comparison_id": 1}\n')
    run = make_run(dataset, base, state="running")
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
        "model_import": (make_import(base).model.pk,),
        "dataset": (dataset.pk,),
        "file": (dataset.pk, "train"),
        "comparison": (comparisons[0].pk,),
        "run": (run.pk,),
        "sampling": (job.pk,),
        "scoring": (ScoringJob.objects.create(project=project, model=reward, created_by=admin).pk,),
        "import": (Import.objects.create(project=project, format="pairs", file_name="a.jsonl", created_by=admin).pk,),
        "member": (project.slug, labeler.pk),
        "token": (AuthToken.objects.create(user=admin)[0].token_key,),
    }
    return World(arguments)


def iterate_routes(resolver: URLResolver | None = None) -> list[URLPattern]:
    found = []
    for pattern in (resolver or get_resolver()).url_patterns:
        found += iterate_routes(pattern) if isinstance(pattern, URLResolver) else [pattern]
    return found


ROUTES = sorted({pattern.name or str(pattern.pattern) for pattern in iterate_routes()})


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert sorted(MATRIX) == ROUTES


def may(person: str, who: str) -> bool:
    return {
        "open": True,
        "person": person != "anonymous",
        "member": person in ("labeler", "admin"),
        "admin": person == "admin",
        "owner": person == "admin",  # the token of this world is the admin's
    }[who]


def is_denial(response: object) -> bool:
    status = response.status_code  # type: ignore[attr-defined]
    to_login = status == 302 and "/accounts/login/?next=" in response["Location"]  # type: ignore[index]
    return to_login or status in (401, 403, 404, 405)


@pytest.mark.parametrize("name", ROUTES)
def test_who_may_call_a_route(
    name: str, world: World, labeler: User, outsider: User, admin: User, client: Client
) -> None:
    row = MATRIX[name]
    url = reverse(name, args=world.arguments[row.args])
    is_api = url.startswith("/api/")
    content_type = "application/json" if is_api else "application/x-www-form-urlencoded"
    people = {"anonymous": None, "outsider": outsider, "labeler": labeler, "admin": admin}
    for person in PEOPLE:
        for method in METHODS:
            cache.clear()  # of the counters of failed logins
            client.logout()
            if user := people[person]:
                client.force_login(user)
            response = client.generic(method, url, data="{}" if is_api else "", content_type=content_type)
            where = f"{method} {url} as {person}: {response.status_code}"
            assert response.status_code < 500, where
            if may(person, row.who) and method in row.methods.split():
                assert not is_denial(response), where
            else:
                assert is_denial(response), where


# The API's login takes no session, so a foreign page gains nothing by it.
POSTED = [name for name in ROUTES if name != "api_login" and "POST" in MATRIX.get(name, Row("", "")).methods]


@pytest.mark.parametrize("name", POSTED)
def test_no_page_takes_a_post_from_another_site(name: str, world: World, admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    url = reverse(name, args=world.arguments[MATRIX[name].args])
    assert client.post(url).status_code == 403
