"""Dataset versions below /api/v1/: list, freeze, look at, download; the pages' services."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.strict import StrictSerializer
from annotate.exporting.rule import MAX_EVAL_SHARE, MAX_SEED, MAX_VOTES, STRENGTHS, Aggregation, DatasetRule, RuleError
from annotate.models import DatasetVersion
from annotate.permissions import IsAdmin, get_labeler, get_led_project, get_project_or_404, require_lead
from annotate.selectors.datasets import list_versions
from annotate.services.datasets import CannotRemove, DatasetError, freeze_dataset, remove_dataset
from annotate.views.datasets import open_download

MAX_ID = 2**63 - 1
"""The highest number that the database gives a row."""


class RuleSerializer(StrictSerializer[DatasetRule]):
    """How votes become rows; what is left out takes its default."""

    aggregation = serializers.ChoiceField(choices=Aggregation.choices, default=DatasetRule.aggregation)
    min_votes = serializers.IntegerField(min_value=1, max_value=MAX_VOTES, default=DatasetRule.min_votes)
    grades = serializers.ListField(
        child=serializers.ChoiceField(choices=list(STRENGTHS)), allow_empty=False, default=list(DatasetRule.grades)
    )
    count_surplus = serializers.BooleanField(default=DatasetRule.count_surplus)
    left_out_labelers = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID),
        max_length=1000,
        default=list(DatasetRule.left_out_labelers),
    )
    eval_share = serializers.FloatField(min_value=0, max_value=MAX_EVAL_SHARE, default=DatasetRule.eval_share)
    split_seed = serializers.IntegerField(min_value=0, max_value=MAX_SEED, default=DatasetRule.split_seed)
    include_rewrites = serializers.BooleanField(default=DatasetRule.include_rewrites)
    include_reasons = serializers.BooleanField(default=DatasetRule.include_reasons)


class NewDatasetSerializer(StrictSerializer[DatasetVersion]):
    rule = RuleSerializer(default=dict)
    notes = serializers.CharField(max_length=300, default="", allow_blank=True)


class DatasetSerializer(serializers.ModelSerializer[DatasetVersion]):
    """Row counts, digests, ``counts`` and ``left_out`` are there once ``state`` is finished."""

    project = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    rule = serializers.DictField(read_only=True)
    counts = serializers.DictField(read_only=True)
    left_out = serializers.DictField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = DatasetVersion
        fields = [
            "id",
            "project",
            "number",
            "state",
            "cause_code",
            "cause",
            "rule",
            "judgment_cutoff",
            "notes",
            "train_rows",
            "eval_rows",
            "train_sha256",
            "eval_sha256",
            "counts",
            "left_out",
            "created_by",
            "created_at",
            "finished_at",
            "archived_at",
            "archive_reason",
        ]
        read_only_fields = fields


class LeadReads(APIView):
    """Read by those who lead the project, as the view looks up; anything else is for admins."""

    def get_permissions(self) -> list[Any]:
        return [IsAuthenticated() if self.request.method in SAFE_METHODS else IsAdmin()]


@extend_schema_view(
    get=extend_schema(
        tags=["datasets"],
        description="A project's dataset versions in use, newest first.",
        parameters=[OpenApiParameter("archived", str, enum=["1"], description="Those alone that were put away.")],
    )
)
class DatasetListView(LeadReads, generics.ListCreateAPIView[DatasetVersion]):
    serializer_class = DatasetSerializer

    def get_queryset(self) -> QuerySet[DatasetVersion]:
        if getattr(self, "swagger_fake_view", False):
            return DatasetVersion.objects.none()
        versions = list_versions(get_led_project(self.request.user, self.kwargs["slug"])).select_related("project")
        return versions.filter(archived_at__isnull=self.request.query_params.get("archived") != "1")

    @extend_schema(request=NewDatasetSerializer, responses={202: DatasetSerializer}, tags=["datasets"])
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Freezes a version; a worker builds its files."""
        project = get_project_or_404(request.user, kwargs["slug"])
        asked = NewDatasetSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        fields = RuleSerializer(data=asked.validated_data["rule"])
        fields.is_valid(raise_exception=True)
        try:
            version = freeze_dataset(
                project=project,
                rule=DatasetRule.from_json(fields.validated_data),
                notes=asked.validated_data["notes"],
                by=get_labeler(request),
            )
        except RuleError as error:
            raise serializers.ValidationError({"rule": {error.field: [error.reason]}}) from error
        except DatasetError as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(DatasetSerializer(version).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(get=extend_schema(tags=["datasets"], description="One dataset version."))
class DatasetView(LeadReads, generics.RetrieveAPIView[DatasetVersion]):
    serializer_class = DatasetSerializer
    queryset = DatasetVersion.objects.select_related("project", "created_by")

    def get_object(self) -> DatasetVersion:
        version = super().get_object()
        require_lead(self.request.user, version.project)
        return version

    @extend_schema(responses={204: None, 409: OpenApiTypes.OBJECT}, tags=["datasets"])
    def delete(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Removes a version that failed or was cancelled; 409 for any other, since a finished one never changes."""
        try:
            remove_dataset(version=self.get_object(), by=get_labeler(request))
        except CannotRemove as error:
            return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DatasetFileView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses={(200, "application/x-ndjson"): OpenApiTypes.BINARY}, tags=["datasets"])
    def get(self, request: Request, pk: int, name: str) -> FileResponse:
        """The file ``train``, ``eval`` or ``card``, streamed as an attachment."""
        return open_download(get_object_or_404(DatasetVersion.objects.select_related("project"), pk=pk), name)
