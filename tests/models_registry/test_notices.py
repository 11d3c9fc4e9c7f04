"""Who is told what became of work, in the app and by mail, once and in the person's language."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from annotate.models import DatasetVersion, Project
from models_registry import leases, mailing, notices, tasks
from models_registry.models import Notice, Topic
from tests import scenery
from training.models import Run


@pytest.fixture
def run(project: Project, admin: User) -> Run:
    """Under way, and nobody's question but the admin's."""
    made = scenery.make_run(scenery.make_dataset(project), scenery.make_model(admin), name="the run")
    work = leases.claim(made, "host:1")
    assert work is not None
    return work


@pytest.fixture
def by_mail(admin: User, settings: Any) -> None:
    settings.MAIL_ON = True
    settings.SITE_URL = "https://plumbline.example.org"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    channels = dict.fromkeys(Topic.values, "mail")
    notices.save_settings(admin, channels=channels, language="en", email="admin@example.org")


def list_told(user: User) -> list[tuple[str, str]]:
    return [(notice.topic, notice.cause_code) for notice in notices.list_notices(user)]


def test_launcher_and_followers_are_told_in_the_transaction_of_the_end(run: Run, admin: User, reviewer: User) -> None:
    notices.follow(reviewer, run, on=True)
    notices.follow(reviewer, run, on=True)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        leases.finish(run)
        _ = 1 / 0
    assert list_told(admin) == []
    leases.finish(run)
    assert list_told(admin) == list_told(reviewer) == [("run_finished", "")]
    with pytest.raises(leases.LeaseLost):
        leases.finish(run)
    assert len(list_told(admin)) == 1


def test_each_end_has_its_topic(run: Run, admin: User, settings: Any) -> None:
    leases.pause(run, "disk_full", "The disk is full.")
    leases.resume(run)
    again = leases.claim(run, "host:2")
    assert again is not None
    settings.HEARTBEAT_SECONDS = 0  # a lease that is over counts at first sight
    Run.objects.filter(pk=run.pk).update(lease_until=Now() - timedelta(seconds=1))
    leases.reconcile()
    leases.reconcile()
    settings.MAX_CRASHES = 0
    last = leases.claim(run, "host:3")
    assert last is not None
    leases.count_crash(last, "It died.")
    told = [("run_failed", "crashed"), ("worker_lost", ""), ("run_paused", "disk_full")]
    assert list_told(admin) == told


def test_what_a_person_asked_for_is_no_news(run: Run, admin: User) -> None:
    leases.request_pause(run)
    leases.pause(run)
    leases.request_cancel(run)
    assert list_told(admin) == []


def test_a_failed_dataset_is_told(project: Project, admin: User) -> None:
    version = scenery.make_dataset(project, state="queued", finished_at=None)
    work = leases.claim(version, "host:1")
    assert isinstance(work, DatasetVersion)
    leases.fail(work, "no_rows", "Nothing is left.")
    assert list_told(admin) == [("dataset_failed", "no_rows")]


def test_who_wants_none_gets_none(run: Run, admin: User) -> None:
    notices.save_settings(admin, channels={"run_finished": "none"}, language="en", email="")
    leases.finish(run)
    assert list_told(admin) == []


def test_the_bell_counts_and_the_list_leads_there(run: Run, admin: User, client: Client) -> None:
    leases.fail(run, "nan_loss", "Loss became infinite in step 3.")
    client.force_login(admin)
    page = client.get(reverse("notice_list")).content.decode()
    assert 'aria-label="1 unread notification"' in page
    assert "The run the run has failed." in page and "The training diverged" in page
    notice = Notice.objects.get()
    answer = client.post(reverse("notice_open", args=[notice.pk]))
    assert answer.headers["Location"] == reverse("run_detail", args=[run.pk])
    assert 'aria-label="Notifications"' in client.get(reverse("notice_bell")).content.decode()


def test_settings_are_checked_and_kept(admin: User, client: Client, api: Callable[[User], APIClient]) -> None:
    client.force_login(admin)
    values = dict.fromkeys(Topic.values, "app") | {"language": "ko", "email": "", "run_failed": "mail"}
    answer = client.post(reverse("notice_settings"), values)
    assert answer.status_code == 422 and "Mails need an address" in answer.content.decode()
    assert client.post(reverse("notice_settings"), values | {"email": "a@example.org"}).status_code == 302
    told = api(admin).get(reverse("api_notice_settings")).json()
    assert (told["email"], told["language"], told["channels"]["run_failed"]) == ("a@example.org", "ko", "mail")
    changed = api(admin).put(reverse("api_notice_settings"), told | {"email": "b@example.org"})
    assert changed.json() == told | {"email": "b@example.org"}
    wrong = api(admin).put(reverse("api_notice_settings"), told | {"channels": {"weather": "app"}})
    assert (wrong.status_code, "weather" in wrong.content.decode()) == (400, True)


@pytest.mark.usefixtures("by_mail")
class TestMail:
    def test_it_says_what_happened_with_a_link_and_nothing_else(self, run: Run) -> None:
        leases.fail(run, "bad_data", "Line 3: A labeler's secret words.")
        assert mailing.are_mails_due()
        tasks.wake("short")
        (sent,) = mail.outbox
        assert (sent.to, sent.subject) == (["admin@example.org"], "[Plumbline] The run the run has failed.")
        assert f"https://plumbline.example.org{reverse('run_detail', args=[run.pk])}" in sent.body
        assert "cannot read its data" in sent.body and "secret words" not in sent.body
        tasks.wake("short")
        assert len(mail.outbox) == 1 and not mailing.are_mails_due()

    def test_two_workers_send_it_once(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        leases.finish(run)
        build = mailing.build_mail

        def build_late(notice: Notice) -> Any:
            monkeypatch.setattr(mailing, "build_mail", build)
            mailing.send_due_mails()  # the other one, in between
            return build(notice)

        monkeypatch.setattr(mailing, "build_mail", build_late)
        mailing.send_due_mails()
        assert len(mail.outbox) == 1

    def test_a_worker_that_dies_leaves_it_to_the_next_under_the_same_number(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It died after the server had taken the mail: it comes again, and mail programs know it by its number."""
        leases.finish(run)
        send = mail.EmailMessage.send

        def send_and_die(message: mail.EmailMessage) -> int:
            send(message)
            raise KeyboardInterrupt

        monkeypatch.setattr(mail.EmailMessage, "send", send_and_die)
        with pytest.raises(KeyboardInterrupt):
            mailing.send_due_mails()
        monkeypatch.setattr(mail.EmailMessage, "send", send)
        mailing.send_due_mails()
        assert len(mail.outbox) == 1  # ten minutes have not gone by
        Notice.objects.update(mail_due_at=Now() - timedelta(seconds=1))
        mailing.send_due_mails()
        numbers = {message.extra_headers["Message-ID"] for message in mail.outbox}
        assert (len(mail.outbox), len(numbers)) == (2, 1)

    def test_a_dead_server_loses_nothing(self, run: Run, settings: Any) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9  # nobody listens
        leases.finish(run)
        tasks.wake("short")
        notice = Notice.objects.get()
        assert (notice.mail_tries, notice.mail_sent_at) == (1, None) and notice.mail_due_at is not None
        assert not mailing.are_mails_due()  # not at once again

    def test_a_real_server_gets_it_in_korean(self, run: Run, admin: User, settings: Any, smtp: SmtpServer) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = smtp.server_address[0], smtp.server_address[1]
        channels = dict.fromkeys(Topic.values, "mail")
        notices.save_settings(admin, channels=channels, language="ko", email="admin@example.org")
        leases.finish(run)
        tasks.wake("short")
        (message,) = smtp.taken
        assert f"Message-ID: <notice-{Notice.objects.get().pk}@plumbline.example.org>" in message
        assert "To: admin@example.org" in message and "plumbline.example.org/runs/" in message
        assert Notice.objects.get().mail_sent_at is not None


class SmtpServer(socketserver.ThreadingTCPServer):
    """As much of RFC 5321 as a client asks for; keeps what it is given."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SmtpHandler)
        self.taken: list[str] = []


class SmtpHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                text = b"".join(lines).decode()
                assert isinstance(self.server, SmtpServer)
                self.server.taken.append(text)
            elif line.upper().startswith(b"QUIT"):
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
