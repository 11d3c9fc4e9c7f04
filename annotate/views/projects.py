"""Pages of projects: the list, one project, making and changing it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotate.forms import ProjectEditForm, ProjectForm
from annotate.permissions import admin_required, get_labeler, get_project_or_404
from annotate.selectors.projects import describe_project, list_projects
from annotate.services.projects import ProjectError, create_project, update_project


@require_safe
def show_projects(request: HttpRequest) -> HttpResponse:
    return render(request, "annotate/project_list.html", {"projects": list_projects(get_labeler(request))})


@require_safe
def show_project(request: HttpRequest, slug: str) -> HttpResponse:
    user = get_labeler(request)
    project = get_project_or_404(user, slug)
    context = {"project": project, "overview": describe_project(project, user)}
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


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit_project(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_project_or_404(get_labeler(request), slug)
    form = ProjectEditForm(request.POST or None, instance=project)
    if request.method == "POST" and form.is_valid():
        update_project(project=form.save(commit=False), archived=form.cleaned_data["archived"])
        messages.success(request, _("The changes are stored."))
        return redirect("project_detail", project.slug)
    # The form writes what was typed into its instance; the page's head shows what is stored.
    context = {"form": form, "project": get_project_or_404(get_labeler(request), slug)}
    return render(request, "annotate/project_form.html", context, status=422 if form.errors else 200)
