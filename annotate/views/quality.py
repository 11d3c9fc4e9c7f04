"""For those who lead a project: how good its labels are, and which models win."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotate.models import Grade, Project
from annotate.permissions import get_labeler, get_led_project
from annotate.quality.style import FEATURES
from annotate.selectors.displays import write_ledger
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


@require_safe
@never_cache
def download_displays(request: HttpRequest, slug: str) -> StreamingHttpResponse:
    """How every answer's pair was shown, as CSV."""
    return stream_displays(get_led_project(get_labeler(request), slug))


def stream_displays(project: Project) -> StreamingHttpResponse:
    response = StreamingHttpResponse(write_ledger(project), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project.slug}-displays.csv"'
    return response
