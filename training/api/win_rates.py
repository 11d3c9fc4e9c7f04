"""Win rates below /api/v1/models/<id>/win-rates/: what the page shows, by the same selector."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.models import Project
from annotate.permissions import IsAdmin
from models_registry.models import ModelKind, ModelVersion
from training.win_rates import Policy, WinRates, get_win_rates


class PolicySerializer(serializers.Serializer[Policy]):
    """``model`` is null for responses that came with an imported file; the counts are of this project."""

    model = serializers.IntegerField(source="model.pk", allow_null=True)
    name = serializers.CharField()
    prompts = serializers.IntegerField()
    responses = serializers.IntegerField()
    unscored = serializers.IntegerField()


class WinRateSerializer(serializers.Serializer[Any]):
    """``first`` over ``second`` (ids of models, null for imported responses); ties count half."""

    first = serializers.IntegerField(allow_null=True)
    second = serializers.IntegerField(allow_null=True)
    prompts = serializers.IntegerField(help_text="Both answered, and both have a score.")
    unscored = serializers.IntegerField(help_text="Both answered, but one of them has no score.")
    rate = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2)
    mean_gap = serializers.FloatField(allow_null=True)


class WinRatesSerializer(serializers.Serializer[Any]):
    judge = serializers.IntegerField()
    project = serializers.SlugField()
    policies = PolicySerializer(many=True)
    win_rates = WinRateSerializer(many=True)


class WinRatesView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(
        parameters=[OpenApiParameter("project", str, required=True, description="The project's slug.")],
        responses=WinRatesSerializer,
        tags=["models"],
    )
    def get(self, request: Request, pk: int) -> Response:
        """How often each policy's responses beat each other's on the same prompts, as this reward model scores them."""
        judge = get_object_or_404(ModelVersion, pk=pk, kind=ModelKind.REWARD)
        slug = request.query_params.get("project")
        if not slug:
            raise serializers.ValidationError({"project": ["Name the project by its slug."]})
        project = get_object_or_404(Project, slug=slug)
        found = get_win_rates(project=project, judge=judge)
        answer = {"judge": judge.pk, "project": project.slug, "policies": found.policies, "win_rates": _list(found)}
        return Response(WinRatesSerializer(answer).data)


def _list(found: WinRates) -> list[dict[str, Any]]:
    """Both directions of each pair of policies."""
    numbers = [policy.model.pk if policy.model else None for policy in found.policies]
    return [
        {"first": first, "second": second, **vars(cell)}
        for first, row in zip(numbers, found.cells, strict=True)
        for second, cell in zip(numbers, row, strict=True)
        if cell
    ]
