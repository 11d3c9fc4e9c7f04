"""Cutting an untrusted file, plain or gzip, into lines of bytes under caps."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from annotate.importing.problems import FileProblem

MAX_FILE_BYTES = 200_000_000
"""Of the file as stored and, for gzip, of what comes out of it."""
MAX_LINE_BYTES = 1_000_000
MAX_GZIP_RATIO = 100
_RATIO_COUNTS_FROM = 1_000_000
"""Below this many bytes out, a tightly packed file is merely a repetitive one."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


BinarySource = IO[bytes] | gzip.GzipFile


def read_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yields (line number from 1, bytes without the line end); None stands for a line beyond MAX_LINE_BYTES.

    Lines end at LF or CRLF alone: U+2028 and its like are text. The first line keeps its byte order mark.
    Raises FileProblem where the file cannot be read on.
    """
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        cap = _Cap(path.stat().st_size, is_gzip)
        if is_gzip:
            with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                yield from _cut_lines(stream, cap)
        else:
            yield from _cut_lines(raw, cap)


class _Cap:
    """Counts the bytes that came out, and stops at too many."""

    def __init__(self, stored_bytes: int, is_gzip: bool) -> None:
        self.total = 0
        self._stored = stored_bytes
        self._is_gzip = is_gzip

    def count(self, size: int) -> None:
        self.total += size
        if self.total > MAX_FILE_BYTES:
            raise FileProblem("file_too_large", f"The file holds more than {MAX_FILE_BYTES // 1_000_000} MB of text.")
        if self._is_gzip and self.total > max(_RATIO_COUNTS_FROM, MAX_GZIP_RATIO * self._stored):
            raise FileProblem("gzip_ratio", f"The file grows to more than {MAX_GZIP_RATIO} times its size.")


def _cut_lines(stream: BinarySource, cap: _Cap) -> Iterator[tuple[int, bytes | None]]:
    number = 0
    while True:
        line = _read_line(stream, cap, number + 1)
        if line == b"":
            return
        number += 1
        if number == 1 and line is not None and line.startswith(_UTF16_MARKS):
            raise FileProblem("not_utf8_file", "The file looks like UTF-16. Save it as UTF-8.")
        yield number, None if line is None else line.removesuffix(b"\n").removesuffix(b"\r")


def _read_line(stream: BinarySource, cap: _Cap, number: int) -> bytes | None:
    """One line with its end; b"" at the end of the file; None for a line that is too long, which is read past."""
    try:
        line = stream.readline(MAX_LINE_BYTES + 2)
        cap.count(len(line))
        if len(line.rstrip(b"\r\n")) <= MAX_LINE_BYTES:
            return line
        piece = line
        while piece and not piece.endswith(b"\n"):
            piece = stream.readline(MAX_LINE_BYTES)
            cap.count(len(piece))
        return None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileProblem("gzip_damaged", f"The compressed data breaks off or is damaged at line {number}.") from error


def strip_mark(line: bytes) -> tuple[bytes, bool]:
    """The first line without its UTF-8 byte order mark, and whether there was one."""
    return line.removeprefix(_BYTE_ORDER_MARK), line.startswith(_BYTE_ORDER_MARK)
