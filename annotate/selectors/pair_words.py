"""Pairs by words of their texts."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Func, Q, QuerySet, TextField

from annotate.models import Comparison


class Contents(Func):
    """What all turns of a dialogue say, without its roles and its JSON."""

    output_field = TextField()
    template = (
        "(SELECT string_agg(turn ->> 'content', chr(10)) FROM jsonb_array_elements(%(expressions)s) AS turns(turn))"
    )

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "(SELECT group_concat(json_extract(value, '$.content'), char(10)) FROM json_each(%(expressions)s))"
        return self.as_sql(compiler, connection, template=template, **extra)


def hold_words(pairs: QuerySet[Comparison], words: str) -> QuerySet[Comparison]:
    """Those whose prompt or responses hold the words, in any case (on SQLite of Latin letters alone)."""
    return pairs.alias(dialogue=Contents(F("prompt__messages"))).filter(
        Q(dialogue__icontains=words) | Q(response_a__text__icontains=words) | Q(response_b__text__icontains=words)
    )
