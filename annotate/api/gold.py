"""Gold pairs and the standing of labelers below /api/v1/: the pages' services and selectors."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.compare import LabelingView
from annotate.models import Comparison, GoldAnswer, Grade, Project, StandingDecision
from annotate.permissions import get_labeler, get_project_or_404, require_review
from annotate.selectors.blindness import WHY, find_held_back
from annotate.selectors.gold import GoldFigures, LabelerRecord, find_record, list_gold, list_records
from annotate.selectors.standing import Pause, describe_pause, find_pause, list_decisions
from annotate.services.gold import MAX_EXPLANATION, GoldError, change_gold, make_gold, unmake_gold
from annotate.services.standing import MAX_WORDS, REVIEWERS_DECISIONS, StandingError, appeal, decide_standing


class GoldSerializer(serializers.ModelSerializer[GoldAnswer]):
    """``winner``, ``grade`` and ``explanation`` are null where ``held_back`` says why you may not see them yet."""

    created_by = serializers.CharField(source="created_by.username", read_only=True)

    held_back = serializers.SerializerMethodField()

    class Meta:
        model = GoldAnswer
        fields = ["comparison", "winner", "grade", "explanation", "is_active", "created_by", "created_at", "held_back"]
        read_only_fields = fields

    def get_held_back(self, gold: GoldAnswer) -> str:
        return str(WHY) if gold.comparison_id in self.context.get("silent", ()) else ""

    def to_representation(self, instance: GoldAnswer) -> dict[str, Any]:
        """Without the answer where it is held back."""
        shown = super().to_representation(instance)
        return shown | (dict.fromkeys(("winner", "grade", "explanation")) if shown["held_back"] else {})


class GoldFiguresSerializer(serializers.Serializer[GoldFigures]):
    """``mean`` credit, 0 to 1; ``is_suspicious`` where most fail: look whether the known answer is right."""

    gold = GoldSerializer(read_only=True)
    judged = serializers.IntegerField(read_only=True)
    mean = serializers.FloatField(read_only=True, allow_null=True)
    is_suspicious = serializers.BooleanField(read_only=True)


class GoldChangeSerializer(serializers.Serializer[Any]):
    """``winner`` a, b or empty where ``grade`` names no side."""

    winner = serializers.ChoiceField(choices=["a", "b", ""], required=False)
    grade = serializers.ChoiceField(choices=Grade.choices, required=False)
    explanation = serializers.CharField(required=False, allow_blank=True, max_length=MAX_EXPLANATION)
    is_active = serializers.BooleanField(required=False)


class NewGoldSerializer(serializers.Serializer[Any]):
    comparison = serializers.PrimaryKeyRelatedField(queryset=Comparison.objects.none())
    winner = serializers.ChoiceField(choices=["a", "b", ""], default="")
    grade = serializers.ChoiceField(choices=Grade.choices)
    explanation = serializers.CharField(default="", allow_blank=True, max_length=MAX_EXPLANATION)

    def __init__(self, *args: Any, comparisons: QuerySet[Comparison] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if comparisons is not None:
            self.fields["comparison"].queryset = comparisons  # type: ignore[attr-defined]


class DecisionSerializer(serializers.ModelSerializer[StandingDecision]):
    """``by`` is null where the gold decided; ``evidence`` as it was then."""

    by = serializers.CharField(source="by.username", default=None, read_only=True, allow_null=True)
    evidence = serializers.DictField(read_only=True)

    class Meta:
        model = StandingDecision
        fields = ["action", "by", "words", "evidence", "created_at"]
        read_only_fields = fields


class NewDecisionSerializer(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=[(action, action.label) for action in REVIEWERS_DECISIONS])
    words = serializers.CharField(default="", allow_blank=True, max_length=MAX_WORDS)


class RecordSerializer(serializers.Serializer[LabelerRecord]):
    """``evidence`` is the e-value against a mean credit at the bar, over the last ``tested``; 100 pauses."""

    id = serializers.IntegerField(source="labeler.pk", read_only=True)
    username = serializers.CharField(source="labeler.username", read_only=True)
    judged = serializers.IntegerField(read_only=True)
    mean = serializers.FloatField(read_only=True, allow_null=True)
    skips = serializers.IntegerField(read_only=True)
    tested = serializers.IntegerField(read_only=True)
    evidence = serializers.FloatField(read_only=True)
    is_paused = serializers.BooleanField(read_only=True)
    decision = DecisionSerializer(read_only=True, allow_null=True)


class StandingSerializer(RecordSerializer):
    log = DecisionSerializer(many=True, read_only=True)


class OwnStandingSerializer(serializers.Serializer[Pause]):
    """Why you get no pairs: ``since`` when, what the reviewers said, your appeal, and whether you may still appeal."""

    is_paused = serializers.BooleanField(default=True, read_only=True)
    since = serializers.DateTimeField(source="cause.created_at", default=None, read_only=True, allow_null=True)
    words = serializers.CharField(source="cause.words", default="", read_only=True)
    appeal = serializers.CharField(source="appeal.words", default=None, read_only=True, allow_null=True)
    answer = serializers.CharField(source="reply", default="", read_only=True)
    is_upheld = serializers.BooleanField(default=False, read_only=True)
    may_appeal = serializers.BooleanField(default=False, read_only=True)


class AppealSerializer(serializers.Serializer[Any]):
    words = serializers.CharField(max_length=MAX_WORDS)


class ReviewerView(APIView):
    """A view for those who review a project; what cannot be done is 400 or 409, in words."""

    def find_project(self, slug: str) -> tuple[User, Project]:
        user = get_labeler(self.request)
        project = get_project_or_404(user, slug)
        require_review(user, project)
        return user, project

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, GoldError | StandingError):
            if exc.field:
                return Response({exc.field: [str(exc)]}, status=status.HTTP_400_BAD_REQUEST)
            return Response({"detail": str(exc)}, status=status.HTTP_409_CONFLICT)
        return super().handle_exception(exc)


class GoldListView(ReviewerView):
    @extend_schema(responses=GoldFiguresSerializer(many=True), tags=["gold"])
    def get(self, request: Request, slug: str) -> Response:
        """All gold pairs, those that most fail first."""
        user, project = self.find_project(slug)
        rows = list_gold(project)
        silent = find_held_back(project, user, [row.gold.comparison_id for row in rows])
        return Response(GoldFiguresSerializer(rows, many=True, context={"silent": silent}).data)  # type: ignore[arg-type]

    @extend_schema(request=NewGoldSerializer, responses={201: GoldSerializer}, tags=["gold"])
    def post(self, request: Request, slug: str) -> Response:
        """Makes a comparison of the project gold; votes cast on it count in no dataset made from now on."""
        by, project = self.find_project(slug)
        asked = NewGoldSerializer(data=request.data, comparisons=project.comparisons.select_related("project"))
        asked.is_valid(raise_exception=True)
        values = asked.validated_data | {"grade": Grade(asked.validated_data["grade"])}
        return Response(GoldSerializer(make_gold(by=by, **values)).data, status=status.HTTP_201_CREATED)


class GoldView(ReviewerView):
    def find_gold(self, pk: int) -> tuple[User, GoldAnswer]:
        """The role is looked at before the gold, so that no labeler learns by the status which pairs are."""
        comparison = get_object_or_404(Comparison.objects.select_related("project"), pk=pk)
        user = get_labeler(self.request)
        require_review(user, comparison.project)
        known = GoldAnswer.objects.select_related("comparison__project", "created_by")
        return user, get_object_or_404(known, comparison=comparison)

    def show(self, user: User, gold: GoldAnswer) -> Response:
        silent = find_held_back(gold.comparison.project, user, [gold.comparison_id])
        return Response(GoldSerializer(gold, context={"silent": silent}).data)

    @extend_schema(responses=GoldSerializer, tags=["gold"])
    def get(self, request: Request, pk: int) -> Response:
        """The known answer to a comparison."""
        return self.show(*self.find_gold(pk))

    @extend_schema(request=GoldChangeSerializer, responses=GoldSerializer, tags=["gold"])
    def patch(self, request: Request, pk: int) -> Response:
        """Changes what is given; the answer only as long as nobody judged the pair as gold."""
        by, gold = self.find_gold(pk)
        asked = GoldChangeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = dict(asked.validated_data)
        if "grade" in values:
            values["grade"] = Grade(values["grade"])
        return self.show(by, change_gold(gold=gold, by=by, **values))

    @extend_schema(responses={204: None}, tags=["gold"])
    def delete(self, request: Request, pk: int) -> Response:
        """Makes a pair ordinary again that was never handed out as gold."""
        by, gold = self.find_gold(pk)
        unmake_gold(gold=gold, by=by)
        return Response(status=status.HTTP_204_NO_CONTENT)


class StandingListView(ReviewerView):
    @extend_schema(responses=RecordSerializer(many=True), tags=["gold"])
    def get(self, request: Request, slug: str) -> Response:
        """The gold record of every member: appeals first, then the paused."""
        rows = list_records(self.find_project(slug)[1])
        return Response(RecordSerializer(rows, many=True).data)  # type: ignore[arg-type]


class StandingView(ReviewerView):
    @extend_schema(responses=StandingSerializer, tags=["gold"])
    def get(self, request: Request, slug: str, user_id: int) -> Response:
        """One labeler's gold record, with all that was decided."""
        _by, project = self.find_project(slug)
        return self.describe(project, self.find_labeler(project, user_id))

    @extend_schema(request=NewDecisionSerializer, responses=StandingSerializer, tags=["gold"])
    def post(self, request: Request, slug: str, user_id: int) -> Response:
        """Pauses, reinstates, upholds a pause against an appeal, or lets somebody in unqualified."""
        by, project = self.find_project(slug)
        labeler = self.find_labeler(project, user_id)
        asked = NewDecisionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        action = StandingDecision.Action(asked.validated_data["action"])
        decide_standing(project=project, labeler=labeler, action=action, words=asked.validated_data["words"], by=by)
        return self.describe(project, labeler)

    def find_labeler(self, project: Project, user_id: int) -> User:
        return get_object_or_404(User.objects.filter(memberships__project=project), pk=user_id)

    def describe(self, project: Project, labeler: User) -> Response:
        log = DecisionSerializer(list_decisions(project, labeler), many=True).data
        return Response({**RecordSerializer(find_record(project, labeler)).data, "log": log})


class OwnStandingView(LabelingView):
    @extend_schema(responses=OwnStandingSerializer, tags=["comparing"])
    def get(self, request: Request, slug: str) -> Response:
        """Whether you get pairs in this project, and where not, why."""
        labeler, project = self.find_place(slug)
        return self.describe(labeler, project)

    @extend_schema(request=AppealSerializer, responses={201: OwnStandingSerializer}, tags=["comparing"])
    def post(self, request: Request, slug: str) -> Response:
        """Appeals against a pause, once; 409 where there is none."""
        labeler, project = self.find_place(slug)
        asked = AppealSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        appeal(project=project, labeler=labeler, words=asked.validated_data["words"])
        return self.describe(labeler, project, status.HTTP_201_CREATED)

    def describe(self, labeler: User, project: Project, code: int = status.HTTP_200_OK) -> Response:
        decision = find_pause(project, labeler)
        shown = describe_pause(decision) if decision else {"is_paused": False}
        return Response(OwnStandingSerializer(shown).data, status=code)  # type: ignore[arg-type]
