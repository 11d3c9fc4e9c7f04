from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('training', '0006_pause'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='checkpoints',
            field=models.JSONField(default=list, help_text='Those in the object store: epoch, step, key, digest.'),
        ),
    ]
