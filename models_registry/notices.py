"""Telling people what became of work they launched or follow: rows of their own, and mails from those (mailing.py).

A notice is written in the transaction that moves the work (leases.LISTENERS), so neither is there without the other.
It holds codes and a name that a lead gave, no words: those are said in the language of who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext as _

from models_registry.hints import send_hint
from models_registry.models import Channel, Follow, Notice, NoticeSettings, Topic
from models_registry.work import LeasedWork

TOPICS = {
    ("run", "finished"): Topic.RUN_FINISHED,
    ("run", "failed"): Topic.RUN_FAILED,
    ("run", "paused"): Topic.RUN_PAUSED,
    ("run", "lost"): Topic.WORKER_LOST,
    ("run", "odd"): Topic.RUN_ODD,
    ("import", "failed"): Topic.IMPORT_FAILED,
    ("datasetversion", "failed"): Topic.DATASET_FAILED,
}
"""Kind of work and what became of it; anything else is told nobody."""
ROUTES = {"run": "run_detail", "import": "import_detail", "datasetversion": "dataset_detail"}
MAIL_QUEUE = "short"


def note_move(work: LeasedWork, move: str) -> None:
    """Tells who launched the work and who follows it, each as they like."""
    kind = work._meta.model_name or ""
    topic = TOPICS.get((kind, move))
    if topic is None or (topic == Topic.RUN_ODD and _was_told(topic, kind, work)):
        return  # shapes come and go; one word of it is enough
    people = list_readers(kind, work)
    channels = {row.user_id: row.channels for row in NoticeSettings.objects.filter(user__in=people)}
    notices = []
    for person in people:
        channel = read_channel(channels.get(person.pk, {}), topic)
        if channel == Channel.NONE:
            continue
        by_mail = channel == Channel.MAIL and settings.MAIL_ON and bool(person.email)
        notices.append(
            Notice(
                user=person,
                topic=topic,
                kind=kind,
                number=work.pk,
                name=str(work)[:200],
                cause_code=work.cause_code if move in ("failed", "paused", "odd") else "",
                mail_due_at=Now() if by_mail else None,
            )
        )
    Notice.objects.bulk_create(notices)
    if any(notice.mail_due_at for notice in notices):
        transaction.on_commit(partial(send_hint, MAIL_QUEUE))


def _was_told(topic: str, kind: str, work: LeasedWork) -> bool:
    return Notice.objects.filter(topic=topic, kind=kind, number=work.pk).exists()


def list_readers(kind: str, work: LeasedWork) -> list[User]:
    followers = Follow.objects.filter(kind=kind, number=work.pk).values("user")
    return list(User.objects.filter(Q(pk=work.created_by_id) | Q(pk__in=followers), is_active=True))


def read_channel(channels: Mapping[str, str], topic: str) -> str:
    """In the app alone where the person has said nothing."""
    return channels.get(topic, Channel.APP)


def list_notices(user: User) -> QuerySet[Notice]:
    """Newest first."""
    return Notice.objects.filter(user=user).order_by("-pk")


def count_unread(user: User) -> int:
    return Notice.objects.filter(user=user, read_at=None).count()


def mark_read(user: User, *, notice: Notice | None = None) -> None:
    """One of the person's notices, or all of them."""
    unread = Notice.objects.filter(user=user, read_at=None)
    (unread.filter(pk=notice.pk) if notice else unread).update(read_at=Now())


@transaction.atomic
def follow(user: User, work: LeasedWork, *, on: bool) -> None:
    """Doing it twice changes nothing."""
    where = {"user": user, "kind": work._meta.model_name or "", "number": work.pk}
    if on:
        Follow.objects.get_or_create(**where)
    else:
        Follow.objects.filter(**where).delete()


def is_following(user: User, work: LeasedWork) -> bool:
    return Follow.objects.filter(user=user, kind=work._meta.model_name or "", number=work.pk).exists()


@transaction.atomic
def save_settings(user: User, *, channels: Mapping[str, str], language: str, email: str) -> None:
    NoticeSettings.objects.update_or_create(user=user, defaults={"channels": dict(channels), "language": language})
    user.email = email
    user.save(update_fields=["email"])


def say(notice: Notice) -> str:
    """What happened, in the present language and one sentence."""
    words = {
        Topic.RUN_FINISHED: _("The run %(name)s has finished."),
        Topic.RUN_FAILED: _("The run %(name)s has failed."),
        Topic.RUN_PAUSED: _("The run %(name)s was paused; it waits for you."),
        Topic.WORKER_LOST: _("A worker was lost with the run %(name)s; another takes it up."),
        Topic.RUN_ODD: _("The run %(name)s looks wrong."),
        Topic.IMPORT_FAILED: _("The import %(name)s has failed."),
        Topic.DATASET_FAILED: _("The dataset version %(name)s has failed."),
    }
    return words[Topic(notice.topic)] % {"name": notice.name}


def locate(notice: Notice) -> str:
    """The path of the page that it is about."""
    return reverse(ROUTES[notice.kind], args=[notice.number])
