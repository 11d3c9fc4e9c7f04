"""How settings, outcome and facts are put into words for the pages.

Everything here is pure. What a result lacks (an older engine wrote it, or the run had no held-out pairs) is left out,
never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.humanize.templatetags.humanize import intcomma
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.models import Grade
from models_registry.models import ModelVersion
from training.engine.config import METHODS, list_settings
from training.forms import name_setting, show_value
from training.models import Run
from training.views.curves import Figure


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
        text, usual = str(show_value(value)), str(show_value(setting.default))
        if setting.choices:
            text, usual = _(text), _(usual)
        if setting.type is bool:
            text, usual = (_("yes") if flag else _("no") for flag in (value, setting.default))
        used.append(UsedSetting(name_setting(setting), text, usual, changed=value != setting.default))
    return sorted(used, key=lambda setting: not setting.changed)


def describe_row(run: Run) -> ListedRun:
    return ListedRun(run, find_accuracy(run.result), measure_seconds(run))


def measure_seconds(run: Run) -> float | None:
    """From the start of the present attempt to its end, or to now."""
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
    """Why the engine left a pair out, in words."""
    words = {
        "too_long": _("longer than the limit"),
        "identical_sides": _("both responses are the same"),
        "identical_when_cut": _("both responses are the same within the limit"),
        "empty_side": _("a response is empty"),
        "empty_prompt": _("the prompt has no messages"),
        "prompt_fills_length": _("the prompt alone fills the limit"),
        "template_refused": _("the model's chat template refuses the conversation"),
    }
    return words.get(code, code.replace("_", " "))


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
    digests = _read_mapping(known, "sha256")
    facts += [Fact(_("SHA-256 of %(file)s") % {"file": name}, digest, is_code=True) for name, digest in digests.items()]
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
