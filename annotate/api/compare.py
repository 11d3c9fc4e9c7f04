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
from annotate.api.strict import StrictSerializer
from annotate.models import Assignment, Choice, Draft, Flag, FlagReason, Judgment, Project, Safety, SkipReason
from annotate.models.projects import MAX_TAG, MAX_TAGS
from annotate.permissions import can_review, get_labeler, get_project_or_404
from annotate.selectors.blindness import WHY, find_held_back
from annotate.selectors.drafts import find_draft
from annotate.selectors.guidelines import find_current, find_unread
from annotate.selectors.history import list_judgments
from annotate.selectors.progress import find_undoable, measure_progress
from annotate.selectors.shown_pair import ShownPair, Turn, describe_pair
from annotate.services.answers import MAX_RATIONALE, AnswerRefusedError, JudgmentError
from annotate.services.assignments import extend_lease, next_comparison
from annotate.services.axes import follow_pair
from annotate.services.drafts import NoOpenPairError
from annotate.services.flags import flag_comparison
from annotate.services.guidelines import acknowledge_guidelines
from annotate.services.judgments import (
    MAX_NOTE,
    UnknownTokenError,
    skip_comparison,
    stands,
    submit_judgment,
    undo_judgment,
)
from annotate.services.prompts import MAX_CHARACTERS


class TurnSerializer(serializers.Serializer[Turn]):
    role = serializers.CharField(read_only=True)
    content = serializers.CharField(read_only=True)


class PairSerializer(serializers.Serializer[ShownPair]):
    """``token`` names this handing out: send it with the answer, and the same one with every retry."""

    token = serializers.UUIDField(read_only=True)
    messages = TurnSerializer(source="turns", many=True, read_only=True)
    left = serializers.CharField(read_only=True)
    right = serializers.CharField(read_only=True)
    shown_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)


def check_finite(value: float) -> None:
    if not math.isfinite(value):
        raise serializers.ValidationError("A finite number is needed.")


class DraftSerializer(StrictSerializer[Draft]):
    """What you have begun to say of a pair, on a page or through the API; nobody else sees it.

    The fields are those of an answer; one that is left out is blank. Whether your project takes it all is only checked
    once it is your answer, with which the draft goes.
    """

    choice = serializers.ChoiceField(choices=Choice.choices, required=False, allow_blank=True)
    rationale = serializers.CharField(required=False, allow_blank=True, max_length=MAX_RATIONALE, trim_whitespace=False)
    reason_tags = serializers.ListField(
        child=serializers.CharField(max_length=MAX_TAG), required=False, max_length=MAX_TAGS
    )
    rewrite = serializers.CharField(required=False, allow_blank=True, max_length=MAX_CHARACTERS, trim_whitespace=False)
    safety = serializers.ChoiceField(choices=Safety.choices, required=False, allow_blank=True)
    seconds = serializers.FloatField(required=False, min_value=0, validators=[check_finite])
    updated_at = serializers.DateTimeField(read_only=True)


class DeskSerializer(serializers.Serializer[Any]):
    """``pair`` is null where nothing is left; ``draft`` is yours of that pair, if you had begun to answer it.

    ``undoable`` is the token of the answer that an undo takes back.
    """

    pair = PairSerializer(read_only=True, allow_null=True)
    draft = DraftSerializer(read_only=True, allow_null=True)
    progress = ProgressSerializer(read_only=True)
    undoable = serializers.UUIDField(read_only=True, allow_null=True)


class AnswerSerializer(serializers.Serializer[Any]):
    """``choice`` is one of the project's ``choices``; ``seconds`` from display to choice, where you measured them.

    ``safety``, which sides are safe, is needed where the project asks for it. That an unsafe response is better than a
    safe one is refused unless ``confirmed``.
    """

    token = serializers.UUIDField()
    choice = serializers.ChoiceField(choices=Choice.choices)
    rationale = serializers.CharField(required=False, allow_blank=True, max_length=MAX_RATIONALE)
    reason_tags = serializers.ListField(
        child=serializers.CharField(max_length=MAX_TAG), required=False, max_length=MAX_TAGS
    )
    rewrite = serializers.CharField(required=False, allow_blank=True, max_length=MAX_CHARACTERS, trim_whitespace=False)
    safety = serializers.ChoiceField(choices=Safety.choices, required=False, allow_blank=True)
    confirmed = serializers.BooleanField(required=False)
    seconds = serializers.FloatField(required=False, min_value=0, validators=[check_finite])


class NewFlagSerializer(serializers.Serializer[Any]):
    token = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=FlagReason.choices)
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=MAX_NOTE)


class FlagSerializer(serializers.ModelSerializer[Flag]):
    class Meta:
        model = Flag
        fields = ["id", "reason", "note", "created_at", "resolved_at"]
        read_only_fields = fields


class SkipSerializer(serializers.Serializer[Any]):
    token = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=SkipReason.choices)
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=MAX_NOTE)


class ReadingSerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField(min_value=1, max_value=2**31 - 1)


class GuidelinesSerializer(serializers.Serializer[Any]):
    """Markdown; nothing is handed out before ``is_read``."""

    number = serializers.IntegerField(read_only=True)
    text = serializers.CharField(read_only=True)
    is_read = serializers.BooleanField(read_only=True)


class NextSerializer(serializers.Serializer[Any]):
    """``pair``: the token of a pair of yours on another axis; the same one comes first where it is open."""

    pair = serializers.UUIDField(required=False)


class UndoSerializer(serializers.Serializer[Any]):
    """``token`` of the answer to take back, so that a retry takes back no second one; without it the last one."""

    token = serializers.UUIDField(required=False)


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.UUIDField()


class LeaseSerializer(serializers.Serializer[Any]):
    """Null where the lease is over; an answer is taken all the same."""

    expires_at = serializers.DateTimeField(read_only=True, allow_null=True)


class JudgmentSerializer(serializers.ModelSerializer[Judgment]):
    """As its labeler may see it: by sides, never by which response of the stored pair.

    Nor by the pair's number: numbers tell which pairs were made together, and so which are out of their turn.
    """

    labeler = serializers.CharField(source="labeler.username", read_only=True)
    choice = serializers.CharField(read_only=True)
    safety = serializers.CharField(read_only=True)
    reason_tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    guidelines = serializers.IntegerField(source="guidelines.number", default=None, read_only=True, allow_null=True)
    rewrite = serializers.CharField(source="rewrite.text", default=None, read_only=True, allow_null=True)
    stands = serializers.SerializerMethodField()

    class Meta:
        model = Judgment
        fields = [
            "id",
            "token",
            "labeler",
            "action",
            "choice",
            "grade",
            "scale",
            "side",
            "safety",
            "guidelines",
            "skip_reason",
            "rationale",
            "reason_tags",
            "rewrite",
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


DISPLAY_FIELDS = [
    "left_response",
    "seed",
    "position",
    "render_hash",
    "side_propensity",
    "pair_propensity",
    "is_repeat",
]


SAID_FIELDS = [
    "choice",
    "grade",
    "side",
    "safety",
    "skip_reason",
    "rationale",
    "reason_tags",
    "rewrite",
    "winner",
    "safe",
]


class ReviewerJudgmentSerializer(JudgmentSerializer):
    """What a reviewer sees besides. What was said is null where ``held_back`` says why they may not know it yet."""

    held_back = serializers.SerializerMethodField()

    class Meta(JudgmentSerializer.Meta):
        fields = [
            *JudgmentSerializer.Meta.fields,
            "comparison",
            "winner",
            "safe",
            "surplus",
            *DISPLAY_FIELDS,
            "held_back",
        ]
        read_only_fields = fields

    def get_held_back(self, judgment: Judgment) -> str:
        others = judgment.labeler != self.context["request"].user
        return str(WHY) if others and judgment.comparison_id in self.context.get("silent", ()) else ""

    def to_representation(self, instance: Judgment) -> dict[str, Any]:
        """Without what was said where it is held back."""
        shown = super().to_representation(instance)
        return shown | (dict.fromkeys(SAID_FIELDS) if shown["held_back"] else {})


class LabelingView(APIView):
    """A view for one labeler in one project; an answer that cannot be taken is 400, 404 or 409, in words."""

    def find_place(self, slug: str) -> tuple[User, Project]:
        labeler = get_labeler(self.request)
        return labeler, get_project_or_404(labeler, slug)

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, AnswerRefusedError):
            return Response({exc.field: [str(exc)]}, status=status.HTTP_400_BAD_REQUEST)
        if isinstance(exc, JudgmentError):
            unknown = isinstance(exc, UnknownTokenError | NoOpenPairError)
            code = status.HTTP_404_NOT_FOUND if unknown else status.HTTP_409_CONFLICT
            return Response({"detail": str(exc)}, status=code)
        return super().handle_exception(exc)


def describe_desk(labeler: User, project: Project, assignment: Assignment | None) -> dict[str, Any]:
    undoable = find_undoable(project, labeler)
    desk = {
        "pair": describe_pair(assignment) if assignment else None,
        "draft": find_draft(assignment) if assignment else None,
        "progress": measure_progress(project, labeler),
        "undoable": undoable.token if undoable else None,
    }
    return dict(DeskSerializer(desk).data)


def describe_guidelines(labeler: User, project: Project) -> dict[str, Any]:
    current = find_current(project)
    number, text = (current.number, current.text) if current else (0, project.guidelines)
    return {"number": number, "text": text, "is_read": find_unread(project, labeler) is None}


class NextView(LabelingView):
    @extend_schema(request=NextSerializer, responses=DeskSerializer, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """The pair you hold, else the next open one, under a lease; 409 before you have read the guidelines."""
        labeler, project = self.find_place(slug)
        asked = NextSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        shown = asked.validated_data.get("pair")
        foreseen = follow_pair(labeler=labeler, project=project, token=shown) if shown else None
        assignment = next_comparison(labeler=labeler, project=project, foreseen=foreseen)
        return Response(describe_desk(labeler, project, assignment))


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


class FlagView(LabelingView):
    @extend_schema(request=NewFlagSerializer, responses={201: FlagSerializer}, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Asks that somebody look at the pair, which stays yours; the same flag sent again is stored once."""
        labeler, project = self.find_place(slug)
        asked = NewFlagSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data | {"reason": FlagReason(asked.validated_data["reason"])}
        flag = flag_comparison(labeler=labeler, project=project, **values)
        return Response(FlagSerializer(flag).data, status=status.HTTP_201_CREATED)


class GuidelinesView(LabelingView):
    @extend_schema(responses=GuidelinesSerializer, tags=["comparing"])
    def get(self, request: Request, slug: str) -> Response:
        """The guidelines as they stand and whether you have read them; their number is 0 where none are written."""
        labeler, project = self.find_place(slug)
        return Response(describe_guidelines(labeler, project))

    @extend_schema(request=ReadingSerializer, responses=GuidelinesSerializer, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Says that you have read a version; 409 where a newer one stands."""
        labeler, project = self.find_place(slug)
        asked = ReadingSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        acknowledge_guidelines(labeler=labeler, project=project, **asked.validated_data)
        return Response(describe_guidelines(labeler, project))


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
        """Your own judgments, undone ones too; everybody's for a reviewer. Newest first."""
        labeler, project = self.find_place(self.kwargs["slug"])
        return list_judgments(project, labeler)

    def paginate_queryset(self, queryset: QuerySet[Judgment]) -> list[Judgment]:  # type: ignore[override]
        self.rows = super().paginate_queryset(queryset) or []
        return self.rows

    def get_serializer_context(self) -> dict[str, Any]:
        context = {**super().get_serializer_context()}
        if rows := getattr(self, "rows", None):
            labeler, project = self.find_place(self.kwargs["slug"])
            context["silent"] = find_held_back(project, labeler, {row.comparison_id for row in rows})
        return context

    def _reviews(self) -> bool:
        if getattr(self, "swagger_fake_view", False):
            return False
        return can_review(self.request.user, get_project_or_404(self.request.user, self.kwargs["slug"]))

    def get_serializer_class(self) -> type[JudgmentSerializer]:
        return ReviewerJudgmentSerializer if self._reviews() else JudgmentSerializer

    @extend_schema(request=AnswerSerializer, responses={201: JudgmentSerializer}, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Submits a judgment; the same one sent again is stored once and answered alike."""
        labeler, project = self.find_place(slug)
        asked = AnswerSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data | {"choice": Choice(asked.validated_data["choice"])}
        said = submit_judgment(labeler=labeler, project=project, **values)
        return Response(self.get_serializer(said).data, status=status.HTTP_201_CREATED)
