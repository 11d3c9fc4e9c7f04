"""Pairs by words of their texts."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Func, Q, QuerySet, TextField
from django.db.models.lookups import IContains

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
    return pairs.filter(match_words(words))


def match_words(words: str, pair: str = "") -> Q:
    """The condition of hold_words for rows that reach the pair by ``pair``, such as ``comparison__``."""
    texts = [Q((f"{pair}{name}__text__icontains", words)) for name in ("response_a", "response_b")]
    return Q(IContains(Contents(F(f"{pair}prompt__messages")), words)) | texts[0] | texts[1]
