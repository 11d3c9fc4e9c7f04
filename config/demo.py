"""The demo: accounts with passwords made on the spot, the sample project, and the demo's base model on its way."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command

from annotate.models import Project
from config.people import make_password
from models_registry.models import ModelVersion
from models_registry.services import add_demo_model

ROLES = {"mina": "labeler", "tomas": "labeler", "lead": "admin"}
ACCOUNTS_FILE = "demo-accounts.json"


@dataclass(frozen=True)
class DemoAccount:
    username: str
    role: str
    password: str


def prepare_demo() -> list[DemoAccount]:
    """Makes what is missing and returns the demo accounts whose printed password still holds."""
    path = Path(settings.DATA_DIR) / ACCOUNTS_FILE
    if not path.exists():
        if User.objects.exists():
            return []  # a house in use: it gets no demo accounts behind its owner's back
        _write_privately(path, [asdict(account) for account in _make_accounts()])
    accounts = [DemoAccount(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
    if not Project.objects.exists():
        call_command("seed_sample_project", verbosity=0)
    if not ModelVersion.objects.exists():
        add_demo_model(by=User.objects.filter(is_staff=True).earliest("pk"))
    return [account for account in accounts if _still_valid(account)]


def _make_accounts() -> list[DemoAccount]:
    accounts = [DemoAccount(username, role, make_password()) for username, role in ROLES.items()]
    for account in accounts:
        User.objects.create_user(username=account.username, password=account.password, is_staff=account.role == "admin")
    return accounts


def _still_valid(account: DemoAccount) -> bool:
    user = User.objects.filter(username=account.username, is_active=True).first()
    return user is not None and user.check_password(account.password)


def _write_privately(path: Path, value: object) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
