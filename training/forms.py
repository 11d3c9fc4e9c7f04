"""The launch form, drawn from the engine's settings and checked by them.

What a person typed survives an error and a change of the method: a value that still equals the default of the method
it was drawn for gives way to the new method's default, anything else is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.forms import BoundField
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.models import DatasetVersion
from models_registry.models import ModelKind, ModelVersion, WorkState
from models_registry.selectors import list_usable
from models_registry.stored_texts import translate_stored
from training.engine.config import METHODS, ConfigErrors, Setting, TrainingConfig, list_settings
from training.engine.recipes import RECIPES, Recipe, list_recipes
from training.engine_texts import REASONS
from training.models import Method, Run
from training.run_tags import BadTags, split_tags

ESSENTIALS = (
    "learning_rate",
    "epochs",
    "beta",
    "dpo_loss",
    "gamma_ratio",
    "nll_weight",
    "arpo_form",
    "desirable_weight",
    "undesirable_weight",
    "margin",
    "margin_map",
    "lora_r",
    "max_length",
)
UNITS = {
    "batch_size": gettext_lazy("pairs"),
    "max_length": gettext_lazy("tokens"),
    "max_prompt_length": gettext_lazy("tokens"),
}
LABELS = {
    "lora_r": gettext_lazy("LoRA rank"),
    "lora_alpha": gettext_lazy("LoRA scale"),
    "nll_over": gettext_lazy("Language modelling covers"),
    "nll_weight": gettext_lazy("Weight of language modelling"),
    "dpo_loss": gettext_lazy("Form of the loss"),
    "ipo_average": gettext_lazy("Log-probabilities are"),
    "gamma_ratio": gettext_lazy("Target margin (γ / β)"),
    "arpo_form": gettext_lazy("Form of the penalty"),
    "arpo_c1": gettext_lazy("Penalty factor c1"),
    "arpo_c2": gettext_lazy("Penalty exponent c2"),
    "margin_map": gettext_lazy("Custom margins"),
    "pair_weights": gettext_lazy("Weight of a pair"),
    "warmup_steps": gettext_lazy("Least warm-up steps"),
    "overlong": gettext_lazy("Pairs that are too long"),
    "warmup_ratio": gettext_lazy("Warm-up share"),
    "max_length": gettext_lazy("Longest pair"),
    "max_prompt_length": gettext_lazy("Longest prompt when cut"),
    "max_grad_norm": gettext_lazy("Largest gradient norm"),
    "max_steps": gettext_lazy("Most steps"),
    "logging_steps": gettext_lazy("Steps between points"),
    "eval_steps": gettext_lazy("Steps between evaluations"),
    "save_steps": gettext_lazy("Steps between checkpoints"),
}
"""Better names than the engine's, which are those of the literature's code."""
FIELD_OF = {"dataset_version": "dataset", "base_model": "base"}
"""The form's names of what the service calls otherwise."""


@dataclass(frozen=True)
class SettingGroup:
    """A heading and its fields, for the template."""

    title: str
    fields: list[BoundField]

    @property
    def has_errors(self) -> bool:
        return any(field.errors for field in self.fields)


def list_usable_datasets() -> QuerySet[DatasetVersion]:
    """Frozen, not put away, and with at least one pair to learn from."""
    usable = DatasetVersion.objects.filter(state=WorkState.FINISHED, train_rows__gt=0, archived_at=None)
    return usable.select_related("project")


def list_recipe_choices(method: str) -> list[tuple[str, str]]:
    """For a select, with none first."""
    return [("", _("None: the usual values")), *((recipe.name, _(recipe.title)) for recipe in list_recipes(method))]


def list_usable_bases(method: str) -> QuerySet[ModelVersion]:
    """Models whose files are there; a policy is made of a policy, a reward model of either kind."""
    usable = list_usable()
    return usable if method == Method.REWARD else usable.filter(kind=ModelKind.POLICY)


def propose_name(method: str, base: ModelVersion | None, mark: str = "") -> str:
    """A name that no run and no model has yet; ``mark`` says what sets the run apart from its like."""
    end = f"-{method}{'-' if mark else ''}{mark}"
    stem = (base.name if base else "model")[: 90 - len(end)] + end
    taken = set(Run.objects.filter(name__startswith=stem).values_list("name", flat=True))
    taken |= set(ModelVersion.objects.filter(name__startswith=stem).values_list("name", flat=True))
    number = next(number for number in range(1, len(taken) + 2) if f"{stem}-{number}" not in taken)
    return f"{stem}-{number}"


class DatasetChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, version: Any) -> str:
        return _("%(version)s: %(train)d + %(eval)d pairs") % {
            "version": version,
            "train": version.train_rows,
            "eval": version.eval_rows,
        }


class BaseChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, model: Any) -> str:
        return f"{model.name} ({model.get_kind_display()})"


def make_limit_field(label: Any, help_text: Any, usual: Callable[[], int] | None = None) -> forms.FloatField:
    """A number, or nothing for no limit; the service checks it."""
    attributes = {"autocomplete": "off", "inputmode": "decimal"}
    return forms.FloatField(
        label=label,
        required=False,
        help_text=help_text,
        initial=(lambda: usual() or None) if usual else None,
        widget=forms.TextInput(attrs=attributes),
    )


class LimitsForm(forms.Form):
    """The limits of a run that was launched."""

    limit_hours = make_limit_field(gettext_lazy("Most hours"), "")
    limit_gb = make_limit_field(gettext_lazy("Most disk (GB)"), "")


class LaunchForm(forms.Form):
    """What to train on what, and the settings that apply to ``method``."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        required=False,
        help_text=gettext_lazy("The trained model gets this name too. Left empty, one is made up."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    dataset = DatasetChoice(
        label=gettext_lazy("Dataset version"),
        queryset=DatasetVersion.objects.none(),
        help_text=gettext_lazy("Training pairs + held-out pairs."),
    )
    base = BaseChoice(
        label=gettext_lazy("Base model"),
        queryset=ModelVersion.objects.none(),
        help_text=gettext_lazy("What the training starts from; it stays as it is."),
    )
    notes = forms.CharField(label=gettext_lazy("Notes"), max_length=300, required=False)
    limit_hours = make_limit_field(
        gettext_lazy("Most hours"),
        gettext_lazy("Of active training over all attempts. Then it is paused behind a checkpoint."),
        lambda: settings.RUN_LIMIT_HOURS,
    )
    limit_gb = make_limit_field(
        gettext_lazy("Most disk (GB)"),
        gettext_lazy("Of all its files, checkpoints included. Then it is paused behind a checkpoint."),
        lambda: settings.RUN_LIMIT_GB,
    )
    tags = forms.CharField(
        label=gettext_lazy("Tags"),
        max_length=350,
        required=False,
        help_text=gettext_lazy("Words to find it by, with commas or spaces between."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    recipe = forms.ChoiceField(
        label=gettext_lazy("Recipe"),
        required=False,
        widget=forms.Select(
            attrs={
                "hx-get": reverse_lazy("run_new"),
                "hx-trigger": "change",
                "hx-include": "closest form",
                "hx-params": "not csrfmiddlewaretoken",
                "hx-target": "#run-form",
                "hx-swap": "outerHTML",
                "hx-disabled-elt": "#run-fields",
            }
        ),
    )

    def __init__(self, method: str, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.method = method
        self.values: dict[str, Any] = {}
        self.settings = {setting.name: setting for setting in list_settings(method)}
        cast(DatasetChoice, self.fields["dataset"]).queryset = list_usable_datasets()
        cast(BaseChoice, self.fields["base"]).queryset = list_usable_bases(method)
        cast(forms.ChoiceField, self.fields["recipe"]).choices = list_recipe_choices(method)
        for setting in self.settings.values():
            self.fields[setting.name] = _make_field(setting)

    def clean_tags(self) -> list[str]:
        try:
            return split_tags(self.cleaned_data["tags"])
        except BadTags as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        typed = {name: self.cleaned_data.get(name) for name in self.settings}
        try:
            self.values = TrainingConfig.from_dict(self.method, typed).to_dict()
        except ConfigErrors as wrong:
            self.add_errors(wrong.errors)
        return self.cleaned_data

    def add_errors(self, errors: list[tuple[str, str]]) -> None:
        """Puts reasons of the engine or the service beside the fields they name."""
        for name, text in errors:
            reason = translate_stored(text, REASONS) or text
            field = FIELD_OF.get(name, name)
            if field in self.fields:
                self.add_error(field, reason)
            else:
                self.add_error(None, f"{name}: {reason}")

    @property
    def chosen_recipe(self) -> Recipe | None:
        """The one that the form shows."""
        return RECIPES.get(str(self["recipe"].value() or ""))

    @property
    def recipe_source(self) -> str:
        """Whose settings the chosen recipe holds."""
        return _(self.chosen_recipe.reference) if self.chosen_recipe else ""

    @property
    def departures(self) -> list[str]:
        """The settings that differ from the chosen recipe, each with the recipe's value."""
        recipe = self.chosen_recipe
        return [
            f"{self[name].label} ({_(value) if isinstance(value, str) else show_value(value)})"
            for name, value in (recipe.values.items() if recipe else ())
            if name in self.settings and not _says_same(self[name].value(), value)
        ]

    @property
    def essentials(self) -> list[BoundField]:
        return [self[name] for name in ESSENTIALS if name in self.settings]

    @property
    def groups(self) -> list[SettingGroup]:
        """All but the essentials, under the engine's headings."""
        titles = dict.fromkeys(setting.group for setting in self.settings.values())
        groups = [SettingGroup(_(title), list(self._list_rest(title))) for title in titles]
        return [group for group in groups if group.fields]

    @property
    def rest_has_errors(self) -> bool:
        return any(group.has_errors for group in self.groups)

    def _list_rest(self, title: str) -> Iterator[BoundField]:
        for name, setting in self.settings.items():
            if setting.group == title and name not in ESSENTIALS:
                yield self[name]


def _make_field(setting: Setting) -> forms.Field:
    """A text field even for numbers: the browser would throw away what it cannot read, and nobody could mend it."""
    common: dict[str, Any] = {
        "label": name_setting(setting),
        "initial": show_value(setting.default),
    }
    help_text = _(setting.help)
    if setting.type is bool:
        return forms.BooleanField(required=False, help_text=help_text, **common)
    if setting.choices:
        choices = [(choice, _(choice)) for choice in setting.choices]
        return forms.ChoiceField(choices=choices, help_text=help_text, **common)
    usual = _("Usually %(value)s.") % {"value": show_value(setting.default)}
    attributes = {"autocomplete": "off"}
    if setting.type is not str:
        attributes["inputmode"] = "numeric" if setting.type is int else "decimal"
    return forms.CharField(
        max_length=200 if setting.type is str else 30,
        required=False,
        help_text=f"{help_text} {usual}",
        widget=forms.TextInput(attrs=attributes),
        **common,
    )


def name_setting(setting: Setting) -> str:
    """A setting's name for people, with its unit where it has one."""
    name = str(LABELS.get(setting.name) or _(setting.label))
    unit = UNITS.get(setting.name)
    return f"{name} ({unit})" if unit else name


def show_value(value: Any) -> Any:
    """A setting's value as a person would type it: 5e-06 as 5e-6, 1.0 as 1; what is typed again is the same value."""
    if isinstance(value, float):
        short = f"{value:g}"
        return (short if float(short) == value else repr(value)).replace("e-0", "e-")
    return value


def type_value(value: Any) -> str:
    """A setting's value as a form sends it: a ticked box as ``on``, any other as nothing."""
    if isinstance(value, bool):
        return "on" if value else ""
    return str(show_value(value))


def _says_same(typed: Any, value: Any) -> bool:
    """Whether what stands in a field means ``value``: 0.00001 is 1e-5."""
    try:
        return float(typed) == float(value)
    except (TypeError, ValueError):
        return str(typed) == type_value(value)


def apply_recipe(method: str, typed: Mapping[str, str]) -> dict[str, str]:
    """What was typed, with the values of ``typed['recipe']`` if that was chosen since the form was drawn.

    They take the place of usual values and of those of the recipe before. What a person typed stays, also against the
    recipe; the form then says so (``departures``).
    """
    values = dict(typed)
    chosen, before = (RECIPES.get(values.get(key, "")) for key in ("recipe", "drawn_recipe"))
    chosen = chosen if chosen and chosen.method == method else None
    if chosen == before:
        return values
    drawn_for = values.get("drawn_for", "")
    usual = list_settings(drawn_for if drawn_for in METHODS else method)
    weak = {setting.name: {"", type_value(setting.default)} for setting in usual}
    for name, value in before.values.items() if before else ():
        if values.get(name) == type_value(value):
            del values[name]
    for name, value in chosen.values.items() if chosen else ():
        if values.get(name, "") in weak.get(name, {""}):
            values[name] = type_value(value)
    return values


def carry_over(method: str, typed: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What was typed for ``typed['drawn_for']``, for a form of ``method``.

    Returns the initial values that differ from the method's own, and the values that do not apply to it but come back
    when the method is changed again.
    """
    drawn_for = typed.get("drawn_for", "")
    if drawn_for not in METHODS:
        drawn_for = method
    before = {setting.name: setting for setting in list_settings(drawn_for)}
    now = {setting.name: setting for setting in list_settings(method)}
    initial: dict[str, Any] = {}
    kept: dict[str, str] = {}
    every = {setting.name: setting for name in METHODS for setting in list_settings(name)}
    for name, setting in every.items():
        if setting.type is bool and name in before and "drawn_for" in typed:
            value = "on" if typed.get(name) else ""
        elif name in typed:
            value = typed[name]
        else:
            continue
        untouched = name in before and value == type_value(before[name].default)
        if untouched:
            continue
        if name in now:
            initial[name] = bool(value) if setting.type is bool else value
        elif value:
            kept[name] = value[:200]
    return initial, kept
