"""The guidelines that a project has become its first version."""

from typing import Any

from django.db import migrations


def make_first_versions(apps: Any, _schema_editor: Any) -> None:
    version = apps.get_model("annotate", "GuidelineVersion")
    for project in apps.get_model("annotate", "Project").objects.exclude(guidelines="").iterator():
        version.objects.create(
            project=project, number=1, text=project.guidelines, created_by_id=project.created_by_id
        )


class Migration(migrations.Migration):
    dependencies = [("annotate", "0004_guideline_versions")]

    operations = [migrations.RunPython(make_first_versions, migrations.RunPython.noop)]
