"""Pages of the registry. A model's own page (``model_detail``) is in training/urls.py."""

from django.urls import path

from models_registry.views import models

urlpatterns = [
    path("models/", models.show_models, name="model_list"),
    path("models/add/", models.add_model, name="model_add"),
    path("models/<int:pk>/retry/", models.retry_import, name="model_retry"),
    path("models/<int:pk>/cancel/", models.cancel_import, name="model_cancel"),
    path("models/<int:pk>/promote/", models.promote, name="model_promote"),
    path("models/<int:pk>/withdraw/", models.withdraw, name="model_withdraw"),
]
