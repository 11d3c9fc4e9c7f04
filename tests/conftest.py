"""The cast and the stage that all tests share.

Cast: ``labeler`` and ``teammate`` are members of ``project``, ``reviewer`` reviews in it, ``outsider`` is none of them;
``admin`` runs the house.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as property_settings
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from annotate.models import Comparison, Membership, Project, Role
from annotate.services.comparisons import NewResponse, create_comparison
from annotate.services.prompts import get_or_create_prompt

MakeComparison = Callable[..., Comparison]

# How long an example takes says how busy the machine is, not whether the code is right.
property_settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
property_settings.load_profile("patient")


def pytest_configure() -> None:
    """What would only slow the tests down: strong password hashes, and static files that must be collected first."""
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django_settings.STORAGES = django_settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer]:
    """The web server in a thread, static files straight from their source.

    In place of pytest-django's own, which does not see that static files are installed (config.apps.StaticFiles).
    """
    server = LiveServer("localhost", start=False)
    server.thread.static_handler = StaticFilesHandler
    server.start()
    yield server
    server.stop()


@pytest.fixture
def labeler(db: None) -> User:
    return User.objects.create_user("labeler", password="labeler's password")


@pytest.fixture
def teammate(db: None) -> User:
    return User.objects.create_user("teammate", password="teammate's password")


@pytest.fixture
def reviewer(project: Project) -> User:
    user = User.objects.create_user("reviewer", password="reviewer's password")
    Membership.objects.create(project=project, user=user, role=Role.REVIEWER)
    return user


@pytest.fixture
def outsider(db: None) -> User:
    return User.objects.create_user("outsider", password="outsider's password")


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_user("admin", password="admin's password", is_staff=True)


@pytest.fixture
def project(admin: User, labeler: User, teammate: User) -> Project:
    """A project without comparisons; labeler and teammate are its members."""
    project = Project.objects.create(
        name="Kitchen help",
        slug="kitchen-help",
        description="Answers to questions about cooking.",
        guidelines="Prefer the answer that a **good cook** would give.",
        created_by=admin,
    )
    Membership.objects.create(project=project, user=labeler)
    Membership.objects.create(project=project, user=teammate)
    return project


@pytest.fixture
def make_comparison(project: Project) -> MakeComparison:
    """Makes a comparison: make_comparison("How long do eggs boil?", "Six minutes.", "A while.", need=2)."""

    def make(prompt: str = "", a: str = "", b: str = "", **fields: Any) -> Comparison:
        number = Comparison.objects.count() + 1
        where = fields.pop("project", project)
        stored, _created = get_or_create_prompt(
            project=where,
            messages=fields.pop("messages", None) or [{"role": "user", "content": prompt or f"Question {number}?"}],
        )
        return create_comparison(
            project=where,
            prompt=stored,
            response_a=NewResponse(text=a or f"First answer to question {number}.", origin="secret-origin-a"),
            response_b=NewResponse(text=b or f"Second answer to question {number}.", origin="secret-origin-b"),
            **fields,
        )

    return make


@pytest.fixture
def comparisons(make_comparison: MakeComparison) -> list[Comparison]:
    """Four comparisons of ``project``, to be judged by one labeler each."""
    return [make_comparison() for _number in range(4)]


@pytest.fixture
def sign_in(client: Client) -> Callable[[User], Client]:
    """Signs somebody in: sign_in(labeler).get(...)."""

    def sign_in(user: User) -> Client:
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def api() -> Callable[[User], APIClient]:
    """The API as somebody with a token: api(labeler).post(...), JSON unless told otherwise."""
    from knox.models import AuthToken

    def api(user: User) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {AuthToken.objects.create(user=user)[1]}")
        client.default_format = "json"
        return client

    return api
