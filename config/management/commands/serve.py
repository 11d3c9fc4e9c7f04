"""``python manage.py serve``: everything that one machine needs, in the foreground. ``make run`` calls it.

Prepares the database, the static files, the demo accounts and the sample project (each only where it is missing), then
starts the web server and two workers: one for short work, one for programs that train and sample.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import DatabaseError

from config.celery import find_host_mark
from config.demo import ACCOUNTS_FILE, DemoAccount, prepare_demo
from config.foreground import HOUSE, Foreground, Service
from config.host_mark import SecondHostError
from config.static_files import collect_changed_files


class Command(BaseCommand):
    help = "Prepares and runs the web server and the workers in the foreground."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--no-demo", action="store_true", help="No demo accounts, sample project or demo model.")

    def handle(self, *args: Any, **options: Any) -> None:
        began = time.monotonic()
        host = options["host"]
        _require_free_port(host, settings.PORT)
        try:
            if mark := find_host_mark():
                mark.claim()
            call_command("migrate", verbosity=0, interactive=False)
            collect_changed_files()
            accounts = [] if options["no_demo"] else prepare_demo()
        except (OSError, DatabaseError) as error:
            raise CommandError(f"The house cannot be prepared in {settings.DATA_DIR}: {error}") from error
        except SecondHostError as error:
            raise CommandError(str(error)) from error
        foreground: Foreground

        def announce() -> None:
            _wait_until_up(host, settings.PORT)
            for line in _greeting(host, accounts, time.monotonic() - began):
                foreground.say(HOUSE, line)

        foreground = Foreground(list_services(host), env=os.environ, on_start=announce)
        raise SystemExit(foreground.run())


def list_services(host: str) -> list[Service]:
    """The web server and the workers, as they run on one machine."""
    # A demo in a container often runs as root; celery's page-long warning about it would drown the passwords.
    python = [sys.executable, "-W", "ignore:You're running the worker with superuser privileges"]
    celery = [*python, "-m", "celery", "-A", "config", "-q", "worker", "--without-gossip", "--without-mingle"]
    web = [*python, "-m", "gunicorn", "-c", "python:config.gunicorn", "-b", f"{host}:{settings.PORT}", "config.wsgi"]
    return [
        Service("web", web),
        Service("worker", [*celery, "-Q", "short", "-c", "1", "-n", "short@%h", "-l", "WARNING"]),
        Service(
            "trainer",
            [*celery, "-Q", "gpu", "-c", "2", "-n", "gpu@%h", "-l", "WARNING"],
            parting="saving a checkpoint of whatever is being trained",
        ),
    ]


def _require_free_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({error.strerror}). Choose another: PORT={port + 1} make run"
            ) from error


def _wait_until_up(host: str, port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)


def _greeting(host: str, accounts: list[DemoAccount], seconds: float) -> list[str]:
    lines = ["", f"Plumbline is up at http://{host}:{settings.PORT}/ ({seconds:.1f} s after start)"]
    for account in accounts:
        lines.append(f"  {account.role:<9} {account.username:<10} password {account.password}")
    if accounts:
        lines.append(f"  (kept in {settings.DATA_DIR / ACCOUNTS_FILE}, readable by you alone)")
    return [*lines, "Ctrl-C ends everything.", ""]
