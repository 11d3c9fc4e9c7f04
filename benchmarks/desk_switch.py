"""How long a labeler waits from the press of Enter to the next pair painted, with and without the pair fetched ahead.

``python -m benchmarks.desk_switch [--switches 60]``: starts the house as ``make run`` does, in a folder of its own with
the sample project's 342 real pairs, and answers them by keyboard in Chromium. Blocks with and without take turns, so
that both see the same load; ``delay`` is added to every request, as a line to a server far away would.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import Page, sync_playwright

from config.find_browser import find_browser
from tests.e2e.house import House, open_house

DELAYS_MS = (0, 100)
BLOCK = 15
READING_MS = 1500
"""Between two answers; a person takes longer, and by then the next pair is there."""

# From the key's own time stamp to the second frame after the left text was replaced: by then it is on the screen.
MEASURE = """() => {
  window.took = [];
  let pressed = 0;
  addEventListener("keydown", (event) => { if (event.key === "Enter") pressed = event.timeStamp; }, true);
  let shown = document.getElementById("left-text");
  new MutationObserver(() => {
    const now = document.getElementById("left-text");
    if (now === shown || !pressed) return;
    shown = now;
    const start = pressed;
    pressed = 0;
    requestAnimationFrame(() => requestAnimationFrame(() => took.push(performance.now() - start)));
  }).observe(document.body, { childList: true, subtree: true });
}"""


def measure(switches: int) -> list[str]:
    took: dict[tuple[int, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, open_house(Path(folder) / "data") as house, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(find_browser()), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        open_desk(page, house)
        line = page.context.new_cdp_session(page)
        for block in range(-(-switches // BLOCK) * 2 * len(DELAYS_MS)):
            delay, with_ahead = DELAYS_MS[block // 2 % len(DELAYS_MS)], block % 2 == 0
            conditions = {"offline": False, "latency": delay, "downloadThroughput": -1, "uploadThroughput": -1}
            line.send("Network.emulateNetworkConditions", conditions)
            page.unroute_all()
            if not with_ahead:
                page.route("**/ahead/**", lambda route: route.abort())
            page.reload()
            took.setdefault((delay, with_ahead), []).extend(answer_block(page))
        browser.close()
    return [describe(*which, times) for which, times in sorted(took.items())]


def open_desk(page: Page, house: House) -> None:
    """Signs in and reads the guidelines."""
    page.goto(f"{house.url}/projects/helpful-answers/compare/")
    page.get_by_label("Username").fill("mina")
    page.get_by_label("Password").fill(house.passwords["mina"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="I have read them").click()
    page.wait_for_selector("#left-text")


def answer_block(page: Page) -> list[float]:
    page.evaluate(MEASURE)
    for done in range(BLOCK):
        page.wait_for_timeout(READING_MS)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => took.length > {done} && document.getElementById('desk').dataset.token")
    times: list[float] = page.evaluate("took")
    return times


def describe(delay: int, with_ahead: bool, times: list[float]) -> str:
    cells = (
        delay,
        "yes" if with_ahead else "no",
        len(times),
        f"{median(times):.0f}",
        f"{quantiles(times, n=20)[-1]:.0f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=60)
    options = parser.parse_args()
    print("| delay, ms | fetched ahead | switches | median, ms | p95, ms |\n|---|---|---|---|---|")
    print("\n".join(measure(options.switches)))
    print(f"\nLoad of the machine: {os.getloadavg()[0]:.1f}")
