"""Comparing through the API: the same services as the compare page, and the same silence about sources."""

from __future__ import annotations

import math
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.projects import ProgressSerializer
from annotate.models import Assignment, Choice, Judgment, Project, SkipReason
from annotate.permissions import get_labeler, get_project_or_404, is_admin
from annotate.selectors.history import list_judgments
from annotate.selectors.progress import find_undoable, measure_progress
from annotate.selectors.shown_pair import ShownPair, Turn, describe_pair
from annotate.services.assignments import extend_lease, next_comparison
from annotate.services.judgments import (
    MAX_NOTE,
    JudgmentError,
    UnknownTokenError,
    skip_comparison,
    stands,
    submit_judgment,
    undo_judgment,
)


class TurnSerializer(serializers.Serializer[Turn]):
    role = serializers.CharField(read_only=True)
    content = serializers.CharField(read_only=True)


class PairSerializer(serializers.Serializer[ShownPair]):
    """``token`` names this handing out: send it with the answer, and the same one with every retry."""

    token = serializers.UUIDField(read_only=True)
    comparison = serializers.IntegerField(source="comparison_id", read_only=True)
    messages = TurnSerializer(source="turns", many=True, read_only=True)
    left = serializers.CharField(read_only=True)
    right = serializers.CharField(read_only=True)
    shown_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)


class DeskSerializer(serializers.Serializer[Any]):
    """``pair`` is null where nothing is left; ``undoable`` is the token of the answer that an undo takes back."""

    pair = PairSerializer(read_only=True, allow_null=True)
    progress = ProgressSerializer(read_only=True)
    undoable = serializers.UUIDField(read_only=True, allow_null=True)


def check_finite(value: float) -> None:
    if not math.isfinite(value):
        raise serializers.ValidationError("A finite number is needed.")


class AnswerSerializer(serializers.Serializer[Any]):
    """``seconds`` from display to choice, where you measured them."""

    token = serializers.UUIDField()
    choice = serializers.ChoiceField(choices=Choice.choices)
    seconds = serializers.FloatField(required=False, min_value=0, validators=[check_finite])


class SkipSerializer(serializers.Serializer[Any]):
    token = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=SkipReason.choices)
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=MAX_NOTE)


class UndoSerializer(serializers.Serializer[Any]):
    """``token`` of the answer to take back, so that a retry takes back no second one; without it the last one."""

    token = serializers.UUIDField(required=False)


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.UUIDField()


class LeaseSerializer(serializers.Serializer[Any]):
    """Null where the lease is over; an answer is taken all the same."""

    expires_at = serializers.DateTimeField(read_only=True, allow_null=True)


class JudgmentSerializer(serializers.ModelSerializer[Judgment]):
    """As its labeler may see it: by sides, never by which response of the stored pair."""

    labeler = serializers.CharField(source="labeler.username", read_only=True)
    choice = serializers.CharField(read_only=True)
    stands = serializers.SerializerMethodField()

    class Meta:
        model = Judgment
        fields = [
            "id",
            "token",
            "comparison",
            "labeler",
            "action",
            "choice",
            "grade",
            "side",
            "skip_reason",
            "seconds",
            "shown_at",
            "created_at",
            "supersedes",
            "stands",
        ]
        read_only_fields = fields

    def get_stands(self, judgment: Judgment) -> bool:
        """False once it was taken back; the list's query has asked for all of its rows at once."""
        known: bool | None = getattr(judgment, "stands", None)
        return stands(judgment) if known is None else known


class AdminJudgmentSerializer(JudgmentSerializer):
    """What an admin sees besides."""

    class Meta(JudgmentSerializer.Meta):
        fields = [*JudgmentSerializer.Meta.fields, "winner", "left_response", "seed", "surplus"]
        read_only_fields = fields


class LabelingView(APIView):
    """A view for one labeler in one project; an answer that cannot be taken is 404 or 409, in words."""

    def find_place(self, slug: str) -> tuple[User, Project]:
        labeler = get_labeler(self.request)
        return labeler, get_project_or_404(labeler, slug)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, JudgmentError):
            unknown = isinstance(exc, UnknownTokenError)
            code = status.HTTP_404_NOT_FOUND if unknown else status.HTTP_409_CONFLICT
            return Response({"detail": str(exc)}, status=code)
        return super().handle_exception(exc)


def describe_desk(labeler: User, project: Project, assignment: Assignment | None) -> dict[str, Any]:
    undoable = find_undoable(project, labeler)
    desk = {
        "pair": describe_pair(assignment) if assignment else None,
        "progress": measure_progress(project, labeler),
        "undoable": undoable.token if undoable else None,
    }
    return dict(DeskSerializer(desk).data)


class NextView(LabelingView):
    @extend_schema(request=None, responses=DeskSerializer, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """The pair you hold, else the next open one, under a lease."""
        labeler, project = self.find_place(slug)
        return Response(describe_desk(labeler, project, next_comparison(labeler=labeler, project=project)))


class UndoView(LabelingView):
    @extend_schema(request=UndoSerializer, responses=DeskSerializer, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Takes your last answer back and hands you that pair again."""
        labeler, project = self.find_place(slug)
        asked = UndoSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        assignment = undo_judgment(labeler=labeler, project=project, **asked.validated_data)
        return Response(describe_desk(labeler, project, assignment))


class SkipView(LabelingView):
    @extend_schema(request=SkipSerializer, responses={201: JudgmentSerializer}, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Gives the pair back for good, with a reason."""
        labeler, project = self.find_place(slug)
        asked = SkipSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data | {"reason": SkipReason(asked.validated_data["reason"])}
        said = skip_comparison(labeler=labeler, project=project, **values)
        return Response(JudgmentSerializer(said).data, status=status.HTTP_201_CREATED)


class HeartbeatView(LabelingView):
    @extend_schema(request=TokenSerializer, responses=LeaseSerializer, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Keeps the lease alive while somebody still reads."""
        labeler, project = self.find_place(slug)
        asked = TokenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        expires_at = extend_lease(labeler=labeler, project=project, token=asked.validated_data["token"])
        return Response({"expires_at": expires_at})


@extend_schema_view(get=extend_schema(responses=JudgmentSerializer(many=True), tags=["comparing"]))
class JudgmentListView(LabelingView, generics.ListAPIView[Judgment]):
    def get_queryset(self) -> QuerySet[Judgment]:
        """Your own judgments, undone ones too; everybody's for an admin. Newest first."""
        labeler, project = self.find_place(self.kwargs["slug"])
        return list_judgments(project, labeler)

    def get_serializer_class(self) -> type[JudgmentSerializer]:
        return AdminJudgmentSerializer if is_admin(self.request.user) else JudgmentSerializer

    @extend_schema(request=AnswerSerializer, responses={201: JudgmentSerializer}, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Submits a judgment; the same one sent again is stored once and answered alike."""
        labeler, project = self.find_place(slug)
        asked = AnswerSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data | {"choice": Choice(asked.validated_data["choice"])}
        said = submit_judgment(labeler=labeler, project=project, **values)
        return Response(self.get_serializer(said).data, status=status.HTTP_201_CREATED)
