"""Aliases: names such as production that move from model to model, and why they moved.

Each kind of model has its own: the policy in production and the reward model in production are two holders. Nothing is
overwritten; whoever was named last holds the alias.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction
from django.utils.translation import gettext as _

from models_registry.models import ModelVersion, Promotion
from models_registry.selectors import list_standing


class PromotionError(ValueError):
    """An alias cannot be moved so; the text says why."""


@transaction.atomic
def promote(*, model: ModelVersion, alias: str, note: str, by: User) -> Promotion:
    """Moves the alias to the model, from whichever held it. Raises PromotionError.

    ``alias`` and ``note`` are checked by Promotion's fields before. Locks the model's row.
    """
    model = ModelVersion.objects.select_for_update().get(pk=model.pk)
    if words := model.explain_unusable():
        raise PromotionError(words)
    if holds(model, alias):
        raise PromotionError(_("%(model)s is %(alias)s already.") % {"model": model.name, "alias": alias})
    return Promotion.objects.create(alias=alias, kind=model.kind, model=model, note=note, by=by)


@transaction.atomic
def withdraw(*, model: ModelVersion, alias: str, by: User) -> Promotion:
    """Leaves the alias to nobody. Raises PromotionError unless the model holds it. Locks the model's row."""
    model = ModelVersion.objects.select_for_update().get(pk=model.pk)
    if not holds(model, alias):
        raise PromotionError(_("%(model)s is not %(alias)s.") % {"model": model.name, "alias": alias})
    return Promotion.objects.create(alias=alias, kind=model.kind, former=model, by=by)


def holds(model: ModelVersion, alias: str) -> bool:
    return alias in {standing.alias for standing in list_standing().filter(model=model)}
