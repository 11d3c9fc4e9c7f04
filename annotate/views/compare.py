"""The compare page: one pair, seven answers. With htmx the desk alone is swapped, under the same address."""

from __future__ import annotations

import math
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.models import Assignment, Choice, Project, SkipReason
from annotate.permissions import get_labeler, get_project_or_404
from annotate.selectors.progress import find_undoable, measure_progress
from annotate.selectors.shown_pair import describe_pair
from annotate.services.assignments import extend_lease, next_comparison
from annotate.services.judgments import (
    MAX_NOTE,
    JudgmentError,
    skip_comparison,
    submit_judgment,
    undo_judgment,
)


class AnswerForm(forms.Form):
    token = forms.UUIDField()
    choice = forms.TypedChoiceField(choices=Choice.choices, coerce=Choice)
    seconds = forms.CharField(required=False)

    def clean_seconds(self) -> float | None:
        """Only a measurement: a nonsensical one is left out, never a reason to turn an answer away."""
        try:
            seconds = float(self.cleaned_data["seconds"])
        except ValueError:
            return None
        return seconds if math.isfinite(seconds) else None


class SkipForm(forms.Form):
    token = forms.UUIDField()
    reason = forms.TypedChoiceField(label=gettext_lazy("Why?"), choices=SkipReason.choices, coerce=SkipReason)
    note = forms.CharField(label=gettext_lazy("In your words (optional)"), required=False, max_length=MAX_NOTE)


class TokenForm(forms.Form):
    token = forms.UUIDField(required=False)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def compare(request: HttpRequest, slug: str) -> HttpResponse:
    """Shows the labeler's pair, or takes the answer to it and shows the next."""
    labeler, project = _find_place(request, slug)
    if request.method != "POST":
        return _show_next(request, labeler, project)
    form = AnswerForm(request.POST)
    if not form.is_valid():
        return _show_next(request, labeler, project, problem=_("Choose one of the seven answers first."), status=422)
    try:
        said = submit_judgment(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    surplus = _("Others finished this pair in the meantime. Your answer is kept, and counts as an extra.")
    return _answer(request, labeler, project, note=surplus if said.surplus else "", announcement=_("Saved."))


@require_POST
def skip(request: HttpRequest, slug: str) -> HttpResponse:
    labeler, project = _find_place(request, slug)
    form = SkipForm(request.POST)
    if not form.is_valid():
        problem = _("Say in a word why you skip this pair; at most %(count)d characters.") % {"count": MAX_NOTE}
        return _show_next(request, labeler, project, problem=problem, status=422)
    try:
        skip_comparison(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    return _answer(request, labeler, project, announcement=_("Skipped."))


@require_POST
def undo(request: HttpRequest, slug: str) -> HttpResponse:
    labeler, project = _find_place(request, slug)
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _answer(request, labeler, project, problem=_("That answer is unknown."))
    try:
        undo_judgment(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    return _answer(request, labeler, project, announcement=_("Your last answer is taken back; here is its pair again."))


@require_POST
def heartbeat(request: HttpRequest, slug: str) -> HttpResponse:
    """Says until when the lease lasts; null where it is over."""
    labeler, project = _find_place(request, slug)
    form = TokenForm(request.POST)
    token = form.cleaned_data["token"] if form.is_valid() else None
    expires_at = extend_lease(labeler=labeler, project=project, token=token) if token else None
    return JsonResponse({"expires_at": expires_at})


def _find_place(request: HttpRequest, slug: str) -> tuple[User, Project]:
    labeler = get_labeler(request)
    return labeler, get_project_or_404(labeler, slug)


def _answer(
    request: HttpRequest, labeler: User, project: Project, problem: str = "", note: str = "", announcement: str = ""
) -> HttpResponse:
    """After a form: the next desk at once for htmx, else a redirect, so that a reload sends nothing twice."""
    if request.htmx:  # type: ignore[attr-defined]
        status = 409 if problem else 200
        return _show_next(request, labeler, project, problem, note, announcement, status)
    if problem or note:
        messages.add_message(request, messages.ERROR if problem else messages.INFO, problem or note)
    return redirect("compare", project.slug)


def _show_next(
    request: HttpRequest,
    labeler: User,
    project: Project,
    problem: str = "",
    note: str = "",
    announcement: str = "",
    status: int = 200,
) -> HttpResponse:
    assignment = next_comparison(labeler=labeler, project=project)
    context = _describe_desk(labeler, project, assignment)
    context |= {"problem": problem, "note": note, "announcement": announcement}
    template = "annotate/compare.html#desk" if request.htmx else "annotate/compare.html"  # type: ignore[attr-defined]
    response = render(request, template, context, status=status)
    # The script tells by this that the answer came from here, and not from a login page or a proxy.
    response["X-Compare-Desk"] = "1"
    return response


def _describe_desk(labeler: User, project: Project, assignment: Assignment | None) -> dict[str, Any]:
    return {
        "project": project,
        "pair": describe_pair(assignment) if assignment else None,
        "progress": measure_progress(project, labeler),
        "undoable": find_undoable(project, labeler),
        "choices": list(enumerate(Choice, start=1)),
        "skip_form": SkipForm(auto_id="skip-%s"),
    }
