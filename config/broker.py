"""``files://``: a broker that needs no server. Messages are files in DATA_DIR/broker, for the workers of one machine.

Kombu's own filesystem transport writes messages in place, so a reader can take a half-written one, and an empty file
ends the worker; it also names messages by a clock that starts anew at each boot. Here a message is written under
another name and renamed, names sort by the time of day, and what cannot be read is left out with a word in the log. A
message that gets lost does no harm: see models_registry/leases.py.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual

from config.host_mark import HostMark
from config.shared_files import hold_lock, write_in_one_step

log = logging.getLogger(__name__)

POLL_S = 0.2


def register_files_broker() -> None:
    TRANSPORT_ALIASES["files"] = "config.broker:Transport"


def make_broker_folder(data_dir: Path) -> Path:
    """The folder below ``data_dir``, made where it is missing, for the owner's eyes only."""
    root = data_dir / "broker"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root


def build_files_options(data_dir: Path) -> dict[str, Any]:
    """The transport options of a broker below ``data_dir``; makes its folders."""
    root = make_broker_folder(data_dir)
    folders = {name: root / name for name in ("messages", "taken", "exchanges")}
    for folder in folders.values():
        folder.mkdir(mode=0o700, exist_ok=True)
    return {
        "data_folder_in": str(folders["messages"]),
        "data_folder_out": str(folders["messages"]),
        "processed_folder": str(folders["taken"]),
        "control_folder": str(folders["exchanges"]),
        "polling_interval": POLL_S,
    }


_bound: dict[Path, list[Any]] = {}
"""What this process has bound, by the exchange's file: it holds where somebody has removed the broker's folder."""


class Channel(filesystem.Channel):
    """Kombu's channel with messages that appear and disappear in one step, and folders that come back when removed."""

    def _put(self, queue: str, payload: dict[str, Any], **_kwargs: Any) -> None:  # type: ignore[override]
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}.{queue}.msg"
        self._restore_folders()
        write_in_one_step(folder / name, json.dumps(payload))

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        folder, taken = Path(self.data_folder_in), Path(self.processed_folder)
        self._restore_folders()
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:  # removed in this moment
            raise Empty from None
        for name in names:
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            try:
                os.rename(folder / name, taken / name)  # whoever's rename succeeds has the message
            except FileNotFoundError:
                continue
            payload = _read_message(taken / name)
            (taken / name).unlink(missing_ok=True)
            if payload is not None:
                return payload
        raise Empty

    def get_table(self, exchange: str) -> list[Any]:
        """The exchange's bindings: those in its file, and what this process has bound."""
        rows = self._read_table(exchange)
        return rows + [binding for binding in _bound.get(self._locate_table(exchange), []) if binding not in rows]

    def _read_table(self, exchange: str) -> list[Any]:
        """One that cannot be read counts as empty and is written anew at the next binding."""
        try:
            rows = json.loads(self._locate_table(exchange).read_text(encoding="utf-8"))
            return [filesystem.exchange_queue_t(*row) for row in rows]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            log.warning("The bindings of exchange %s could not be read: %s", exchange, error)
            return []

    def _queue_bind(self, exchange: str, routing_key: str | None, pattern: str | None, queue: str | None) -> None:
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._restore_folders()
        known = _bound.setdefault(self._locate_table(exchange), [])
        if binding not in known:
            known.append(binding)
        with self._lock_exchanges():
            table = self._read_table(exchange)
            if binding not in table:
                write_in_one_step(self._locate_table(exchange), json.dumps([binding, *table]))

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *_args: Any, **_kwargs: Any) -> None:
        self._purge(queue)
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        known = _bound.get(self._locate_table(exchange), [])
        if binding in known:
            known.remove(binding)
        with self._lock_exchanges():
            table = self._read_table(exchange)
            if binding in table:
                kept = [row for row in table if row != binding]
                write_in_one_step(self._locate_table(exchange), json.dumps(kept))

    def _restore_folders(self) -> None:
        """Somebody may clear the broker away while the house runs; DATA_DIR itself is never made here."""
        folders = [Path(self.data_folder_in), Path(self.processed_folder), Path(self.control_folder)]
        if all(folder.is_dir() for folder in folders):
            return
        log.warning("The broker's folder %s was removed; it is made anew.", folders[0].parent)
        folders[0].parent.mkdir(mode=0o700, exist_ok=True)
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)

    def _locate_table(self, exchange: str) -> Path:
        path: Path = self._exchange_file(exchange)  # type: ignore[attr-defined]  # in kombu, not yet in its types
        return path

    def _lock_exchanges(self) -> AbstractContextManager[None]:
        return hold_lock(Path(self.control_folder) / "lock")


class Transport(filesystem.Transport):
    Channel = Channel
    driver_type = "files"
    driver_name = "files"

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        # Kombu shares this between all connections of a process and notes a binding before its file is written: a
        # second thread then sends into a queue that is not there yet, and the message is gone.
        self.state = virtual.BrokerState()
        self._mark = HostMark(Path(client.transport_options["control_folder"]).parent)

    def establish_connection(self) -> Any:
        """Raises SecondHostError where the folder serves another host."""
        self._mark.claim()
        return super().establish_connection()

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """A worker asks here for messages all its life. Raises SecondHostError as soon as another host took over."""
        self._mark.renew()
        super().drain_events(connection, timeout=timeout, **kwargs)

    @property
    def default_connection_params(self) -> dict[str, Any]:
        """None: with a default host kombu warns at every start that the address names no host."""
        return {}


def _read_message(path: Path) -> dict[str, Any] | None:
    try:
        payload = json.loads(path.read_bytes())
        if isinstance(payload, dict) and {"body", "headers", "properties"} <= payload.keys():
            return payload
        log.warning("The message %s is not one and was left out.", path.name)
    except (OSError, ValueError) as error:
        log.warning("The message %s could not be read and was left out: %s", path.name, error)
    return None
