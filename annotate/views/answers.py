"""A labeler's own answers in a project: looking back, and changing one."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from annotate.models import Judgment, Project
from annotate.selectors.answers import MAX_WORDS, SKIPPED, describe_answers, find_reopened, list_answers
from annotate.services.answers import JudgmentError
from annotate.services.changes import reopen_answer
from annotate.services.guidelines import GuidelinesUnreadError
from annotate.services.judgments import UnknownTokenError, stands
from annotate.views.compare import find_place, show_desk

_PER_PAGE = 20


class AnswerFilterForm(forms.Form):
    words = forms.CharField(label=_("In the texts"), max_length=MAX_WORDS, required=False)
    answer = forms.ChoiceField(label=_("Answer"), required=False)

    def __init__(self, *args: object, project: Project, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        field = self.fields["answer"]
        if isinstance(field, forms.ChoiceField):
            choices = [(choice.value, choice.label) for choice in project.choices]
            field.choices = [("", _("All")), *choices, (SKIPPED, _("Skipped"))]


@never_cache
@require_safe
def show_answers(request: HttpRequest, slug: str) -> HttpResponse:
    labeler, project = find_place(request, slug)
    form = AnswerFilterForm(request.GET, project=project)
    chosen = form.cleaned_data if form.is_valid() else {}
    page = Paginator(list_answers(project, labeler, **chosen), _PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "form": form,
        "page": page,
        "answers": describe_answers(list(page)),
        # Of all answers it would stand still at a pair that came again, and so tell it.
        "found": page.paginator.count if chosen.get("words") else None,
        "is_filtered": any(chosen.values()),
    }
    return render(request, "annotate/answer_list.html", context, status=200 if form.is_valid() else 422)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def change_answer(request: HttpRequest, slug: str, token: UUID) -> HttpResponse:
    """Reopens the pair that was answered with this token; a reload shows it again until a new answer is in."""
    labeler, project = find_place(request, slug)
    if request.method == "POST":
        try:
            reopen_answer(labeler=labeler, project=project, token=token)
        except GuidelinesUnreadError:
            return redirect("compare", project.slug)
        except UnknownTokenError as error:
            raise Http404 from error
        except JudgmentError as error:
            messages.error(request, str(error))
            return redirect("answer_list", project.slug)
        return redirect("answer_change", project.slug, token)
    said = get_object_or_404(Judgment, project=project, labeler=labeler, token=token)
    reopened = said.assignment.token if stands(said) else None
    if find_reopened(project, labeler, reopened) is None:
        return redirect("answer_list", project.slug)
    return show_desk(request, labeler, project, reopened)
