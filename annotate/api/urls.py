"""Routes below /api/v1/."""

from django.urls import URLPattern, path

from annotate.api import compare, datasets, imports, projects, sampling

project_routes = [
    path("projects/", projects.ProjectListView.as_view(), name="api_project_list"),
    path("projects/<slug:slug>/", projects.ProjectDetailView.as_view(), name="api_project_detail"),
]

compare_routes = [
    path("projects/<slug:slug>/next/", compare.NextView.as_view(), name="api_next_comparison"),
    path("projects/<slug:slug>/judgments/", compare.JudgmentListView.as_view(), name="api_judgment_list"),
    path("projects/<slug:slug>/judgments/undo/", compare.UndoView.as_view(), name="api_judgment_undo"),
    path("projects/<slug:slug>/skip/", compare.SkipView.as_view(), name="api_comparison_skip"),
    path("projects/<slug:slug>/heartbeat/", compare.HeartbeatView.as_view(), name="api_assignment_heartbeat"),
]

import_routes = [
    path("projects/<slug:slug>/imports/", imports.ImportListView.as_view(), name="api_import_list"),
    path("imports/<int:pk>/", imports.ImportView.as_view(), name="api_import_detail"),
]

dataset_routes = [
    path("projects/<slug:slug>/datasets/", datasets.DatasetListView.as_view(), name="api_dataset_list"),
    path("datasets/<int:pk>/", datasets.DatasetView.as_view(), name="api_dataset_detail"),
    path("datasets/<int:pk>/files/<str:name>/", datasets.DatasetFileView.as_view(), name="api_dataset_file"),
]

sampling_routes = [
    path("projects/<slug:slug>/sampling-jobs/", sampling.SamplingListView.as_view(), name="api_sampling_list"),
    path("sampling-jobs/<int:pk>/", sampling.SamplingView.as_view(), name="api_sampling_detail"),
]

urlpatterns: list[URLPattern] = [
    *project_routes,
    *compare_routes,
    *import_routes,
    *dataset_routes,
    *sampling_routes,
]
