"""The compare page: one pair, the answers that the project offers. With htmx the desk alone is swapped."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.models import Assignment, Choice, FlagReason, Judgment, Project, Safety, SkipReason
from annotate.permissions import get_labeler, get_project_or_404
from annotate.selectors.answers import find_answer_to_change, find_reopened, list_fields
from annotate.selectors.drafts import describe_draft, find_draft
from annotate.selectors.families import list_tabs
from annotate.selectors.progress import find_undoable, measure_progress
from annotate.selectors.shown_pair import describe_pair
from annotate.selectors.standing import describe_pause
from annotate.services.ahead import foresee_pair, read_ticket
from annotate.services.answers import MAX_RATIONALE, AnswerRefusedError, JudgmentError
from annotate.services.assignments import extend_lease, next_comparison
from annotate.services.axes import follow_pair
from annotate.services.drafts import save_draft
from annotate.services.flags import flag_comparison
from annotate.services.guidelines import GuidelinesChangedError, GuidelinesUnreadError, acknowledge_guidelines
from annotate.services.judgments import (
    MAX_NOTE,
    skip_comparison,
    submit_judgment,
    undo_judgment,
)
from annotate.services.prompts import MAX_CHARACTERS
from annotate.services.standing import MAX_WORDS, PausedError, appeal


class ReasonedForm(forms.Form):
    """What stands beside an answer, on the compare page and in a review."""

    rationale = forms.CharField(label=gettext_lazy("Reasons"), required=False, max_length=MAX_RATIONALE)
    reason_tags = forms.TypedMultipleChoiceField(label=gettext_lazy("Reasons"), required=False, empty_value=[])
    seconds = forms.CharField(required=False)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["reason_tags"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [(tag, tag) for tag in project.reason_tags]

    def clean_rationale(self) -> str:
        """With the newlines of a text, where a browser sends those of a form."""
        return str(self.cleaned_data["rationale"]).replace("\r\n", "\n")

    def clean_seconds(self) -> float | None:
        return read_seconds(self.cleaned_data["seconds"])


class AnswerForm(ReasonedForm):
    token = forms.UUIDField()
    choice = forms.TypedChoiceField(choices=Choice.choices, coerce=Choice)
    rewrite = forms.CharField(required=False, max_length=MAX_CHARACTERS, strip=False)
    safety = forms.ChoiceField(required=False, choices=Safety.choices)
    confirmed = forms.BooleanField(required=False)

    def clean_rewrite(self) -> str:
        """As clean_rationale; a field left blank is no rewrite."""
        text = str(self.cleaned_data["rewrite"]).replace("\r\n", "\n")
        return text if text.strip() else ""


class DraftForm(AnswerForm):
    """An answer that is begun: anything may be missing, and what is typed is kept to the last space."""

    choice = forms.ChoiceField(required=False, choices=Choice.choices)  # type: ignore[assignment]
    rationale = forms.CharField(required=False, max_length=MAX_RATIONALE, strip=False)
    age = forms.CharField(required=False)
    confirmed = None  # type: ignore[assignment]

    def clean_age(self) -> float | None:
        return read_seconds(self.cleaned_data["age"])


class SkipForm(forms.Form):
    token = forms.UUIDField()
    reason = forms.TypedChoiceField(label=gettext_lazy("Why?"), choices=SkipReason.choices, coerce=SkipReason)
    note = forms.CharField(label=gettext_lazy("In your words (optional)"), required=False, max_length=MAX_NOTE)


class FlagForm(forms.Form):
    token = forms.UUIDField()
    reason = forms.TypedChoiceField(
        label=gettext_lazy("What should somebody look at?"), choices=FlagReason.choices, coerce=FlagReason
    )
    note = forms.CharField(label=gettext_lazy("In your words (optional)"), required=False, max_length=MAX_NOTE)


class ReadingForm(forms.Form):
    number = forms.IntegerField(min_value=1, max_value=2**31 - 1)


class AppealForm(forms.Form):
    words = forms.CharField(
        label=gettext_lazy("Your appeal"), max_length=MAX_WORDS, widget=forms.Textarea(attrs={"rows": 4})
    )


class TokenForm(forms.Form):
    token = forms.UUIDField(required=False)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def compare(request: HttpRequest, slug: str) -> HttpResponse:
    """Shows the labeler's pair, or takes the answer to it and shows the next."""
    labeler, project = find_place(request, slug)
    if request.method != "POST":
        shown = _read_token(request.GET.get("pair"))
        foreseen = follow_pair(labeler=labeler, project=project, token=shown) if shown else None
        return show_desk(request, labeler, project, foreseen=foreseen, switch_pair=str(shown or ""))
    form = AnswerForm(request.POST, project=project)
    valid, token = form.is_valid(), form.cleaned_data.get("token")
    if not valid:
        return show_desk(request, labeler, project, token, problem=_name_problem(form), status=422)
    try:
        judgment = submit_judgment(labeler=labeler, project=project, **form.cleaned_data)
    except AnswerRefusedError as error:
        chosen, safety = form.cleaned_data["choice"], form.cleaned_data["safety"]
        said = {"refused": error.field, "chosen": chosen, "safety": safety}
        return show_desk(request, labeler, project, token, problem=str(error), status=422, **said)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    foreseen = read_ticket(request.POST.get("ahead", ""), labeler=labeler, project=project, token=token)
    return _answer(request, labeler, project, foreseen=foreseen, note=_note_answer(judgment), announcement=_("Saved."))


@require_POST
def skip(request: HttpRequest, slug: str) -> HttpResponse:
    labeler, project = find_place(request, slug)
    form = SkipForm(request.POST)
    if not form.is_valid():
        problem = _("Say in a word why you skip this pair; at most %(count)d characters.") % {"count": MAX_NOTE}
        return show_desk(request, labeler, project, form.cleaned_data.get("token"), problem=problem, status=422)
    try:
        said = skip_comparison(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    return _answer(request, labeler, project, note=_note_answer(said), announcement=_("Skipped."))


@require_POST
def flag(request: HttpRequest, slug: str) -> HttpResponse:
    """Flags the pair, which stays; with htmx the desk comes back as it was, with a note."""
    labeler, project = find_place(request, slug)
    form = FlagForm(request.POST)
    if not form.is_valid():
        problem = _("Say what should be looked at; at most %(count)d characters.") % {"count": MAX_NOTE}
        return show_desk(request, labeler, project, form.cleaned_data.get("token"), problem=problem, status=422)
    token = form.cleaned_data["token"]
    try:
        flag_comparison(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, token, problem=str(error))
    note = _("Flagged: somebody will look at this pair. It stays yours to judge.")
    return _answer(request, labeler, project, token, note=note)


@require_POST
def read_guidelines(request: HttpRequest, slug: str) -> HttpResponse:
    """The labeler has read a version of the guidelines; the next pair follows."""
    labeler, project = find_place(request, slug)
    form = ReadingForm(request.POST)
    if form.is_valid():
        try:
            acknowledge_guidelines(labeler=labeler, project=project, **form.cleaned_data)
        except GuidelinesChangedError as error:
            return _answer(request, labeler, project, problem=str(error))
    shown = _read_token(request.POST.get("pair"))
    return redirect(f"{reverse('compare', args=[slug])}?pair={shown}") if shown else _answer(request, labeler, project)


@require_POST
def undo(request: HttpRequest, slug: str) -> HttpResponse:
    labeler, project = find_place(request, slug)
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _answer(request, labeler, project, problem=_("That answer is unknown."))
    try:
        undo_judgment(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    return _answer(request, labeler, project, announcement=_("Your last answer is taken back; here is its pair again."))


@require_POST
def appeal_pause(request: HttpRequest, slug: str) -> HttpResponse:
    """A paused labeler asks the reviewers to look again; the desk then says so."""
    labeler, project = find_place(request, slug)
    form = AppealForm(request.POST)
    if not form.is_valid():
        problem = _("Say in a few words why; at most %(count)d characters.") % {"count": MAX_WORDS}
        return show_desk(request, labeler, project, problem=problem, status=422)
    try:
        appeal(project=project, labeler=labeler, **form.cleaned_data)
    except JudgmentError as error:
        return _answer(request, labeler, project, problem=str(error))
    return _answer(request, labeler, project, announcement=_("Your appeal is with the reviewers."))


@require_POST
def heartbeat(request: HttpRequest, slug: str) -> HttpResponse:
    """Says until when the lease lasts; null where it is over."""
    labeler, project = find_place(request, slug)
    form = TokenForm(request.POST)
    token = form.cleaned_data["token"] if form.is_valid() else None
    expires_at = extend_lease(labeler=labeler, project=project, token=token) if token else None
    return JsonResponse({"expires_at": expires_at})


@require_POST
def draft(request: HttpRequest, slug: str) -> HttpResponse:
    """Keeps what the page says of its labeler's answer so far; 409 where none is waited for any more."""
    labeler, project = find_place(request, slug)
    form = DraftForm(request.POST, project=project)
    if not form.is_valid():
        return HttpResponse(status=422)
    try:
        save_draft(labeler=labeler, project=project, **form.cleaned_data)
    except JudgmentError:
        return HttpResponse(status=409)
    return HttpResponse(status=204)


@never_cache
@require_safe
def ahead(request: HttpRequest, slug: str) -> HttpResponse:
    """The pair that will probably follow, for the page to keep ready; 204 where none does."""
    labeler, project = find_place(request, slug)
    form = TokenForm(request.GET)
    token = form.cleaned_data["token"] if form.is_valid() else None
    foreseen = foresee_pair(labeler=labeler, project=project, token=token) if token else None
    if foreseen is None:
        return HttpResponse(status=204)
    assignment, ticket = foreseen
    response = render(request, "annotate/_compare_body.html", _describe_body(project, assignment))
    response["X-Compare-Ahead"] = ticket
    return response


def find_place(request: HttpRequest, slug: str) -> tuple[User, Project]:
    labeler = get_labeler(request)
    return labeler, get_project_or_404(labeler, slug)


def read_seconds(text: str) -> float | None:
    """Only a measurement: a nonsensical one is left out, never a reason to turn an answer away."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None


def _read_token(text: str | None) -> UUID | None:
    """A pair's token in an address; None for whatever is none."""
    form = TokenForm({"token": text})
    return form.cleaned_data["token"] if form.is_valid() else None


def _note_answer(said: Judgment) -> str:
    """What a labeler should know of an answer beside that it is stored."""
    if said.supersedes and said.supersedes.action != Judgment.Action.UNDO:
        return _("Your answer is changed.")
    if said.surplus:
        return _("Others finished this pair in the meantime. Your answer is kept, and counts as an extra.")
    return ""


def _answer(
    request: HttpRequest,
    labeler: User,
    project: Project,
    token: UUID | None = None,
    foreseen: int | None = None,
    **words: str,
) -> HttpResponse:
    """After a form: the next desk at once for htmx, else a redirect, so that a reload sends nothing twice."""
    problem, note = words.get("problem", ""), words.get("note", "")
    if request.htmx:  # type: ignore[attr-defined]
        status = 409 if problem else 200
        return show_desk(request, labeler, project, token, foreseen, status=status, **words)
    if problem or note:
        messages.add_message(request, messages.ERROR if problem else messages.INFO, problem or note)
    reopened = find_reopened(project, labeler, token)
    changing = find_answer_to_change(reopened) if reopened else None
    if changing:
        return redirect("answer_change", project.slug, changing.token)
    return redirect("compare", project.slug)


def show_desk(
    request: HttpRequest,
    labeler: User,
    project: Project,
    token: UUID | None = None,
    foreseen: int | None = None,
    *,
    status: int = 200,
    **words: str,
) -> HttpResponse:
    """The pair that is being answered anew with ``token``, else the labeler's next one, ``foreseen`` if it can be.

    ``words``: a problem, a note, an announcement that is only read out; of an answer that was refused what it said and
    the field to mend; and of whoever comes from another axis the token of the pair there.
    """
    unread, pause = None, None
    assignment = find_reopened(project, labeler, token)
    changing = find_answer_to_change(assignment) if assignment else None
    try:
        assignment = assignment or next_comparison(labeler=labeler, project=project, foreseen=foreseen)
    except GuidelinesUnreadError as error:
        unread = error.version
    except PausedError as error:
        pause = describe_pause(error.decision)
    context = _describe_desk(labeler, project, assignment, changing) | {"unread": unread, "pause": pause, **words}
    if not changing:
        context["tabs"] = list_tabs(project, labeler)
        if assignment:
            context["switch_pair"] = assignment.token
    template = "annotate/compare.html#desk" if request.htmx else "annotate/compare.html"  # type: ignore[attr-defined]
    response = render(request, template, context, status=status)
    # The script tells by this that the answer came from here, and not from a login page or a proxy.
    response["X-Compare-Desk"] = "1"
    return response


def _describe_desk(
    labeler: User, project: Project, assignment: Assignment | None, changing: Judgment | None
) -> dict[str, Any]:
    draft = find_draft(assignment) if assignment else None
    return _describe_body(project, assignment) | {
        "changing": changing,
        "draft": json.dumps(describe_draft(draft)) if draft else "",
        "begun": json.dumps(list_fields(changing)) if changing else "",
        "progress": measure_progress(project, labeler),
        "undoable": find_undoable(project, labeler),
        "appeal_form": AppealForm(auto_id="appeal-%s"),
    }


def _describe_body(project: Project, assignment: Assignment | None) -> dict[str, Any]:
    """Pair and rail: what a pair that is fetched ahead shows already."""
    return {
        "project": project,
        "pair": describe_pair(assignment) if assignment else None,
        "choices": list(enumerate(project.choices, start=1)),
        "safeties": Safety.choices if project.asks_safety else [],
        "skip_form": SkipForm(auto_id="skip-%s"),
        "flag_form": FlagForm(auto_id="flag-%s"),
    }


def _name_problem(form: AnswerForm) -> str:
    """What is wrong with an answer, in one sentence: above all that there is none."""
    if "choice" in form.errors or "token" in form.errors:
        return _("Choose one of the answers first.")
    names = {"rationale": _("Reasons"), "reason_tags": _("Reasons"), "rewrite": _("Rewrite"), "safety": _("Safety")}
    field, problems = next(iter(form.errors.items()))
    return f"{names[field]}: {problems[0]}"
