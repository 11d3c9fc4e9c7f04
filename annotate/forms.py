"""Forms of projects, members, imports and dataset versions: types and ranges; the services check the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.exporting.rule import MAX_EVAL_SHARE, MAX_SEED, MAX_VOTES, STRENGTHS, Aggregation, DatasetRule
from annotate.models import Grade, Import, Project
from annotate.selectors.projects import list_invitable, list_judges

if TYPE_CHECKING:
    _ProjectModelForm = forms.ModelForm[Project]
    _ManyRowsField = forms.ModelMultipleChoiceField[Any]
else:  # Django's own classes take no type argument when they run
    _ProjectModelForm = forms.ModelForm
    _ManyRowsField = forms.ModelMultipleChoiceField

_VISIBLE = re.compile("[^\\s\u115f\u1160\u2800\u3164\uffa0]")
"""Anything but spaces and the letters and signs that are drawn as nothing."""

_GRADES = [(grade, Grade(grade).label) for grade in STRENGTHS]


class ChosenRowsField(_ManyRowsField):
    """Rows to tick. A number that the database cannot hold is no choice, where Django's own field would crash."""

    def clean(self, value: Any) -> QuerySet[Any]:
        try:
            return super().clean(value)
        except OverflowError:
            raise ValidationError(
                self.error_messages["invalid_choice"],
                code="invalid_choice",
                params={"value": max(map(str, value), key=len)},
            ) from None


class ProjectForm(_ProjectModelForm):
    """A new project. The short name may be left to the service."""

    class Meta:
        model = Project
        fields = ["name", "slug", "description", "question", "guidelines", "votes_per_comparison"]
        labels = {"slug": _("Short name")}
        help_texts = {"question": _("Stands above each pair.")}
        widgets = {
            "guidelines": forms.Textarea(attrs={"rows": 14}),
            "name": forms.TextInput(attrs={"autocomplete": "off"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "slug" in self.fields:
            self.fields["slug"].required = False
            self.fields["slug"].help_text = _("Stands in the addresses; left empty, it is made of the name.")

    def clean_name(self) -> str:
        """A name that can be read and typed, as those of models and runs."""
        name: str = self.cleaned_data["name"]
        if not name.isprintable() or not _VISIBLE.search(name):
            raise ValidationError(_("The name contains characters that cannot be shown."))
        return name


class ProjectEditForm(ProjectForm):
    """A project that exists: its short name stays, since links and scripts name it."""

    archived = forms.BooleanField(
        label=_("Archived"), required=False, help_text=_("Labelers no longer see it; nothing is lost.")
    )

    class Meta(ProjectForm.Meta):
        fields = ["name", "description", "question", "guidelines", "votes_per_comparison"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["archived"].initial = bool(self.instance.archived_at)


class MemberForm(forms.Form):
    """Somebody who shall label in the project."""

    user = forms.ModelChoiceField(label=_("Account"), queryset=User.objects.none(), empty_label=_("Choose …"))

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["user"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = list_invitable(project)


class ImportForm(forms.Form):
    """A file to bring in."""

    file = forms.FileField(
        label=_("File"),
        allow_empty_file=True,  # the service says it in words
        help_text=_("JSON Lines in UTF-8, plain or gzip, up to 200 MB."),
        widget=forms.FileInput(attrs={"accept": ".jsonl,.json,.ndjson,.gz,.txt"}),
    )
    format = forms.ChoiceField(label=_("Format"), choices=Import.Format.choices)
    on_bad_line = forms.ChoiceField(
        label=_("Bad lines"),
        choices=Import.OnBadLine.choices,
        initial=Import.OnBadLine.REJECT,
        widget=forms.RadioSelect,
    )


class DatasetForm(forms.Form):
    """The rule of a dataset version, as people say it (the share in per cent)."""

    aggregation = forms.ChoiceField(
        label=_("Votes on one pair"),
        choices=Aggregation.choices,
        initial=DatasetRule.aggregation,
        widget=forms.RadioSelect,
    )
    min_votes = forms.IntegerField(
        label=_("At least this many votes"), min_value=1, max_value=MAX_VOTES, initial=DatasetRule.min_votes
    )
    grades = forms.MultipleChoiceField(
        label=_("Grades that enter"),
        choices=_GRADES,
        initial=list(DatasetRule.grades),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Of a row, after its votes were put together. Unsure votes never make a row."),
    )
    count_surplus = forms.BooleanField(
        label=_("Count surplus votes"),
        required=False,
        initial=DatasetRule.count_surplus,
        help_text=_("Votes that came after their place was given to somebody else."),
    )
    left_out_labelers = ChosenRowsField(
        label=_("Labelers whose votes do not count"),
        queryset=User.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    eval_percent = forms.FloatField(
        label=_("Prompts for evaluation, %"),
        min_value=0,
        max_value=100 * MAX_EVAL_SHARE,
        initial=f"{100 * DatasetRule.eval_share:g}",
        help_text=_("No prompt, and no opening of a dialogue, is in both parts."),
        widget=forms.NumberInput(attrs={"step": "any"}),
    )
    split_seed = forms.IntegerField(
        label=_("Seed of the split"), min_value=0, max_value=MAX_SEED, initial=DatasetRule.split_seed
    )
    notes = forms.CharField(label=_("Notes"), max_length=300, required=False)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["left_out_labelers"]
        if isinstance(field, forms.ModelMultipleChoiceField):
            field.queryset = list_judges(project)

    def build_rule(self) -> DatasetRule:
        """The rule that was asked for; only after is_valid()."""
        values = self.cleaned_data
        return DatasetRule(
            aggregation=values["aggregation"],
            min_votes=values["min_votes"],
            grades=tuple(grade for grade in STRENGTHS if grade in values["grades"]),
            count_surplus=values["count_surplus"],
            left_out_labelers=tuple(sorted(user.pk for user in values["left_out_labelers"])),
            eval_share=values["eval_percent"] / 100,
            split_seed=values["split_seed"],
        )
