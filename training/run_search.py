"""Which runs a person looks for: words, filters and order, for the table of runs and for the API alike."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.expressions import OrderBy
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from annotate.models import DatasetVersion, Project
from models_registry.models import ModelVersion, WorkState
from training.models import Method, Run, RunTag
from training.selectors import list_runs

COLUMNS: dict[str, Any] = {
    "name": F("name"),
    "state": F("state"),
    "method": F("method"),
    "dataset": F("dataset_version__project__name"),
    "base": F("base_model__name"),
    "step": F("step"),
    "accuracy": F("result__eval__accuracy"),
    "started": F("started_at"),
    "duration": ExpressionWrapper(Coalesce(F("finished_at"), Now()) - F("started_at"), output_field=DurationField()),
}
"""What the table can be ordered by; a hyphen before the name turns the order round."""


class RunSearch(forms.Form):
    """The question in an address: ``RunSearch(request.GET)``; what it does not know it passes over."""

    q = forms.CharField(label=_("Words"), required=False, max_length=100, strip=True)
    state = forms.ChoiceField(label=_("State"), required=False)
    method = forms.ChoiceField(label=_("Method"), required=False)
    project = forms.ModelChoiceField(label=_("Project"), required=False, queryset=Project.objects.none())
    dataset = forms.ModelChoiceField(label=_("Dataset"), required=False, queryset=DatasetVersion.objects.none())
    base = forms.ModelChoiceField(label=_("Base model"), required=False, queryset=ModelVersion.objects.none())
    by = forms.ModelChoiceField(label=_("Launched by"), required=False, queryset=User.objects.none())
    tag = forms.ChoiceField(label=_("Tag"), required=False)
    alerts = forms.BooleanField(label=_("Only with a warning"), required=False)
    archived = forms.BooleanField(required=False, widget=forms.HiddenInput)
    sort = forms.ChoiceField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        every = ("", _("all"))
        tags = RunTag.objects.order_by("name").values_list("name", flat=True).distinct()
        choices = {
            "state": [every, *WorkState.choices],
            "method": [every, *Method.choices],
            "tag": [every, *((tag, tag) for tag in tags)],
            "sort": [("", ""), *((f"{sign}{name}", name) for name in COLUMNS for sign in ("", "-"))],
        }
        for name, pairs in choices.items():
            self._field(name).choices = pairs
        versions = DatasetVersion.objects.select_related("project")
        people = User.objects.filter(Exists(Run.objects.filter(created_by=OuterRef("pk"))))
        rows: dict[str, QuerySet[Any]] = {
            "project": Project.objects.filter(Exists(Run.objects.filter(dataset_version__project=OuterRef("pk")))),
            "dataset": versions.filter(Exists(Run.objects.filter(dataset_version=OuterRef("pk")))),
            "base": ModelVersion.objects.filter(Exists(Run.objects.filter(base_model=OuterRef("pk")))),
            "by": people.order_by("username"),
        }
        for name, queryset in rows.items():
            self._field(name).queryset = queryset
            self._field(name).empty_label = _("all")

    def _field(self, name: str) -> Any:
        return self.fields[name]

    @property
    def rest(self) -> list[forms.BoundField]:
        """Those that few people need, for the template."""
        return [self[name] for name in ("method", "project", "dataset", "base", "by")]

    @property
    def is_narrow(self) -> bool:
        """Whether anything is asked for but an order, or the archive."""
        self.full_clean()
        return any(value for name, value in self.cleaned_data.items() if name not in ("sort", "archived"))

    def find_runs(self) -> QuerySet[Run]:
        """The runs, newest first, or in the order that was asked for and then newest first."""
        self.full_clean()
        asked = self.cleaned_data
        runs = list_runs().filter(archived_at__isnull=not asked.get("archived"))
        columns = {
            "state": "state",
            "method": "method",
            "project": "dataset_version__project",
            "dataset": "dataset_version",
            "base": "base_model",
            "by": "created_by",
        }
        runs = runs.filter(**{column: asked[name] for name, column in columns.items() if asked.get(name)})
        if asked.get("tag"):
            runs = runs.filter(Exists(RunTag.objects.filter(run=OuterRef("pk"), name=asked["tag"])))
        if asked.get("alerts"):
            runs = runs.exclude(alerts=[])
        for word in (asked.get("q") or "").split():
            runs = runs.filter(
                Q(name__icontains=word)
                | Q(notes__icontains=word)
                | Q(base_model__name__icontains=word)
                | Q(dataset_version__project__name__icontains=word)
                | Exists(RunTag.objects.filter(run=OuterRef("pk"), name__icontains=word))
            )
        sort = asked.get("sort") or ""
        if not sort:
            return runs
        column = COLUMNS[sort.removeprefix("-")]
        order = OrderBy(column, descending=sort.startswith("-"), nulls_last=True)
        return runs.order_by(order, "-pk")
