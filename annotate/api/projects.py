"""Projects below /api/v1/projects/."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.models import Project
from annotate.models.projects import check_languages, check_reason_tags
from annotate.permissions import can_lead, get_labeler, get_led_project, get_project_or_404, is_admin
from annotate.project_forms import check_visible
from annotate.selectors.progress import Progress, measure_progress
from annotate.selectors.projects import list_family, list_projects
from annotate.services.axes import add_axis
from annotate.services.projects import ProjectError, create_project, update_project


class ProgressSerializer(serializers.Serializer[Progress]):
    """Votes of yours that stand, pairs left for you, votes of everybody, votes needed."""

    done_by_me = serializers.IntegerField(read_only=True)
    left_for_me = serializers.IntegerField(read_only=True)
    done = serializers.IntegerField(read_only=True)
    needed = serializers.IntegerField(read_only=True)


class ProjectSerializer(serializers.ModelSerializer[Project]):
    """``choices`` are the answers that may be given, those of the rail first, from left to right.

    ``axis_of`` is the short name of the project whose pairs an axis judges.
    """

    axis_of = serializers.SlugRelatedField[Any](source="parent", slug_field="slug", read_only=True, allow_null=True)
    choices = serializers.ListField(child=serializers.CharField(), read_only=True)
    reason_tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    languages = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Project
        fields = [
            "id",
            "slug",
            "name",
            "axis_of",
            "axis",
            *Project.SETTINGS,
            "choices",
            "created_at",
            "archived_at",
        ]
        read_only_fields = fields


class ProjectDetailSerializer(ProjectSerializer):
    """How gold is used is told to those alone who lead the project."""

    progress = ProgressSerializer(read_only=True)

    class Meta(ProjectSerializer.Meta):
        fields = [*ProjectSerializer.Meta.fields, "progress"]
        read_only_fields = fields


class NewAxisSerializer(serializers.ModelSerializer[Project]):
    """A further question about the project's pairs; other settings and the members are the project's."""

    axis = serializers.CharField(max_length=40, validators=[check_visible])

    class Meta:
        model = Project
        fields = ["axis", "question", "guidelines", "asks_safety"]
        extra_kwargs = {"question": {"required": True}}


class LedProjectSerializer(ProjectSerializer):
    """What those who lead a project see besides."""

    class Meta(ProjectSerializer.Meta):
        fields = [*ProjectSerializer.Meta.fields, *Project.LED_SETTINGS]
        read_only_fields = fields


class ProjectSettingsSerializer(serializers.ModelSerializer[Project]):
    """The settings that a lead may change; what is left out stays."""

    reason_tags = serializers.ListField(child=serializers.CharField(), validators=[check_reason_tags])
    languages = serializers.ListField(child=serializers.CharField(), validators=[check_languages])
    archived = serializers.BooleanField(write_only=True)

    class Meta:
        model = Project
        fields = ["axis", *Project.SETTINGS, *Project.LED_SETTINGS, "archived"]

    def update(self, instance: Project, validated_data: dict[str, Any]) -> Project:
        """Sets the values; the service stores them."""
        for name, value in validated_data.items():
            setattr(instance, name, value)
        return instance


class NewProjectSerializer(ProjectSettingsSerializer):
    """Everything but the name has a default; without a slug it gets one made of its name."""

    reason_tags = serializers.ListField(
        child=serializers.CharField(), validators=[check_reason_tags], required=False, default=list
    )
    languages = serializers.ListField(
        child=serializers.CharField(), validators=[check_languages], required=False, default=list
    )

    class Meta(ProjectSettingsSerializer.Meta):
        fields = ["name", "slug", *(name for name in ProjectSettingsSerializer.Meta.fields if name != "archived")]
        extra_kwargs = {"slug": {"required": False, "allow_blank": True}}


@extend_schema_view(get=extend_schema(tags=["projects"], description="The projects you may see, newest first."))
class ProjectListView(generics.ListAPIView[Project]):
    serializer_class = ProjectSerializer

    def get_queryset(self) -> QuerySet[Project]:
        return Project.objects.none() if _is_schema_view(self) else list_projects(get_labeler(self.request))

    @extend_schema(request=NewProjectSerializer, responses={201: ProjectSerializer}, tags=["projects"])
    def post(self, request: Request) -> Response:
        """Makes a project; for admins."""
        if not is_admin(request.user):
            raise PermissionDenied
        asked = NewProjectSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            project = create_project(project=Project(**asked.validated_data), by=get_labeler(request))
        except ProjectError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        return Response(ProjectSerializer(project).data, status=status.HTTP_201_CREATED)


class ProjectDetailView(APIView):
    @extend_schema(responses=ProjectDetailSerializer, tags=["projects"])
    def get(self, request: Request, slug: str) -> Response:
        """One project, its guidelines, and how far it is."""
        labeler = get_labeler(request)
        return self.describe(labeler, get_project_or_404(labeler, slug))

    @extend_schema(request=ProjectSettingsSerializer, responses=ProjectDetailSerializer, tags=["projects"])
    def patch(self, request: Request, slug: str) -> Response:
        """Changes settings; for those who lead the project."""
        labeler = get_labeler(request)
        project = get_led_project(labeler, slug)
        asked = ProjectSettingsSerializer(project, data=request.data, partial=True)
        asked.is_valid(raise_exception=True)
        archived = asked.validated_data.pop("archived", bool(project.archived_at))
        try:
            update_project(project=asked.update(project, asked.validated_data), archived=archived, by=labeler)
        except ProjectError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        return self.describe(labeler, project)

    def describe(self, labeler: User, project: Project) -> Response:
        progress = ProgressSerializer(measure_progress(project, labeler)).data
        serializer = LedProjectSerializer if can_lead(labeler, project) else ProjectSerializer
        return Response({**serializer(project).data, "progress": progress})


class AxisListView(APIView):
    @extend_schema(responses=ProjectSerializer(many=True), tags=["projects"])
    def get(self, request: Request, slug: str) -> Response:
        """The project and its axes as far as you may see them; of an axis, its whole family."""
        labeler = get_labeler(request)
        family = list_family(get_project_or_404(labeler, slug), labeler)
        return Response(ProjectSerializer(family, many=True).data)

    @extend_schema(request=NewAxisSerializer, responses={201: ProjectSerializer}, tags=["projects"])
    def post(self, request: Request, slug: str) -> Response:
        """Adds an axis: a project of its own with the same pairs; for those who lead the project."""
        labeler = get_labeler(request)
        project = get_led_project(labeler, slug)
        asked = NewAxisSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            axis = add_axis(parent=project, by=labeler, **asked.validated_data)
        except ProjectError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        return Response(ProjectSerializer(axis).data, status=status.HTTP_201_CREATED)


def _is_schema_view(view: Any) -> bool:
    return bool(getattr(view, "swagger_fake_view", False))
