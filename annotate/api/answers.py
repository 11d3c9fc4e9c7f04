"""Looking back at one's own answers, and changing them, through the API."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.compare import LabelingView, PairSerializer, TurnSerializer
from annotate.models import Choice, Judgment
from annotate.selectors.answers import MAX_WORDS, SKIPPED, GivenAnswer, describe_answers, list_answers
from annotate.selectors.shown_pair import describe_pair
from annotate.services.changes import reopen_answer


class GivenAnswerSerializer(serializers.Serializer[GivenAnswer]):
    """``token`` names the answer; ``frozen_in`` is the dataset version that rests on it, which nothing changes."""

    token = serializers.UUIDField(source="judgment.token", read_only=True)
    action = serializers.CharField(source="judgment.action", read_only=True)
    choice = serializers.CharField(source="judgment.choice", read_only=True)
    skip_reason = serializers.CharField(source="judgment.skip_reason", read_only=True)
    rationale = serializers.CharField(source="judgment.rationale", read_only=True)
    reason_tags = serializers.ListField(source="judgment.reason_tags", child=serializers.CharField(), read_only=True)
    rewrite = serializers.CharField(source="judgment.rewrite.text", default=None, read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(source="judgment.created_at", read_only=True)
    messages = TurnSerializer(source="pair.turns", many=True, read_only=True)
    left = serializers.CharField(source="pair.left", read_only=True)
    right = serializers.CharField(source="pair.right", read_only=True)
    frozen_in = serializers.IntegerField(read_only=True, allow_null=True)


class AnswerFilterSerializer(serializers.Serializer[Any]):
    """``words`` in the dialogue, a response or your reasons; ``answer`` a choice, or ``skip``."""

    words = serializers.CharField(required=False, allow_blank=True, max_length=MAX_WORDS)
    answer = serializers.ChoiceField(required=False, allow_blank=True, choices=[*Choice.choices, (SKIPPED, SKIPPED)])


class AnswerListView(LabelingView, generics.ListAPIView[Any]):
    serializer_class = GivenAnswerSerializer

    def get_queryset(self) -> QuerySet[Judgment]:
        labeler, project = self.find_place(self.kwargs["slug"])
        asked = AnswerFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return list_answers(project, labeler, **asked.validated_data)

    def paginate_queryset(self, queryset: QuerySet[Judgment]) -> list[GivenAnswer]:  # type: ignore[override]
        return describe_answers(super().paginate_queryset(queryset) or [])

    @extend_schema(parameters=[AnswerFilterSerializer], tags=["comparing"])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Your answers that stand, newest first, each with its pair as you saw it."""
        return super().get(request, *args, **kwargs)


class ChangeView(LabelingView):
    @extend_schema(request=None, responses=PairSerializer, tags=["comparing"])
    def post(self, request: Request, slug: str, token: str) -> Response:
        """Shows the pair of an answer again, under a new token: send it with the new answer or skip.

        Until then the old answer stands. 409 where a dataset version rests on it.
        """
        labeler, project = self.find_place(slug)
        assignment = reopen_answer(labeler=labeler, project=project, token=token)  # type: ignore[arg-type]
        return Response(PairSerializer(describe_pair(assignment)).data)
