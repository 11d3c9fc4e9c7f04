"""Forms that bring base models in. What makes a source valid is checked by the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.utils.translation import gettext_lazy as _

from models_registry import hub
from models_registry.models import Promotion
from models_registry.services import list_local_folders
from models_registry.store import StoreError

if TYPE_CHECKING:
    _PromotionModelForm = forms.ModelForm[Promotion]
else:  # Django's own class takes no type argument when it runs
    _PromotionModelForm = forms.ModelForm


class SourceForm(forms.Form):
    """What every source asks: a name, which may be left to the source."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        required=False,
        help_text=_("As the registry shall call it; left empty, it keeps the name it comes with."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["ref", "name"]


class FolderForm(SourceForm):
    """One of the folders that the server offers; a request can name no other."""

    ref = forms.ChoiceField(label=_("Folder"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        folders = [(folder.ref, folder.path.name) for folder in list_local_folders()]
        self.has_folders = bool(folders)
        cast(forms.ChoiceField, self.fields["ref"]).choices = folders


class PullForm(SourceForm):
    """One of the folders on the shelf; see hub.py."""

    ref = forms.ChoiceField(label=_("Folder"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            names, self.trouble = hub.list_pushed(), ""
        except StoreError as error:
            names, self.trouble = [], str(error)
        self.has_folders = bool(names)
        cast(forms.ChoiceField, self.fields["ref"]).choices = [(name, name) for name in names]


class HubForm(SourceForm):
    ref = forms.CharField(
        label=_("Hub id"),
        max_length=200,
        help_text=_("Organisation and model, for example Qwen/Qwen2.5-0.5B-Instruct."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


class PromotionForm(_PromotionModelForm):
    class Meta:
        model = Promotion
        fields = ["alias", "note"]
        widgets = {
            "alias": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "list": "known-aliases"}),
            "note": forms.Textarea(attrs={"rows": 3}),
        }
