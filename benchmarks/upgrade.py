"""What an upgrade from the first released state takes: fills such a database, migrates it, times each step.

    DATABASE_URL=postgres://... DATA_DIR=/empty/folder python -m benchmarks.upgrade --votes 100000

The database must be empty. Ends with 1 where a row changed on the way. tests/config/test_upgrade.py runs it with few
votes and ``--pages``, which then also asks for the pages that show what was there before.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

FIRST = {"annotate": "0001_initial", "models_registry": "0001_initial", "training": "0003_token_preview"}
"""The migrations that the first release had; those of Django's and others' apps are in any case the newest."""

GRADES = ("significantly", "slightly", "negligibly", "unsure")
BATCH = 5_000


def main() -> int:
    options = read_options()
    django.setup()
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    others = [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] not in FIRST]
    before = executor.migrate([*others, *FIRST.items()])
    fill(before.apps, options.votes)
    digests = digest_rows(before.apps)

    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    began = time.perf_counter()
    steps = time_steps(executor, newest)
    seconds = time.perf_counter() - began
    changed = sorted(name for name, digest in digest_rows(before.apps).items() if digest != digests[name])
    pages = ask_for_pages() if options.pages else {}
    report = {"database": connection.vendor, "votes": options.votes, "seconds": round(seconds, 2), "steps": steps}
    print(json.dumps(report | {"tables": len(digests), "changed": changed, "pages": pages}, indent=1))
    return 1 if changed else 0


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--votes", type=int, default=100_000)
    parser.add_argument("--pages", action="store_true")
    return parser.parse_args()


def time_steps(executor: Any, newest: list[tuple[str, str]]) -> dict[str, float]:
    """Seconds a migration."""
    steps, began = {}, 0.0

    def note(action: str, migration: Any = None, _fake: bool = False) -> None:
        nonlocal began
        if action == "apply_start":
            began = time.perf_counter()
        elif action == "apply_success":
            steps[str(migration)] = round(time.perf_counter() - began, 2)

    executor.progress_callback = note
    executor.migrate(newest)
    return steps


def fill(apps: Any, votes: int) -> None:
    """Two projects, each pair of the first judged by two labelers; a dataset version, runs, an import, sampling."""
    from django.contrib.auth.hashers import make_password

    def make(label: str, model: str, /, **fields: Any) -> Any:
        return apps.get_model(label, model)._default_manager.create(**fields)

    people = [
        make("auth", "User", username=name, password=make_password(name), is_staff=name == "lead")
        for name in ("lead", "mina", "tomas")
    ]
    lead = people[0]
    project = make(
        "annotate",
        "Project",
        name="Old",
        slug="old",
        guidelines="Prefer **short** ones.",
        created_by=lead,
        votes_per_comparison=2,
    )
    bare = make("annotate", "Project", name="Bare", slug="bare", created_by=lead)
    for where in (project, bare):
        for labeler in people[1:]:
            make("annotate", "Membership", project=where, user=labeler)
    base = make("models_registry", "ModelVersion", name="base", source="folder", created_by=lead, ready_at=now())
    make("models_registry", "ModelImport", model=base, created_by=lead, state="finished")
    judge = make(
        "models_registry",
        "ModelVersion",
        name="judge",
        kind="reward",
        source="run",
        base=base,
        created_by=lead,
        ready_at=now(),
    )
    make("annotate", "Import", project=project, format="pairs", file_name="a.jsonl", created_by=lead, state="finished")
    fill_votes(apps, project, people[1:], votes)
    dataset = make(
        "annotate",
        "DatasetVersion",
        project=project,
        number=1,
        rule={},
        judgment_cutoff=10**9,
        created_by=lead,
        state="finished",
        train_rows=1,
        counts={},
        left_out={},
        finished_at=now(),
    )
    vote = apps.get_model("annotate", "Judgment")._default_manager.filter(action="vote").first()
    make("annotate", "DatasetVersionJudgment", dataset_version=dataset, judgment=vote, split="train")
    run = make(
        "training",
        "Run",
        name="first",
        method="dpo",
        base_model=base,
        dataset_version=dataset,
        created_by=lead,
        config={"method": "dpo", "beta": 0.1, "learning_rate": 5e-7},
        state="finished",
        model=judge,
        finished_at=now(),
    )
    make("training", "RunMetric", run=run, step=1, values={"loss": 0.69})
    make(
        "training",
        "Run",
        name="waits",
        method="orpo",
        base_model=base,
        dataset_version=dataset,
        created_by=lead,
        config={},
    )
    make("annotate", "SamplingJob", project=project, model_a=base, model_b=base, created_by=lead, state="finished")
    make("annotate", "ResponseScore", response=vote.comparison.response_a, model=judge, score=0.5)


def fill_votes(apps: Any, project: Any, labelers: list[Any], votes: int) -> None:
    """In batches: a million need not fit into memory. Beside votes a skip, an undo and a pair that is handed out."""
    model = {
        name: apps.get_model("annotate", name)._default_manager
        for name in ("Prompt", "Response", "Comparison", "Assignment", "Judgment")
    }
    for start in range(0, max(votes // 2, 4), BATCH):
        numbers = range(start, min(start + BATCH, max(votes // 2, 4)))
        prompts = model["Prompt"].bulk_create(make_prompt(project, number, model) for number in numbers)
        texts = [(prompt, side) for prompt in prompts for side in "ab"]
        responses = model["Response"].bulk_create(
            model["Response"].model(prompt=prompt, text=f"Answer {side} — 답 — to {prompt.digest}", origin="secret")
            for prompt, side in texts
        )
        comparisons = model["Comparison"].bulk_create(
            model["Comparison"].model(
                project=project,
                prompt=prompt,
                response_a=responses[2 * at],
                response_b=responses[2 * at + 1],
                need=2,
                taken=2,
            )
            for at, prompt in enumerate(prompts)
        )
        assignments = model["Assignment"].bulk_create(
            model["Assignment"].model(
                project=project,
                comparison=comparison,
                labeler=labeler,
                state="done",
                left_response="b",
                seed=7,
                leased_at=now(),
                expires_at=now(),
            )
            for comparison in comparisons
            for labeler in labelers
        )
        model["Judgment"].bulk_create(say(model, assignment, at) for at, assignment in enumerate(assignments))
    skipped, undone = model["Assignment"].order_by("-pk")[:2]
    for assignment, action, state in ((skipped, "skip", "skipped"), (undone, "undo", "leased")):
        assignment.state, assignment.holds_place, assignment.token = state, state == "leased", uuid.uuid4()
        assignment.save()
        old = model["Judgment"].get(assignment=assignment)
        say(model, assignment, action=action, supersedes=old).save()
    model["Comparison"].filter(pk=skipped.comparison_id).update(taken=1)


def make_prompt(project: Any, number: int, model: dict[str, Any]) -> Any:
    messages = [{"role": "user", "content": f"Question {number} — 질문?"}]
    return model["Prompt"].model(
        project=project, messages=messages, digest=hashlib.sha256(str(number).encode()).hexdigest()
    )


def say(model: dict[str, Any], assignment: Any, at: int = 0, **fields: Any) -> Any:
    grade = GRADES[at % 4] if "action" not in fields else ""
    sided = bool(grade) and grade != "unsure"
    values = {"action": "vote", "grade": grade, "side": "right" if sided else "", "winner": "a" if sided else ""}
    return model["Judgment"].model(
        project=assignment.project,
        comparison=assignment.comparison,
        assignment=assignment,
        labeler=assignment.labeler,
        token=assignment.token,
        left_response="b",
        seed=7,
        shown_at=now(),
        seconds=3.5,
        **(values | fields),
    )


def digest_rows(apps: Any) -> dict[str, str]:
    """Of every table of ours: all that the first release stored, in the order of the rows."""
    found = {}
    for label in (*FIRST, "auth"):
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            digest = hashlib.sha256()
            for row in model._default_manager.order_by("pk").values_list().iterator(BATCH):
                digest.update(repr(row).encode())
            found[f"{label}.{model.__name__}"] = digest.hexdigest()
    return found


def ask_for_pages() -> dict[str, int]:
    """The status of every page that shows what was there before, for a lead and for a labeler."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client, override_settings

    # Straight from their source: nothing was collected into this folder.
    plain = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    found: dict[str, int] = {}
    for name, addresses in {"lead": list(list_lead_pages()), "mina": list(list_labeler_pages())}.items():
        client = Client(SERVER_NAME="localhost", raise_request_exception=False)
        client.force_login(User.objects.get(username=name))
        with override_settings(STORAGES=settings.STORAGES | plain):
            found |= {f"{name} {address}": client.get(address).status_code for address in addresses}
    return found


def list_lead_pages() -> Iterator[str]:
    from django.urls import reverse

    from annotate.models import Comparison, DatasetVersion, Project, SamplingJob
    from models_registry.models import ModelVersion
    from training.models import Run

    yield from [reverse(name) for name in ("home", "readyz", "run_list", "model_list", "person_list", "api_schema")]
    for project in Project.objects.all():
        yield from [reverse(name, args=[project.slug]) for name in PAGES_OF_A_PROJECT]
    rows = {
        "run": Run,
        "model": ModelVersion,
        "dataset": DatasetVersion,
        "sampling": SamplingJob,
        "comparison": Comparison,
    }
    for name, model in rows.items():
        yield from [
            reverse(f"{name}_detail", args=[pk]) for pk in model._default_manager.values_list("pk", flat=True)[:4]
        ]


def list_labeler_pages() -> Iterator[str]:
    from django.urls import reverse

    yield from [reverse(name) for name in ("home", "project_list")]
    for name in ("project_detail", "compare", "answer_list", "api_project_detail"):
        yield reverse(name, args=["old"])


PAGES_OF_A_PROJECT = (
    *("project_detail", "project_edit", "project_quality", "member_list", "dataset_list", "dataset_new", "import_list"),
    *("sampling_list", "review_queue", "held_list", "gold_list", "standing_list", "audit_log", "api_quality"),
)


def now() -> Any:
    from django.utils import timezone

    return timezone.now()


if __name__ == "__main__":
    sys.exit(main())
