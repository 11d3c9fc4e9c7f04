"""The sample project: real comparisons to try everything on, brought in like anybody's file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from django.contrib.auth.models import User
from django.core.files import File

from annotate.models import Import, Membership, Project
from annotate.services.guidelines import publish_guidelines
from annotate.services.imports import perform_import, start_import
from annotate.services.work_here import do_work_here
from models_registry.models import WorkState

SLUG = "helpful-answers"
_FOLDER = Path(__file__).resolve().parent.parent / "sample_data"
SAMPLE_FILE = _FOLDER / "helpful-base.sample.jsonl.gz"


class SampleError(ValueError):
    """The sample project cannot be made; the text says why."""


def seed_sample_project(*, by: User) -> tuple[Project, Import | None]:
    """Makes the project, lets every active labeler in and imports the sample; what is there already stays.

    Returns the project and the import, None where its comparisons were there before. Raises SampleError.
    """
    project, created = Project.objects.get_or_create(
        slug=SLUG,
        defaults={
            "name": "Helpful answers",
            "description": "Which of two replies helps the person more? Real conversations from HH-RLHF.",
            "guidelines": (_FOLDER / "guidelines.md").read_text(encoding="utf-8"),
            "question": "Which reply is more helpful?",
            "created_by": by,
        },
    )
    if created:
        publish_guidelines(project=project, by=by)
    for user in User.objects.filter(is_active=True, is_staff=False):
        Membership.objects.get_or_create(project=project, user=user)
    if project.comparisons.exists():
        return project, None
    with SAMPLE_FILE.open("rb") as file:
        upload = File(file, name=SAMPLE_FILE.name)
        start = partial(start_import, project=project, format=Import.Format.HH_RLHF, uploaded_file=upload, by=by)
        work = do_work_here(partial(start, on_bad_line=Import.OnBadLine.LEAVE_OUT), perform_import)
    if work.state != WorkState.FINISHED:
        raise SampleError(f"The sample could not be imported: {work.cause}")
    return project, work
