"""Who may label in a project, and in which role."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotate.models import Role
from annotate.permissions import get_labeler, get_led_project
from annotate.project_forms import MemberForm, RoleForm
from annotate.selectors.projects import list_members
from annotate.services.projects import add_member, remove_member


@require_http_methods(["GET", "HEAD", "POST"])
def show_members(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    form = MemberForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        add_member(project=project, by=get_labeler(request), **form.cleaned_data)
        messages.success(request, _("%s may label here now.") % form.cleaned_data["user"].username)
        return redirect("member_list", project.slug)
    context = {"project": project, "members": list_members(project), "form": form, "roles": Role}
    context["has_axes"] = project.axes.exists()
    return render(request, "annotate/member_list.html", context, status=422 if form.errors else 200)


@require_POST
def change_role(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    user = get_object_or_404(project.members, pk=user_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("There is no such role."))
    elif add_member(project=project, user=user, role=form.cleaned_data["role"], by=get_labeler(request)):
        messages.success(request, _("%s has another role now.") % user.username)
    return redirect("project_detail" if user == request.user else "member_list", project.slug)


@require_POST
def drop_member(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    user = get_object_or_404(User, pk=user_id)
    if remove_member(project=project, user=user, by=get_labeler(request)):
        messages.success(request, _("%s no longer labels here. Their votes stay.") % user.username)
    return redirect("project_list") if user == request.user else redirect("member_list", project.slug)
