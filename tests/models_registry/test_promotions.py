"""Aliases that move from model to model, with their reasons: service, pages and API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from models_registry.models import ModelKind, ModelVersion, Promotion
from models_registry.promotions import PromotionError, promote, withdraw
from models_registry.selectors import list_models, list_promotions
from tests import scenery

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def models(admin: User) -> list[ModelVersion]:
    return [scenery.make_model(admin, name) for name in ("first", "second")]


def name_all() -> dict[str, list[str]]:
    models: Any = list_models()  # with the attribute of its prefetch
    return {model.name: [standing.alias for standing in model.standing] for model in models}


def test_an_alias_has_one_holder_of_each_kind_and_a_history(models: list[ModelVersion], admin: User) -> None:
    first, second = models
    judge = scenery.make_model(admin, "judge", kind=ModelKind.REWARD)
    for model, note in ((first, "It was there."), (second, "Wins 62 %."), (judge, "The only one.")):
        promote(model=model, alias="production", note=note, by=admin)
    promote(model=first, alias="fallback", note="Known to be sound.", by=admin)
    assert name_all() == {"first": ["fallback"], "second": ["production"], "judge": ["production"]}
    rows: Any = list_promotions(first)
    fallback, production = rows
    assert (fallback.alias, fallback.until) == ("fallback", None)
    assert production.until == list_promotions(second)[0].at
    withdraw(model=second, alias="production", by=admin)
    assert name_all() == {"first": ["fallback"], "second": [], "judge": ["production"]}
    assert [row.model for row in list_promotions(second)] == [None, second]
    promote(model=second, alias="production", note="Mended.", by=admin)
    assert name_all()["second"] == ["production"]


def test_what_makes_no_sense_is_refused(models: list[ModelVersion], admin: User) -> None:
    first, second = models
    promote(model=first, alias="production", note="x", by=admin)
    with pytest.raises(PromotionError, match="first is production already"):
        promote(model=first, alias="production", note="x", by=admin)
    with pytest.raises(PromotionError, match="second is not production"):
        withdraw(model=second, alias="production", by=admin)
    with pytest.raises(PromotionError, match="not ready yet"):
        promote(model=scenery.make_model(admin, "coming", ready=False), alias="production", note="x", by=admin)
    assert Promotion.objects.count() == 1


def test_pages_promote_show_and_withdraw(sign_in: SignIn, admin: User, models: list[ModelVersion]) -> None:
    client, (first, second) = sign_in(admin), models
    promote(model=first, alias="production", note="It was there.", by=admin)
    address = reverse("model_promote", args=[second.pk])
    assert "since" in client.get(address).content.decode()
    done = client.post(address, {"alias": "production", "note": "Wins 62 % <b>"}, follow=True).content.decode()
    assert "second is production now." in done
    assert "Wins 62 % &lt;b&gt;" in done
    assert "until" in client.get(reverse("model_detail", args=[first.pk])).content.decode()
    assert ">production</span>" in client.get(reverse("model_list")).content.decode()
    client.post(reverse("model_withdraw", args=[second.pk]), {"alias": "production"})
    assert ">production</span>" not in client.get(reverse("model_list")).content.decode()
    again = client.post(reverse("model_withdraw", args=[second.pk]), {"alias": "\0" + "x" * 99}, follow=True)
    assert "second is not" in again.content.decode()


@pytest.mark.parametrize(
    ("alias", "note", "field"),
    [
        ("", "why", "alias"),
        ("Production", "why", "alias"),
        ("9lives", "why", "alias"),
        ("a b", "why", "alias"),
        ("x" * 31, "why", "alias"),
        ("production", "", "note"),
        ("production", "x" * 1001, "note"),
        ("production", "\0", "note"),
    ],
)
def test_bad_input_is_refused_at_its_field(
    sign_in: SignIn, api: Api, admin: User, models: list[ModelVersion], alias: str, note: str, field: str
) -> None:
    typed = {"alias": alias, "note": note}
    page = sign_in(admin).post(reverse("model_promote", args=[models[0].pk]), typed)
    assert page.status_code == 422
    assert f'id="id_{field}_error"' in page.content.decode()
    answer = api(admin).post(f"/api/v1/models/{models[0].pk}/promotions/", typed, format="json")
    assert (answer.status_code, list(answer.json())) == (400, [field])
    assert not Promotion.objects.exists()


def test_programs_ask_for_the_alias(api: Api, admin: User, models: list[ModelVersion]) -> None:
    client, (first, second) = api(admin), models
    made = client.post(f"/api/v1/models/{second.pk}/promotions/", {"alias": "production", "note": "Better."})
    assert (made.status_code, made.json()["by"], made.json()["kind"]) == (201, admin.username, "policy")
    assert [row["id"] for row in client.get("/api/v1/models/?alias=production&kind=policy").json()["results"]] == [
        second.pk
    ]
    assert client.get("/api/v1/models/?alias=production&kind=reward").json()["results"] == []
    assert client.get(f"/api/v1/models/{second.pk}/").json()["aliases"] == ["production"]
    assert client.get(f"/api/v1/models/{first.pk}/").json()["aliases"] == []
    refused = client.post(f"/api/v1/models/{second.pk}/promotions/", {"alias": "production", "note": "Better."})
    assert (refused.status_code, refused.json()) == (400, {"alias": ["second is production already."]})
    rows = client.get(f"/api/v1/models/{second.pk}/promotions/").json()
    assert [(row["alias"], row["note"]) for row in rows] == [("production", "Better.")]


def test_a_long_list_takes_no_more_queries(sign_in: SignIn, admin: User, models: list[ModelVersion]) -> None:
    client = sign_in(admin)
    counts = []
    for model in models:
        promote(model=model, alias=f"line-{model.pk}", note="x", by=admin)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            client.get(reverse("model_list"))
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("query", "field"), [("kind=nonsense", "kind"), ("kind=%00", "kind"), ("alias=%00", "alias")])
def test_a_filter_that_makes_no_sense_is_named(api: Api, admin: User, query: str, field: str) -> None:
    answer = api(admin).get(f"/api/v1/models/?{query}")
    assert (answer.status_code, list(answer.json())) == (400, [field])
