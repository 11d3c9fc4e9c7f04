"""Labelers as asyncio tasks: they read, answer, change their minds, lose their connection, and send again.

Half of them come through the API, as a program's would: `next`, then `judgments`. The others use the compare page as
its scripts do: the pair that will follow is fetched ahead, and the answer's reply is the next desk. Each request is a
new connection, as after a pause of 10 s.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from benchmarks.labeling.audit import Log
from benchmarks.labeling.http import Reply, ask
from benchmarks.labeling.stage import Person

CHOICES = ("left_significantly", "left_slightly", "left_negligibly", "unsure", "right_negligibly", "right_slightly")
SKIPS, UNDOS, DOUBLED, HUNG_UP, HEARTBEATS = 0.04, 0.04, 0.05, 0.05, 0.2
"""Shares of turns in which a labeler skips, takes the answer back, sends it twice at once, loses the connection after
sending and sends it again, and in which the page says that they are still there."""
PATIENCE_S = 30
SLUG = "load"


@dataclass
class Record:
    """What the clients saw: (operation, when it began, seconds) of each good reply, and what went wrong."""

    timings: list[tuple[str, float, float]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    """Replies that were not expected, by operation and status."""
    broken: int = 0
    """Requests without a reply: refused, reset, or none in PATIENCE_S."""
    answers_under_way: int = 0

    def find_first_reply(self, after: float) -> float | None:
        """When the first good reply to a request that began after then came; None before there is one."""
        ends = [began + seconds for _name, began, seconds in self.timings[-500:] if began > after]
        return min(ends, default=None)


class Labeler(ABC):
    """One person's turns until ``until_stopped`` is set; all that was begun is then sent to its end."""

    def __init__(self, person: Person, port: int, record: Record, think_s: float) -> None:
        self.log = Log(person.id)
        self._person, self._port, self._record, self._think_s = person, port, record, think_s
        self._draw = random.Random(person.id)

    async def work(self, stop: asyncio.Event) -> None:
        await self._wait(self._draw.random() * self._think_s, stop)
        token = await self.fetch_pair()
        while token and not stop.is_set():
            token = await self._take_turn(token, stop)

    @abstractmethod
    async def fetch_pair(self) -> str:
        """The token of the pair that they hold, or of the next; empty where nothing is left."""

    @abstractmethod
    async def answer(self, token: str, choice: str) -> str:
        """Votes, and returns the token of the next pair."""

    @abstractmethod
    async def skip(self, token: str) -> str: ...

    @abstractmethod
    async def undo(self, token: str) -> str:
        """Takes the answer back; returns the new token of its pair."""

    @abstractmethod
    async def beat(self, token: str) -> None: ...

    @abstractmethod
    async def look_ahead(self, token: str) -> None:
        """Fetches what will probably follow, where that is kept ready."""

    async def _take_turn(self, token: str, stop: asyncio.Event) -> str:
        # A sum of four draws: nobody answers at once, and few take more than twice the mean.
        seconds = sum(self._draw.expovariate(4 / self._think_s) for _part in range(4))
        await self.look_ahead(token)
        await self._wait(seconds / 2, stop)
        if self._draw.random() < HEARTBEATS:
            await self.beat(token)
        await self._wait(seconds / 2, stop)
        self.log.sent.add(token)
        if self._draw.random() < SKIPS:
            following = await self.skip(token)
            self.log.skips.add(token)
            return following
        choice = self._draw.choice(CHOICES)
        following = await self.answer(token, choice)
        self.log.votes[token] = choice
        if self._draw.random() < UNDOS:
            following = await self.undo(token)
            self.log.undone.add(token)
        return following

    async def _wait(self, seconds: float, stop: asyncio.Event) -> None:
        """Thinks; not longer than the whole benchmark."""
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)

    async def _insist(
        self, operation: str, method: str, path: str, headers: dict[str, str], body: bytes, *expected: int
    ) -> Reply:
        """Sends until it is answered as expected, as page and programs do; an answer sometimes twice, or hung up on."""
        is_answer = operation.startswith("submit")
        if is_answer and self._draw.random() < HUNG_UP:
            await self._hang_up(method, path, headers, body)
        twin = None
        if is_answer and self._draw.random() < DOUBLED:
            twin = asyncio.create_task(self._send(f"{operation}, doubled", method, path, headers, body, *expected))
        try:
            while (reply := await self._send(operation, method, path, headers, body, *expected)) is None:
                await asyncio.sleep(0.1 + 0.2 * self._draw.random())
        finally:
            if twin:
                await twin
        return reply

    async def _hang_up(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        try:
            await ask(self._port, method, path, headers, body, hang_up_after=0.03 * self._draw.random())
        except OSError:
            self._record.broken += 1

    async def _send(
        self, operation: str, method: str, path: str, headers: dict[str, str], body: bytes, *expected: int
    ) -> Reply | None:
        counted = int(operation.startswith("submit"))
        self._record.answers_under_way += counted
        began = time.perf_counter()
        try:
            reply = await asyncio.wait_for(ask(self._port, method, path, headers, body), PATIENCE_S)
        except (OSError, TimeoutError):
            self._record.broken += 1
            return None
        finally:
            self._record.answers_under_way -= counted
        if reply is None or reply.status not in (expected or (200,)):
            self._record.errors[f"{operation}: {reply.status if reply else 'nothing'}"] += 1
            return None
        self._record.timings.append((operation, began, time.perf_counter() - began))
        return reply


class Program(Labeler):
    """Through the API, with a token."""

    async def fetch_pair(self) -> str:
        return self._read_token(await self._post("next", "next/", {}))

    async def answer(self, token: str, choice: str) -> str:
        await self._post("submit", "judgments/", {"token": token, "choice": choice, "seconds": 5.0}, 201)
        return await self.fetch_pair()

    async def skip(self, token: str) -> str:
        await self._post("skip", "skip/", {"token": token, "reason": "unfit"}, 201)
        return await self.fetch_pair()

    async def undo(self, token: str) -> str:
        return self._read_token(await self._post("undo", "judgments/undo/", {"token": token}))

    async def beat(self, token: str) -> None:
        await self._post("heartbeat", "heartbeat/", {"token": token})

    async def look_ahead(self, token: str) -> None:
        return None

    async def _post(self, operation: str, path: str, data: dict[str, Any], *expected: int) -> Reply:
        headers = {"Authorization": f"Token {self._person.token}", "Content-Type": "application/json"}
        where = f"/api/v1/projects/{SLUG}/{path}"
        return await self._insist(operation, "POST", where, headers, json.dumps(data).encode(), *expected)

    def _read_token(self, reply: Reply) -> str:
        pair = reply.json()["pair"]
        return pair["token"] if pair else ""


class Reader(Labeler):
    """On the compare page, with a session; what htmx would swap in is rendered for each answer."""

    _secret = _ticket = ""

    async def fetch_pair(self) -> str:
        reply = await self._get("page", "")
        self._secret = reply.find_cookies()["csrftoken"]
        return self._read_token(reply)

    async def look_ahead(self, token: str) -> None:
        reply = await self._get("ahead, page", f"ahead/?token={token}", 200, 204)
        self._ticket = dict(reply.headers).get("x-compare-ahead", "")

    async def answer(self, token: str, choice: str) -> str:
        form = {"token": token, "choice": choice, "seconds": "5.0", "ahead": self._ticket}
        return self._read_token(await self._post("submit and next, page", "", form))

    async def skip(self, token: str) -> str:
        return self._read_token(await self._post("skip, page", "skip/", {"token": token, "reason": "unfit"}))

    async def undo(self, token: str) -> str:
        return self._read_token(await self._post("undo, page", "undo/", {"token": token}))

    async def beat(self, token: str) -> None:
        await self._post("heartbeat, page", "heartbeat/", {"token": token})

    async def _get(self, operation: str, path: str, *expected: int) -> Reply:
        headers = {"Cookie": f"sessionid={self._person.session}", "Accept-Language": "en"}
        return await self._insist(operation, "GET", f"/projects/{SLUG}/compare/{path}", headers, b"", *expected)

    async def _post(self, operation: str, path: str, form: dict[str, str]) -> Reply:
        headers = {
            "Cookie": f"sessionid={self._person.session}; csrftoken={self._secret}",
            "X-CSRFToken": self._secret,
            "Content-Type": "application/x-www-form-urlencoded",
            "HX-Request": "true",
            "Accept-Language": "en",
        }
        where = f"/projects/{SLUG}/compare/{path}"
        return await self._insist(operation, "POST", where, headers, urlencode(form).encode())

    def _read_token(self, reply: Reply) -> str:
        found = re.search(rb'data-token="([0-9a-f-]*)"', reply.body)
        return found[1].decode() if found else ""


def make_labeler(person: Person, port: int, record: Record, think_s: float) -> Labeler:
    """By turns a program and a reader of the page."""
    return (Program if person.id % 2 else Reader)(person, port, record, think_s)
