"""For reviewers: pairs that are held back until somebody decides."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.review import OpenFlagSerializer
from annotate.models import Comparison
from annotate.permissions import get_labeler, get_project_or_404, require_review
from annotate.selectors.blindness import find_silent
from annotate.selectors.held import list_held
from annotate.services.identity import NotHeldError, drop_comparison, release_comparison

_DECISIONS = {"release": release_comparison, "drop": drop_comparison}


class HeldSerializer(serializers.ModelSerializer[Comparison]):
    """Without the notes of labelers on a pair that waits for your own answer."""

    flags = serializers.SerializerMethodField()

    class Meta:
        model = Comparison
        fields = ["id", "flags"]
        read_only_fields = fields

    @extend_schema_field(OpenFlagSerializer(many=True))
    def get_flags(self, comparison: Comparison) -> Any:
        flags = OpenFlagSerializer((comparison.original or comparison).open_flags, many=True).data  # type: ignore[attr-defined]
        if comparison.pk not in self.context.get("silent", ()):
            return flags
        return [flag | ({"note": ""} if flag["labeler"] else {}) for flag in flags]


class HoldDecisionSerializer(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(choices=list(_DECISIONS))


class HoldSerializer(serializers.ModelSerializer[Comparison]):
    class Meta:
        model = Comparison
        fields = ["id", "hold"]
        read_only_fields = fields


@extend_schema_view(get=extend_schema(tags=["review"], description="Pairs that are held back, the oldest first."))
class HeldListView(generics.ListAPIView[Comparison]):
    serializer_class = HeldSerializer

    def get_queryset(self) -> QuerySet[Comparison]:
        if getattr(self, "swagger_fake_view", False):
            return Comparison.objects.none()
        user = get_labeler(self.request)
        project = get_project_or_404(user, self.kwargs["slug"])
        require_review(user, project)
        return list_held(project)

    def paginate_queryset(self, queryset: QuerySet[Comparison]) -> list[Comparison]:  # type: ignore[override]
        self.held = super().paginate_queryset(queryset) or []
        return self.held

    def get_serializer_context(self) -> dict[str, Any]:
        context = {**super().get_serializer_context()}
        if held := getattr(self, "held", None):
            context["silent"] = find_silent(held[0].project, get_labeler(self.request), held)
        return context


class HoldView(APIView):
    @extend_schema(request=HoldDecisionSerializer, responses=HoldSerializer, tags=["review"])
    def post(self, request: Request, pk: int) -> Response:
        """Releases a held pair to the labelers, or drops it for good; 409 where it is not held."""
        comparison = get_object_or_404(Comparison.objects.select_related("project"), pk=pk)
        user = get_labeler(request)
        require_review(user, comparison.project)
        asked = HoldDecisionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            _DECISIONS[asked.validated_data["decision"]](comparison=comparison, by=user)
        except NotHeldError as error:
            return Response({"detail": str(error)}, status=status.HTTP_409_CONFLICT)
        comparison.refresh_from_db()
        return Response(HoldSerializer(comparison).data)
