"""Forms of the house's own pages."""

from __future__ import annotations

from django import forms
from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _

from annotate.forms import ChosenRowsField
from annotate.models import Project


class PersonForm(forms.Form):
    """A new account."""

    username = forms.CharField(
        label=_("Name"),
        max_length=150,
        validators=[User.username_validator],
        help_text=_("Letters, digits and @ . + - _"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    is_admin = forms.BooleanField(
        label=_("Admin"), required=False, help_text=_("Sees and changes everything, launches training, makes accounts.")
    )
    projects = ChosenRowsField(
        label=_("May label in"),
        queryset=Project.objects.filter(archived_at=None),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


class TokenForm(forms.Form):
    """How long a new API token lives."""

    days = forms.TypedChoiceField(
        label=_("Valid for"),
        choices=[(7, _("a week")), (90, _("three months")), (365, _("a year"))],
        coerce=int,
        initial=90,
    )
