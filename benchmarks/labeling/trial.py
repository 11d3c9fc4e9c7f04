"""One trial: a filled database, the web server, its labelers, and the audit; prints one line of JSON.

``python -m benchmarks.labeling`` starts it with DATA_DIR, DATABASE_URL and PORT of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from contextlib import suppress
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from annotate.models import Judgment  # noqa: E402
from benchmarks.labeling.audit import audit  # noqa: E402
from benchmarks.labeling.http import ask  # noqa: E402
from benchmarks.labeling.labelers import Labeler, Record, make_labeler  # noqa: E402
from benchmarks.labeling.server import WebServer  # noqa: E402
from benchmarks.labeling.stage import Person, fill_project  # noqa: E402
from config.static_files import collect_changed_files  # noqa: E402

FLOOR = "healthz"
FLOOR_EVERY_S = 0.5
RAMP_S = 15.0
"""Before anything is measured: everybody has come and has their first pair."""
BACK_S = 60.0


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, required=True)
    parser.add_argument("--labelers", type=int, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--think", type=float, required=True)
    parser.add_argument("--kills", type=int, required=True)
    options = parser.parse_args(arguments)
    call_command("migrate", verbosity=0, interactive=False)
    collect_changed_files()
    began = time.monotonic()
    project, people = fill_project(options.comparisons, options.labelers)
    say(f"filled with {options.comparisons:,} comparisons in {time.monotonic() - began:.0f} s")
    last = Judgment.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    connection.close()
    server = WebServer(settings.DATA_DIR / "web.log")
    server.start()
    try:
        result, labelers = asyncio.run(drive(server, people, options))
    finally:
        server.stop()
    findings = audit(project, [labeler.log for labeler in labelers], after=last)
    result |= {
        "database": connection.vendor,
        "comparisons": options.comparisons,
        "labelers": options.labelers,
        "think_s": options.think,
        "answers": sum(len(labeler.log.votes) for labeler in labelers),
        "skips": sum(len(labeler.log.skips) for labeler in labelers),
        "undone": sum(len(labeler.log.undone) for labeler in labelers),
        "crashes": server.count_crashes(),
        "lost": findings.lost,
        "doubled": findings.doubled,
        "over_assigned": findings.over_assigned,
        "miscounted": findings.miscounted,
    }
    print(json.dumps(result))


async def drive(
    server: WebServer, people: list[Person], options: argparse.Namespace
) -> tuple[dict[str, Any], list[Labeler]]:
    """Lets everybody work; measures windows, or kills the server again and again. Returns when all have finished."""
    record, stop = Record(), asyncio.Event()
    await wait_until_up()
    labelers = [make_labeler(person, settings.PORT, record, options.think) for person in people]
    tasks = [asyncio.create_task(labeler.work(stop)) for labeler in labelers]
    tasks.append(asyncio.create_task(measure_floor(record, stop)))
    await asyncio.sleep(min(RAMP_S, 1.5 * options.think))
    result: dict[str, Any] = {"windows": [], "back_s": []}
    for _number in range(options.repeats):
        result["windows"].append(await measure_window(server, record, options.minutes * 60))
    broken = record.broken
    for number in range(options.kills):
        result["back_s"].append(await kill_once(server, record))
        if number % 10 == 9:
            say(f"{number + 1} kills")
    stop.set()
    await asyncio.gather(*tasks)
    # Without a kill, a request that got no reply is an error as well; with kills it is what they are for.
    errors = dict(record.errors) | ({"no reply": broken} if broken else {})
    return result | {"errors": errors, "unanswered": record.broken - broken}, labelers


async def measure_window(server: WebServer, record: Record, seconds: float) -> dict[str, Any]:
    """What happened in so many seconds: waiting times by operation, CPU seconds of both sides, load."""
    began, server_cpu, own_cpu = time.perf_counter(), server.read_cpu_seconds(), time.process_time()
    load = []
    while (left := began + seconds - time.perf_counter()) > 0:
        load.append(os.getloadavg()[0])
        await asyncio.sleep(min(left, 5))
    passed = time.perf_counter() - began
    waits: dict[str, list[float]] = {}
    for name, start, duration in record.timings:
        if start >= began:
            waits.setdefault(name, []).append(duration)
    window = {
        "seconds": passed,
        "waits": waits,
        "server_cpu_s": server.read_cpu_seconds() - server_cpu,
        "clients_cpu_s": time.process_time() - own_cpu,
        "load": sum(load) / len(load),
    }
    say(", ".join(f"{name} {sorted(some)[len(some) // 2] * 1000:.0f} ms" for name, some in sorted(waits.items())))
    return window


async def kill_once(server: WebServer, record: Record) -> float:
    """Kills while an answer is under way; seconds from the kill to the first good reply."""
    await asyncio.sleep(random.uniform(0.3, 2.0))
    while not record.answers_under_way:
        await asyncio.sleep(0.001)
    killed = time.perf_counter()
    server.kill()
    server.start()
    while (back := record.find_first_reply(killed)) is None:
        if time.perf_counter() - killed > BACK_S:
            raise TimeoutError(
                f"the web server did not come back; the end of its log:\n{server.log.read_text()[-2000:]}"
            )
        await asyncio.sleep(0.01)
    return back - killed


async def measure_floor(record: Record, stop: asyncio.Event) -> None:
    """Asks for the cheapest reply there is: what connection, queue and this program itself cost."""
    while not stop.is_set():
        began = time.perf_counter()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(ask(settings.PORT, "GET", "/healthz", {}), 30)
            record.timings.append((FLOOR, began, time.perf_counter() - began))
        await asyncio.sleep(FLOOR_EVERY_S)


async def wait_until_up() -> None:
    deadline = time.monotonic() + BACK_S
    while time.monotonic() < deadline:
        with suppress(OSError):
            await ask(settings.PORT, "GET", "/healthz", {})
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("the web server did not come up")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
