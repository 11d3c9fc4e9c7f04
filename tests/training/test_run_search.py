"""The table of runs: words, filters, order, tags; on the page and through the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import AuditEvent, DatasetVersion, Project
from models_registry.models import ModelVersion, WorkState
from tests import scenery
from training.models import Run
from training.run_tags import BadTags, set_tags, split_tags

SignIn = Callable[[User], Client]
Api = Callable[[User], APIClient]


@pytest.fixture
def runs(project: Project, dataset: DatasetVersion, base: ModelVersion, admin: User) -> dict[str, Run]:
    other = scenery.make_dataset(project, 2)
    tiny = scenery.make_model(admin, "tiny")
    made = {
        "alpha": scenery.make_run(dataset, base, name="alpha", state=WorkState.RUNNING, step=20),
        "beta": scenery.make_run(other, base, "orpo", name="beta", state=WorkState.FAILED, step=40, notes="too fast"),
        "gamma": scenery.make_run(dataset, tiny, name="gamma"),
        "delta": scenery.make_run(dataset, base, name="delta"),
    }
    scenery.finish_run(made["delta"])
    set_tags(run=made["alpha"], names=["baseline", "논문"], by=admin)
    set_tags(run=made["beta"], names=["baseline"], by=admin)
    Run.objects.filter(pk=made["beta"].pk).update(alerts=[{"code": "flat", "step": 9, "value": 0, "limit": 0}])
    return made


def list_names(client: Client, **query: Any) -> list[str]:
    return [row.run.name for row in client.get(reverse("run_list"), query).context["rows"]]


def test_filters_words_and_order(sign_in: SignIn, admin: User, runs: dict[str, Run], base: ModelVersion) -> None:
    client = sign_in(admin)
    everything = ["delta", "gamma", "beta", "alpha"]
    assert sorted(list_names(client)) == sorted(everything)
    for query, names in (
        ({"state": "running"}, ["alpha"]),
        ({"method": "orpo"}, ["beta"]),
        ({"dataset": runs["beta"].dataset_version_id}, ["beta"]),
        ({"base": runs["gamma"].base_model_id}, ["gamma"]),
        ({"tag": "baseline"}, ["alpha", "beta"]),
        ({"tag": "baseline", "method": "dpo"}, ["alpha"]),
        ({"alerts": "on"}, ["beta"]),
        ({"q": "TOO fast"}, ["beta"]),
        ({"q": "논문 alpha"}, ["alpha"]),
        ({"q": "tiny"}, ["gamma"]),
        ({"q": "nobody's"}, []),
        ({"by": admin.pk, "project": runs["alpha"].dataset_version.project_id}, everything),
    ):
        assert sorted(list_names(client, **query)) == sorted(names), query
    assert list_names(client, sort="name") == ["alpha", "beta", "delta", "gamma"]
    assert list_names(client, sort="-step") == ["delta", "beta", "alpha", "gamma"]
    assert list_names(client, sort="-accuracy")[0] == list_names(client, sort="accuracy")[0] == "delta"
    for column in ("state", "method", "dataset", "base", "started", "duration"):
        assert len(list_names(client, sort=f"-{column}")) == 4
    for nonsense in ({"state": "lost"}, {"dataset": "9" * 40}, {"sort": "password"}, {"q": "a\0b"}, {"base": "²"}):
        assert len(list_names(client, **nonsense)) == 4, nonsense


def test_the_table_keeps_its_question_while_it_asks_again(sign_in: SignIn, admin: User, runs: dict[str, Run]) -> None:
    client = sign_in(admin)
    asked: dict[str, Any] = {"tag": "baseline", "sort": "-name", "run": runs["beta"].pk}
    page = client.get(reverse("run_list"), asked).content.decode()
    assert f'hx-get="{reverse("run_list")}?tag=baseline&amp;sort=-name"' in page
    assert f'value="{runs["beta"].pk}" aria-label="Compare beta" checked' in page
    assert 'aria-sort="descending"' in page and "?tag=baseline&amp;sort=name" in page
    assert "every 3s" not in client.get(reverse("run_list"), {"method": "orpo"}).content.decode()
    assert "No run is like that" in client.get(reverse("run_list"), {"q": "nobody's"}).content.decode()


def test_tags_are_few_short_words(runs: dict[str, Run], admin: User) -> None:
    assert split_tags(" Baseline, 논문  v1.2_a-b,baseline,") == ["baseline", "논문", "v1.2_a-b"]
    assert split_tags(" , ") == []
    for text in ("a/b", "<b>", "x" * 31, "emoji🙂", "a;b", " ".join(map(str, range(11)))):
        with pytest.raises(BadTags):
            split_tags(text)
    set_tags(run=runs["alpha"], names=["new"], by=admin)
    assert [tag.name for tag in runs["alpha"].tags.all()] == ["new"]
    event = AuditEvent.objects.order_by("-pk").first()
    assert event is not None and (event.before, event.after) == ({"tags": "baseline 논문"}, {"tags": "new"})
    set_tags(run=runs["alpha"], names=["new"], by=admin)
    assert AuditEvent.objects.order_by("-pk").first() == event, "nothing changed, nothing noted"


def test_tags_are_given_on_the_page_and_at_launch(
    sign_in: SignIn, admin: User, runs: dict[str, Run], dataset: DatasetVersion, base: ModelVersion
) -> None:
    client, alpha = sign_in(admin), runs["alpha"]
    page = client.post(reverse("run_tags", args=[alpha.pk]), {"tags": "one, two"}, follow=True).content.decode()
    assert f"{reverse('run_list')}?tag=one" in page
    page = client.post(reverse("run_tags", args=[alpha.pk]), {"tags": "<script>"}, follow=True).content.decode()
    assert "a tag has letters" in page and "<script>&#x27" not in page
    assert alpha.tags.count() == 2
    form = client.get(reverse("run_new"), {"like": alpha.pk}).context["form"]
    typed = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False)}
    assert typed["tags"] == "one two"
    typed |= {"method": "dpo", "dataset": dataset.pk, "base": base.pk, "name": "tagged"}
    assert client.post(reverse("run_new"), typed | {"tags": "a b/c"}).status_code == 422
    assert client.post(reverse("run_new"), typed).status_code == 302
    assert [tag.name for tag in Run.objects.get(name="tagged").tags.all()] == ["one", "two"]


def test_the_api_finds_and_tags_runs_too(
    api: Api, admin: User, runs: dict[str, Run], dataset: DatasetVersion, base: ModelVersion
) -> None:
    client = api(admin)

    def find(**query: Any) -> list[str]:
        return [row["name"] for row in client.get("/api/v1/runs/", query).json()["results"]]

    assert sorted(find(tag="baseline")) == ["alpha", "beta"] and find(q="too fast") == find(alerts="1") == ["beta"]
    assert len(find(page_size=2)) == 2
    assert list(client.get("/api/v1/runs/", {"state": "lost"}).json()) == ["state"]
    url = f"/api/v1/runs/{runs['gamma'].pk}/tags/"
    assert client.put(url, {"tags": ["B", "a"]}).json()["tags"] == ["a", "b"]
    assert "letters" in client.put(url, {"tags": ["a b"]}).json()["tags"][0]
    launched = {"method": "dpo", "dataset_version": dataset.pk, "base_model": base.pk}
    assert client.post("/api/v1/runs/", launched | {"tags": ["x/y"]}).json()["tags"][0].startswith("'x/y'")
    assert client.post("/api/v1/runs/", launched | {"tags": ["new"]}).json()["tags"] == ["new"]
