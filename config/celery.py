"""The Celery app. Its messages are mere hints; what is to be done stands in the database (models_registry/leases.py).

    celery -A config worker -Q short,gpu -c 3

A message is acknowledged before its work starts: work of hours under an unacknowledged message is delivered twice by
every broker sooner or later (measurements in DECISIONS.md).
"""

from __future__ import annotations

import logging.config
import os
import re
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_shutdown
from kombu import Queue

from config.host_mark import HostMark, SecondHostError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("plumbline")
app.set_default()  # for every thread: hints are sent from one of their own


def build_celery_settings() -> dict[str, Any]:
    """Read when first needed, not when imported: the settings module lies in this very package."""
    from django.conf import settings

    url: str = settings.CELERY_BROKER_URL
    return {
        "broker_url": url,
        "task_default_queue": "short",
        "task_create_missing_queues": False,
        "task_acks_late": False,
        "task_reject_on_worker_lost": False,
        "task_ignore_result": True,
        "result_backend": None,
        "task_time_limit": None,
        "accept_content": ["json"],
        "task_serializer": "json",
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": 0,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        **build_broker_settings(url),
    }


def build_broker_settings(url: str) -> dict[str, Any]:
    """What each kind of broker needs; figures from measured faults."""
    from django.conf import settings

    from config.broker import build_files_options, register_files_broker

    scheme, database = url.partition("://")[0], str(settings.DATABASES["default"]["NAME"])
    queues = [Queue("short", routing_key="short"), Queue("gpu", routing_key="gpu")]
    if scheme == "files":
        register_files_broker()
        # Without remote control there are no reply queues that a dead worker leaves behind.
        options = build_files_options(settings.DATA_DIR)
        return {"task_queues": queues, "broker_transport_options": options, "worker_enable_remote_control": False}
    if scheme in {"redis", "rediss"}:
        options = {
            "visibility_timeout": 3600,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
            # Houses that share a Redis server wake their own workers only.
            "global_keyprefix": f"plumbline:{re.sub(r'[^A-Za-z0-9]', '_', database)}:",
        }
        return {"task_queues": queues, "broker_transport_options": options, "worker_disable_prefetch": True}
    quorum = [Queue(queue.name, routing_key=queue.name, queue_arguments={"x-queue-type": "quorum"}) for queue in queues]
    return {
        "task_queues": quorum,
        "task_default_queue_type": "quorum",
        "broker_transport_options": {"confirm_publish": True},
        "broker_heartbeat": 30,
    }


@setup_logging.connect
def _log_as_the_web_does(loglevel: int, **_kwargs: Any) -> None:
    """In place of celery's own lines; only its level counts (``-l WARNING``)."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
    logging.getLogger().setLevel(loglevel)


@worker_init.connect
def _refuse_second_host(**_kwargs: Any) -> None:
    """In words, before anything is started; while it runs, the broker itself notices."""
    if mark := find_host_mark():
        try:
            mark.claim()
        except SecondHostError as error:
            raise SystemExit(str(error)) from None


@worker_shutdown.connect
def _drop_host_mark(**_kwargs: Any) -> None:
    if mark := find_host_mark():
        mark.drop()


def find_host_mark() -> HostMark | None:
    """The mark of the broker of files; None where the broker is a server, which serves any number of hosts."""
    from django.conf import settings

    from config.broker import make_broker_folder

    is_files = settings.CELERY_BROKER_URL.partition("://")[0] == "files"
    return HostMark(make_broker_folder(settings.DATA_DIR)) if is_files else None


app.add_defaults(build_celery_settings)
app.autodiscover_tasks()
