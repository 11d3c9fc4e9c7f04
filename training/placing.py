"""What a run asks of its worker, as a person may say it, and its form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from models_registry.machines import Ask
from training.models import Layout, Priority, Run, Sharding

MOST_GPUS = 64
MOST_HOSTS = 32
MOST_GB = 10_000
KEPT = ("gpus", "gpu_memory_gb", "label", "hosts", "sharding")
"""Fields of a run that another one like it takes over."""
_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")


@dataclass(frozen=True)
class Placement:
    """``reason`` is for the audit log; an urgent run needs one."""

    priority: int = Priority.NORMAL
    reason: str = ""
    gpus: int = 0
    gpu_memory_gb: int = 0
    label: str = ""
    hosts: int = 1
    sharding: str = Sharding.COPIES

    @classmethod
    def of(cls, run: Run) -> Placement:
        """What an earlier run asked for; its priority was for then."""
        return cls(**{name: getattr(run, name) for name in KEPT})

    @property
    def ask(self) -> Ask:
        return Ask(self.gpus, self.gpu_memory_gb, self.label)

    @property
    def layout(self) -> Layout:
        return Layout(self.gpus, self.hosts, self.sharding)

    @property
    def is_choosy(self) -> bool:
        """Whether some worker may not do, or one is not enough."""
        return bool(self.gpus or self.label or self.hosts > 1)

    def list_errors(self) -> list[tuple[str, str]]:
        """All that speaks against it, as (field, reason)."""
        errors = []
        if self.priority not in Priority.values:
            errors.append(("priority", _("There is no such priority.")))
        errors += _check_reason(self.priority, self.reason)
        if not 0 <= self.gpus <= MOST_GPUS:
            errors.append(("gpus", _("From 0 to %(most)d.") % {"most": MOST_GPUS}))
        if not 0 <= self.gpu_memory_gb <= MOST_GB:
            errors.append(("gpu_memory_gb", _("From 0 to %(most)d.") % {"most": MOST_GB}))
        elif self.gpu_memory_gb and not self.gpus:
            errors.append(("gpu_memory_gb", _("Ask for at least one GPU as well.")))
        if self.label and not _LABEL.fullmatch(self.label):
            errors.append(("label", _("A label has small letters, digits, dots and hyphens, such as a100.")))
        if self.sharding not in Sharding.values:
            errors.append(("sharding", _("There is no such choice.")))
        elif self.sharding == Sharding.SHARDS and self.gpus * self.hosts < 2:
            errors.append(("sharding", _("To spread a model takes at least two GPUs.")))
        if not 1 <= self.hosts <= MOST_HOSTS:
            errors.append(("hosts", _("From 1 to %(most)d.") % {"most": MOST_HOSTS}))
        return errors

    def list_fields(self) -> dict[str, Any]:
        """The run's fields."""
        return {name: getattr(self, name) for name in ("priority", *KEPT)}

    def list_options(self) -> dict[str, Any]:
        """What a command line has to say of it; its priority was for then."""
        said = {name: getattr(self, name) for name in KEPT}
        return {f"--{name.replace('_', '-')}": said[name] for name in KEPT if said[name] != getattr(USUAL, name)}

    def describe_choices(self) -> dict[str, Any]:
        """What is unusual about it, for the audit log."""
        said = {name: value for name, value in self.list_fields().items() if value != getattr(USUAL, name)}
        if "priority" in said:
            said["priority"] = Priority(self.priority).name.lower()
        return said | ({"reason": self.reason} if self.reason else {})


USUAL = Placement()


def list_priority_errors(priority: int, reason: str) -> list[tuple[str, str]]:
    """The same of a priority alone."""
    return Placement(priority=priority, reason=reason).list_errors()


def _check_reason(priority: int, reason: str) -> list[tuple[str, str]]:
    if len(reason) > 300 or not reason.replace("\n", " ").isprintable():
        return [("reason", _("At most 300 characters that can be shown."))]
    if priority == Priority.URGENT and not reason.strip():
        return [("reason", _("An urgent run goes before all others; say why, for those who wait."))]
    return []


class PriorityForm(forms.Form):
    """Of a run that waits."""

    priority = forms.TypedChoiceField(
        label=gettext_lazy("Priority"),
        choices=Priority.choices,
        coerce=int,
        initial=Priority.NORMAL,
        required=False,
        empty_value=None,
        help_text=gettext_lazy("Which goes first. Who waits four hours counts as one higher."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Why"),
        max_length=300,
        required=False,
        help_text=gettext_lazy("Needed for an urgent run; stands in the audit log."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_priority(self) -> int:
        given = self.cleaned_data["priority"]
        return int(Priority.NORMAL if given is None else given)

    def clean(self) -> dict[str, Any]:
        if not self.errors:
            for field, reason in Placement(**self.cleaned_data).list_errors():
                self.add_error(field, reason)
        return self.cleaned_data


class PlacementForm(PriorityForm):
    """The part of the launch form that says where and when."""

    gpus = forms.IntegerField(
        label=gettext_lazy("GPUs"),
        required=False,
        initial=0,
        min_value=0,
        max_value=MOST_GPUS,
        help_text=gettext_lazy(
            "On each machine. 0 takes any worker, also one without a GPU. Batch size counts for each GPU."
        ),
    )
    gpu_memory_gb = forms.IntegerField(
        label=gettext_lazy("Memory of each GPU (GB)"),
        required=False,
        initial=0,
        min_value=0,
        max_value=MOST_GB,
        help_text=gettext_lazy("At least so much; 0 takes any."),
    )
    label = forms.CharField(
        label=gettext_lazy("Worker's label"),
        max_length=50,
        required=False,
        help_text=gettext_lazy("Only workers that have it; empty takes any."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}),
    )
    hosts = forms.IntegerField(
        label=gettext_lazy("Machines"),
        required=False,
        initial=1,
        min_value=1,
        max_value=MOST_HOSTS,
        help_text=gettext_lazy("So many workers train it together. They must reach each other over the network."),
    )
    sharding = forms.ChoiceField(
        label=gettext_lazy("Several GPUs hold"),
        choices=Sharding.choices,
        initial=Sharding.COPIES,
        required=False,
        help_text=gettext_lazy("Spread it where the model with its optimizer does not fit on one GPU."),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.order_fields([*KEPT, "priority", "reason"])

    def clean(self) -> dict[str, Any]:
        """What was left empty is as usual."""
        empty = [name for name in KEPT if name in self.cleaned_data and not self.cleaned_data[name]]
        self.cleaned_data |= {name: getattr(USUAL, name) for name in empty}
        return super().clean()

    @property
    def placement(self) -> Placement:
        """Of a valid form."""
        return Placement(**self.cleaned_data)

    @property
    def is_unusual(self) -> bool:
        """Whether the fields should stand open."""
        return bool(self.errors) or any(
            str(self[name].value() or "") != str(field.initial or "") for name, field in self.base_fields.items()
        )


PLACEMENT_FIELDS = {name: str(field.initial) for name, field in PlacementForm.base_fields.items()}
"""Each with what stands in it before anybody typed."""


def read_placement(run: Run) -> dict[str, str]:
    """What an earlier run asked for, as if typed; its priority was for then."""
    return {name: str(getattr(run, name)) for name in KEPT}
