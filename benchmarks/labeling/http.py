"""A request over a connection of its own, on asyncio's streams: nothing between the clock and the server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def find_cookies(self) -> dict[str, str]:
        pairs = (value.partition(";")[0] for name, value in self.headers if name == "set-cookie")
        return {name: value for name, _equals, value in (pair.partition("=") for pair in pairs)}


async def ask(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes = b"", *, hang_up_after: float | None = None
) -> Reply | None:
    """The whole reply; None where the caller hung up ``hang_up_after`` seconds after sending, without reading.

    Raises OSError where there is no server, or it went away in the middle.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close"]
        lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        if hang_up_after is not None:
            await asyncio.sleep(hang_up_after)
            return None
        return _read(await reader.read(-1))
    finally:
        writer.close()


def _read(raw: bytes) -> Reply:
    head, found, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _colon, value in (line.partition(":") for line in lines)]
    length = dict(headers).get("content-length", "0" if " 204 " in first else "-1")
    if not found or len(body) != int(length):
        raise ConnectionResetError("the reply broke off")
    return Reply(int(first.split(" ")[1]), headers, body)
