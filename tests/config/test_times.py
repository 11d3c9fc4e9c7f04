"""Times on pages name their zone: each in its title, and the page once, in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotate.models import Comparison, DatasetVersion, Project
from config.templatetags.house import day, moment, time_zone
from tests.scenery import make_dataset

SignIn = Callable[[User], Client]
EVENING = datetime(2026, 3, 4, 20, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "datetime_", "title", "shown", "name"),
    [
        ("UTC", "2026-03-04T20:05:09+00:00", "4 March 2026, 20:05 UTC", "4 Mar 2026, 20:05", "UTC"),
        (
            "Asia/Seoul",
            "2026-03-05T05:05:09+09:00",
            "5 March 2026, 05:05 UTC+09:00",
            "5 Mar 2026, 05:05",
            "Asia/Seoul (UTC+09:00)",
        ),
    ],
)
def test_a_time_says_itself_in_full(zone: str, datetime_: str, title: str, shown: str, name: str) -> None:
    with timezone.override(zone):
        assert moment(EVENING) == f'<time datetime="{datetime_}" title="{title}">{shown}</time>'
        assert day(EVENING) == f'<time datetime="{datetime_}" title="{title}">{shown.partition(",")[0]}</time>'
        assert time_zone() == name
        assert moment(None) == ""


def test_a_page_names_the_zone_once(sign_in: SignIn, admin: User, project: Project, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Seoul"
    version = make_dataset(project)
    DatasetVersion.objects.update(created_at=EVENING)
    page = sign_in(admin).get(reverse("dataset_detail", args=[version.pk])).content.decode()
    assert 'title="5 March 2026, 05:05 UTC+09:00">5 Mar 2026, 05:05</time>' in page
    assert page.count("Times are in Asia/Seoul (UTC+09:00).") == 1


def test_where_there_are_no_times_there_is_no_zone(
    sign_in: SignIn, labeler: User, comparisons: list[Comparison], client: Client
) -> None:
    assert "Times are in" not in client.get(reverse("account_login")).content.decode()
    page = sign_in(labeler).get(reverse("compare", args=[comparisons[0].project.slug])).content.decode()
    assert "Times are in" not in page
