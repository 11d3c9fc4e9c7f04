"""Sampling jobs below /api/v1/: list, start, look at; the pages' services."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.models import Comparison, Prompt, SamplingJob
from annotate.permissions import IsAdmin, get_labeler, get_project_or_404
from annotate.selectors.sampling import list_prompts, list_sampling_jobs
from annotate.services.sampling import MAX_PROMPTS, MAX_SEED, RECIPE_FIELDS, SamplingError, start_sampling
from models_registry.models import ModelVersion

_PAIRS = Prefetch("comparisons", Comparison.objects.filter(original=None).only("sampling_job"))


class NewSamplingSerializer(serializers.ModelSerializer[SamplingJob]):
    """Prompts come from three places, together: ``prompts`` by id, ``new_prompts`` as text, and the ``newest`` few."""

    prompts = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1), max_length=MAX_PROMPTS, default=list
    )
    new_prompts = serializers.ListField(
        child=serializers.CharField(max_length=64_000), max_length=MAX_PROMPTS, default=list
    )
    newest = serializers.IntegerField(min_value=0, max_value=MAX_PROMPTS, default=0)
    seed = serializers.IntegerField(min_value=0, max_value=MAX_SEED, default=0)
    only_unsampled = serializers.BooleanField(default=True, help_text="Of the newest, those no model has answered yet.")

    class Meta:
        model = SamplingJob
        fields = ["prompts", "new_prompts", "newest", "only_unsampled", *RECIPE_FIELDS]


class SamplingSerializer(serializers.ModelSerializer[SamplingJob]):
    """``comparisons`` are the pairs that came of it, once ``state`` is finished."""

    project = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    model_a = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True)
    model_b = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True)
    reward_model = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True, allow_null=True)
    prompts = serializers.PrimaryKeyRelatedField[Prompt](many=True, read_only=True)
    comparisons = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = SamplingJob
        fields = [
            "id",
            "project",
            "state",
            "step",
            "total_steps",
            "seconds_left",
            "message",
            "cause_code",
            "cause",
            *RECIPE_FIELDS,
            "prompts",
            "comparisons",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


@extend_schema_view(get=extend_schema(tags=["sampling"], description="A project's sampling jobs, newest first."))
class SamplingListView(generics.ListCreateAPIView[SamplingJob]):
    permission_classes = [IsAdmin]
    serializer_class = SamplingSerializer

    def get_queryset(self) -> QuerySet[SamplingJob]:
        if getattr(self, "swagger_fake_view", False):
            return SamplingJob.objects.none()
        project = get_project_or_404(self.request.user, self.kwargs["slug"])
        return list_sampling_jobs(project).prefetch_related("prompts", _PAIRS)

    @extend_schema(request=NewSamplingSerializer, responses={202: SamplingSerializer}, tags=["sampling"])
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Starts a job; a worker samples two responses for each prompt, which become comparisons."""
        project = get_project_or_404(request.user, kwargs["slug"])
        asked = NewSamplingSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = dict(asked.validated_data)
        numbers, newest, unsampled = (values.pop(name) for name in ("prompts", "newest", "only_unsampled"))
        prompts = list(Prompt.objects.filter(project=project, pk__in=numbers))
        unknown = sorted(set(numbers) - {prompt.pk for prompt in prompts})
        if unknown:
            raise serializers.ValidationError({"prompts": [f"The project has no prompt {unknown[0]}."]})
        if newest:
            prompts += list_prompts(project, unsampled=unsampled, limit=newest)
        try:
            job = start_sampling(project=project, prompts=prompts, by=get_labeler(request), **values)
        except SamplingError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        return Response(SamplingSerializer(job).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(get=extend_schema(tags=["sampling"], description="One sampling job."))
class SamplingView(generics.RetrieveAPIView[SamplingJob]):
    permission_classes = [IsAdmin]
    serializer_class = SamplingSerializer

    def get_queryset(self) -> QuerySet[SamplingJob]:
        return list_sampling_jobs().prefetch_related("prompts", _PAIRS)
