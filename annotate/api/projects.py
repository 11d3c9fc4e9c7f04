"""Projects below /api/v1/projects/."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.models import Project
from annotate.permissions import get_labeler, get_project_or_404
from annotate.selectors.progress import Progress, measure_progress
from annotate.selectors.projects import list_projects


class ProgressSerializer(serializers.Serializer[Progress]):
    """Votes of yours that stand, pairs left for you, votes of everybody, votes needed."""

    done_by_me = serializers.IntegerField(read_only=True)
    left_for_me = serializers.IntegerField(read_only=True)
    done = serializers.IntegerField(read_only=True)
    needed = serializers.IntegerField(read_only=True)


class ProjectSerializer(serializers.ModelSerializer[Project]):
    class Meta:
        model = Project
        fields = [
            "id",
            "slug",
            "name",
            "description",
            "question",
            "guidelines",
            "votes_per_comparison",
            "created_at",
            "archived_at",
        ]
        read_only_fields = fields


class ProjectDetailSerializer(ProjectSerializer):
    progress = ProgressSerializer(read_only=True)

    class Meta(ProjectSerializer.Meta):
        fields = [*ProjectSerializer.Meta.fields, "progress"]
        read_only_fields = fields


@extend_schema_view(get=extend_schema(tags=["projects"], description="The projects you may see, newest first."))
class ProjectListView(generics.ListAPIView[Project]):
    serializer_class = ProjectSerializer

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.none() if _is_schema_view(self) else list_projects(get_labeler(self.request))


class ProjectDetailView(APIView):
    @extend_schema(responses=ProjectDetailSerializer, tags=["projects"])
    def get(self, request: Request, slug: str) -> Response:
        """One project, its guidelines, and how far it is."""
        labeler = get_labeler(request)
        project = get_project_or_404(labeler, slug)
        progress = ProgressSerializer(measure_progress(project, labeler)).data
        return Response({**ProjectSerializer(project).data, "progress": progress})


def _is_schema_view(view: Any) -> bool:
    return bool(getattr(view, "swagger_fake_view", False))
