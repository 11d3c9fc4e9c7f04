"""Pushing a model below /api/v1/models/<id>/pushes/; pulling is registering one, see models_registry/api/models.py."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.permissions import IsAdmin, get_labeler
from models_registry.models import ModelVersion
from training.models import ModelPush
from training.pushes import PushError, list_pushes, request_push


class PushSerializer(serializers.ModelSerializer[ModelPush]):
    """``result``, once it is finished: ``url``, ``files`` with size and SHA-256, and the manifest's ``sha256``."""

    result = serializers.DictField(read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = ModelPush
        fields = ["id", "state", "message", "cause_code", "cause", "result", "created_by", "created_at", "finished_at"]
        read_only_fields = fields


class PushListView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=PushSerializer(many=True), tags=["models"])
    def get(self, request: Request, pk: int) -> Response:
        """Where the model was put, newest first."""
        return Response(PushSerializer(list_pushes(get_object_or_404(ModelVersion, pk=pk)), many=True).data)

    @extend_schema(request=None, responses={202: PushSerializer}, tags=["models"])
    def post(self, request: Request, pk: int) -> Response:
        """Puts the model on the shared shelf; a worker does it."""
        try:
            push = request_push(model=get_object_or_404(ModelVersion, pk=pk), by=get_labeler(request))
        except PushError as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(PushSerializer(push).data, status=status.HTTP_202_ACCEPTED)
