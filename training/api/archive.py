"""The archive below /api/v1/archive/<models, runs or datasets>/<id>/: put away, take out again."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.strict import StrictSerializer
from annotate.permissions import IsAdmin
from models_registry.permissions import get_admin
from training import archiving
from training.archiving import KINDS, ArchiveError, Thing
from training.views.archive import find_archivable

KIND = OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=list(KINDS))


class ReasonSerializer(StrictSerializer[Thing]):
    reason = serializers.CharField(max_length=300)


class ArchivedSerializer(serializers.Serializer[Thing]):
    """All is null or empty for what is not archived."""

    archived_at = serializers.DateTimeField(read_only=True, allow_null=True)
    archived_by = serializers.CharField(source="archived_by.username", read_only=True, allow_null=True, default=None)
    archive_reason = serializers.CharField(read_only=True)


class ArchiveView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(parameters=[KIND], responses=ArchivedSerializer, tags=["archive"])
    def get(self, request: Request, kind: str, pk: int) -> Response:
        """Whether it is archived, by whom, when and why."""
        return Response(ArchivedSerializer(find_archivable(kind, pk)).data)

    @extend_schema(parameters=[KIND], request=ReasonSerializer, responses=ArchivedSerializer, tags=["archive"])
    def post(self, request: Request, kind: str, pk: int) -> Response:
        """Puts it away: hidden from lists and choices, never deleted."""
        thing = find_archivable(kind, pk)
        asked = ReasonSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            archiving.archive(thing, reason=asked.validated_data["reason"], by=get_admin(request))
        except ArchiveError as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(ArchivedSerializer(find_archivable(kind, pk)).data)

    @extend_schema(parameters=[KIND], responses={204: None}, tags=["archive"])
    def delete(self, request: Request, kind: str, pk: int, **_kwargs: Any) -> Response:
        """Takes it out again."""
        try:
            archiving.restore(find_archivable(kind, pk), by=get_admin(request))
        except ArchiveError as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(status=status.HTTP_204_NO_CONTENT)
