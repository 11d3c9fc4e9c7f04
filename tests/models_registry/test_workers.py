"""Workers say that they live, and the house notices when they fall silent; see also test_chaos.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from models_registry.models import Worker
from models_registry.workers import beat, list_workers, sign_off

pytestmark = pytest.mark.django_db


def be_silent(name: str, **time: float) -> None:
    Worker.objects.filter(name=name).update(seen_at=Now() - timedelta(**time))


def test_one_row_each_however_often_it_beats() -> None:
    for _round in range(2):
        beat("gpu@here", ["gpu"])
    beat("short@here", ["gpu", "short"], is_leaving=True)
    seen = [(worker.name, worker.queues, worker.is_alive, worker.is_leaving) for worker in list_workers()]
    assert seen == [("gpu@here", ["gpu"], True, False), ("short@here", ["gpu", "short"], True, True)]


def test_silence_past_three_rounds(settings: Any) -> None:
    settings.RECONCILE_SECONDS = 15
    beat("gpu@here", ["gpu"])
    be_silent("gpu@here", seconds=40)
    assert list_workers()[0].is_alive
    be_silent("gpu@here", seconds=50)
    assert not list_workers()[0].is_alive
    beat("gpu@here", ["gpu"])
    assert list_workers()[0].is_alive


def test_who_left_or_was_silent_for_a_day_is_forgotten() -> None:
    beat("gone@here", ["gpu"])
    beat("dead@here", ["gpu"])
    sign_off("gone@here")
    assert [worker.name for worker in list_workers()] == ["dead@here"]
    be_silent("dead@here", hours=25)
    beat("new@here", ["gpu"])
    assert [worker.name for worker in list_workers()] == ["new@here"]
