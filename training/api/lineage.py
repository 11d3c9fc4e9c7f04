"""A lineage below /api/v1/lineage/<model, run, dataset, sampling or comparison>/<id>/, as the page shows it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from training.lineage import NAMES, Generation, Lineage, Node
from training.views.lineage import STARTS, find_lineage

KINDS = f"One of {', '.join(NAMES)}."


class LineageLinkSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text=KINDS)
    id = serializers.IntegerField()


class LineageNodeSerializer(serializers.Serializer[Node]):
    """``links`` are the things one generation nearer to the start. A hidden one's name says only what it is."""

    kind = serializers.CharField(help_text=KINDS)
    id = serializers.SerializerMethodField()
    name = serializers.CharField()
    detail = serializers.CharField()
    url = serializers.CharField()
    is_archived = serializers.BooleanField()
    is_hidden = serializers.BooleanField()
    links = serializers.SerializerMethodField()

    def get_id(self, node: Node) -> int | None:
        return None if node.is_hidden else node.number

    @extend_schema_field(LineageLinkSerializer(many=True))
    def get_links(self, node: Node) -> list[dict[str, Any]]:
        return [{"kind": kind, "id": number} for kind, number in node.links]


class GenerationSerializer(serializers.Serializer[Generation]):
    nodes = LineageNodeSerializer(many=True)
    folded = serializers.ListField(child=serializers.CharField())


class LineageSerializer(serializers.Serializer[Lineage]):
    """``back``: nearest causes first; ``forward``: nearest effects first; ``is_cut`` where a walk would go on."""

    start = LineageNodeSerializer()
    back = GenerationSerializer(many=True)
    forward = GenerationSerializer(many=True)
    is_cut = serializers.BooleanField()


class LineageView(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(
        parameters=[OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=list(STARTS))],
        responses=LineageSerializer,
        tags=["lineage"],
    )
    def get(self, request: Request, kind: str, pk: int) -> Response:
        """What a thing came of and what came of it. Datasets and comparisons are for leads too, the rest for admins."""
        return Response(LineageSerializer(find_lineage(request, kind, pk)).data)
