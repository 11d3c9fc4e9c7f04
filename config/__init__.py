"""Settings, addresses and the Celery app: the room that knows all the others."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
