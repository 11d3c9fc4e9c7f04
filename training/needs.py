"""Why the weights of a model may not go: everything in the house that still needs them, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from django.db.models import ForeignKey
from django.utils.translation import gettext as _

from annotate.models import DatasetVersion, DatasetVersionJudgment
from models_registry.leases import list_work_models
from models_registry.models import LeasedWork, ModelVersion, WorkState
from models_registry.selectors import list_standing
from training.models import Run

OVER = (WorkState.FINISHED, WorkState.FAILED, WorkState.CANCELLED)


def find_needs(models: Collection[int]) -> dict[int, list[str]]:
    """Reasons by the model's number; a model without any is free to go. The same few queries for however many."""
    found: dict[int, list[str]] = {number: [] for number in models}
    for number, reason in _list_reasons(found):
        found[number].append(reason)
    return found


def _list_reasons(models: Collection[int]) -> Iterator[tuple[int, str]]:
    rows = ModelVersion.objects.filter(pk__in=models)
    for number in rows.filter(archived_at=None).values_list("pk", flat=True):
        yield number, _("It is not archived.")
    for number, alias in list_standing().filter(model__in=models).values_list("model", "alias"):
        yield number, _("It is %(alias)s.") % {"alias": alias}
    for work, field in list_model_fields():
        under_way = work._default_manager.filter(**{f"{field}__in": models}).exclude(state__in=OVER)
        for job in under_way.only("pk", field):
            words = _("Work waits or runs with it: %(kind)s %(number)d.")
            yield getattr(job, f"{field}_id"), words % {"kind": work._meta.verbose_name, "number": job.pk}
    stopped = Run.objects.filter(base_model__in=models, archived_at=None).exclude(state=WorkState.FINISHED)
    for number, name in stopped.filter(state__in=OVER).values_list("base_model_id", "name"):
        yield number, _("The run %(name)s may be taken up again.") % {"name": name}
    children = ModelVersion.objects.filter(base__in=models, archived_at=None)
    for child in children.only("base", "name"):
        yield child.base_id or 0, _("%(name)s comes of it and is in use.") % {"name": child.name}
    yield from _list_datasets(models)


def _list_datasets(models: Collection[int]) -> Iterator[tuple[int, str]]:
    """Dataset versions in use that rest on votes about a model's answers."""
    resting: defaultdict[int, set[int]] = defaultdict(set)
    for side in ("a", "b"):
        field = f"judgment__comparison__response_{side}__model"
        votes = DatasetVersionJudgment.objects.filter(**{f"{field}__in": models}, dataset_version__archived_at=None)
        for version, number in votes.order_by().values_list("dataset_version", field).distinct():
            resting[version].add(number)
    versions = DatasetVersion.objects.filter(pk__in=resting).select_related("project").order_by("pk")
    for version in versions:
        for number in sorted(resting[version.pk]):
            yield number, _("%(name)s rests on votes about its answers.") % {"name": version}


def list_model_fields() -> Iterator[tuple[type[LeasedWork], str]]:
    """Every kind of work with its fields that name a model, so that a new kind is counted without being listed here."""
    for work in list_work_models():
        for field in work._meta.concrete_fields:
            if isinstance(field, ForeignKey) and field.related_model is ModelVersion:
                yield work, field.name
