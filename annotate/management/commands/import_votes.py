"""Brings in pairs with the votes of workers elsewhere (the format: annotate/importing/votes.py).

python manage.py import_votes --project SLUG FILE.jsonl.gz [--leave-out-bad-lines]

The same as import_comparisons with the format "votes".
"""

from __future__ import annotations

from annotate.management.commands import import_comparisons
from annotate.models import Import


class Command(import_comparisons.Command):
    help = "Brings in pairs with the votes of workers elsewhere, who become accounts that cannot log in."
    format = Import.Format.VOTES
