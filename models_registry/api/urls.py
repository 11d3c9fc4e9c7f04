"""Routes below /api/v1/."""

from django.urls import path

from models_registry.api import models

urlpatterns = [
    path("models/", models.ModelListView.as_view(), name="api_model_list"),
    path("models/pushed/", models.PushedView.as_view(), name="api_model_pushed"),
    path("models/<int:pk>/", models.ModelView.as_view(), name="api_model_detail"),
    path("models/<int:pk>/promotions/", models.PromotionListView.as_view(), name="api_model_promotions"),
]
