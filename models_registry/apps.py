from django.apps import AppConfig


class ModelsRegistryConfig(AppConfig):
    name = "models_registry"

    def ready(self) -> None:
        """Whoever moves work, a worker or a command, tells the people that it concerns.

        Celery's settings are read here, before there are threads: a second one that asks while the first one reads gets
        them half done, and would know no broker.
        """
        from celery import current_app

        from models_registry import leases, notices

        current_app.conf.get("broker_url")

        if notices.note_move not in leases.LISTENERS:
            leases.LISTENERS.append(notices.note_move)
