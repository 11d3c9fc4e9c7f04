"""Pages of training, and the page of a model with all that led to it and came of it."""

from django.urls import path

from training.views import (
    archive,
    garbage,
    launch,
    lineage,
    model_comparison,
    models,
    previews,
    runs,
    win_rates,
    workers,
)

urlpatterns = [
    path("runs/", runs.list_runs, name="run_list"),
    path("runs/new/", launch.launch_run, name="run_new"),
    path("runs/new/changes/", launch.show_changes, name="run_changes"),
    path("runs/<int:pk>/", runs.show_run, name="run_detail"),
    path("runs/<int:pk>/status/", runs.show_run_status, name="run_status"),
    path("runs/<int:pk>/metrics.json", runs.read_metrics, name="run_metrics"),
    path("runs/<int:pk>/metrics.csv", runs.read_metrics_csv, name="run_metrics_csv"),
    path("runs/<int:pk>/log.txt", runs.read_log, name="run_log"),
    path("runs/<int:pk>/cancel/", runs.move_run, {"move": "cancel"}, name="run_cancel"),
    path("runs/<int:pk>/follow/", runs.follow_run, name="run_follow"),
    path("runs/<int:pk>/limits/", runs.change_limits, name="run_limits"),
    path("runs/<int:pk>/usage.json", runs.read_usage, name="run_usage"),
    path("runs/<int:pk>/pause/", runs.move_run, {"move": "pause"}, name="run_pause"),
    path("runs/<int:pk>/resume/", runs.move_run, {"move": "resume"}, name="run_resume"),
    path("runs/<int:pk>/retry/", runs.move_run, {"move": "retry"}, name="run_retry"),
    path("runs/<int:pk>/priority/", workers.change_priority, name="run_priority"),
    path("token-previews/", previews.start_preview, name="preview_start"),
    path("token-previews/<int:pk>/", previews.show_preview, name="preview_detail"),
    path("token-previews/<int:pk>/status/", previews.show_preview_status, name="preview_status"),
    path("workers/", workers.show_workers, name="worker_list"),
    path("models/<int:pk>/", models.show_model, name="model_detail"),
    path("lineage/<str:kind>/<int:pk>/", lineage.show_lineage, name="lineage"),
    path("models/compare/", model_comparison.compare_models, name="model_compare"),
    path("garbage/", garbage.show_garbage, name="garbage"),
    path("garbage/put-back/", garbage.put_back, name="garbage_put_back"),
    path("archive/<str:kind>/<int:pk>/", archive.archive, name="archive"),
    path("archive/<str:kind>/<int:pk>/restore/", archive.restore, name="archive_restore"),
    path("models/<int:pk>/push/", models.push_model, name="model_push"),
    path("models/<int:pk>/win-rates/", win_rates.show_win_rates, name="model_win_rates"),
]
