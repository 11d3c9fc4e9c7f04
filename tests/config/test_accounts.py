"""Logging in: failed tries are counted, whoever counts, wherever they come from and whatever they claim."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client, override_settings
from django.urls import reverse
from rest_framework.settings import api_settings

WRONG = "not the password"


@pytest.fixture(autouse=True)
def forget_failures() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def log_in(client: Client, name: str, password: str = WRONG, **extra: str) -> int:
    data = {"username": name, "password": password}
    return client.post(reverse("api_login"), data, content_type="application/json", headers=extra).status_code


def test_api_login_gives_a_token_that_works(client: Client, labeler: User) -> None:
    data = {"username": "labeler", "password": "labeler's password"}
    answer = client.post(reverse("api_login"), data, content_type="application/json")
    assert answer.status_code == 200
    headers = {"authorization": f"Token {answer.json()['token']}"}
    assert client.get(reverse("api_project_list"), headers=headers).status_code == 200


def test_api_login_refuses_a_closed_account(client: Client, labeler: User) -> None:
    labeler.is_active = False
    labeler.save()
    assert log_in(client, "labeler", "labeler's password") == 400


def test_a_forwarded_address_that_nobody_vouches_for_changes_nothing(client: Client, db: None) -> None:
    tries = [log_in(client, f"name-{n}", **{"x-forwarded-for": f"10.0.0.{n}"}) for n in range(11)]
    assert tries == [400] * 10 + [429]


def test_tries_of_one_name_count_together_from_everywhere(client: Client, labeler: User) -> None:
    """By page and API, from several addresses and under several names of the host."""
    for n in range(5):
        place: dict[str, Any] = {"REMOTE_ADDR": f"10.0.0.{n}", "HTTP_HOST": f"localhost:{9000 + n}"}
        if n % 2:
            client.post(reverse("account_login"), {"login": "Labeler", "password": WRONG}, **place)
        else:
            data = {"username": "labeler", "password": WRONG}
            client.post(reverse("api_login"), data, content_type="application/json", **place)
    answer = client.post(
        reverse("api_login"),
        {"username": "labeler", "password": "labeler's password"},
        content_type="application/json",
        REMOTE_ADDR="10.0.0.99",
    )
    assert answer.status_code == 429 and "too many" in answer.json()["detail"].lower()
    client.post(reverse("account_login"), {"login": "labeler", "password": "labeler's password"})
    assert "_auth_user_id" not in client.session


def test_behind_a_trusted_proxy_each_address_counts_for_itself(client: Client, db: None) -> None:
    framework = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    with override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=1, REST_FRAMEWORK=framework):
        assert api_settings.NUM_PROXIES == 1
        tries = [log_in(client, f"name-{n}", **{"x-forwarded-for": f"1.1.1.1, 10.0.0.{n}"}) for n in range(11)]
        assert tries == [400] * 11
        forged = [log_in(client, f"more-{n}", **{"x-forwarded-for": f"1.1.1.{n}, 10.0.0.99"}) for n in range(11)]
        assert forged == [400] * 10 + [429]


def test_a_header_that_too_few_proxies_wrote_to_counts_for_nothing(client: Client, labeler: User) -> None:
    """By page and by API alike, the connection's own address counts, and nothing breaks."""
    with override_settings(ALLAUTH_TRUSTED_PROXY_COUNT=2):
        forged: dict[str, Any] = {"headers": {"x-forwarded-for": "10.0.0.1"}}
        page = client.post(reverse("account_login"), {"login": "labeler", "password": WRONG}, **forged)
        assert page.status_code == 200 and "not correct" in page.content.decode()
        tries = [log_in(client, f"name-{n}", **{"x-forwarded-for": f"10.0.0.{n}"}) for n in range(10)]
        assert tries == [400] * 9 + [429]
        right = {"login": "labeler", "password": "labeler's password"}
        assert client.post(reverse("account_login"), right, REMOTE_ADDR="10.0.0.2", **forged).status_code == 302


def test_one_value_tells_both_counters_of_the_proxies(tmp_path: Path) -> None:
    words = "from config import settings as s; print(s.ALLAUTH_TRUSTED_PROXY_COUNT, s.REST_FRAMEWORK['NUM_PROXIES'])"
    env = {"DATA_DIR": str(tmp_path), "TRUSTED_PROXIES": "2"}
    answer = subprocess.run([sys.executable, "-c", words], env=env, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["2", "2"]


def test_the_counts_are_shared_by_processes(tmp_path: Path) -> None:
    """Of three that add the same key one wins; the counters lock by that."""
    words = (
        "import sys; from config.cache import SharedFiles;"
        "c = SharedFiles(sys.argv[1], {}); print(sum(c.add(f'key-{n}', 1) for n in range(200)))"
    )
    command = [sys.executable, "-c", f"from django.conf import settings; settings.configure(); {words}", str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _number in range(3)]
    assert sum(int(each.communicate()[0]) for each in running) == 200
