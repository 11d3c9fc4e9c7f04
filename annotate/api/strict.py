"""Bodies whose every field is known: a misspelt one is an error, never a default in its place; nor is true a 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework import serializers

T = TypeVar("T")
_NUMBERS = (serializers.IntegerField, serializers.FloatField)


class StrictSerializer(serializers.Serializer[T]):
    """Answers 400 naming each field that it does not know, and each number that was given as true or false."""

    def to_internal_value(self, data: Any) -> Any:
        """The values, checked. Raises ValidationError."""
        if isinstance(data, Mapping):
            words = _("There is no such field. Known are: %s.") % ", ".join(self.fields)
            if unknown := {str(name): [words] for name in data if _name_field(data, name) not in self.fields}:
                raise serializers.ValidationError(unknown)
            wrong = {
                name: [field.error_messages["invalid"]]
                for name, field in self.fields.items()
                if isinstance(field, _NUMBERS) and isinstance(data.get(name), bool)
            }
            if wrong:
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)


def _name_field(data: Mapping[Any, Any], name: Any) -> str:
    """A form names what lies within a field ``rule.grades`` or ``grades[0]``."""
    return str(name).split(".")[0].split("[")[0] if isinstance(data, QueryDict) else str(name)
