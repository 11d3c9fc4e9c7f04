"""Forms that send models to work on a project's prompts. What fits together is checked by the services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.models import SamplingJob
from annotate.selectors.sampling import list_ready_models
from annotate.services.sampling import MAX_PROMPTS, MAX_SEED, RECIPE_FIELDS
from models_registry.models import ModelKind, ModelVersion

if TYPE_CHECKING:
    JobForm = forms.ModelForm[SamplingJob]
else:
    JobForm = forms.ModelForm

NEW, UNSAMPLED, NEWEST = "new", "unsampled", "newest"


class SamplingForm(JobForm):
    """Prompts, one or two models, and how they sample."""

    prompts_from = forms.ChoiceField(
        label=_("Prompts"),
        choices=[
            (NEW, _("A new prompt, written below")),
            (UNSAMPLED, _("The newest prompts of the project that no model has answered yet")),
            (NEWEST, _("The newest prompts of the project")),
        ],
        widget=forms.RadioSelect,
        initial=NEW,
    )
    text = forms.CharField(
        label=_("New prompt"),
        required=False,
        max_length=64_000,
        help_text=_("As a person would type it to the assistant."),
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    limit = forms.IntegerField(
        label=_("At most so many prompts of the project"),
        required=False,
        min_value=1,
        max_value=MAX_PROMPTS,
        initial=20,
    )

    seed = forms.IntegerField(
        label=_("Seed"),
        min_value=0,
        max_value=MAX_SEED,
        initial=0,
        help_text=_("The same seed gives the same responses."),
    )

    class Meta:
        model = SamplingJob
        fields = RECIPE_FIELDS
        labels = {
            "model_a": _("Model of the first response"),
            "model_b": _("Model of the second response"),
            "reward_model": _("Reward model that scores them"),
        }
        help_texts = {
            "model_b": _("May be the same; then the two differ by chance and temperature."),
            "temperature_a": _("0 takes the likeliest word each time, 1 draws as the model says."),
            "top_p": _("Draws among the likeliest words that reach this share together."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        policies, rewards = list_ready_models(ModelKind.POLICY), list_ready_models(ModelKind.REWARD)
        for name, models in (("model_a", policies), ("model_b", policies), ("reward_model", rewards)):
            field = cast("forms.ModelChoiceField[ModelVersion]", self.fields[name])
            field.queryset = models
            if field.required:
                field.empty_label = None
            else:
                field.empty_label = str(_("none"))
        self.any_reward_model = rewards.exists()

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("prompts_from") == NEW and not values.get("text"):
            self.add_error("text", _("Write a prompt, or take prompts of the project."))
        of_project = values.get("prompts_from") in (UNSAMPLED, NEWEST)
        if of_project and not values.get("limit") and "limit" not in self.errors:
            self.add_error("limit", _("Say how many prompts."))
        return values


class ScoringForm(forms.Form):
    """Which reward model scores the project's responses."""

    model = forms.ModelChoiceField(label=_("Reward model"), queryset=ModelVersion.objects.none(), empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast("forms.ModelChoiceField[ModelVersion]", self.fields["model"])
        field.queryset = list_ready_models(ModelKind.REWARD)
