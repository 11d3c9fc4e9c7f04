"""Texts that workers and programs leave in the database, in the reader's language.

Whoever writes them knows no reader: programs run without Django, a worker works for everybody. So they write English,
and a page looks the text up when it is drawn: whole sentences by template (``translate_stored``), causes of failures at
least by their code (``CAUSES``). tests/test_stored_texts.py finds what a program says and these lists lack.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

_PLACE = re.compile(r"%\((\w+)\)([sd])")
_FITS = {"s": ".+?", "d": r"\d+"}

CAUSES: dict[str, _StrPromise] = {
    "bad_checksum": _("The downloaded file is not the expected one."),
    "bad_config": _("The program cannot work with what it was asked for."),
    "bad_data": _("The program cannot read its data."),
    "bad_model": _("The model cannot be used."),
    "bad_template": _("The model's chat template cannot be used."),
    "bad_weights": _("The weight files are damaged or incomplete."),
    "crashed": _("The work ended unexpectedly."),
    "disk_full": _("There is not enough space on the disk."),
    "failed": _("The work failed."),
    "interrupted": _("The command was interrupted."),
    "io_error": _("A file could not be read or written."),
    "nan_logits": _("The model gives no finite probabilities: its weights are damaged."),
    "nan_score": _("The reward model gives scores that are no numbers: its weights are damaged."),
    "no_config": _("The model folder has no config.json."),
    "no_model": _("The model folder is not there."),
    "no_tokenizer": _("The model folder has no usable tokenizer."),
    "no_weights": _("Weight files are missing."),
    "not_found": _("The model was not found."),
    "not_stored": _("Files that the work needs are missing or damaged in the object store."),
    "out_of_memory": _("The memory was not enough. Use a smaller batch or shorter lengths."),
    "pickle": _("The model's weights are pickles, which are never opened."),
    "quantized": _("The weights are quantised; convert them to fp32 or bf16 first."),
    "remote_code": _("The model asks for code of its own, which is refused."),
    "store_away": _("The object store did not answer for an hour. Try again when it is back."),
    "unfinished": _("The work ended without saying how."),
    "unreachable": _("The model could not be downloaded."),
    "unsupported_model": _("This kind of model is not supported."),
    "wrong_kind": _("The model is of the wrong kind for this work."),
}
"""Code of a cause: its words. The stored text stands below them as the detail."""

TEXTS = (
    gettext_noop("Starting"),
    gettext_noop("Finished"),
    gettext_noop("Stopped: %(reason)s"),
    gettext_noop("Loading the model"),
    gettext_noop("Asking the hub for %(model)s"),
    gettext_noop("Downloading: file %(number)d of %(files)d, %(done)d of %(total)d MB"),
    gettext_noop("Downloading: %(done)d of %(total)d MB"),
    gettext_noop("Unpacking"),
    gettext_noop("Converting"),
    gettext_noop("Copying file %(number)d of %(files)d"),
    gettext_noop("Checking"),
    gettext_noop("Checking %(file)s"),
    gettext_noop("Sampling: %(done)d of %(total)d responses"),
    gettext_noop("Loading the model: %(done)d of %(total)d responses"),
    gettext_noop("Scoring: %(done)d of %(total)d responses"),
    gettext_noop("Waiting for the device"),
    gettext_noop("The object store does not answer; trying again"),
    gettext_noop("The worker was lost."),
    gettext_noop("The worker was shut down; waiting for another."),
    gettext_noop("The database did not answer; waiting to go on."),
    gettext_noop("The program stopped by itself."),
    gettext_noop("The program ended with exit code %(code)d before it was done."),
    gettext_noop("The program was ended by signal %(signal)s before it was done."),
    gettext_noop(
        "The program was ended by signal %(signal)s (often: the machine ran out of memory) before it was done."
    ),
    gettext_noop("%(text)s It was started %(count)d times and ended early each time without getting further."),
    gettext_noop("The database failed: %(reason)s"),
    gettext_noop("The disk is full. Free some space, then try again."),
    gettext_noop("The disk is full. Free some space, then resume the run."),
    gettext_noop("The folder %(folder)s is not there any more."),
    gettext_noop("The work ended without saying how."),
    gettext_noop("The command was interrupted."),
)
"""What the programs of models_registry/inference, the supervisor and the leases say of their work."""


def translate_stored(text: str, templates: Iterable[str] = TEXTS) -> str | None:
    """``text`` in the present language, by the most literal template that fits it whole; None where none does."""
    for template in sorted(templates, key=lambda template: -len(_PLACE.sub("", template))):
        found = _compile(template).fullmatch(text)
        if found:
            values = {name: _translate_value(value, templates) for name, value in found.groupdict().items()}
            return gettext(template) % values if values else gettext(template)
    return None


def _translate_value(value: str, templates: Iterable[str]) -> str | int:
    """A text within a text: a number, a sentence of its own, or a name that stays as it is."""
    return int(value) if value.isdecimal() else translate_stored(value, templates) or value


@lru_cache(maxsize=500)
def _compile(template: str) -> re.Pattern[str]:
    parts, end = [], 0
    for place in _PLACE.finditer(template):
        parts += [re.escape(template[end : place.start()]), f"(?P<{place[1]}>{_FITS[place[2]]})"]
        end = place.end()
    return re.compile("".join([*parts, re.escape(template[end:])]), re.DOTALL)
