"""The collection of garbage below /api/v1/garbage/: what the page shows and does, by the same functions."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.strict import StrictSerializer
from annotate.permissions import IsAdmin
from models_registry.permissions import get_admin
from training import garbage, trash


class ThingSerializer(serializers.Serializer[garbage.Thing]):
    """``place`` is below DATA_DIR; ``model`` is the number of the model whose weights it holds."""

    place = serializers.CharField()
    owner = serializers.CharField()
    reason = serializers.CharField()
    bytes = serializers.IntegerField()
    model = serializers.IntegerField(allow_null=True)


class TrashEntrySerializer(serializers.Serializer[trash.Entry]):
    """Put back by its ``name`` until ``goes_at``."""

    name = serializers.CharField()
    place = serializers.CharField()
    bytes = serializers.IntegerField()
    taken_at = serializers.DateTimeField()
    goes_at = serializers.DateTimeField()


class PlanSerializer(serializers.Serializer[Any]):
    goes = ThingSerializer(many=True)
    stays = ThingSerializer(many=True)
    trash = TrashEntrySerializer(many=True)


class CollectedSerializer(serializers.Serializer[garbage.Collected]):
    """``spared`` was needed again meanwhile, or could not be moved; ``emptied`` left the trash for good."""

    taken = ThingSerializer(many=True)
    spared = ThingSerializer(many=True)
    emptied = TrashEntrySerializer(many=True)


class EntryNameSerializer(StrictSerializer[trash.Entry]):
    name = serializers.CharField(max_length=100)


class GarbageView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=PlanSerializer, tags=["garbage"])
    def get(self, request: Request) -> Response:
        """What would go now, what stays and why, and what lies in the trash."""
        plan = garbage.make_plan()
        answer = {"goes": plan.goes, "stays": plan.stays, "trash": trash.list_entries()}
        return Response(PlanSerializer(answer).data)

    @extend_schema(request=None, responses=CollectedSerializer, tags=["garbage"])
    def post(self, request: Request) -> Response:
        """Moves to the trash what is garbage, and deletes what has lain there for long enough."""
        try:
            done = garbage.collect(by=get_admin(request))
        except trash.TrashError as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(CollectedSerializer(done).data)


class PutBackView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=EntryNameSerializer, responses=TrashEntrySerializer, tags=["garbage"])
    def post(self, request: Request) -> Response:
        """Puts something from the trash where it lay."""
        asked = EntryNameSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        entry = trash.find_entry(asked.validated_data["name"])
        if entry is None:
            raise serializers.ValidationError({"name": [_("It is not in the trash any more.")]})
        try:
            garbage.put_back(entry, by=get_admin(request))
        except trash.TrashError as error:
            raise serializers.ValidationError({"name": [str(error)]}) from error
        return Response(TrashEntrySerializer(entry).data)
