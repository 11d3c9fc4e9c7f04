"""POST /api/v1/runs/estimate/: what a run would take, before it is launched; the launch page's arithmetic."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.permissions import IsAdmin
from training.api.runs import NewRunSerializer, sort_errors
from training.dry_run import words
from training.dry_run.estimate import Estimate, estimate_launch
from training.dry_run.lengths import CHARACTERS, COUNTED, LIKE, LIMIT
from training.placing import Placement
from training.services import LaunchErrors

NOT_ASKED = ("name", "notes", "tags")
"""Parts of a launch that no estimate depends on."""


class EstimatedMemorySerializer(serializers.Serializer[Any]):
    """Bytes of one device. ``usable``: what a run may take of it, null where no device is known."""

    total = serializers.IntegerField()
    parts = serializers.DictField(child=serializers.IntegerField())
    usable = serializers.IntegerField(allow_null=True)
    fits = serializers.BooleanField(allow_null=True)
    recomputes = serializers.BooleanField(help_text="Whether activations are computed twice.")


class EstimatedDeviceSerializer(serializers.Serializer[Any]):
    """The smallest of a living worker that the run may come to; without a ``worker``, what was asked for. ``kind`` is
    cpu or cuda."""

    kind = serializers.CharField()
    name = serializers.CharField()
    memory = serializers.IntegerField()
    worker = serializers.CharField()


class EstimatedTimeSerializer(serializers.Serializer[Any]):
    """``run``: the finished run whose speed was scaled; null where a stated speed was taken, which is rough."""

    seconds = serializers.FloatField()
    reference_seconds = serializers.FloatField()
    device_hours = serializers.FloatField()
    run = serializers.IntegerField(allow_null=True)


class EstimatedDiskSerializer(serializers.Serializer[Any]):
    """Bytes: ``peak`` while it trains, ``kept`` after it, ``needed`` free to begin and to save."""

    peak = serializers.IntegerField()
    kept = serializers.IntegerField()
    checkpoint = serializers.IntegerField()
    checkpoints = serializers.IntegerField()
    needed = serializers.IntegerField()
    free = serializers.IntegerField(allow_null=True)


class BatchSerializer(serializers.Serializer[Any]):
    batch_size = serializers.IntegerField()
    gradient_accumulation = serializers.IntegerField()


class EstimateWarningSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=["hindrance", "memory", "disk", "disk_limit", "hour_limit", "long"])
    text = serializers.CharField()


class RunEstimateSerializer(serializers.Serializer[Any]):
    """``lengths``: where they come from; steps are exact where that is a preview of these settings. ``proposal``: the
    largest batch that fits, the rows of a step unchanged; null where that is the one asked for, or none fits."""

    steps = serializers.IntegerField()
    steps_are_exact = serializers.BooleanField()
    steps_per_epoch = serializers.IntegerField()
    effective_batch = serializers.IntegerField()
    rows = serializers.IntegerField()
    tokens = serializers.IntegerField()
    lengths = serializers.ChoiceField(choices=[COUNTED, LIKE, CHARACTERS, LIMIT])
    device = EstimatedDeviceSerializer()
    memory = EstimatedMemorySerializer()
    time = EstimatedTimeSerializer()
    disk = EstimatedDiskSerializer()
    proposal = BatchSerializer(allow_null=True)
    warnings = EstimateWarningSerializer(many=True)
    verdict = serializers.CharField()
    sources = serializers.ListField(child=serializers.CharField())
    launcher = serializers.CharField(help_text="accelerate's configuration, where there are several processes.")


class RunEstimateView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=NewRunSerializer, responses=RunEstimateSerializer, tags=["runs"])
    def post(self, request: Request) -> Response:
        """What a run would take: steps, memory, time and disk. The body is that of a launch; nothing is launched."""
        asked = NewRunSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = {name: value for name, value in asked.validated_data.items() if name not in NOT_ASKED}
        values["placement"] = Placement(**values.get("placement", {}))
        try:
            estimate = estimate_launch(**values)
        except LaunchErrors as wrong:
            raise serializers.ValidationError(sort_errors(wrong.errors)) from wrong
        return Response(RunEstimateSerializer(_describe(estimate)).data)


def _describe(estimate: Estimate) -> dict[str, Any]:
    memory, device, run = estimate.memory, estimate.device, estimate.speed.run
    batch = dict(zip(("batch_size", "gradient_accumulation"), estimate.proposal or (), strict=False))
    return {
        **{name: getattr(estimate, name) for name in ("steps", "steps_per_epoch", "effective_batch", "tokens")},
        "steps_are_exact": estimate.lengths.is_exact,
        "rows": estimate.lengths.rows,
        "lengths": estimate.lengths.source,
        "device": device,
        "memory": {
            "total": memory.total,
            "parts": memory.parts,
            "usable": device.usable if device.memory else None,
            "fits": estimate.fits_memory,
            "recomputes": memory.recomputes,
        },
        "time": {
            "seconds": round(estimate.seconds, 1),
            "reference_seconds": round(estimate.reference_seconds, 1),
            "device_hours": round(estimate.device_hours, 4),
            "run": run.pk if run else None,
        },
        "disk": estimate.disk,
        "proposal": batch or None,
        "warnings": words.list_warnings(estimate),
        "verdict": words.say_verdict(estimate),
        "sources": words.list_sources(estimate),
        "launcher": estimate.launcher,
    }
