"""How quickly the page of a run with 100,000 points stands, and how smoothly it zooms and reads values.

``python -m benchmarks.curves [--points 100000] [--repeats 5]``: fills a database of its own (SQLite in a temporary
folder), serves it as ``make run`` does, and opens the page in Chromium. Medians over the repeats; frames are those that
the browser drew while the pointer moved over the charts and while the view was zoomed in and out by keys.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from playwright.sync_api import Page, sync_playwright

from config.find_browser import find_browser
from tests.e2e.house import ROOT, open_house

FRAMES = """async () => {
  const times = [];
  let last = performance.now();
  let going = true;
  const note = (now) => { times.push(now - last); last = now; if (going) requestAnimationFrame(note); };
  requestAnimationFrame(note);
  await (WORK)();
  going = false;
  return times.slice(1);
}"""
HOVER = """async () => {
  const area = document.querySelector('.u-over');
  const box = area.getBoundingClientRect();
  for (let at = 0; at < 120; at += 1) {
    const place = { clientX: box.left + (box.width * at) / 120, clientY: box.top + box.height / 2, bubbles: true };
    area.dispatchEvent(new MouseEvent('mousemove', place));
    await new Promise(requestAnimationFrame);
  }
}"""
ZOOM = """async () => {
  const plot = document.querySelector('[data-plot]');
  for (const key of [...'++++++------']) {
    plot.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
    for (let at = 0; at < 20; at += 1) await new Promise(requestAnimationFrame);
  }
}"""
READY = "() => document.querySelector('[data-charts]')?.dataset.state && document.querySelectorAll('.uplot').length > 3"


def fill(points: int) -> None:
    """Run by a process of its own, in the house's database: a finished run with ``points`` steps."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from django.contrib.auth.models import User

    from annotate.models import Project
    from models_registry.models import WorkState
    from tests import scenery
    from training.curve_levels import file_metrics

    by = User.objects.filter(is_staff=True).earliest("pk")
    project = Project.objects.earliest("pk")
    run = scenery.make_run(
        scenery.make_dataset(project, 90), scenery.make_model(by, "base of a long run"), state=WorkState.FINISHED
    )
    began = time.perf_counter()
    noise = random.Random(0)
    for start in range(1, points + 1, 1000):
        file_metrics(run, [make_line(step, points, noise) for step in range(start, min(start + 1000, points + 1))])
    print(run.pk, round(time.perf_counter() - began, 1))


def make_line(step: int, points: int, noise: random.Random) -> dict[str, Any]:
    share = step / points
    line: dict[str, Any] = {
        "step": step,
        "epoch": share,
        "loss": 0.69 - 0.3 * share + noise.gauss(0, 0.06),
        "rewards/accuracies": min(1, max(0, 0.5 + 0.3 * share + noise.gauss(0, 0.15))),
        "rewards/margins": share + noise.gauss(0, 0.3),
        "rewards/chosen": 0.4 * share + noise.gauss(0, 0.2),
        "rewards/rejected": -0.6 * share + noise.gauss(0, 0.2),
        "logps/chosen": -180 + noise.gauss(0, 20),
        "logps/rejected": -190 - 20 * share + noise.gauss(0, 20),
        "grad_norm": math.exp(1 + noise.gauss(0, 0.3)),
        "learning_rate": 5e-6 * (1 - share),
        "num_tokens": 4000 * step,
    }
    return line | (
        {"eval_loss": 0.69 - 0.1 * share, "eval_rewards/accuracies": 0.5 + 0.2 * share} if step % 500 == 0 else {}
    )


def measure(page: Page, url: str) -> dict[str, float]:
    received: list[int] = []
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    line.send("Network.setCacheDisabled", {"cacheDisabled": True})
    line.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(url)
    page.wait_for_function(READY)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    figures = {"interactive_ms": float(page.evaluate("performance.now()")), "kilobytes": sum(received) / 1000}
    asked: Any = page.evaluate(
        "performance.getEntriesByType('resource').find((each) => each.name.includes('metrics.json')).duration"
    )
    figures["values_ms"] = float(asked)
    for name, work in (("hover", HOVER), ("zoom", ZOOM)):
        frames = page.evaluate(FRAMES.replace("WORK", work))
        figures |= {f"{name}_ms": median(frames), f"{name}_p95_ms": quantiles(frames, n=20)[-1]}
    line.detach()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fill", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill:
        fill(options.points)
        return 0
    with tempfile.TemporaryDirectory() as folder, open_house(Path(folder) / "data") as house, sync_playwright() as play:
        command = [sys.executable, "-m", "benchmarks.curves", "--fill", "--points", str(options.points)]
        environment = {**os.environ, "DATA_DIR": str(house.data_dir)}
        filled = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        pk, seconds = filled.stdout.split()[-2:]
        browser = play.chromium.launch(executable_path=str(find_browser()), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{house.url}/")
        page.get_by_label("Username").fill("lead")
        page.get_by_label("Password").fill(house.passwords["lead"])
        page.get_by_role("button", name="Log in").click()
        page.wait_for_load_state()
        found = [measure(page, f"{house.url}/runs/{pk}/") for _ in range(options.repeats)]
        browser.close()
    print(f"{options.points} points, filed in {seconds} s; medians of {options.repeats}:")
    for name in found[0]:
        print(f"| {name} | {median(each[name] for each in found):.0f} |")
    print(f"Load of the machine: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
