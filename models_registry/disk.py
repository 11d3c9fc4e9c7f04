"""Telling a full disk from every other failure, whoever met it first: the file system, SQLite or PostgreSQL."""

from __future__ import annotations

import errno
import sqlite3

_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_SQLSTATE_DISK_FULL = "53100"
"""PostgreSQL's code, appendix A of its manual."""


def is_disk_full(error: BaseException | None) -> bool:
    """Whether the error, or one that it was raised from, says that there is no room to write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _ERRNOS:
            return True
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        if getattr(error, "sqlstate", None) == _SQLSTATE_DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
