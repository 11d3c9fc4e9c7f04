"""For reviewers: pairs with a known answer, what labelers said of them, and who may go on."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotate.models import Choice, Comparison, GoldAnswer, Project, StandingDecision
from annotate.permissions import get_labeler, get_project_or_404, require_review
from annotate.selectors.blindness import WHY, find_held_back, is_held_back
from annotate.selectors.gold import find_record, list_gold, list_gold_judgments, list_records, list_unjudged
from annotate.selectors.standing import list_decisions
from annotate.services.gold import MAX_EXPLANATION, GoldError, change_gold, make_gold, unmake_gold
from annotate.services.standing import MAX_WORDS, StandingError, decide_standing, list_possible

_PER_PAGE = 50
_MOST_JUDGMENTS = 200


class GoldForm(forms.Form):
    """The known answer: response A stands where a labeler's left would."""

    choice = forms.TypedChoiceField(label=gettext_lazy("Known answer"), choices=Choice.choices, coerce=Choice)
    explanation = forms.CharField(
        label=gettext_lazy("Why (for reviewers)"),
        required=False,
        max_length=MAX_EXPLANATION,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def __init__(self, *args: Any, project: Project, gold: GoldAnswer | None, **kwargs: Any) -> None:
        if gold:
            kwargs["initial"] = {"choice": gold.as_choice, "explanation": gold.explanation}
        super().__init__(*args, **kwargs)
        field = self.fields["choice"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [(choice.value, _name_choice(choice)) for choice in project.choices]

    def read_answer(self) -> dict[str, Any]:
        """What the services take; only after is_valid()."""
        choice = self.cleaned_data["choice"]
        winner = {"left": "a", "right": "b", "": ""}[choice.side]
        return {"winner": winner, "grade": choice.grade, "explanation": self.cleaned_data["explanation"]}


class SearchForm(forms.Form):
    search = forms.CharField(label=gettext_lazy("Words in the texts"), required=False, max_length=200)


class DecisionForm(forms.Form):
    action = forms.TypedChoiceField(choices=StandingDecision.Action.choices, coerce=StandingDecision.Action)
    words = forms.CharField(
        label=gettext_lazy("Words to the labeler"),
        required=False,
        max_length=MAX_WORDS,
        widget=forms.Textarea(attrs={"rows": 3}),
    )


@require_safe
def show_gold(request: HttpRequest, slug: str) -> HttpResponse:
    project = _find_project(request, slug)
    rows = list_gold(project)
    active = sum(row.gold.is_active for row in rows)
    page = Paginator(rows, _PER_PAGE).get_page(request.GET.get("page"))
    form = SearchForm(request.GET)
    words = form.cleaned_data["search"] if form.is_valid() else ""
    context = {
        "project": project,
        "form": form,
        "words": words,
        "unjudged": list_unjudged(project, words),
        "page": page,
        "active": active,
        "suspicious": sum(row.is_suspicious for row in rows),
        "silent": find_held_back(project, get_labeler(request), [row.gold.comparison_id for row in page]),
    }
    return render(request, "annotate/gold_list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def edit_gold(request: HttpRequest, pk: int) -> HttpResponse:
    """Makes a pair gold, or changes its known answer."""
    comparison = get_object_or_404(Comparison.objects.select_related("project", "response_a", "response_b"), pk=pk)
    by = get_labeler(request)
    require_review(by, comparison.project)
    gold = GoldAnswer.objects.filter(comparison=comparison).first()
    if gold and is_held_back(comparison, by):
        messages.info(request, WHY)
        return redirect("review_pair", comparison.pk)
    form = GoldForm(request.POST or None, project=comparison.project, gold=gold)
    if request.method == "POST" and form.is_valid():
        try:
            if gold:
                change_gold(gold=gold, by=by, **form.read_answer())
            else:
                make_gold(comparison=comparison, by=by, **form.read_answer())
        except GoldError as error:
            form.add_error("choice" if error.field in ("winner", "grade") else None, str(error))
        else:
            messages.success(request, _("The known answer is stored."))
            return redirect("comparison_detail", comparison.pk)
    votes = comparison.judgments.filter(action="vote", superseded_by=None).count()
    context = {"project": comparison.project, "comparison": comparison, "gold": gold, "form": form, "votes": votes}
    return render(request, "annotate/gold_form.html", context, status=422 if form.errors else 200)


@require_POST
def retire_gold(request: HttpRequest, pk: int) -> HttpResponse:
    """Retires a gold pair, takes it up again, or makes it ordinary: ``do`` is retire, resume or unmake."""
    gold = get_object_or_404(GoldAnswer.objects.select_related("comparison__project"), comparison=pk)
    by, wish = get_labeler(request), request.POST.get("do")
    require_review(by, gold.comparison.project)
    try:
        if wish == "unmake":
            unmake_gold(gold=gold, by=by)
        elif wish in ("retire", "resume"):
            change_gold(gold=gold, by=by, is_active=wish == "resume")
        else:
            raise GoldError(_("There is no such action."))
    except GoldError as error:
        messages.error(request, str(error))
    return redirect("gold_list", gold.comparison.project.slug)


@require_safe
def show_standings(request: HttpRequest, slug: str) -> HttpResponse:
    project = _find_project(request, slug)
    page = Paginator(list_records(project), _PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "annotate/standing_list.html", {"project": project, "page": page})


@require_http_methods(["GET", "HEAD", "POST"])
def show_standing(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    """A labeler's gold with the log of decisions, and the next decision."""
    project = _find_project(request, slug)
    labeler = get_object_or_404(User.objects.filter(memberships__project=project), pk=user_id)
    form = DecisionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            decide_standing(project=project, labeler=labeler, by=get_labeler(request), **form.cleaned_data)
        except StandingError as error:
            form.add_error("words" if error.field == "words" else None, str(error))
        else:
            messages.success(request, _("The decision is stored; the labeler finds it on the compare page."))
            return redirect("standing_detail", project.slug, labeler.pk)
    judgments = list_gold_judgments(project, labeler)[:_MOST_JUDGMENTS]
    context = {
        "project": project,
        "labeler": labeler,
        "record": find_record(project, labeler),
        "judgments": judgments,
        "silent": find_held_back(project, get_labeler(request), [row.judgment.comparison_id for row in judgments]),
        "decisions": list_decisions(project, labeler),
        "possible": list_possible(project, labeler),
        "form": form,
    }
    return render(request, "annotate/standing_detail.html", context, status=422 if form.errors else 200)


def _find_project(request: HttpRequest, slug: str) -> Project:
    user = get_labeler(request)
    project = get_project_or_404(user, slug)
    require_review(user, project)
    return project


def _name_choice(choice: Choice) -> str:
    if not choice.side:
        return str(choice.label)
    return f"{'A' if choice.side == 'left' else 'B'}: {choice.grade.label}"
