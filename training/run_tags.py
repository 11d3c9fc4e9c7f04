"""Tags: words that group runs, such as baseline or 논문; many of a run, as people type them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import AuditAction
from annotate.services.audit import record
from training.models import Run, RunTag

MOST_TAGS = 10
LONGEST = 30
_TAG = re.compile(r"[\w.-]+")


class BadTags(ValueError):
    """The tags cannot be stored; the text says why, for people."""


def split_tags(text: str) -> list[str]:
    """What was typed with commas or spaces between, in small letters, each once. Raises BadTags."""
    return check_tags(re.split(r"[\s,]+", text.strip(", \t\r\n")) if text.strip(", \t\r\n") else [])


def check_tags(names: Sequence[str]) -> list[str]:
    """The names as they are stored. Raises BadTags naming the first that will not do."""
    tags = list(dict.fromkeys(unicodedata.normalize("NFC", name).lower() for name in names))
    for tag in tags:
        if len(tag) > LONGEST or not _TAG.fullmatch(tag):
            words = {"tag": repr(tag), "most": LONGEST}
            raise BadTags(_("%(tag)s: a tag has letters, digits, '.', '_' and '-', at most %(most)d.") % words)
    if len(tags) > MOST_TAGS:
        raise BadTags(_("At most %(most)d tags.") % {"most": MOST_TAGS})
    return tags


@transaction.atomic
def set_tags(*, run: Run, names: Sequence[str], by: User) -> list[str]:
    """The run has these tags and no others from now on. Raises BadTags."""
    tags = check_tags(names)
    Run.objects.select_for_update(of=("self",)).get(pk=run.pk)  # two people at once: the later one wins whole
    before = list(run.tags.values_list("name", flat=True))
    if sorted(tags) != before:
        run.tags.exclude(name__in=tags).delete()
        RunTag.objects.bulk_create([RunTag(run=run, name=tag) for tag in tags if tag not in before])
        record(
            AuditAction.RUN_TAGGED,
            project=run.dataset_version.project,
            by=by,
            about=run,
            before={"tags": " ".join(before)},
            after={"tags": " ".join(sorted(tags))},
        )
    return tags
