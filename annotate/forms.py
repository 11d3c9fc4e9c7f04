"""Forms of imports and dataset versions: types and ranges; the services check the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from annotate.exporting.rule import MAX_EVAL_SHARE, MAX_SEED, MAX_VOTES, STRENGTHS, Aggregation, DatasetRule
from annotate.models import Grade, Import, Project
from annotate.selectors.projects import list_judges

if TYPE_CHECKING:
    _ManyRowsField = forms.ModelMultipleChoiceField[Any]
else:  # Django's own class takes no type argument when they run
    _ManyRowsField = forms.ModelMultipleChoiceField

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
        help_text=_(
            "Of a row, after its votes were put together. "
            "Votes without a side (unsure, both equally good, both bad) never make one."
        ),
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
    include_rewrites = forms.BooleanField(
        label=_("Take in rewrites"),
        required=False,
        initial=DatasetRule.include_rewrites,
        help_text=_("Each makes two more rows: better than both responses, without a grade."),
    )
    include_reasons = forms.BooleanField(
        label=_("Write the labelers' reasons into the rows"), required=False, initial=DatasetRule.include_reasons
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
            include_rewrites=values["include_rewrites"],
            include_reasons=values["include_reasons"],
        )
