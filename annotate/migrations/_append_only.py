"""Triggers that refuse to change what is only ever added to; for migrations.

On SQLite rows can be deleted, since emptying a database for tests does it. Altering a table there makes it anew and drops
its trigger: a migration that does so guards it again.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations


def guard(table: str) -> migrations.RunPython:
    """The operation that guards a table of annotate, as in ``guard("auditevent")``."""

    def add(_apps: Any, schema_editor: Any) -> None:
        words = f"A row of {table} is never changed."
        if schema_editor.connection.vendor == "sqlite":
            body = f"BEGIN SELECT RAISE(ABORT, '{words}'); END"
            schema_editor.execute(f"CREATE TRIGGER {table}_stays BEFORE UPDATE ON annotate_{table} {body}")
            return
        body = f"BEGIN RAISE EXCEPTION '{words}'; END"
        schema_editor.execute(f"CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        schema_editor.execute(
            f"CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE ON annotate_{table} "
            f"FOR EACH ROW EXECUTE FUNCTION refuse_{table}()"
        )

    def drop(_apps: Any, schema_editor: Any) -> None:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute(f"DROP TRIGGER {table}_stays")
            return
        schema_editor.execute(f"DROP TRIGGER {table}_stays ON annotate_{table}")
        schema_editor.execute(f"DROP FUNCTION refuse_{table}()")

    return migrations.RunPython(add, drop)
