"""Routes below /api/v1/."""

from django.urls import path

from training.api import (
    archive,
    estimates,
    garbage,
    lineage,
    model_comparison,
    previews,
    pushes,
    runs,
    win_rates,
    workers,
)

urlpatterns = [
    path("runs/", runs.RunListView.as_view(), name="api_run_list"),
    path("runs/estimate/", estimates.RunEstimateView.as_view(), name="api_run_estimate"),
    path("recipes/", runs.RecipeListView.as_view(), name="api_recipe_list"),
    path("runs/<int:pk>/", runs.RunView.as_view(), name="api_run_detail"),
    path("runs/<int:pk>/cancel/", runs.RunCancelView.as_view(), name="api_run_cancel"),
    path("runs/<int:pk>/clone/", runs.RunCloneView.as_view(), name="api_run_clone"),
    path("runs/<int:pk>/follow/", runs.RunFollowView.as_view(), name="api_run_follow"),
    path("runs/<int:pk>/limits/", runs.RunLimitsView.as_view(), name="api_run_limits"),
    path("runs/<int:pk>/usage/", runs.RunUsageView.as_view(), name="api_run_usage"),
    path("runs/<int:pk>/pause/", runs.RunPauseView.as_view(), name="api_run_pause"),
    path("runs/<int:pk>/resume/", runs.RunResumeView.as_view(), name="api_run_resume"),
    path("runs/<int:pk>/tags/", runs.RunTagsView.as_view(), name="api_run_tags"),
    path("runs/<int:pk>/retry/", runs.RunRetryView.as_view(), name="api_run_retry"),
    path("runs/<int:pk>/priority/", runs.RunPriorityView.as_view(), name="api_run_priority"),
    path("runs/<int:pk>/metrics/", runs.RunMetricsView.as_view(), name="api_run_metrics"),
    path("token-previews/", previews.PreviewListView.as_view(), name="api_preview_list"),
    path("token-previews/<int:pk>/", previews.PreviewView.as_view(), name="api_preview_detail"),
    path("lineage/<str:kind>/<int:pk>/", lineage.LineageView.as_view(), name="api_lineage"),
    path("models/compare/", model_comparison.ModelComparisonView.as_view(), name="api_model_compare"),
    path("garbage/", garbage.GarbageView.as_view(), name="api_garbage"),
    path("garbage/put-back/", garbage.PutBackView.as_view(), name="api_garbage_put_back"),
    path("archive/<str:kind>/<int:pk>/", archive.ArchiveView.as_view(), name="api_archive"),
    path("workers/", workers.WorkerListView.as_view(), name="api_worker_list"),
    path("models/<int:pk>/pushes/", pushes.PushListView.as_view(), name="api_model_pushes"),
    path("models/<int:pk>/win-rates/", win_rates.WinRatesView.as_view(), name="api_model_win_rates"),
]
