"""Pages of the projects. Each list is grouped under its path; views live in annotate/views/."""

from django.urls import URLPattern, URLResolver, include, path

from annotate.views import (
    answers,
    audit,
    axes,
    compare,
    datasets,
    gold,
    imports,
    labelers,
    members,
    projects,
    quality,
    review,
    sampling,
    votes,
)

# Route names that other rooms link to: project_list, project_detail (slug), compare (slug), import_list (slug),
# import_detail (pk), dataset_list (slug), dataset_detail (pk), sampling_list (slug), sampling_detail (pk).
project_pages = [
    path("", projects.show_project, name="project_detail"),
    path("edit/", projects.edit_project, name="project_edit"),
    path("axes/new/", axes.make_axis, name="axis_new"),
    path("members/", members.show_members, name="member_list"),
    path("members/<int:user_id>/role/", members.change_role, name="member_role"),
    path("members/<int:user_id>/remove/", members.drop_member, name="member_remove"),
    path("imports/", imports.show_imports, name="import_list"),
    path("held/", votes.show_held, name="held_list"),
    path("gold/", gold.show_gold, name="gold_list"),
    path("standings/", gold.show_standings, name="standing_list"),
    path("standings/<int:user_id>/", gold.show_standing, name="standing_detail"),
    path("quality/", quality.show_quality, name="project_quality"),
    path("displays/csv/", quality.download_displays, name="display_csv"),
    path("labelers/<int:user_id>/", labelers.show_labeler, name="labeler_detail"),
    path("audit/", audit.show_log, name="audit_log"),
    path("audit/csv/", audit.download_log, name="audit_csv"),
    path("review/", review.show_queue, name="review_queue"),
    path("datasets/", datasets.show_datasets, name="dataset_list"),
    path("datasets/new/", datasets.make_dataset, name="dataset_new"),
]

compare_pages = [
    path("", compare.compare, name="compare"),
    path("skip/", compare.skip, name="compare_skip"),
    path("undo/", compare.undo, name="compare_undo"),
    path("guidelines/", compare.read_guidelines, name="compare_guidelines"),
    path("flag/", compare.flag, name="compare_flag"),
    path("appeal/", compare.appeal_pause, name="compare_appeal"),
    path("heartbeat/", compare.heartbeat, name="compare_heartbeat"),
    path("draft/", compare.draft, name="compare_draft"),
    path("ahead/", compare.ahead, name="compare_ahead"),
    path("answers/", answers.show_answers, name="answer_list"),
    path("answers/<uuid:token>/", answers.change_answer, name="answer_change"),
]

import_pages = [
    path("", imports.show_import, name="import_detail"),
    path("cancel/", imports.cancel_import, name="import_cancel"),
    path("retry/", imports.retry_import, name="import_retry"),
]

dataset_pages = [
    path("", datasets.show_dataset, name="dataset_detail"),
    path("files/<str:name>/", datasets.download_dataset, name="dataset_download"),
    path("cancel/", datasets.cancel_dataset, name="dataset_cancel"),
    path("retry/", datasets.retry_dataset, name="dataset_retry"),
    path("remove/", datasets.remove_dataset, name="dataset_remove"),
    path("votes/", votes.show_version_votes, name="dataset_votes"),
]

sampling_pages = [
    path("projects/<slug:slug>/sampling/", sampling.list_sampling, name="sampling_list"),
    path("projects/<slug:slug>/scoring/", sampling.start_scores, name="scoring_start"),
    path("projects/<slug:slug>/scoring/status/", sampling.show_scoring_status, name="scoring_status"),
    path("sampling/<int:pk>/", sampling.show_sampling, name="sampling_detail"),
    path("sampling/<int:pk>/status/", sampling.show_sampling_status, name="sampling_status"),
    path("sampling/<int:pk>/cancel/", sampling.cancel_sampling, name="sampling_cancel"),
    path("sampling/<int:pk>/retry/", sampling.retry_sampling, name="sampling_retry"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("projects/", projects.show_projects, name="project_list"),
    path("projects/new/", projects.make_project, name="project_create"),
    path("projects/<slug:slug>/", include(project_pages)),
    path("projects/<slug:slug>/compare/", include(compare_pages)),
    path("imports/<int:pk>/", include(import_pages)),
    path("datasets/<int:pk>/", include(dataset_pages)),
    path("comparisons/<int:pk>/", votes.show_comparison, name="comparison_detail"),
    path("comparisons/<int:pk>/gold/", gold.edit_gold, name="gold_edit"),
    path("comparisons/<int:pk>/gold/retire/", gold.retire_gold, name="gold_retire"),
    path("comparisons/<int:pk>/review/", review.review_pair, name="review_pair"),
    path("comparisons/<int:pk>/review/decide/", review.decide, name="review_decide"),
    path("comparisons/<int:pk>/release/", votes.release, name="comparison_release"),
    path("comparisons/<int:pk>/drop/", votes.drop, name="comparison_drop"),
    path("flags/<int:pk>/resolve/", votes.resolve, name="flag_resolve"),
    *sampling_pages,
]
