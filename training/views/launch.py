"""The page that launches a run. A change of the method or the base redraws the form with what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.permissions import admin_required, get_labeler
from models_registry.models import ModelSource
from training import selectors, services
from training.engine.config import METHODS, ConfigErrors, TrainingConfig, list_settings
from training.engine.recipes import RECIPES, list_recipes
from training.forms import (
    LaunchForm,
    apply_recipe,
    carry_over,
    list_usable_bases,
    list_usable_datasets,
    propose_name,
    type_value,
)
from training.models import Method, Run
from training.placing import PLACEMENT_FIELDS, PlacementForm, read_placement
from training.views import outcome
from training.views.estimate import describe_estimate

Row = TypeVar("Row", bound=Model)

PAPERS = {
    "sft": "2203.02155",
    "reward": "2307.09288",
    "dpo": "2305.18290",
    "ipo": "2310.12036",
    "kto": "2402.01306",
    "orpo": "2403.07691",
    "cpo": "2401.08417",
    "simpo": "2405.14734",
    "arpo": "2410.03115",
}
"""Where each method is described, on arXiv; for SFT and the reward model, as a step before reinforcement learning."""


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def launch_run(request: HttpRequest) -> HttpResponse:
    """GET draws the form (``?method=&dataset=&base=``, or ``?like=`` a run); POST launches, or redraws (``redraw``)."""
    if request.method != "POST":
        typed = request.GET.dict()
        # What stands in the address counts before the original; once the form is drawn it holds all.
        return _draw(request, typed if "drawn_for" in typed else _read_pattern(typed.get("like", "")) | typed)
    typed = request.POST.dict()
    if "redraw" in typed or typed.get("method") not in METHODS:
        return _draw(request, typed)
    # Without JavaScript a recipe may have been chosen without a redraw since: its values count, not its name alone.
    form = LaunchForm(typed["method"], apply_recipe(typed["method"], typed))
    place = PlacementForm(typed)
    if form.is_valid() & place.is_valid():  # both, so that all that is wrong is said at once
        base = form.cleaned_data["base"]
        try:
            run = services.launch_run(
                name=form.cleaned_data["name"] or propose_name(form.method, base),
                method=form.method,
                base_model=base,
                dataset_version=form.cleaned_data["dataset"],
                values=form.values,
                notes=form.cleaned_data["notes"],
                recipe=form.cleaned_data["recipe"],
                limit_hours=form.cleaned_data["limit_hours"],
                limit_gb=form.cleaned_data["limit_gb"],
                cloned_from=_find_run(typed.get("like", "")),
                placement=place.placement,
                tags=form.cleaned_data["tags"],
                by=get_labeler(request),
            )
        except services.LaunchErrors as wrong:
            form.add_errors(wrong.errors)
        else:
            messages.success(request, _("The run is launched."))
            return redirect("run_detail", run.pk)
    return render_form(request, form, place, kept={}, proposed=typed.get("proposed", ""), status=422)


@admin_required
@require_safe
def show_changes(request: HttpRequest) -> HttpResponse:
    """How what stands in the form differs from the run it was cloned from; asked for as it is typed."""
    original, typed = _find_run(request.GET.get("like", "")), request.GET.dict()
    method = typed["method"] if typed.get("method") in METHODS else Method.DPO.value
    form = LaunchForm(method, typed)
    return render(request, "training/_run_changes.html", _describe_clone(original, form))


def _describe_clone(original: Run | None, form: LaunchForm) -> dict[str, Any]:
    """``changes`` counts what can be understood; fields that err are left to their own words."""
    if original is None:
        return {}
    typed = {name: form[name].value() for name in form.settings}
    try:
        config = TrainingConfig.from_dict(form.method, typed)
    except ConfigErrors as wrong:
        bad = {name for name, _reason in wrong.errors}
        known = {name: original.config[name] for name in bad & original.config.keys() & typed.keys()}
        try:
            config = TrainingConfig.from_dict(form.method, typed | known)
        except ConfigErrors:
            return {"original": original, "changes": None}
    run = Run(
        method=form.method,
        config=config.to_dict(),
        dataset_version=_choose(list_usable_datasets(), _read_key(form["dataset"].value())) or original.dataset_version,
        base_model=_choose(list_usable_bases(form.method), _read_key(form["base"].value())) or original.base_model,
    )
    return {"original": original, "changes": outcome.describe_changes(original, run)}


def _read_key(value: Any) -> str:
    return str(value.pk if isinstance(value, Model) else value or "")


def _draw(request: HttpRequest, typed: Mapping[str, str]) -> HttpResponse:
    """The form with what was typed so far, as far as it applies to the method."""
    method = typed["method"] if typed.get("method") in METHODS else Method.DPO.value
    typed = apply_recipe(method, typed)
    initial, kept = carry_over(method, typed)
    bases = list_usable_bases(method)
    # A model that came from outside first: to train on what was trained here is a deliberate choice.
    base = _choose(bases, typed.get("base", ""), bases.exclude(source=ModelSource.RUN))
    dataset = _choose(list_usable_datasets(), typed.get("dataset", ""))
    proposed = propose_name(method, base)
    name = typed.get("name", "")
    initial |= {key: typed[key] for key in ("limit_hours", "limit_gb") if key in typed}
    initial |= {
        "base": base,
        "dataset": dataset,
        "notes": typed.get("notes", ""),
        "tags": typed.get("tags", ""),
        "recipe": typed.get("recipe", "") if RECIPES.get(typed.get("recipe", "")) in list_recipes(method) else "",
        "name": proposed if name in ("", typed.get("proposed", "")) else name,
    }
    place = PlacementForm(initial={name: typed[name] for name in PLACEMENT_FIELDS if name in typed})
    return render_form(request, LaunchForm(method, initial=initial), place, kept=kept, proposed=proposed)


def render_form(
    request: HttpRequest,
    form: LaunchForm,
    place: PlacementForm,
    *,
    kept: Mapping[str, str],
    proposed: str,
    status: int = 200,
) -> HttpResponse:
    """The page, or the form alone where htmx redraws it; ``kept`` are values of other methods that come back."""
    context = {
        "form": form,
        "place": place,
        "kept": kept,
        "proposed": proposed,
        "methods": _list_methods(),
        "any_dataset": list_usable_datasets().exists(),
        "any_model": list_usable_bases(Method.REWARD).exists(),
        **_describe_clone(_find_run((request.POST or request.GET).get("like", "")), form),
        **describe_estimate(form, place),
        "focus": request.GET.get("focus", ""),
        "scripted": "HX-Request" in request.headers,
        "open_rest": any(field.name in form.initial for group in form.groups for field in group.fields),
    }
    template = (
        "training/_run_form.html"
        if "HX-Request" in request.headers and request.method == "GET"
        else "training/run_new.html"
    )
    return render(request, template, context, status=status)


def _choose(rows: QuerySet[Row], pk: str, *favourites: QuerySet[Row]) -> Row | None:
    """The row that was asked for; else the newest favourite or row, so that the usual case needs no click."""
    asked = rows.filter(pk=pk) if is_number(pk) else rows.none()
    return next((found for found in (some.first() for some in (asked, *favourites, rows)) if found), None)


def _list_methods() -> list[tuple[str, list[dict[str, str]]]]:
    """The methods in groups that say what they are for."""
    words = {
        "reward": _("Learns to score responses as labelers would; scores samples and judges other models."),
        "sft": _("Imitates the chosen responses; the rejected ones are only watched. What the others start from."),
        "dpo": _("Prefers the chosen responses, held near a frozen copy of itself. The usual first choice."),
        "ipo": _("Stops at a finite gap, so it overfits less where labelers nearly all agree."),
        "kto": _("Takes each response as wanted or not; needs no pairs."),
        "orpo": _("Language modelling and an odds ratio in one stage."),
        "cpo": _("Like DPO without the copy, held to good responses by language modelling."),
        "simpo": _("Compares average log-probabilities, so that length does not pay."),
        "arpo": _("CPO that rejects near-equal responses less."),
    }
    groups = [
        (_("Judge or imitate"), [Method.REWARD, Method.SFT]),
        (_("Learn from pairs, held near a reference model"), [Method.DPO, Method.IPO, Method.KTO]),
        (_("Learn from pairs without a reference model"), [Method.ORPO, Method.CPO, Method.SIMPO, Method.ARPO]),
    ]
    return [(title, [_describe_method(item, words[item.value]) for item in items]) for title, items in groups]


def _describe_method(method: Method, words: str) -> dict[str, str]:
    return {"value": method.value, "label": str(method.label), "words": words, "paper": PAPERS[method.value]}


def _read_pattern(pk: str) -> dict[str, str]:
    """What an earlier run was launched with, as if typed, so that a new one differs in one setting alone."""
    run = _find_run(pk)
    if run is None:
        return {}
    values = {setting.name: run.config.get(setting.name) for setting in list_settings(run.method)}
    texts = {name: type_value(value) for name, value in values.items() if value is not None}
    chosen = {"method": run.method, "dataset": str(run.dataset_version_id), "base": str(run.base_model_id)}
    limits = {"limit_hours": run.limit_hours, "limit_gb": run.limit_gb}
    chosen |= {name: "" if value is None else f"{value:g}" for name, value in limits.items()}
    tags = " ".join(tag.name for tag in run.tags.all())
    chosen |= {"recipe": run.recipe, "drawn_recipe": run.recipe, "tags": tags}
    return texts | chosen | read_placement(run)


def _find_run(pk: str) -> Run | None:
    return selectors.list_runs().filter(pk=pk).first() if is_number(pk) else None


def is_number(text: str) -> bool:
    """Whether it can be a row's number; anything else never reaches the database."""
    return text.isascii() and text.isdigit() and len(text) < 19
