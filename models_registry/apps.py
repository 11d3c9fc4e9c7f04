from django.apps import AppConfig


class ModelsRegistryConfig(AppConfig):
    name = "models_registry"

    def ready(self) -> None:
        """Whoever moves work, a worker or a command, tells the people that it concerns."""
        from models_registry import leases, notices

        if notices.note_move not in leases.LISTENERS:
            leases.LISTENERS.append(notices.note_move)
