"""Who may label in a project."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotate.forms import MemberForm
from annotate.permissions import admin_required, get_labeler, get_project_or_404
from annotate.selectors.projects import list_members
from annotate.services.projects import add_member, remove_member


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
def show_members(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_project_or_404(get_labeler(request), slug)
    form = MemberForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        add_member(project=project, user=form.cleaned_data["user"])
        messages.success(request, _("%s may label here now.") % form.cleaned_data["user"].username)
        return redirect("member_list", project.slug)
    context = {"project": project, "members": list_members(project), "form": form}
    return render(request, "annotate/member_list.html", context, status=422 if form.errors else 200)


@admin_required
@require_POST
def drop_member(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    project = get_project_or_404(get_labeler(request), slug)
    user = get_object_or_404(User, pk=user_id)
    if remove_member(project=project, user=user):
        messages.success(request, _("%s no longer labels here. Their votes stay.") % user.username)
    return redirect("member_list", project.slug)
