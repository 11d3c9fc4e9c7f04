"""An S3 server of moto's, spoken to over HTTP like any other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

BUCKET = "house"


@contextmanager
def run_s3(address: str = "127.0.0.1") -> Iterator[str]:
    """Its address, while it runs in a thread of this process; it holds one empty bucket."""
    # Its import sets made-up keys of its own, which are none of the house's.
    kept = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    for name, value in kept.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    try:
        urlopen(Request(f"{url}/{BUCKET}", method="PUT"), timeout=20).close()
        yield url
    finally:
        server.stop()
