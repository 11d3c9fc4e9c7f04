"""Where other machines reach this one: for programs of several machines that talk to each other."""

from __future__ import annotations

import socket
import struct
import sys
from urllib.parse import urlsplit

from django.conf import settings

LOOPBACK = "127.0.0.1"
_SIOCGIFADDR = 0x8915


def find_own_address(peer: str = "") -> str:
    """The address by which this machine reaches ``peer``, else the database, else the broker; nothing is sent.

    Without any of them on another machine it is the loopback's. WORKER_ADDRESS says it outright.
    """
    if settings.WORKER_ADDRESS:
        return str(settings.WORKER_ADDRESS)
    broker = urlsplit(settings.CELERY_BROKER_URL).hostname or ""
    for host in (peer, settings.DATABASES["default"].get("HOST", ""), broker):
        address = _find_way(host)
        if address != LOOPBACK:
            return address
    return LOOPBACK


def find_interface(address: str) -> str:
    """The name of the network interface of this host name or IPv4 address of ours; empty where none has it."""
    if sys.platform != "linux":
        return ""
    import fcntl

    try:
        address = socket.gethostbyname(address)
    except OSError:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _number, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return ""


def find_free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("", 0))
        return int(found.getsockname()[1])


def _find_way(host: str) -> str:
    if not host or host.startswith("/"):  # a socket in the file system
        return LOOPBACK
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((host, 9))
            return str(way.getsockname()[0])
    except OSError:
        return LOOPBACK
