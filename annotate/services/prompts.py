"""Prompts: one row for each different dialogue of a project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from annotate.models import Project, Prompt

ROLES = ("system", "user", "assistant")
MAX_CHARACTERS = 64_000
"""Of one turn. A field beyond this is a mistake in the source, not a prompt."""

_BATCH = 400


class PromptError(ValueError):
    """These messages are no prompt; the text says which turn and why."""


def check_messages(messages: Any) -> list[dict[str, str]]:
    """The messages as {role, content} alone, in order.

    Raises PromptError unless they are a dialogue of text turns that waits for the assistant: known roles, a system turn
    at the start only, no empty turn, the last turn not the assistant's.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise PromptError(_("A prompt is a list of at least one message."))
    checked = [_check_turn(number, message) for number, message in enumerate(messages, start=1)]
    if checked[-1]["role"] != "user":
        role = checked[-1]["role"]
        raise PromptError(_("The last turn of a prompt is the user's, not the %(role)s's.") % {"role": role})
    return checked


def digest_messages(messages: Iterable[Mapping[str, str]]) -> str:
    """SHA-256 of the canonical JSON: keys sorted, no blanks, UTF-8. Equal dialogues have equal digests."""
    plain = [{"content": message["content"], "role": message["role"]} for message in messages]
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def get_or_create_prompt(*, project: Project, messages: Any) -> tuple[Prompt, bool]:
    """The project's prompt with these messages, and whether it is new. Raises PromptError."""
    checked = check_messages(messages)
    return Prompt.objects.get_or_create(
        project=project, digest=digest_messages(checked), defaults={"messages": checked}
    )


@transaction.atomic
def get_or_create_prompts(*, project: Project, dialogues: Iterable[Any]) -> list[Prompt]:
    """One prompt for each dialogue, in order; equal dialogues share one. A few queries for many. Raises PromptError."""
    checked = [check_messages(messages) for messages in dialogues]
    digests = [digest_messages(messages) for messages in checked]
    by_digest = dict(zip(digests, checked, strict=True))
    found = _find_prompts(project, list(by_digest))
    missing = [
        Prompt(project=project, digest=digest, messages=messages)
        for digest, messages in by_digest.items()
        if digest not in found
    ]
    # Conflicts are somebody else's equal prompt, added since the look; the second look finds it.
    Prompt.objects.bulk_create(missing, batch_size=_BATCH, ignore_conflicts=True)
    found |= _find_prompts(project, [prompt.digest for prompt in missing])
    return [found[digest] for digest in digests]


def _find_prompts(project: Project, digests: list[str]) -> dict[str, Prompt]:
    found: dict[str, Prompt] = {}
    for start in range(0, len(digests), _BATCH):
        rows = Prompt.objects.filter(project=project, digest__in=digests[start : start + _BATCH])
        found |= {prompt.digest: prompt for prompt in rows}
    return found


def _check_turn(number: int, message: Any) -> dict[str, str]:
    if not isinstance(message, Mapping):
        raise PromptError(_("Turn %(number)d is not an object with role and content.") % {"number": number})
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        words = {"number": number, "role": repr(role), "roles": ", ".join(ROLES)}
        raise PromptError(_("Turn %(number)d: the role %(role)s is none of %(roles)s.") % words)
    if role == "system" and number > 1:
        raise PromptError(_("Turn %(number)d: a system turn can only be the first.") % {"number": number})
    if not isinstance(content, str) or not content.strip():
        raise PromptError(_("Turn %(number)d: the content is empty or not text.") % {"number": number})
    if len(content) > MAX_CHARACTERS:
        words = {"number": number, "count": len(content), "most": MAX_CHARACTERS}
        raise PromptError(_("Turn %(number)d: the content has %(count)d characters; at most %(most)d.") % words)
    if problem := find_unstorable(content):
        raise PromptError(_("Turn %(number)d: %(problem)s.") % {"number": number, "problem": problem})
    return {"role": role, "content": content}


def find_unstorable(text: str) -> str:
    """What in this text no database can store (NUL, half of a surrogate pair), in words; empty when all is well."""
    if "\x00" in text:
        return _("the text contains a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = {"place": error.start + 1}
        return _("the text contains half of a surrogate pair at character %(place)d") % place
    return ""
