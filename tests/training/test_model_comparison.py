"""Models beside each other: people's votes between their answers, figures, settings; by page and API."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import Comparison, DatasetVersion, GoldAnswer, Project, Response
from models_registry.models import ModelVersion
from models_registry.promotions import promote
from tests import scenery
from tests.annotate.votes import vote
from tests.conftest import MakeComparison
from training.engine.stats import wilson_interval
from training.model_comparison import MOST, get_vote_rates

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]
numbers = count(1)


def ask(*models: Any) -> dict[str, Any]:
    return {"model": list(models)}


@pytest.fixture
def pair_up(make_comparison: MakeComparison) -> Callable[[ModelVersion, ModelVersion], Comparison]:
    def pair_up(first: ModelVersion, second: ModelVersion) -> Comparison:
        pair = make_comparison(f"Why is that so, {next(numbers)}?")
        Response.objects.filter(pk=pair.response_a_id).update(model=first)
        Response.objects.filter(pk=pair.response_b_id).update(model=second)
        return pair

    return pair_up


def test_a_prompt_counts_once_and_a_tie_half(
    pair_up: Callable[..., Comparison], admin: User, labeler: User, teammate: User
) -> None:
    one, two, third = (scenery.make_model(admin, name) for name in ("one", "two", "third"))
    vote(pair_up(one, two), labeler, "a")
    split = pair_up(two, one)
    vote(split, labeler, "a")
    vote(split, teammate, "b")
    vote(pair_up(one, two), labeler, "", grade="unsure")
    vote(pair_up(one, one), labeler, "a")
    gold = pair_up(two, one)
    vote(gold, labeler, "a")
    GoldAnswer.objects.create(comparison=gold, grade="unsure", created_by=admin)
    rates = get_vote_rates([one.pk, two.pk, third.pk])
    assert set(rates) == {(one.pk, two.pk), (two.pk, one.pk)}
    rate = rates[one.pk, two.pk]
    assert (rate.prompts, rate.votes) == (3, 4) and rate.rate == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert rate.interval == pytest.approx(wilson_interval(2.0, 3))
    turned = rates[two.pk, one.pk]
    assert turned.rate == pytest.approx(1 - rate.rate)
    assert turned.interval == pytest.approx((1 - rate.interval[1], 1 - rate.interval[0]))


def test_the_page_sets_models_beside_each_other(
    sign_in: SignIn, pair_up: Callable[..., Comparison], dataset: DatasetVersion, base: ModelVersion, project: Project,
    admin: User, labeler: User,
) -> None:  # fmt: skip
    gentle = scenery.finish_run(scenery.make_run(dataset, base, config={"beta": 0.1, "epochs": 2}))
    other = scenery.make_dataset(project, 2)
    strict = scenery.finish_run(scenery.make_run(other, base, config={"beta": 0.5, "epochs": 2}))
    promote(model=strict, alias="candidate", note="x", by=admin)
    vote(pair_up(strict, gentle), labeler, "a")
    client, address = sign_in(admin), reverse("model_compare")
    listed = client.get(reverse("model_list")).content.decode()
    assert f'action="{address}"' in listed
    assert listed.count('name="model"') == 3
    page = client.get(address, {"model": [strict.pk, gentle.pk]})
    table = page.context["table"]
    assert table.heads[1:] == [strict.name, gentle.name]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Aliases"] == ["candidate", "–"]
    assert rows["Dataset"] == [str(other), str(dataset)]
    assert "65.5" in rows["All held-out pairs: Accuracy (95 % interval)"][0]
    beta = next(values for label, values in rows.items() if "0.5" in values and "0.1" in values)
    assert beta == ["0.5", "0.1"]
    assert not any("poch" in label for label in rows), "settings that are the same are left out"
    assert "100.0 %" in page.content.decode()


def test_a_choice_that_makes_no_sense_asks_again(sign_in: SignIn, admin: User, base: ModelVersion) -> None:
    client, address = sign_in(admin), reverse("model_compare")
    for query in (ask(), ask(base.pk), ask("x", "9" * 30, base.pk, base.pk)):
        page = client.get(address, query)
        assert (page.status_code, page.context["table"]) == (200, None)
        assert "Choose from two to 6 models" in page.content.decode()
    many = [scenery.make_model(admin, f"m{number}").pk for number in range(MOST + 1)]
    assert "At most 6 fit" in client.get(address, {"model": many}).content.decode()


def test_the_api_gives_the_same_and_names_what_is_wrong(
    api: Api, pair_up: Callable[..., Comparison], admin: User, labeler: User, base: ModelVersion
) -> None:
    other = scenery.make_model(admin, "other")
    vote(pair_up(base, other), labeler, "b")
    client, address = api(admin), reverse("api_model_compare")
    told = client.get(address, {"model": [base.pk, other.pk]}).json()
    assert [each["id"] for each in told["models"]] == [base.pk, other.pk]
    assert [(rate["first"], rate["rate"], rate["votes"]) for rate in told["vote_rates"]] == [
        (base.pk, 0.0, 1),
        (other.pk, 1.0, 1),
    ]
    for wrong in ([base.pk], [base.pk, 10**9], ["x", base.pk], list(range(1, MOST + 2))):
        assert "model" in client.get(address, ask(*wrong)).json()
