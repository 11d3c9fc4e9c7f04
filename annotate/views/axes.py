"""Axes of a project: further questions about its pairs."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotate.permissions import get_labeler, get_led_project
from annotate.project_forms import AxisForm
from annotate.services.axes import add_axis
from annotate.services.projects import ProjectError


@require_http_methods(["GET", "HEAD", "POST"])
def make_axis(request: HttpRequest, slug: str) -> HttpResponse:
    user = get_labeler(request)
    project = get_led_project(user, slug)
    form = AxisForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            axis = add_axis(parent=project, by=user, **form.cleaned_data)
        except ProjectError as error:
            form.add_error(error.field, str(error))
        else:
            messages.success(request, _("The axis is there, with the members and pairs of its project."))
            return redirect("project_detail", axis.slug)
    context = {"form": form, "project": project}
    return render(request, "annotate/axis_new.html", context, status=422 if form.errors else 200)
