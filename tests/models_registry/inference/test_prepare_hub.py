"""Taking a model from a hub: against a small hub on the loopback that speaks the real one's protocol."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models_registry.inference.hub_model import check_hub_reference
from models_registry.inference.program import ProgramError
from tests.models_registry.inference.jobs import make_job, program_environment, read_cause, read_result

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class TinyHub(ThreadingHTTPServer):
    """Serves the models in ``models`` (id to files) and remembers what was fetched."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: dict[str, dict[str, bytes]] = {}
        self.fetched: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: TinyHub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        hub_id, _, rest = path.removeprefix("/api/models").lstrip("/").partition("/re")
        files = self.server.models.get(hub_id)
        if files is None:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        if rest.startswith("vision/"):
            if rest != "vision/main":
                return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
            body = {"id": hub_id, "sha": COMMIT, "siblings": siblings, "private": False, "downloads": 0, "tags": []}
            return self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        name = rest.removeprefix("solve/main/")
        content = files[name]
        if with_body:
            self.server.fetched.append(name)
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content if with_body else b"", {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, len(content))

    def _send(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(policy: Path) -> Iterator[TinyHub]:
    hub = TinyHub()
    files = {path.name: path.read_bytes() for path in policy.iterdir()}
    hub.models["house/tiny"] = files | {
        "README.md": b"---\nlicense: mit\n---\n",
        "pytorch_model.bin": b"pickle",
        "onnx/config.json": b"{}",
        "modeling_tiny.py": b"raise SystemExit",
    }
    hub.models["house/pickled"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    thread = threading.Thread(target=hub.serve_forever)
    thread.start()
    yield hub
    hub.shutdown()
    thread.join()
    hub.server_close()


def prepare_from(address: str, folder: Path, hub_id: str, cache: Path, revision: str = "main") -> int:
    """Runs the program as a process of its own, since the hub library reads its address when it is imported."""
    make_job(folder, {"source": "hub", "ref": hub_id, "revision": revision})
    environment = program_environment() | {"HF_ENDPOINT": address, "HF_HOME": str(cache)}
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "models_registry.inference.prepare", str(folder)]
    return subprocess.run(command, env=environment, timeout=120, check=False).returncode


def test_a_model_comes_from_the_hub_and_later_from_the_cache(tmp_path: Path, hub: TinyHub) -> None:
    cache = tmp_path / "cache"
    assert prepare_from(hub.address, tmp_path / "first", "house/tiny", cache) == 0
    result = read_result(tmp_path / "first")
    assert result["origin"] == {"name": "house/tiny", "revision": "main", "commit": COMMIT}
    assert result["licence"] == "mit"
    names = {path.name for path in (tmp_path / "first" / "model").iterdir()}
    assert names == set(hub.fetched)
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= names
    assert not names & {"pytorch_model.bin", "modeling_tiny.py"}
    assert not any(path.is_symlink() for path in (tmp_path / "first" / "model").iterdir())

    closed = "http://127.0.0.1:9"  # the discard port: nothing listens
    assert prepare_from(closed, tmp_path / "second", "house/tiny", cache) == 0
    assert read_result(tmp_path / "second")["sha256"] == result["sha256"]
    assert read_result(tmp_path / "second")["origin"]["commit"] == COMMIT


def test_a_hub_out_of_reach_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert prepare_from("http://127.0.0.1:9", tmp_path / "job", "house/tiny", tmp_path / "cache") == 1
    code, text = read_cause(tmp_path / "job")
    assert code == "unreachable"
    assert "Register a local folder" in text
    assert "house/tiny" in text


@pytest.mark.parametrize(
    ("hub_id", "revision", "code", "words"),
    [
        ("house/pickled", "main", "pickle", "pytorch_model.bin"),
        ("house/absent", "main", "not_found", "house/absent"),
        ("house/tiny", "v9", "not_found", "no revision v9"),
    ],
)
def test_what_the_hub_cannot_give_is_said(
    tmp_path: Path, hub: TinyHub, hub_id: str, revision: str, code: str, words: str
) -> None:
    assert prepare_from(hub.address, tmp_path / "job", hub_id, tmp_path / "cache", revision) == 1
    assert read_cause(tmp_path / "job")[0] == code
    assert words in read_cause(tmp_path / "job")[1]
    assert hub.fetched == []


@pytest.mark.parametrize("hub_id", ["gpt2", "house/tiny", "HuggingFaceTB/SmolLM2-135M-Instruct", "a/b.c_d"])
def test_hub_ids_that_pass(hub_id: str) -> None:
    assert check_hub_reference(hub_id, None) == (hub_id, "main")


@pytest.mark.parametrize(
    "hub_id", ["", "/etc", "a/b/c", "a/..", "a b", "a/b?x", "-a/b", "a--b", None, 3, "a/" + "b" * 200]
)
def test_hub_ids_that_do_not(hub_id: object) -> None:
    with pytest.raises(ProgramError, match="not a hub id"):
        check_hub_reference(hub_id, "main")
