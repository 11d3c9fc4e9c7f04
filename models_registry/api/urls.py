"""Routes below /api/v1/."""

from django.urls import path

from models_registry.api import models, notices

urlpatterns = [
    path("notices/", notices.NoticeListView.as_view(), name="api_notice_list"),
    path("notices/read-all/", notices.NoticeReadAllView.as_view(), name="api_notice_read_all"),
    path("notices/settings/", notices.NoticeSettingsView.as_view(), name="api_notice_settings"),
    path("notices/<int:pk>/read/", notices.NoticeReadView.as_view(), name="api_notice_read"),
    path("models/", models.ModelListView.as_view(), name="api_model_list"),
    path("models/pushed/", models.PushedView.as_view(), name="api_model_pushed"),
    path("models/<int:pk>/", models.ModelView.as_view(), name="api_model_detail"),
    path("models/<int:pk>/promotions/", models.PromotionListView.as_view(), name="api_model_promotions"),
]
