"""Figures below /api/v1/: label quality of a project, one labeler's own, and the audit log; the pages' selectors."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.models import AuditAction, AuditEvent
from annotate.pagination import NewestFirst
from annotate.permissions import get_labeler, get_led_project
from annotate.selectors.audit import list_events
from annotate.selectors.labelers import describe_labeler
from annotate.selectors.quality import get_quality
from annotate.views.audit import LogForm
from annotate.views.labelers import find_labeler
from annotate.views.quality import stream_displays


class QualityView(APIView):
    @extend_schema(responses=OpenApiTypes.OBJECT, tags=["quality"])
    def get(self, request: Request, slug: str) -> Response:
        """Agreement, reliability, bias, style and the ranking of models; an estimate is {value, low, high, count}."""
        return Response(get_quality(get_led_project(get_labeler(request), slug)).as_json())


class DisplaysView(APIView):
    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR}, tags=["quality"])
    def get(self, request: Request, slug: str) -> StreamingHttpResponse:
        """How every answer's pair was shown, as CSV: sides, their seed, place, probabilities, hash of the markup."""
        return stream_displays(get_led_project(get_labeler(request), slug))


class EstimateSerializer(serializers.Serializer[Any]):
    """``low`` and ``high`` are the 95 % interval; null where a figure is not defined."""

    value = serializers.FloatField(read_only=True, allow_null=True)
    low = serializers.FloatField(read_only=True, allow_null=True)
    high = serializers.FloatField(read_only=True, allow_null=True)
    count = serializers.IntegerField(read_only=True)


class WeekSerializer(serializers.Serializer[Any]):
    start = serializers.DateField(read_only=True)
    votes = serializers.IntegerField(read_only=True)
    seconds = serializers.FloatField(read_only=True, allow_null=True)


class MiddleSerializer(serializers.Serializer[Any]):
    seconds = serializers.FloatField(read_only=True, allow_null=True)
    agreement = serializers.FloatField(read_only=True, allow_null=True)


class LabelerSerializer(serializers.Serializer[Any]):
    """``has_figures`` is false below twenty votes; ``middle`` is that of all votes of the project.

    ``consistency`` is the share of pairs that came again with the same answer; your own moves on with every tenth.
    """

    id = serializers.IntegerField(source="person.pk", read_only=True)
    username = serializers.CharField(source="person.username", read_only=True)
    votes = serializers.IntegerField(read_only=True)
    has_figures = serializers.BooleanField(read_only=True)
    seconds = serializers.FloatField(read_only=True, allow_null=True)
    weeks = WeekSerializer(many=True, read_only=True)
    agreement = EstimateSerializer(read_only=True)
    reliability = EstimateSerializer(read_only=True)
    weight = serializers.FloatField(read_only=True, allow_null=True)
    position = EstimateSerializer(read_only=True)
    adjudicated = EstimateSerializer(read_only=True)
    consistency = EstimateSerializer(read_only=True)
    flags = serializers.IntegerField(read_only=True)
    middle = MiddleSerializer(read_only=True, allow_null=True)


class LabelerView(APIView):
    @extend_schema(responses=LabelerSerializer, tags=["quality"])
    def get(self, request: Request, slug: str, user_id: int) -> Response:
        """One labeler's figures: your own, or anybody's where you lead the project."""
        viewer = get_labeler(request)
        project, person = find_labeler(viewer, slug, user_id)
        figures = describe_labeler(project, person, for_themself=person == viewer)
        return Response(LabelerSerializer(figures).data)


class AuditEventSerializer(serializers.ModelSerializer[AuditEvent]):
    by = serializers.CharField(source="by.username", default=None, read_only=True, allow_null=True)
    before = serializers.DictField(read_only=True)
    after = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEvent
        fields = ["id", "by", "action", "kind", "number", "name", "before", "after", "created_at"]
        read_only_fields = fields


@extend_schema_view(
    get=extend_schema(
        parameters=[
            OpenApiParameter("by", int, description="Number of the account."),
            OpenApiParameter("action", enum=AuditAction.values),
            OpenApiParameter("since", OpenApiTypes.DATE),
            OpenApiParameter("until", OpenApiTypes.DATE),
        ],
        tags=["projects"],
        description="Who changed what in a project, newest first; for those who lead it.",
    )
)
class AuditView(generics.ListAPIView[AuditEvent]):
    serializer_class = AuditEventSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[AuditEvent]:
        if getattr(self, "swagger_fake_view", False):
            return AuditEvent.objects.none()
        project = get_led_project(get_labeler(self.request), self.kwargs["slug"])
        form = LogForm(self.request.query_params, project=project)
        if not form.is_valid():
            raise serializers.ValidationError({name: list(map(str, words)) for name, words in form.errors.items()})
        return list_events(project, form.build_filter())
