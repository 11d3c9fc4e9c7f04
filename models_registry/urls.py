"""Pages of the registry. A model's own page (``model_detail``) is in training/urls.py."""

from django.urls import path

from models_registry.views import models, notices

urlpatterns = [
    path("notices/", notices.list_notices, name="notice_list"),
    path("notices/bell/", notices.show_bell, name="notice_bell"),
    path("notices/read/", notices.mark_all_read, name="notice_read_all"),
    path("notices/settings/", notices.change_settings, name="notice_settings"),
    path("notices/<int:pk>/", notices.open_notice, name="notice_open"),
    path("models/", models.show_models, name="model_list"),
    path("models/add/", models.add_model, name="model_add"),
    path("models/<int:pk>/retry/", models.retry_import, name="model_retry"),
    path("models/<int:pk>/cancel/", models.cancel_import, name="model_cancel"),
    path("models/<int:pk>/promote/", models.promote, name="model_promote"),
    path("models/<int:pk>/withdraw/", models.withdraw, name="model_withdraw"),
]
