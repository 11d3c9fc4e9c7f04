"""Forms of projects and their members: types and ranges, in the groups in which the page shows them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from annotate.models import Project, Role
from annotate.selectors.projects import list_invitable

if TYPE_CHECKING:
    _ProjectModelForm = forms.ModelForm[Project]
else:  # Django's own class takes no type argument when it runs
    _ProjectModelForm = forms.ModelForm

_VISIBLE = re.compile("[^\\s\u115f\u1160\u2800\u3164\uffa0]")
"""Anything but spaces and the letters and signs that are drawn as nothing."""

_GROUPS = [
    (_("The project"), ["name", "axis", "slug", "description", "languages"]),
    (_("What labelers are asked"), ["question", "guidelines"]),
    (_("What they may answer"), ["scale", "allows_equal", "allows_both_bad", "asks_safety"]),
    (_("What they may add"), ["rationale", "reason_tags", "allows_rewrite"]),
    (_("What they see"), ["shows_lengths", "holds_identity_leaks"]),
    (_("How many votes a pair gets"), ["votes_per_comparison", "max_votes", "settled_at"]),
    (_("Pairs with a known answer (gold)"), ["gold_rate", "qualification_pairs", "gold_bar"]),
    (_("Pairs that come again"), ["repeat_rate", "repeat_after_days"]),
    (_("State"), ["archived"]),
]
"""The page's parts: a title, and the fields below it."""

_KEPT = ("scale", "rationale", "settled_at", *Project.LED_SETTINGS)
"""Settings that a request may leave out."""


def check_visible(name: str) -> None:
    """Raises ValidationError for a name that nobody could read."""
    if name and (not name.isprintable() or not _VISIBLE.search(name)):
        raise ValidationError(_("The name contains characters that cannot be shown."))


class WordsField(forms.CharField):
    """A list of short texts, typed with commas between them. The model's field checks them."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "max_length": 2000} | kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        words = (" ".join(word.split()) for word in re.split("[,\n]", super().clean(value)))
        return list(dict.fromkeys(filter(None, words)))


class ProjectForm(_ProjectModelForm):
    """A new project. The short name may be left to the service."""

    languages = WordsField(label=_("Languages"), help_text=Project._meta.get_field("languages").help_text)
    reason_tags = WordsField(label=_("Reasons to tick"), help_text=Project._meta.get_field("reason_tags").help_text)

    class Meta:
        model = Project
        fields = ["name", "slug", *Project.SETTINGS, *Project.LED_SETTINGS]
        labels = {"slug": _("Short name")}
        help_texts = {"question": _("Stands above each pair.")}
        widgets = {
            "guidelines": forms.Textarea(attrs={"rows": 14}),
            "name": forms.TextInput(attrs={"autocomplete": "off"}),
            "scale": forms.RadioSelect,
            "rationale": forms.RadioSelect,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in _KEPT:
            self.fields[name].required = False
        if "slug" in self.fields:
            self.fields["slug"].required = False
            self.fields["slug"].help_text = _("Stands in the addresses; left empty, it is made of the name.")

    def clean_name(self) -> str:
        """A name that can be read and typed, as those of models and runs."""
        name: str = self.cleaned_data["name"]
        check_visible(name)
        return name

    def clean(self) -> dict[str, Any]:
        """What is left empty of the settings that always have a value stays as it is."""
        values = super().clean() or self.cleaned_data
        return values | {name: getattr(self.instance, name) for name in _KEPT if values.get(name) in (None, "")}

    def list_groups(self) -> list[tuple[Any, list[forms.BoundField]]]:
        """The fields by the parts of the page, with each part's title."""
        return [(title, [self[name] for name in names if name in self.fields]) for title, names in _GROUPS]


class ProjectEditForm(ProjectForm):
    """A project that exists: its short name stays, since links and scripts name it.

    An axis is named by its axis alone.
    """

    archived = forms.BooleanField(
        label=_("Archived"), required=False, help_text=_("Labelers no longer see it; nothing is lost.")
    )

    class Meta(ProjectForm.Meta):
        fields = ["axis", *(name for name in ProjectForm.Meta.fields if name != "slug")]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["archived"].initial = bool(self.instance.archived_at)
        self.fields["axis"].validators.append(check_visible)
        if self.instance.parent_id:
            del self.fields["name"]
            self.fields["axis"].required = True
        elif not self.instance.axes.exists():
            del self.fields["axis"]


class AxisForm(_ProjectModelForm):
    """A further question about a project's pairs."""

    class Meta:
        model = Project
        fields = ["axis", "question", "guidelines", "asks_safety"]
        widgets = {"guidelines": forms.Textarea(attrs={"rows": 14})}
        help_texts = {"axis": _("What is judged, in a word or two, such as Helpfulness or Safety.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["axis"].required = True
        self.fields["axis"].validators.append(check_visible)


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.TypedChoiceField(choices=Role.choices, coerce=Role)


class MemberForm(forms.Form):
    """Somebody who shall be let into the project."""

    user = forms.ModelChoiceField(label=_("Account"), queryset=User.objects.none(), empty_label=_("Choose …"))
    role = forms.TypedChoiceField(
        label=_("Role"), choices=Role.choices, coerce=Role, empty_value=Role.LABELER, required=False
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["user"]
        if isinstance(field, forms.ModelChoiceField):
            field.queryset = list_invitable(project)
