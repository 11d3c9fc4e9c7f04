"""For those who lead a project: how good its labels are, and which models win."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from annotate.models import Grade
from annotate.permissions import get_labeler, get_led_project
from annotate.quality.style import FEATURES
from annotate.selectors.quality import get_quality
from annotate.selectors.safety import get_safety

_MOST_LABELERS = 200


@require_safe
def show_quality(request: HttpRequest, slug: str) -> HttpResponse:
    project = get_led_project(get_labeler(request), slug)
    report = get_quality(project)
    audits = [("", report.style), *report.style_of_models.items()]
    context = {
        "project": project,
        "report": report,
        "by_grade": [(Grade(grade).label, share) for grade, share in report.by_grade.items()],
        "safety": get_safety(project),
        "labelers": report.labelers[:_MOST_LABELERS],
        "audits": audits,
        "styles": [(feature, [effects.features[feature] for _name, effects in audits]) for feature in FEATURES],
    }
    return render(request, "annotate/quality.html", context)
