"""Models beside each other below /api/v1/models/compare/: the page's selector."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.permissions import IsAdmin
from training.model_comparison import FEWEST, MOST, ModelComparison, compare_models


class ComparedModelSerializer(serializers.Serializer[Any]):
    """``run``, ``dataset_version`` and ``config`` are null for what was not trained here."""

    id = serializers.IntegerField(source="model.pk")
    name = serializers.CharField(source="model.name")
    kind = serializers.CharField(source="model.kind")
    aliases = serializers.ListField(child=serializers.CharField())
    licence = serializers.CharField(source="model.licence")
    facts = serializers.DictField(source="model.facts")
    metrics = serializers.DictField(source="model.metrics")
    base = serializers.IntegerField(source="model.base_id", allow_null=True)
    run = serializers.IntegerField(source="run.pk", allow_null=True, default=None)
    dataset_version = serializers.IntegerField(source="run.dataset_version_id", allow_null=True, default=None)
    config = serializers.DictField(source="run.config", allow_null=True, default=None)


class VoteRateSerializer(serializers.Serializer[Any]):
    """``first`` over ``second`` by people's votes; a prompt counts once, ties half; 95 % interval (Wilson)."""

    first = serializers.IntegerField()
    second = serializers.IntegerField()
    prompts = serializers.IntegerField()
    votes = serializers.IntegerField()
    rate = serializers.FloatField()
    interval = serializers.ListField(child=serializers.FloatField(), min_length=2, max_length=2)


class ModelComparisonSerializer(serializers.Serializer[Any]):
    models = ComparedModelSerializer(many=True)
    vote_rates = VoteRateSerializer(many=True)


class ModelComparisonView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(
        parameters=[OpenApiParameter("model", int, many=True, description="From two to six numbers of models.")],
        responses=ModelComparisonSerializer,
        tags=["models"],
    )
    def get(self, request: Request) -> Response:
        """Models beside each other: what they are, were measured at, and how people chose between their answers."""
        limits = serializers.ListField(
            child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), min_length=FEWEST, max_length=MOST
        )
        asked = list(dict.fromkeys(request.query_params.getlist("model")))
        try:
            numbers = limits.run_validation(asked)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"model": error.detail}) from error
        found = compare_models(numbers)
        if missing := set(numbers) - {each.model.pk for each in found.models}:
            raise serializers.ValidationError({"model": [f"There is no model {min(missing)}."]})
        answer = {"models": found.models, "vote_rates": _list_rates(found)}
        return Response(ModelComparisonSerializer(answer).data)


def _list_rates(found: ModelComparison) -> list[dict[str, Any]]:
    return [
        {"first": row.model.pk, "second": column.model.pk, **vars(rate)}
        for row, rates in zip(found.models, found.rates, strict=True)
        for column, rate in zip(found.models, rates, strict=True)
        if rate
    ]
