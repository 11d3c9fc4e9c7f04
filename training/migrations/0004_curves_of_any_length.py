import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max, Min


def raise_levels_of_all(apps: Apps, _schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Runs from before have rows of single steps alone. Later changes of the code below must keep to these columns."""
    from training.curve_levels import WIDTHS, raise_levels

    for run in apps.get_model("training", "Run").objects.filter(metrics__isnull=False).only("pk").distinct():
        ends = run.metrics.aggregate(first=Min("step"), last=Max("step"))
        for start in range(ends["first"], ends["last"] + 1, WIDTHS[-1]):
            raise_levels(run, start, min(start + WIDTHS[-1], ends["last"]))


class Migration(migrations.Migration):

    dependencies = [
        ('training', '0003_token_preview'),
    ]

    operations = [
        migrations.AddField(
            model_name='runmetric',
            name='at',
            field=models.DateTimeField(help_text='When it was filed; not known of rows from before this was noted.', null=True),
        ),
        migrations.CreateModel(
            name='MetricSpan',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('width', models.PositiveIntegerField()),
                ('start', models.PositiveIntegerField()),
                ('last', models.PositiveIntegerField(help_text='The last step that has a row.')),
                ('rows', models.PositiveIntegerField()),
                ('at', models.FloatField(help_text='When the last row was filed, in seconds since 1970.', null=True)),
                ('values', models.JSONField(help_text='Of each metric: how many values, mean, lowest, highest.')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='spans', to='training.run')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('run', 'width', 'start'), name='one_metric_span_per_start')],
            },
        ),
        migrations.RunPython(raise_levels_of_all, migrations.RunPython.noop, elidable=True),
    ]
