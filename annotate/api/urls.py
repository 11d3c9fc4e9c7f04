"""Routes below /api/v1/."""

from django.urls import URLPattern, path

from annotate.api import (
    answers,
    compare,
    datasets,
    drafts,
    gold,
    held,
    imports,
    members,
    projects,
    quality,
    review,
    sampling,
)

project_routes = [
    path("projects/", projects.ProjectListView.as_view(), name="api_project_list"),
    path("projects/<slug:slug>/", projects.ProjectDetailView.as_view(), name="api_project_detail"),
    path("projects/<slug:slug>/members/", members.MemberListView.as_view(), name="api_member_list"),
    path("projects/<slug:slug>/members/<int:user_id>/", members.MemberView.as_view(), name="api_member_detail"),
    path("projects/<slug:slug>/axes/", projects.AxisListView.as_view(), name="api_axis_list"),
]

compare_routes = [
    path("projects/<slug:slug>/next/", compare.NextView.as_view(), name="api_next_comparison"),
    path("projects/<slug:slug>/judgments/", compare.JudgmentListView.as_view(), name="api_judgment_list"),
    path("projects/<slug:slug>/judgments/undo/", compare.UndoView.as_view(), name="api_judgment_undo"),
    path("projects/<slug:slug>/answers/", answers.AnswerListView.as_view(), name="api_answer_list"),
    path("projects/<slug:slug>/answers/<uuid:token>/change/", answers.ChangeView.as_view(), name="api_answer_change"),
    path("projects/<slug:slug>/drafts/<uuid:token>/", drafts.DraftView.as_view(), name="api_draft"),
    path("projects/<slug:slug>/skip/", compare.SkipView.as_view(), name="api_comparison_skip"),
    path("projects/<slug:slug>/guidelines/", compare.GuidelinesView.as_view(), name="api_guidelines"),
    path("projects/<slug:slug>/flags/", compare.FlagView.as_view(), name="api_comparison_flag"),
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

review_routes = [
    path("projects/<slug:slug>/held/", held.HeldListView.as_view(), name="api_held_list"),
    path("comparisons/<int:pk>/hold/", held.HoldView.as_view(), name="api_comparison_hold"),
    path("projects/<slug:slug>/review/", review.QueueView.as_view(), name="api_review_queue"),
    path("comparisons/<int:pk>/review/", review.ReviewView.as_view(), name="api_review"),
    path("comparisons/<int:pk>/review/decision/", review.DecisionView.as_view(), name="api_review_decision"),
]

quality_routes = [
    path("projects/<slug:slug>/displays/", quality.DisplaysView.as_view(), name="api_displays"),
    path("projects/<slug:slug>/quality/", quality.QualityView.as_view(), name="api_quality"),
    path("projects/<slug:slug>/labelers/<int:user_id>/", quality.LabelerView.as_view(), name="api_labeler"),
    path("projects/<slug:slug>/audit/", quality.AuditView.as_view(), name="api_audit"),
]

gold_routes = [
    path("projects/<slug:slug>/gold/", gold.GoldListView.as_view(), name="api_gold_list"),
    path("comparisons/<int:pk>/gold/", gold.GoldView.as_view(), name="api_gold_detail"),
    path("projects/<slug:slug>/standing/", gold.OwnStandingView.as_view(), name="api_own_standing"),
    path("projects/<slug:slug>/standings/", gold.StandingListView.as_view(), name="api_standing_list"),
    path("projects/<slug:slug>/standings/<int:user_id>/", gold.StandingView.as_view(), name="api_standing_detail"),
]

urlpatterns: list[URLPattern] = [
    *project_routes,
    *compare_routes,
    *import_routes,
    *dataset_routes,
    *sampling_routes,
    *review_routes,
    *quality_routes,
    *gold_routes,
]
