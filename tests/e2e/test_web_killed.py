"""kill -9 of the web server while labelers submit: what was acknowledged is stored, once; nobody waits for long."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.house import House, open_house

KILLS = 6
CHOICES = ("left_significantly", "left_slightly", "left_negligibly", "unsure", "right_slightly")
PROJECT = "/api/v1/projects/helpful-answers"


class Labeler(threading.Thread):
    """Answers pair after pair over the API; an answer without a receipt is sent again with the same token."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(daemon=True)
        self.house = house
        self.token = ""
        self.token = call(house, "POST", "/api/v1/login/", {"username": name, "password": house.passwords[name]})[
            "token"
        ]
        self.acknowledged: dict[str, str] = {}
        self.retries = 0
        self.stopping = threading.Event()
        self.problem = ""

    def run(self) -> None:
        try:
            self.insist("POST", f"{PROJECT}/guidelines/", {"number": 1})
            while not self.stopping.is_set():
                pair = self.insist("POST", f"{PROJECT}/next/", {})["pair"]
                if pair is None:
                    return
                choice = CHOICES[len(self.acknowledged) % len(CHOICES)]
                self.insist("POST", f"{PROJECT}/judgments/", {"token": pair["token"], "choice": choice})
                self.acknowledged[pair["token"]] = choice
        except Exception as error:  # told by the test, which looks at it
            self.problem = repr(error)

    def insist(self, method: str, path: str, data: Any) -> Any:
        deadline = time.monotonic() + 60
        while True:
            try:
                return call(self.house, method, path, data, self.token)
            except urllib.error.HTTPError:
                raise
            except (OSError, HTTPException):
                self.retries += 1
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def call(house: House, method: str, path: str, data: Any = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Token {token}"} if token else {})
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(house.url + path, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


@pytest.mark.timeout(300)
def test_no_acknowledged_answer_is_lost(tmp_path: Path) -> None:
    with open_house(tmp_path / "data", PLUMBLINE_DEMO_WHEEL=str(tmp_path / "none.whl")) as house:
        labelers = [Labeler(house, name) for name in ("mina", "tomas")]
        for labeler in labelers:
            labeler.start()
        for number in range(KILLS):
            wait_for_answers(labelers, more=5)
            master, *workers = house.find_pids("gunicorn")
            os.kill(master if number % 3 == 2 else workers[0], signal.SIGKILL)
        wait_for_answers(labelers, more=5)
        for labeler in labelers:
            labeler.stopping.set()
            labeler.join(90)
            assert not labeler.problem, labeler.problem
        acknowledged = {token: choice for labeler in labelers for token, choice in labeler.acknowledged.items()}
        stored = read_judgments(house)
    retries = sum(labeler.retries for labeler in labelers)
    print(f"{KILLS} kills, {len(acknowledged)} answers acknowledged, {retries} retries")
    assert len(stored) == len({row["comparison"] for row in stored}), "one vote a pair, or it was stored twice"
    assert {row["token"]: row["choice"] for row in stored}.items() >= acknowledged.items()
    assert len(stored) - len(acknowledged) <= len(labelers), "at most one answer each whose receipt was lost"


def wait_for_answers(labelers: list[Labeler], more: int) -> None:
    """Until each labeler got ``more`` receipts than now."""
    goals = [len(labeler.acknowledged) + more for labeler in labelers]
    deadline = time.monotonic() + 90
    while any(len(labeler.acknowledged) < goal for labeler, goal in zip(labelers, goals, strict=True)):
        assert not any(labeler.problem for labeler in labelers), [labeler.problem for labeler in labelers]
        assert time.monotonic() < deadline, "the web server did not come back"
        time.sleep(0.02)


def read_judgments(house: House) -> list[dict[str, Any]]:
    token = call(house, "POST", "/api/v1/login/", {"username": "lead", "password": house.passwords["lead"]})["token"]
    path, found = f"{PROJECT}/judgments/?page_size=200", []
    while path:
        page = call(house, "GET", path, token=token)
        found += page["results"]
        path = (page["next"] or "").removeprefix(house.url)
    return found
