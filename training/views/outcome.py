"""How settings, outcome and facts are put into words for the pages.

Everything here is pure. What a result lacks (an older engine wrote it, or the run had no held-out pairs) is left out,
never guessed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from django.contrib.humanize.templatetags.humanize import intcomma
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Grade
from models_registry.models import LeasedWork, ModelVersion
from training.clones import Change, list_changes
from training.engine.config import METHODS, Setting, list_settings
from training.engine.reasons import name_dropped
from training.engine.recipes import RECIPES
from training.forms import name_setting, show_value, type_value
from training.models import Method, Run
from training.placing import Placement
from training.remedies import propose_changes
from training.views.alerts import list_alerts
from training.views.curves import Figure
from training.workers import name_worker


@dataclass(frozen=True)
class UsedSetting:
    label: str
    text: str
    usual: str
    changed: bool


@dataclass(frozen=True)
class Accuracy:
    """A share with its 95 % interval (Wilson) and the number of pairs behind it."""

    label: str
    share: float
    low: float
    high: float
    pairs: int
    is_baseline: bool = False
    """What a model would reach that looks at something else than the words."""


@dataclass(frozen=True)
class ListedRun:
    """A row of the list of runs; ``accuracy`` is that of the held-out pairs."""

    run: Run
    accuracy: float | None
    seconds: float | None
    alerts: list[str]
    """Titles of what is wrong with its curves."""


@dataclass(frozen=True)
class Head:
    """A heading of the table of runs: what pressing it sorts by, and how the table is sorted by it now."""

    label: str
    sort: str
    order: str
    is_number: bool


@dataclass(frozen=True)
class Fact:
    label: str
    text: str
    is_code: bool = False


@dataclass(frozen=True)
class Split:
    """What became of the rows of one file."""

    label: str
    read: int
    used: int
    notes: list[str] = field(default_factory=list)


def list_used_settings(run: Run) -> list[UsedSetting]:
    """Every setting of the run; those that are not the method's default (``changed``) come first."""
    settings = list_settings(run.method) if run.method in METHODS else []
    used = []
    for setting in settings:
        value = run.config.get(setting.name, setting.default)
        text, usual = show_setting(setting, value), show_setting(setting, setting.default)
        used.append(UsedSetting(name_setting(setting), text, usual, changed=value != setting.default))
    return sorted(used, key=lambda setting: not setting.changed)


@dataclass(frozen=True)
class ShownChange:
    """Something that a clone was given otherwise than its original, in the reader's words."""

    label: str
    before: str
    after: str


def describe_changes(original: Run, run: Run) -> list[ShownChange]:
    """How ``run``, launched or not yet, differs from ``original``."""
    return [
        ShownChange(_name_change(change), _show_change(change, change.before), _show_change(change, change.after))
        for change in list_changes(original, run)
    ]


def _name_change(change: Change) -> str:
    names = {"method": _("Method"), "dataset_version": _("Dataset version"), "base_model": _("Base model")}
    return name_setting(change.setting) if change.setting else names.get(change.name, change.name)


def _show_change(change: Change, value: Any) -> str:
    if change.setting:
        return show_setting(change.setting, value)
    return str(Method(value).label) if change.name == "method" and value in Method.values else str(value)


@dataclass(frozen=True)
class Remedy:
    """Settings that may keep a run from failing again, and the query that fills the launch form with them."""

    changes: list[ShownChange]
    query: str


def describe_remedy(run: Run) -> Remedy | None:
    known = {setting.name: setting for setting in list_settings(run.method)} if run.method in METHODS else {}
    found = {name: value for name, value in propose_changes(run).items() if name in known}
    changes = [
        ShownChange(
            name_setting(known[name]),
            show_setting(known[name], run.config.get(name, known[name].default)),
            show_setting(known[name], value),
        )
        for name, value in found.items()
    ]
    query = urlencode({"like": run.pk} | {name: type_value(value) for name, value in found.items()})
    return Remedy(changes, query) if changes else None


def list_origin(run: Run) -> list[Fact]:
    """All that a run comes of, so that it can be done again: data, base, recipe, departures from it, seed, command."""
    version, base, recipe = run.dataset_version, run.base_model, RECIPES.get(run.recipe)
    unlike = [
        f"{name_setting(setting)} {show_setting(setting, value)} ({show_setting(setting, usual)})"
        for setting, value, usual in _list_departures(run)
    ]
    digests = [
        (_("Training pairs, SHA-256"), version.train_sha256),
        (_("Held-out pairs, SHA-256"), version.eval_sha256 if version.eval_rows else ""),
        *((_("SHA-256 of %(file)s") % {"file": name}, digest) for name, digest in _read_digests(base)),
    ]
    facts = [
        Fact(_("Dataset version"), str(version)),
        Fact(_("Base model"), base.name),
        Fact(_("Recipe"), _(recipe.title) if recipe else run.recipe or _("None: the usual values")),
        Fact(
            _("Unlike the recipe, whose values stand in brackets")
            if recipe
            else _("Unlike the usual values, which stand in brackets"),
            ", ".join(unlike) or _("nothing"),
        ),
        Fact(_("Seed"), str(run.config.get("seed", ""))),
        *(Fact(label, digest, is_code=True) for label, digest in digests),
        Fact(_("The same again"), write_command(run), is_code=True),
    ]
    return [fact for fact in facts if fact.text]


def write_command(run: Run) -> str:
    """The command line that launches a run with the same settings on the same data, and as many devices."""
    chosen = {"--dataset": run.dataset_version_id, "--base": run.base_model.name}
    chosen |= {"--recipe": run.recipe} if run.recipe in RECIPES else {"--method": run.method}
    chosen |= Placement.of(run).list_options()
    settings = [f"{setting.name}={_spell(value)}" for setting, value, _usual in _list_departures(run)]
    parts = [str(part) for option in chosen.items() for part in option]
    return shlex.join(["python", "manage.py", "launch_run", *parts, *chain(*(("--set", text) for text in settings))])


def show_setting(setting: Setting, value: Any) -> str:
    """A setting's value in the reader's language."""
    if setting.type is bool:
        return _("yes") if value else _("no")
    text = str(show_value(value))
    return _(text) if setting.choices else text


def _list_departures(run: Run) -> list[tuple[Setting, Any, Any]]:
    """What was set otherwise than the recipe says (where it says nothing: the usual values): setting, value, theirs."""
    recipe = RECIPES.get(run.recipe)
    expected = recipe.values if recipe else {}
    found = [
        (setting, run.config.get(setting.name, setting.default), expected.get(setting.name, setting.default))
        for setting in (list_settings(run.method) if run.method in METHODS else [])
    ]
    return [(setting, value, usual) for setting, value, usual in found if value != usual]


def _spell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(show_value(value))


def list_heads(sort: str) -> list[Head]:
    """The columns of the table; pressing one orders by it, pressing it again turns the order round."""
    words = {
        "name": _("Run"),
        "state": _("State"),
        "method": _("Method"),
        "dataset": _("Dataset"),
        "base": _("Base model"),
        "step": _("Steps"),
        "accuracy": _("Accuracy"),
        "started": _("Started"),
        "duration": _("Duration"),
    }
    order = {sort: "ascending", sort.removeprefix("-"): "descending" if sort.startswith("-") else "ascending"}
    downwards = ("step", "accuracy", "started", "duration")  # where the most is what one looks for
    return [
        Head(
            label,
            name if sort == f"-{name}" or (sort != name and name not in downwards) else f"-{name}",
            order.get(name, "none"),
            name in ("step", "accuracy", "duration"),
        )
        for name, label in words.items()
    ]


def describe_row(run: Run) -> ListedRun:
    titles = [alert.title for alert in list_alerts(run)]
    return ListedRun(run, find_accuracy(run.result), measure_seconds(run), titles)


def measure_seconds(run: Run) -> float | None:
    """Of active training over all attempts; where that was not measured, from the start of the last one on."""
    if run.active_seconds:
        return run.active_seconds
    if run.started_at is None:
        return None
    return max(0.0, ((run.finished_at or timezone.now()) - run.started_at).total_seconds())


def find_accuracy(result: Mapping[str, Any]) -> float | None:
    """The held-out accuracy, where the run has come so far."""
    found = _read_mapping(result, "eval").get("accuracy")
    return float(found) if isinstance(found, int | float) else None


def describe_accuracies(result: Mapping[str, Any]) -> list[Accuracy]:
    """Held-out accuracy, that of each grade, then the baselines to hold them against."""
    evaluation = _read_mapping(result, "eval")
    by_grade = _read_mapping(evaluation, "by_grade")
    names = {grade.value: str(grade.label).capitalize() for grade in Grade} | {"ungraded": _("Without a grade")}
    rows = [_read_accuracy(_("All held-out pairs"), evaluation)]
    rows += [_read_accuracy(name, by_grade.get(grade)) for grade, name in names.items()]
    baselines = {"length_baseline": _("the longer response wins"), "position_baseline": _("the left response wins")}
    rows += [_read_accuracy(name, evaluation.get(key), is_baseline=True) for key, name in baselines.items()]
    return [row for row in rows if row]


def describe_splits(result: Mapping[str, Any]) -> list[Split]:
    """How many rows of each file were read and used, and what became of the others."""
    splits = []
    for key, label in (("train", _("Training pairs")), ("eval", _("Held-out pairs"))):
        counts = _read_mapping(_read_mapping(result, "data"), key)
        if not counts:
            continue
        notes = [
            _("%(number)d left out: %(reason)s") % {"number": number, "reason": name_reason(reason)}
            for reason, number in _read_mapping(counts, "dropped").items()
        ]
        cut = _read_mapping(counts, "truncated")
        if cut.get("any"):
            # In an order of our own: a database need not keep that of the engine's JSON.
            known = [part for part in ("prompt", "chosen", "rejected") if cut.get(part)]
            parts = ", ".join(f"{name_part(part)} {cut[part]}" for part in known)
            notes.append(_("%(number)d shortened (%(parts)s)") % {"number": cut["any"], "parts": parts})
        splits.append(Split(label, int(counts.get("read", 0)), int(counts.get("used", 0)), notes))
    return splits


def name_reason(code: str) -> str:
    """Why the engine left a pair out, in the reader's language."""
    return _(name_dropped(code))


def name_part(part: str) -> str:
    return {"prompt": _("prompt"), "chosen": _("chosen"), "rejected": _("rejected")}.get(part, part)


def show_percent(share: float, digits: int = 0) -> str:
    return _("%(number)s %%") % {"number": f"{100 * share:.{digits}f}"}


def show_accuracy(found: Accuracy | None) -> str:
    """In one cell; the heading is that of ``name_accuracy``."""
    if found is None:
        return "–"
    return f"{show_percent(found.share, 1)} ({show_percent(found.low)} – {show_percent(found.high)})"


def name_accuracy() -> str:
    return _("Accuracy (95 %% interval)") % {}


def list_facts(model: ModelVersion) -> list[Fact]:
    """What the registry knows of a model's files."""
    known = model.facts
    context = known.get("context_length")
    facts = [
        Fact(_("Architecture"), known.get("architecture", "")),
        Fact(_("Parameters"), intcomma(known.get("parameters") or "")),
        Fact(_("Context"), _("%(number)s tokens") % {"number": intcomma(context)} if context else ""),
        Fact(_("Vocabulary"), intcomma(known.get("vocabulary") or "")),
        Fact(_("Weights"), " · ".join(filter(None, [known.get("dtype"), _show_size(known.get("size_bytes"))]))),
        Fact(_("Chat template"), _name_template(known.get("has_chat_template"))),
        Fact(_("Licence"), model.licence or (_("not stated") if known else "")),
    ]
    digests = _read_digests(model)
    facts += [Fact(_("SHA-256 of %(file)s") % {"file": name}, digest, is_code=True) for name, digest in digests]
    return [fact for fact in facts if fact.text]


def list_outcome(result: Mapping[str, Any]) -> list[Figure]:
    """How much the run read, and on what."""
    figures = []
    for key, label in (("steps", _("Steps")), ("pairs", _("Pairs seen")), ("tokens", _("Tokens read"))):
        if result.get(key) is not None:
            figures.append(Figure(label, intcomma(result[key])))
    if result.get("device"):
        figures.append(Figure(_("Device"), str(result["device"])))
    return figures


def _read_digests(model: ModelVersion) -> list[tuple[str, str]]:
    """Weight files and their SHA-256."""
    return [(str(name), str(digest)) for name, digest in _read_mapping(model.facts, "sha256").items()]


def _name_template(present: Any) -> str:
    return _("its own") if present else _("none, a plain one is used") if present is False else ""


def _show_size(size: Any) -> str:
    return filesizeformat(size) if isinstance(size, int) else ""


def _read_mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = source.get(key)
    return found if isinstance(found, Mapping) else {}


def _read_accuracy(label: str, source: Any, *, is_baseline: bool = False) -> Accuracy | None:
    if not isinstance(source, Mapping) or source.get("accuracy") is None:
        return None
    low, high = source.get("interval") or (0.0, 1.0)
    share, pairs = float(source["accuracy"]), int(source.get("pairs", 0))
    return Accuracy(label, share, float(low), float(high), pairs, is_baseline)


def list_machines(run: Run) -> list[dict[str, Any]]:
    """Of a run of several machines who has which part; empty where it is one machine's, or no worker has had it."""
    if run.hosts == 1 or not run.epoch:
        return []
    shares = run.shares.filter(run_epoch=run.epoch).defer("log_tail")
    parts: list[tuple[int, LeasedWork]] = [(0, run), *((share.rank, share) for share in shares)]
    return [{"rank": rank, "work": work, "worker": name_worker(work.owner)} for rank, work in parts]
