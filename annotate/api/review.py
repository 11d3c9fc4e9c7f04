"""Review below /api/v1/: the queue, a pair that is blind until you have answered it, and the decision on it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.compare import TurnSerializer, check_finite
from annotate.models import Adjudication, Choice, Comparison, Flag, Grade
from annotate.models.projects import MAX_TAG, MAX_TAGS
from annotate.permissions import get_labeler, get_project_or_404, require_review
from annotate.selectors import review_queue as queue
from annotate.selectors.review import Review, ShownVote, describe_review
from annotate.services.adjudication import MAX_NOTE, adjudicate, answer_blind
from annotate.services.answers import MAX_RATIONALE, AnswerRefusedError, JudgmentError
from annotate.views.review import PER_PAGE

MAX_ID = 2**63 - 1


class AskedSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=queue.Kind.choices, default=queue.Kind.CONFLICT)
    labeler = serializers.CharField(required=False, max_length=150)
    search = serializers.CharField(default="", allow_blank=True, max_length=200)
    page = serializers.IntegerField(default=1, min_value=1, max_value=10**6)


class ItemSerializer(serializers.Serializer[queue.Item]):
    """``votes`` are counted, not told; ``flags`` are the reasons of open ones."""

    comparison = serializers.IntegerField(source="comparison.pk", read_only=True)
    opening = serializers.CharField(read_only=True)
    votes = serializers.IntegerField(read_only=True)
    flags = serializers.ListField(source="reasons", child=serializers.CharField(), read_only=True)
    is_decided = serializers.BooleanField(read_only=True)


class QueueSerializer(serializers.Serializer[Any]):
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    items = ItemSerializer(many=True, read_only=True)


class ReviewVoteSerializer(serializers.Serializer[ShownVote]):
    """By your sides: ``choice`` as if its labeler had seen the pair as you do."""

    judgment = serializers.IntegerField(source="judgment.pk", read_only=True)
    labeler = serializers.CharField(source="judgment.labeler.username", read_only=True)
    choice = serializers.CharField(read_only=True)
    is_mirrored = serializers.BooleanField(read_only=True)
    rationale = serializers.CharField(source="judgment.rationale", read_only=True)
    reason_tags = serializers.ListField(source="judgment.reason_tags", child=serializers.CharField(), read_only=True)
    seconds = serializers.FloatField(source="judgment.seconds", read_only=True)


class OpenFlagSerializer(serializers.ModelSerializer[Flag]):
    """Without a labeler the house itself raised it; the note then holds the words found."""

    labeler = serializers.CharField(source="labeler.username", default=None, read_only=True, allow_null=True)

    class Meta:
        model = Flag
        fields = ["id", "labeler", "reason", "note", "created_at"]
        read_only_fields = fields


class AdjudicationSerializer(serializers.ModelSerializer[Adjudication]):
    """``winner`` is a or b of the stored pair, nothing for an answer without a side or a dropped pair."""

    reviewer = serializers.CharField(source="reviewer.username", read_only=True)
    grade = serializers.ChoiceField(choices=[("", ""), *Grade.choices], read_only=True)

    class Meta:
        model = Adjudication
        fields = ["id", "reviewer", "dropped", "winner", "grade", "note", "supersedes", "created_at"]
        read_only_fields = fields


class ReviewSerializer(serializers.Serializer[Review]):
    """``votes``, ``flags`` and ``decisions`` (the one that stands first) are empty until ``is_open``."""

    comparison = serializers.IntegerField(source="comparison.pk", read_only=True)
    messages = TurnSerializer(source="texts.turns", many=True, read_only=True)
    left = serializers.CharField(source="texts.left", read_only=True)
    right = serializers.CharField(source="texts.right", read_only=True)
    is_open = serializers.BooleanField(read_only=True)
    blind_choice = serializers.CharField(read_only=True, allow_null=True)
    was_vote = serializers.BooleanField(read_only=True)
    known_choice = serializers.CharField(source="gold_choice", read_only=True, allow_null=True)
    votes = ReviewVoteSerializer(many=True, read_only=True)
    flags = OpenFlagSerializer(many=True, read_only=True)
    decisions = AdjudicationSerializer(source="rulings", many=True, read_only=True)


class BlindSerializer(serializers.Serializer[Any]):
    choice = serializers.ChoiceField(choices=Choice.choices)
    rationale = serializers.CharField(required=False, allow_blank=True, max_length=MAX_RATIONALE)
    reason_tags = serializers.ListField(
        child=serializers.CharField(max_length=MAX_TAG), required=False, max_length=MAX_TAGS
    )
    seconds = serializers.FloatField(required=False, min_value=0, validators=[check_finite])


class DecisionSerializer(serializers.Serializer[Any]):
    """``choice`` by your sides, null to drop the pair; ``seen`` the id of the decision that stood when you decided."""

    choice = serializers.ChoiceField(choices=Choice.choices, allow_null=True)
    note = serializers.CharField(default="", allow_blank=True, max_length=MAX_NOTE)
    seen = serializers.IntegerField(default=None, allow_null=True, min_value=1, max_value=MAX_ID)
    resolves_flags = serializers.BooleanField(default=False)


class QueueView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("kind", enum=queue.Kind.values),
            OpenApiParameter("labeler", description="Username of a person of this project."),
            OpenApiParameter("search", description="Words in prompt or responses."),
            OpenApiParameter("page", int),
        ],
        responses=QueueSerializer,
        tags=["review"],
    )
    def get(self, request: Request, slug: str) -> Response:
        """What waits for a reviewer, 25 pairs a page; for reviewers and leads."""
        user = get_labeler(request)
        project = get_project_or_404(user, slug)
        require_review(user, project)
        asked = AskedSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        labeler = User.objects.filter(username=values["labeler"]).first() if "labeler" in values else None
        if "labeler" in values and labeler is None:
            raise serializers.ValidationError({"labeler": ["There is no such account."]})
        wanted = queue.Wanted(labeler=labeler, search=values["search"])
        start = (values["page"] - 1) * PER_PAGE
        rows = list(queue.list_rows(project, queue.Kind(values["kind"]), wanted)[start : start + PER_PAGE])
        counts = {kind.value: count for kind, count in queue.count_kinds(project, wanted)}
        return Response(QueueSerializer({"counts": counts, "items": queue.load_items(rows)}).data)


class PairView(APIView):
    """One pair; what cannot be taken is answered with 400 or 409, in words."""

    def find_pair(self, pk: int) -> tuple[User, Comparison]:
        related = ("project", "prompt", "response_a", "response_b")
        comparison = get_object_or_404(Comparison.objects.select_related(*related), pk=pk)
        reviewer = get_labeler(self.request)
        require_review(reviewer, comparison.project)
        return reviewer, comparison

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, AnswerRefusedError):
            return Response({exc.field: [str(exc)]}, status=status.HTTP_400_BAD_REQUEST)
        if isinstance(exc, JudgmentError):
            return Response({"detail": str(exc)}, status=status.HTTP_409_CONFLICT)
        return super().handle_exception(exc)


class ReviewView(PairView):
    @extend_schema(responses=ReviewSerializer, tags=["review"])
    def get(self, request: Request, pk: int) -> Response:
        """The pair as you see it, and once you have answered it blind, all that was said of it."""
        reviewer, comparison = self.find_pair(pk)
        return Response(ReviewSerializer(describe_review(comparison, reviewer)).data)

    @extend_schema(request=BlindSerializer, responses={201: ReviewSerializer}, tags=["review"])
    def post(self, request: Request, pk: int) -> Response:
        """Your blind answer; the first one stands. The votes come back."""
        reviewer, comparison = self.find_pair(pk)
        asked = BlindSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data | {"choice": Choice(asked.validated_data["choice"])}
        answer_blind(reviewer=reviewer, comparison=comparison, **values)
        review = ReviewSerializer(describe_review(comparison, reviewer))
        return Response(review.data, status=status.HTTP_201_CREATED)


class DecisionView(PairView):
    @extend_schema(request=DecisionSerializer, responses={201: AdjudicationSerializer}, tags=["review"])
    def post(self, request: Request, pk: int) -> Response:
        """Decides the pair, or drops it; 409 before your blind answer and where a newer decision stands."""
        reviewer, comparison = self.find_pair(pk)
        asked = DecisionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        choice = asked.validated_data["choice"]
        values = asked.validated_data | {"choice": Choice(choice) if choice else None}
        ruling = adjudicate(reviewer=reviewer, comparison=comparison, **values)
        return Response(AdjudicationSerializer(ruling).data, status=status.HTTP_201_CREATED)
