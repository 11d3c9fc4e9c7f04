"""What Prometheus reads at /metrics: requests by route, work that waits, workers, votes, disk.

Requests are counted in files that the web processes of one server share (PROMETHEUS_MULTIPROC_DIR, see
config/gunicorn.py), so any of them answers for all; without that folder, as in tests, each counts its own. All the rest
is read from the database when asked for, so every web process of every host says the same.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from annotate.models import Judgment
from models_registry.leases import list_work_models
from models_registry.machines import read_version
from models_registry.work import WorkState
from models_registry.workers import list_workers

log = logging.getLogger(__name__)

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
Rows = dict[tuple[str, ...], float]
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
QUEUES = ("short", "gpu")

REQUESTS = Counter("plumbline_http_requests", "Requests answered.", ["route", "method", "status"], registry=None)
SECONDS = Histogram(
    "plumbline_http_request_duration_seconds",
    "Until an answer began.",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    registry=None,
)


def count_request(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    """No label is taken from a request as it stands: a caller could make any number of them."""
    route, method = name_route(request), name_method(request)
    REQUESTS.labels(route, method, str(response.status_code)).inc()
    SECONDS.labels(route, method).observe(seconds)


def name_method(request: HttpRequest) -> str:
    return request.method if request.method in METHODS else "other"


def name_route(request: HttpRequest) -> str:
    """``static`` for files of ours, ``none`` where the address leads nowhere."""
    if match := request.resolver_match:
        return match.view_name or "unnamed"
    return "static" if request.path.startswith(settings.STATIC_URL) else "none"


def write_exposition() -> bytes:
    """Everything, in Prometheus's text format."""
    registry = CollectorRegistry()
    if os.environ.get(MULTIPROCESS_VARIABLE):
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(REQUESTS)
        registry.register(SECONDS)
    registry.register(House())
    return generate_latest(registry)


class House(Collector):
    """Read anew for each scrape: a query a kind of work, one for the workers, one step into an index of votes."""

    def collect(self) -> Iterator[Metric]:
        build = (read_version(), platform.python_version(), connection.vendor)
        yield gauge("build_info", "Always 1.", ["version", "python", "database"], {build: 1})
        free = shutil.disk_usage(settings.DATA_DIR).free
        yield gauge("data_dir_free_bytes", "Free on the disk of DATA_DIR.", [], {(): free})
        try:
            figures = [*collect_work(), *collect_workers(), collect_judgments()]
        except (DatabaseError, InterfaceError) as error:
            log.warning("The database could not be read for /metrics: %s", type(error).__name__)
            figures = []
        yield from figures
        yield gauge("database_up", "0 where what the database knows is missing.", [], {(): bool(figures)})


def collect_work() -> list[Metric]:
    """All that outlives a request, by kind: run, import, datasetversion, samplingjob and so on."""
    states: Rows = {}
    expired: Rows = {}
    oldest: Rows = {}
    now = timezone.now()
    for model in sorted(list_work_models(), key=lambda model: model.__name__):
        kind = model.__name__.lower()
        found = model._default_manager.aggregate(
            **{state.value: Count("pk", filter=Q(state=state)) for state in WorkState},
            expired=Count("pk", filter=Q(state=WorkState.RUNNING, lease_until__lt=Now())),
            waits_since=Min(Coalesce("started_at", "created_at"), filter=Q(state=WorkState.QUEUED)),
        )
        states |= {(kind, state.value): found[state.value] for state in WorkState}
        expired[kind,] = found["expired"]
        oldest[kind,] = max(0.0, (now - (found["waits_since"] or now)).total_seconds())
    since = "Seconds since the row of this kind that waits longest was made, or was last begun; 0 where none waits."
    return [
        gauge("work", "Rows of work.", ["kind", "state"], states),
        gauge("work_expired_leases", "Rows whose owner fell silent and that nobody took back yet.", ["kind"], expired),
        gauge("work_oldest_queued_seconds", since, ["kind"], oldest),
    ]


def collect_workers() -> list[Metric]:
    workers = list_workers()
    alive: Rows = {(queue,): 0 for queue in QUEUES}
    for worker in workers:
        for queue in worker.queues if worker.is_alive and not worker.is_leaving else ():
            alive[queue,] = alive.get((queue,), 0) + 1
    seen: Rows = {(worker.name,): worker.seen_at.timestamp() for worker in workers}
    return [
        gauge("workers", "Workers that live and take new work.", ["queue"], alive),
        gauge("worker_last_heartbeat_timestamp_seconds", "By the database's clock.", ["worker"], seen),
    ]


def collect_judgments() -> Metric:
    """By the newest number: counting a million rows takes a second, and none is ever removed."""
    newest = Judgment.objects.aggregate(newest=Max("pk"))["newest"] or 0
    text = (
        "Votes, skips and undos ever stored; on PostgreSQL a few more, as numbers of failed writes are not used again."
    )
    return gauge("judgments", text, [], {(): newest})


def gauge(name: str, text: str, labels: list[str], rows: Rows) -> Metric:
    family = GaugeMetricFamily(f"plumbline_{name}", text, labels=labels)
    for values, number in rows.items():
        family.add_metric(values, number)
    return family
