"""Takes a model from a Hugging Face hub, or from the local cache of one where no hub can be reached.

Only the files that a model folder may hold are fetched, at one resolved commit; the cache keeps them, so that a second
preparation of the same model downloads nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from models_registry.inference.model_files import select_model_files
from models_registry.inference.program import Program, ProgramError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_HUB_ID = re.compile(rf"{_PART}(?:/{_PART})?")
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,120}")


def check_hub_reference(hub_id: object, revision: object) -> tuple[str, str]:
    """The id and the revision (``main`` when none is given), or ProgramError ``bad_config`` saying which is wrong."""
    if not isinstance(hub_id, str) or not _HUB_ID.fullmatch(hub_id) or ".." in hub_id or "--" in hub_id:
        raise ProgramError("bad_config", f"ref: {hub_id!r} is not a hub id such as organisation/model.")
    chosen = "main" if revision in (None, "") else revision
    if not isinstance(chosen, str) or not _REVISION.fullmatch(chosen):
        raise ProgramError("bad_config", f"revision: {revision!r} is not a branch, tag or commit.")
    return hub_id, chosen


def fetch_hub_model(program: Program, hub_id: str, revision: str) -> tuple[Path, str]:
    """The cached snapshot folder and its commit. What an abandoned download has fetched is kept for the next.

    Raises ProgramError ``unreachable``, ``not_found``, ``pickle`` or ``bad_model``.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    program.report("running", message=f"Asking the hub for {hub_id}", step=1)
    try:
        info = HfApi().model_info(hub_id, revision=revision, files_metadata=True, timeout=20)
    except GatedRepoError as error:
        raise ProgramError(
            "not_found", f"{hub_id} is gated: accept its terms on the hub and set HF_TOKEN, then try again."
        ) from error
    except RevisionNotFoundError as error:
        raise ProgramError("not_found", f"{hub_id} has no revision {revision}.") from error
    except RepositoryNotFoundError as error:
        raise ProgramError("not_found", f"The hub has no public model {hub_id}.") from error
    except HfHubHTTPError as error:
        return _use_cache(hub_id, revision, error)
    except Exception as error:  # the HTTP library's own errors differ from version to version
        return _use_cache(hub_id, revision, error)

    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    names = select_model_files(sizes)
    commit, total, done = str(info.sha), sum(sizes[name] for name in names), 0
    folder = Path()  # there is at least one name
    for number, name in enumerate(names, start=1):
        where = f"file {number} of {len(names)}, {done // 1_000_000} of {total // 1_000_000} MB"
        program.report("running", message=f"Downloading: {where}", step=1)
        try:
            # by the revision's name, not by its commit: only so does the cache learn what the name stands for
            folder = Path(hf_hub_download(hub_id, name, revision=revision)).parent
        except Exception as error:
            reason = f"{name} of {hub_id} could not be downloaded: {_first_line(error)}"
            raise ProgramError("unreachable", reason) from error
        if folder.name != commit:
            raise ProgramError("unreachable", f"{hub_id} changed on the hub during the download. Try again.")
        done += sizes[name]
    return folder, commit


def _use_cache(hub_id: str, revision: str, cause: Exception) -> tuple[Path, str]:
    """The snapshot that an earlier download left on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        raise ProgramError(
            "unreachable",
            f"The model hub could not be reached, and {hub_id} is not in this machine's cache. Register a local folder "
            f"instead, or try again later. ({_first_line(cause)})",
        ) from cause
    return folder, folder.name


def _first_line(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
