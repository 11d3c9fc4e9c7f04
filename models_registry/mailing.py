"""Notices that go out as mails: sent by a worker of the short queue, from rows that wait until the server took them.

Each is sent at least once: a row is taken by compare-and-swap for ten minutes and crossed off when the server has said
yes; a worker that dies in between leaves it to the next. Such a second mail has the Message-ID of the first, by which
mail programs know it. A server that is away costs nothing but time: the pauses between tries grow to an hour.
"""

from __future__ import annotations

import logging
import smtplib
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.db.models.functions import Now
from django.template.loader import render_to_string
from django.utils.translation import override

from models_registry.models import Notice, NoticeSettings
from models_registry.notices import MAIL_QUEUE, locate, say

__all__ = ["MAIL_QUEUE", "are_mails_due", "build_mail", "send_due_mails"]

log = logging.getLogger(__name__)

AT_ONCE = 100
MOST_TRIES = 40
"""Over about a day and a half; the notice itself stays on its page."""
_TAKEN_FOR = timedelta(minutes=10)
_LONGEST_PAUSE_MIN = 60


def are_mails_due() -> bool:
    return settings.MAIL_ON and Notice.objects.filter(mail_due_at__lte=Now()).exists()


def send_due_mails() -> None:
    """Stops at the first mail that the server does not take for a reason of its own."""
    due = Notice.objects.filter(mail_due_at__lte=Now()).select_related("user").order_by("mail_due_at", "pk")
    for notice in due[:AT_ONCE]:
        row = Notice.objects.filter(pk=notice.pk)
        taken = row.filter(mail_tries=notice.mail_tries, mail_due_at__lte=Now())
        if not taken.update(mail_due_at=Now() + _TAKEN_FOR, mail_tries=F("mail_tries") + 1):
            continue  # another worker's
        try:
            build_mail(notice).send()
        except (OSError, smtplib.SMTPException) as error:
            tries = notice.mail_tries + 1
            log.warning("Notice %s could not be mailed, try %s: %s", notice.pk, tries, type(error).__name__)
            pause = timedelta(minutes=min(2 ** min(tries - 1, 10), _LONGEST_PAUSE_MIN))
            row.update(mail_due_at=Now() + pause if tries < MOST_TRIES else None)
            if not isinstance(error, smtplib.SMTPRecipientsRefused):
                return
        else:
            row.update(mail_due_at=None, mail_sent_at=Now())


def build_mail(notice: Notice) -> EmailMessage:
    """In the person's language; says what happened and where to look, and repeats no text of labelers or models."""
    chosen = NoticeSettings.objects.filter(user=notice.user).values_list("language", flat=True).first()
    host = urlsplit(settings.SITE_URL).hostname or "localhost"
    with override(chosen or settings.LANGUAGE_CODE):
        words = say(notice)
        url = settings.SITE_URL + locate(notice)
        context = {"notice": notice, "words": words, "url": url, "site": settings.SITE_URL}
        return EmailMessage(
            subject=" ".join(f"[Plumbline] {words}".split()),
            body=render_to_string("models_registry/notice_mail.txt", context),
            to=[notice.user.email],
            headers={"Message-ID": f"<notice-{notice.pk}@{host}>", "Auto-Submitted": "auto-generated"},
        )
