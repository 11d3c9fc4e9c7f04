"""Pages of review: the queue, a pair that is first seen blind, and the decision on it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.models import Choice, Comparison, Project
from annotate.permissions import get_labeler, get_project_or_404, require_review
from annotate.selectors import review_queue as queue
from annotate.selectors.projects import list_judges
from annotate.selectors.review import describe_review
from annotate.services.adjudication import MAX_NOTE, adjudicate, answer_blind
from annotate.services.answers import JudgmentError
from annotate.views.compare import ReasonedForm

PER_PAGE = 25
DROP = "drop"


class QueueForm(forms.Form):
    """Which part of the queue; what makes no sense is left out."""

    kind = forms.TypedChoiceField(choices=queue.Kind.choices, coerce=queue.Kind, required=False, empty_value=None)
    labeler = forms.ModelChoiceField(label=gettext_lazy("Labeler"), queryset=User.objects.none(), required=False)
    search = forms.CharField(label=gettext_lazy("Words in the texts"), max_length=200, required=False)

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["labeler"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = list_judges(project)
            field.empty_label = gettext_lazy("Anybody")

    def build_wanted(self) -> queue.Wanted:
        self.is_valid()
        values = self.cleaned_data
        return queue.Wanted(labeler=values.get("labeler"), search=values.get("search", ""))

    def get_kind(self) -> queue.Kind | None:
        self.is_valid()
        return self.cleaned_data.get("kind")

    def encode(self, **changed: str) -> str:
        """The query of an address that keeps what was asked for."""
        kept = {name: self.data.get(name, "") for name in self.fields}
        return urlencode({name: value for name, value in (kept | changed).items() if value})


class BlindForm(ReasonedForm):
    choice = forms.TypedChoiceField(choices=Choice.choices, coerce=Choice)


class DecisionForm(forms.Form):
    choice = forms.ChoiceField(choices=[*Choice.choices, (DROP, DROP)])
    note = forms.CharField(label=gettext_lazy("Note"), max_length=MAX_NOTE, required=False)
    seen = forms.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    resolves_flags = forms.BooleanField(label=gettext_lazy("The flags are dealt with, too"), required=False)

    def clean_choice(self) -> Choice | None:
        """None where the pair is to be dropped."""
        choice = self.cleaned_data["choice"]
        return None if choice == DROP else Choice(choice)


@require_safe
@never_cache
def show_queue(request: HttpRequest, slug: str) -> HttpResponse:
    user = get_labeler(request)
    project = get_project_or_404(user, slug)
    require_review(user, project)
    form = QueueForm(request.GET, project=project)
    wanted = form.build_wanted()
    counts = queue.count_kinds(project, wanted)
    kind = form.get_kind() or next((kind for kind, count in counts if count), queue.Kind.CONFLICT)
    page = Paginator(queue.list_rows(project, kind, wanted), PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "form": form,
        "kind": kind,
        "kinds": [(each, count, form.encode(kind=each)) for each, count in counts],
        "page": page,
        "items": queue.load_items(list(page)),
        "query": form.encode(kind=kind),
        "is_filtered": bool(wanted.labeler or wanted.search),
    }
    return render(request, "annotate/review_queue.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def review_pair(request: HttpRequest, pk: int) -> HttpResponse:
    """The pair, blind until the reviewer has answered it; takes that answer."""
    reviewer, comparison = _find_pair(request, pk)
    if request.method != "POST":
        return _show_pair(request, reviewer, comparison)
    form = BlindForm(request.POST, project=comparison.project)
    if not form.is_valid():
        problem = _("Choose one of the answers first.") if "choice" in form.errors else _name_problem(form)
        return _show_pair(request, reviewer, comparison, problem)
    try:
        answer_blind(reviewer=reviewer, comparison=comparison, **form.cleaned_data)
    except JudgmentError as error:
        return _show_pair(request, reviewer, comparison, str(error))
    return redirect(_name_address("review_pair", pk, request))


@require_POST
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Stores the decision; the next pair of the queue follows."""
    reviewer, comparison = _find_pair(request, pk)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        problem = _("Choose one of the answers first.") if "choice" in form.errors else _name_problem(form)
        return _show_pair(request, reviewer, comparison, problem)
    try:
        adjudicate(reviewer=reviewer, comparison=comparison, **form.cleaned_data)
    except JudgmentError as error:
        return _show_pair(request, reviewer, comparison, str(error))
    messages.success(request, _("Comparison %(number)d is decided.") % {"number": pk})
    asked = QueueForm(request.GET, project=comparison.project)
    kind = asked.get_kind() or queue.Kind.CONFLICT
    following = queue.find_next(comparison.project, kind, asked.build_wanted(), after=pk)
    if following is None or kind == queue.Kind.DECIDED:
        return redirect(f"{reverse('review_queue', args=[comparison.project.slug])}?{asked.encode()}")
    return redirect(_name_address("review_pair", following, request))


def _find_pair(request: HttpRequest, pk: int) -> tuple[User, Comparison]:
    related = ("project", "prompt", "response_a", "response_b")
    comparison = get_object_or_404(Comparison.objects.select_related(*related), pk=pk)
    reviewer = get_labeler(request)
    require_review(reviewer, comparison.project)
    return reviewer, comparison


def _show_pair(request: HttpRequest, reviewer: User, comparison: Comparison, problem: str = "") -> HttpResponse:
    review = describe_review(comparison, reviewer)
    project = comparison.project
    decided = DROP if review.ruling and review.ruling.dropped else review.ruling_choice or review.blind_choice
    context = {
        "project": project,
        "comparison": comparison,
        "review": review,
        "pair": review.texts,
        "choices": list(enumerate(project.choices, start=1)),
        "chosen": decided,
        "problem": problem,
        "max_note": MAX_NOTE,
        "query": QueueForm(request.GET, project=project).encode(),
    }
    return render(request, "annotate/review_pair.html", context, status=422 if problem else 200)


def _name_problem(form: forms.Form) -> str:
    field, problems = next(iter(form.errors.items()))
    return f"{form.fields[field].label or field}: {problems[0]}"


def _name_address(name: str, pk: int, request: HttpRequest) -> str:
    """With the query of this request, so that the queue goes on where the reviewer left it."""
    query = request.GET.urlencode()
    return reverse(name, args=[pk]) + (f"?{query}" if query else "")
