"""For those who lead a project: who changed what."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.models import AuditAction, Project
from annotate.permissions import get_labeler, get_led_project
from annotate.selectors.audit import LogFilter, list_actors, list_events, write_csv

_PER_PAGE = 50


class LogForm(forms.Form):
    by = forms.ModelChoiceField(label=gettext_lazy("Person"), queryset=User.objects.none(), required=False)
    action = forms.ChoiceField(label=gettext_lazy("Action"), required=False)
    since = forms.DateField(label=gettext_lazy("From"), required=False, widget=forms.DateInput({"type": "date"}))
    until = forms.DateField(label=gettext_lazy("Until"), required=False, widget=forms.DateInput({"type": "date"}))

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        person, action = self.fields["by"], self.fields["action"]
        if isinstance(person, forms.ModelChoiceField):
            person.queryset, person.empty_label = list_actors(project), gettext_lazy("Anybody")
        if isinstance(action, forms.ChoiceField):
            action.choices = [("", gettext_lazy("Any")), *AuditAction.choices]

    def build_filter(self) -> LogFilter:
        """What makes no sense is left out."""
        self.is_valid()
        return LogFilter(**{name: value for name, value in self.cleaned_data.items() if value})


@require_safe
@never_cache
def show_log(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    form = LogForm(request.GET, project=project)
    events = list_events(project, form.build_filter())
    page = Paginator(events, _PER_PAGE).get_page(request.GET.get("page"))
    context = {"project": project, "form": form, "page": page, "query": request.GET.urlencode()}
    return render(request, "annotate/audit_log.html", context)


@require_safe
@never_cache
def download_log(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    """The same as CSV, with the same filters."""
    project = get_led_project(get_labeler(request), slug)
    events = list_events(project, LogForm(request.GET, project=project).build_filter())
    response = StreamingHttpResponse(write_csv(events), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project.slug}-audit.csv"'
    return response
