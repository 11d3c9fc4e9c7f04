"""Pages of the projects. Each list is grouped under its path; views live in annotate/views/."""

from django.urls import URLPattern, URLResolver, include, path

from annotate.views import compare, datasets, imports, members, projects, sampling, votes

# Route names that other rooms link to: project_list, project_detail (slug), compare (slug), import_list (slug),
# import_detail (pk), dataset_list (slug), dataset_detail (pk), sampling_list (slug), sampling_detail (pk).
project_pages = [
    path("", projects.show_project, name="project_detail"),
    path("edit/", projects.edit_project, name="project_edit"),
    path("members/", members.show_members, name="member_list"),
    path("members/<int:user_id>/remove/", members.drop_member, name="member_remove"),
    path("imports/", imports.show_imports, name="import_list"),
    path("datasets/", datasets.show_datasets, name="dataset_list"),
    path("datasets/new/", datasets.make_dataset, name="dataset_new"),
]

compare_pages = [
    path("", compare.compare, name="compare"),
    path("skip/", compare.skip, name="compare_skip"),
    path("undo/", compare.undo, name="compare_undo"),
    path("heartbeat/", compare.heartbeat, name="compare_heartbeat"),
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
    *sampling_pages,
]
