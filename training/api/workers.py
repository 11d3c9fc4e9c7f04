"""The workers below /api/v1/workers/: what their page shows."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.permissions import IsAdmin
from training.workers import list_busy_workers


class GpuSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    memory = serializers.IntegerField(help_text="Bytes.")


class OwnedWorkSerializer(serializers.Serializer[Any]):
    """``kind`` is run, samplingjob and so on; ``id`` is the row's number among its kind."""

    kind = serializers.SerializerMethodField()
    id = serializers.IntegerField(source="pk")
    epoch = serializers.IntegerField()
    started_at = serializers.DateTimeField()

    def get_kind(self, work: Any) -> str:
        return type(work).__name__.lower()


class WorkerSerializer(serializers.Serializer[Any]):
    """``state`` is idle, working, leaving (takes nothing new) or silent; sizes are bytes."""

    name = serializers.CharField(source="worker.name")
    state = serializers.CharField()
    queues = serializers.ListField(child=serializers.CharField(), source="worker.queues")
    labels = serializers.ListField(child=serializers.CharField(), source="worker.machine.labels")
    gpus = GpuSerializer(many=True, source="worker.machine.gpus")
    processor = serializers.CharField(source="worker.machine.processor")
    cores = serializers.IntegerField(source="worker.machine.cores")
    memory = serializers.IntegerField(source="worker.machine.memory")
    disk_free = serializers.IntegerField(source="worker.machine.disk_free")
    versions = serializers.DictField(child=serializers.CharField(), source="worker.machine.versions")
    started_at = serializers.DateTimeField(source="worker.started_at")
    seen_at = serializers.DateTimeField(source="worker.seen_at")
    works = OwnedWorkSerializer(many=True)


class WorkerListView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=WorkerSerializer(many=True), tags=["workers"])
    def get(self, request: Request) -> Response:
        """All workers seen within a day: what they have, and what each is at."""
        return Response(WorkerSerializer(list_busy_workers(), many=True).data)
