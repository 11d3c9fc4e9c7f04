"""The broker made of files: nothing half-read, nothing that ends a worker, order kept."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from django.conf import settings as django_settings
from kombu import Connection, Exchange, Queue
from kombu.simple import SimpleQueue

from config.broker import build_files_options, register_files_broker
from config.celery import app, build_broker_settings


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    register_files_broker()
    return build_files_options(tmp_path)


@pytest.fixture
def simple_queue(options: dict[str, Any]) -> Iterator[SimpleQueue]:
    with Connection("files://", transport_options=options) as connection:
        yield SimpleQueue(connection, Queue("short", routing_key="short"))  # type: ignore[arg-type]


def read_all(queue: SimpleQueue) -> list[Any]:
    found: list[Any] = []
    while True:
        try:
            message = queue.get(block=False)
        except (Empty, queue.Empty):
            return found
        message.ack()
        found.append(message.payload)


def test_messages_come_in_the_order_they_were_sent(simple_queue: SimpleQueue) -> None:
    for number in range(20):
        simple_queue.put({"number": number})
    assert [payload["number"] for payload in read_all(simple_queue)] == list(range(20))


def test_folders_are_for_the_owner_alone(tmp_path: Path, simple_queue: SimpleQueue) -> None:
    simple_queue.put({})
    for path in (tmp_path / "broker").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("content", [b"", b'{"body": "abc', b"[1, 2]", b"\xff\xfe", b'{"body": ""}'])
def test_unreadable_message_is_left_out(tmp_path: Path, simple_queue: SimpleQueue, content: bytes) -> None:
    (tmp_path / "broker/messages/00000000000000000000-torn.short.msg").write_bytes(content)
    simple_queue.put({"number": 1})
    assert read_all(simple_queue) == [{"number": 1}]
    assert list((tmp_path / "broker/messages").iterdir()) == []
    assert list((tmp_path / "broker/taken").iterdir()) == []


def test_a_folder_that_is_removed_comes_back_with_its_bindings(tmp_path: Path, options: dict[str, Any]) -> None:
    with (
        Connection("files://", transport_options=options) as worker,
        Connection("files://", transport_options=options) as web,
    ):
        queue = SimpleQueue(worker, Queue("short", Exchange("work"), routing_key="short"))  # type: ignore[arg-type]
        sender = SimpleQueue(web, Queue("short", Exchange("work"), routing_key="short"))  # type: ignore[arg-type]
        shutil.rmtree(tmp_path / "broker")
        assert read_all(queue) == []
        sender.put({"number": 1})
        assert read_all(queue) == [{"number": 1}]
        shutil.rmtree(tmp_path / "broker")
        sender.put({"number": 2})
        assert read_all(queue) == [{"number": 2}]


def test_torn_list_of_bindings_is_written_anew(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "broker/exchanges/news.exchange").write_text("")
    with Connection("files://", transport_options=options) as connection:
        channel: Any = connection.default_channel
        channel._queue_bind("news", "key", "", "short")
        channel._queue_bind("news", "key", "", "short")
        assert [row.queue for row in channel.get_table("news")] == ["short"]


def test_nothing_is_lost_or_doubled_under_rivalry(options: dict[str, Any]) -> None:
    """Messages big enough to be seen half-written: kombu's own transport loses some of these."""
    padding, received, done = "x" * 200_000, list[str](), threading.Event()

    def send(sender: int) -> None:
        with Connection("files://", transport_options=options) as connection:
            queue = connection.SimpleQueue("short")
            for number in range(40):
                queue.put({"name": f"{sender}-{number}", "padding": padding})

    def receive() -> None:
        with Connection("files://", transport_options=options) as connection:
            queue = connection.SimpleQueue("short")
            while not done.is_set():
                received.extend(payload["name"] for payload in read_all(queue))
            received.extend(payload["name"] for payload in read_all(queue))

    receivers = [threading.Thread(target=receive) for _number in range(2)]
    senders = [threading.Thread(target=send, args=(number,)) for number in range(3)]
    for thread in receivers + senders:
        thread.start()
    for thread in senders:
        thread.join()
    done.set()
    for thread in receivers:
        thread.join()
    assert sorted(received) == sorted(f"{sender}-{number}" for sender in range(3) for number in range(40))


def test_an_address_without_a_host_is_nothing_to_warn_of(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with Connection("files://", transport_options=options) as connection:
        assert connection.info()["transport"] == "files"
        connection.SimpleQueue("short").put({})
    assert not [record for record in caplog.records if record.name.startswith("kombu")]


def test_brokers_in_two_folders_know_nothing_of_each_other(tmp_path: Path) -> None:
    """Kombu keeps bindings by process: the second folder's queue would count as bound, and swallow its messages."""
    register_files_broker()
    for name in ("one", "two"):
        with Connection("files://", transport_options=build_files_options(tmp_path / name)) as connection:
            queue = connection.SimpleQueue("short")
            queue.put({"folder": name})
            assert read_all(queue) == [{"folder": name}]


def test_app_acknowledges_early_and_takes_one_at_a_time() -> None:
    conf: Any = app.conf
    assert conf.task_acks_late is False
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.task_ignore_result is True
    assert conf.result_backend is None
    assert conf.worker_cancel_long_running_tasks_on_connection_loss is False
    assert conf.broker_url == django_settings.CELERY_BROKER_URL
    assert sorted(queue.name for queue in conf.task_queues) == ["gpu", "short"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1/0", {"visibility_timeout": 3600, "socket_keepalive": True}),
        ("amqp://127.0.0.1//", {"confirm_publish": True}),
        ("files://", {"polling_interval": 0.2}),
    ],
)
def test_each_kind_of_broker_gets_its_options(url: str, expected: dict[str, Any]) -> None:
    made = build_broker_settings(url)
    assert expected.items() <= made["broker_transport_options"].items()
    assert ("task_default_queue_type" in made) == url.startswith("amqp")
    assert made.get("worker_disable_prefetch", False) == url.startswith("redis")
