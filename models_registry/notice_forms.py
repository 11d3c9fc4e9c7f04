"""What a person wants to be told, and where."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from models_registry.models import Channel, Topic


class NoticeSettingsForm(forms.Form):
    """A choice for each topic; mail only where the house sends any."""

    email = forms.EmailField(label=_("E-mail address"), required=False, max_length=254)
    language = forms.ChoiceField(label=_("Language of mails"), choices=settings.LANGUAGES)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for topic in Topic:
            self.fields[topic.value] = forms.ChoiceField(label=topic.label, choices=Channel.choices)

    def clean(self) -> dict[str, Any]:
        if Channel.MAIL in self.channels.values() and not self.cleaned_data.get("email") and not self.errors:
            self.add_error("email", _("Mails need an address."))
        return self.cleaned_data

    @property
    def channels(self) -> dict[str, str]:
        return {topic.value: self.cleaned_data.get(topic.value, Channel.APP) for topic in Topic}
