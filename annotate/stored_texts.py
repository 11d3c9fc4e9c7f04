"""What sampling, scoring, imports and exports leave in the database; see models_registry/stored_texts.py."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from annotate.importing.problems import FILE_PROBLEM_LABELS

CAUSES = {
    **FILE_PROBLEM_LABELS,
    "changed_meanwhile": _("The project or an account changed while the file was checked; try again."),
    "no_pairs": _("No prompt got two different responses."),
    "no_train_rows": _("All rows fall into the evaluation part."),
}

TEXTS = (
    gettext_noop("%(count)d comparison"),
    gettext_noop("%(count)d comparisons"),
    gettext_noop("%(made)s; %(count)d left out: %(reasons)s"),
    gettext_noop("%(reason)s (%(count)d)"),
    gettext_noop("%(reason)s (%(count)d); %(reasons)s"),
    gettext_noop("both responses are the same text"),
    gettext_noop("no response came back"),
    gettext_noop("%(count)d scored"),
    gettext_noop("%(count)d scored, %(left_out)d too long for the model"),
)
