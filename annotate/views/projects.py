"""Pages of projects: the list, one project, making and changing it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.permissions import admin_required, can_lead, can_review, get_labeler, get_led_project, get_project_or_404
from annotate.project_forms import ProjectEditForm, ProjectForm
from annotate.selectors.projects import describe_family, describe_project, group_families, list_projects
from annotate.services.projects import ProjectError, create_project, update_project


@require_safe
def show_projects(request: HttpRequest) -> HttpResponse:
    return render(
        request, "annotate/project_list.html", {"families": group_families(list_projects(get_labeler(request)))}
    )


@require_safe
def show_project(request: HttpRequest, slug: str) -> HttpResponse:
    user = get_labeler(request)
    project = get_project_or_404(user, slug)
    context = {
        "project": project,
        "overview": describe_project(project, user),
        "leads": can_lead(user, project),
        "reviews": can_review(user, project),
        "family": describe_family(project, user),
    }
    return render(request, "annotate/project_detail.html", context)


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def make_project(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            project = create_project(project=form.save(commit=False), by=get_labeler(request))
        except ProjectError as error:
            form.add_error(error.field, str(error))
        else:
            messages.success(request, _("The project is there. Now bring comparisons in, and add members."))
            return redirect("project_detail", project.slug)
    return render(request, "annotate/project_form.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def edit_project(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    form = ProjectEditForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        archived = form.cleaned_data["archived"]
        try:
            update_project(project=form.save(commit=False), archived=archived, by=get_labeler(request))
        except ProjectError as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        else:
            messages.success(request, _("The changes are stored."))
            return redirect("project_detail", project.slug)
    # The form writes what was typed into its instance; the page's head shows what is stored.
    context = {"form": form, "project": get_project_or_404(get_labeler(request), slug)}
    return render(request, "annotate/project_form.html", context, status=422 if form.errors else 200)
