"""Training runs below /api/v1/runs/: list, launch, watch, cancel, pause, take up again; the pages' services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.api.strict import StrictSerializer
from annotate.models import DatasetVersion
from annotate.permissions import IsAdmin, get_labeler
from models_registry import notices
from models_registry.models import ModelVersion, WorkState
from training import selectors, services
from training.clones import list_changes
from training.engine.recipes import RECIPES
from training.forms import propose_name
from training.limits import get_usage_series
from training.models import Method, Priority, Run, RunShare, Sharding
from training.placement import explain_wait
from training.placing import MOST_GB, MOST_GPUS, MOST_HOSTS, PLACEMENT_FIELDS, Placement
from training.run_search import RunSearch
from training.run_tags import MOST_TAGS, BadTags, set_tags
from training.workers import name_worker

OWN_FIELDS = ("name", "method", "dataset_version", "base_model", "notes", "recipe", "tags", "limit_hours", "limit_gb")


class PriorityField(serializers.ChoiceField):
    """A priority by its name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=[(level.name.lower(), level.label) for level in Priority], **options)

    def to_internal_value(self, data: Any) -> Any:
        return int(Priority[super().to_internal_value(data).upper()])

    def to_representation(self, value: Any) -> str:
        return Priority(value).name.lower()


class NewPrioritySerializer(StrictSerializer[Any]):
    """``reason`` is needed for an urgent run; it stands in the audit log."""

    priority = PriorityField()
    reason = serializers.CharField(max_length=300, default="", allow_blank=True)


class PlacementSerializer(StrictSerializer[Any]):
    """When and where: what a worker must have (0 and nothing: any will do), and how several GPUs share the model."""

    priority = PriorityField(required=False)
    reason = serializers.CharField(max_length=300, default="", allow_blank=True)
    gpus = serializers.IntegerField(min_value=0, max_value=MOST_GPUS, default=0)
    gpu_memory_gb = serializers.IntegerField(min_value=0, max_value=MOST_GB, default=0)
    label = serializers.CharField(max_length=50, default="", allow_blank=True)  # type: ignore[assignment]
    hosts = serializers.IntegerField(
        min_value=1,
        max_value=MOST_HOSTS,
        default=1,
        help_text="Workers that train it together, each with so many.",
    )
    sharding = serializers.ChoiceField(choices=Sharding.choices, default=Sharding.COPIES)


class NewRunSerializer(StrictSerializer[Run]):
    """``values`` are the settings that differ from the recipe's or the method's usual ones; without a ``name`` one is
    made up."""

    method = serializers.ChoiceField(choices=Method.choices)
    dataset_version = serializers.PrimaryKeyRelatedField[DatasetVersion](
        queryset=DatasetVersion.objects.all(), pk_field=serializers.IntegerField()
    )
    base_model = serializers.PrimaryKeyRelatedField[ModelVersion](
        queryset=ModelVersion.objects.all(), pk_field=serializers.IntegerField()
    )
    name = serializers.CharField(max_length=100, default="", allow_blank=True)
    notes = serializers.CharField(max_length=300, default="", allow_blank=True)
    recipe = serializers.CharField(max_length=50, default="", allow_blank=True)
    limit_hours = serializers.FloatField(default=lambda: settings.RUN_LIMIT_HOURS or None, allow_null=True)  # type: ignore[arg-type,return-value]
    limit_gb = serializers.FloatField(default=lambda: settings.RUN_LIMIT_GB or None, allow_null=True)  # type: ignore[arg-type,return-value]
    tags = serializers.ListField(child=serializers.CharField(max_length=30), default=list)
    values = serializers.DictField(child=serializers.JSONField(), default=dict)
    placement = PlacementSerializer(required=False)


class LimitsSerializer(StrictSerializer[Run]):
    """Hours of active training over all attempts, GB of all files of the run; null means no limit."""

    limit_hours = serializers.FloatField(allow_null=True)
    limit_gb = serializers.FloatField(allow_null=True)


class UsageSerializer(serializers.Serializer[Any]):
    """``values[name][i]`` belongs to ``seconds[i]`` of active training: cpu (percent of one core), memory, disk and
    gpu_memory (bytes), gpu (percent)."""

    seconds = serializers.ListField(child=serializers.IntegerField())
    values = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))


class AlertSerializer(serializers.Serializer[Any]):
    """A known bad shape of the curves: ``value`` was measured by ``step`` and broke ``limit``."""

    code = serializers.CharField()
    step = serializers.IntegerField()
    value = serializers.FloatField()
    limit = serializers.FloatField()


class TagsSerializer(StrictSerializer[Any]):
    tags = serializers.ListField(child=serializers.CharField(max_length=30), max_length=MOST_TAGS)


class CloneSerializer(StrictSerializer[Run]):
    """``values`` are the settings to change; without a ``name`` one is made up."""

    name = serializers.CharField(max_length=100, default="", allow_blank=True)
    notes = serializers.CharField(max_length=300, default="", allow_blank=True)
    values = serializers.DictField(child=serializers.JSONField(), default=dict)


class RunSerializer(serializers.ModelSerializer[Run]):
    """``config`` holds every setting; ``result`` and ``model`` are there once ``state`` is finished.

    ``changes``: what differs from ``cloned_from``, by name, as before and after.
    """

    dataset_version = serializers.PrimaryKeyRelatedField[DatasetVersion](read_only=True)
    base_model = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True)
    model = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True, allow_null=True)
    config = serializers.DictField(read_only=True)
    result = serializers.DictField(read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    cloned_from = serializers.PrimaryKeyRelatedField[Run](read_only=True, allow_null=True)
    changes = serializers.SerializerMethodField()
    priority = PriorityField(read_only=True)
    tags = serializers.SlugRelatedField[Any]("name", many=True, read_only=True)
    alerts = AlertSerializer(many=True, read_only=True)

    class Meta:
        model = Run
        fields = [
            "id",
            "name",
            "method",
            "state",
            "step",
            "total_steps",
            "seconds_left",
            "message",
            "cause_code",
            "cause",
            "cancel_requested",
            "pause_requested",
            "crashes",
            "dataset_version",
            "base_model",
            "model",
            "config",
            "result",
            "notes",
            "recipe",
            "limit_hours",
            "limit_gb",
            "active_seconds",
            "disk_bytes",
            "cloned_from",
            "changes",
            "priority",
            "gpus",
            "gpu_memory_gb",
            "label",
            "hosts",
            "sharding",
            "tags",
            "alerts",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
            "archived_at",
            "archive_reason",
        ]
        read_only_fields = fields

    def get_changes(self, run: Run) -> dict[str, list[Any]]:
        def plain(value: Any) -> Any:
            return value.pk if isinstance(value, Model) else value

        found = list_changes(run.cloned_from, run) if run.cloned_from else []
        return {change.name: [plain(change.before), plain(change.after)] for change in found}


class RecipeSerializer(serializers.Serializer[Any]):
    """Published settings: ``values`` are those that differ from the method's usual ones."""

    name = serializers.CharField()
    title = serializers.CharField()
    method = serializers.ChoiceField(choices=Method.choices)
    values = serializers.DictField(child=serializers.JSONField())
    reference = serializers.CharField()


class MetricsSerializer(serializers.Serializer[Any]):
    """``values[name][i]`` belongs to ``steps[i]``; another ``attempt`` means that some steps were done again.

    Where ``width`` is above 1, a point stands for so many steps, of which ``counts`` have values: ``values`` are their
    means, ``lows`` and ``highs`` their ends. ``times``: when the last of them was filed, in seconds since 1970.
    """

    attempt = serializers.IntegerField()
    over = serializers.BooleanField()
    width = serializers.IntegerField()
    steps = serializers.ListField(child=serializers.IntegerField())
    counts = serializers.ListField(child=serializers.IntegerField())
    times = serializers.ListField(child=serializers.FloatField(allow_null=True))
    values = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))
    lows = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))
    highs = serializers.DictField(child=serializers.ListField(child=serializers.FloatField(allow_null=True)))


class MetricsWindowSerializer(StrictSerializer[Any]):
    """Which part of the curves, and how fine."""

    after = serializers.IntegerField(min_value=-1, max_value=2**31 - 2, default=-1, help_text="Only steps above it.")
    last = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False, help_text="Only steps up to it.")
    points = serializers.IntegerField(
        min_value=50,
        max_value=2000,
        default=selectors.MAX_POINTS,
        help_text="About so many; up to twice as many steps.",
    )


SEARCH = {
    "q": "Words in name, notes, base model, project or tags.",
    "state": "",
    "method": "",
    "project": "Number of the project whose data were trained on.",
    "dataset": "Number of the dataset version.",
    "base": "Number of the base model.",
    "by": "Number of the person who launched it.",
    "tag": "",
    "alerts": "1: only runs whose curves have a known bad shape.",
    "archived": "1: those alone that were put away.",
}
"""What the list can be narrowed by, as on the page; see run_search.py."""


@extend_schema_view(
    get=extend_schema(
        tags=["runs"],
        description="The runs that were asked for, newest first.",
        parameters=[OpenApiParameter(name, str, description=words) for name, words in SEARCH.items()],
    )
)
class RunListView(generics.ListCreateAPIView[Run]):
    permission_classes = [IsAdmin]
    serializer_class = RunSerializer

    def get_queryset(self) -> QuerySet[Run]:
        search = RunSearch({name: value for name, value in self.request.query_params.items() if name in SEARCH})
        runs = search.find_runs()
        if search.errors:
            raise serializers.ValidationError(
                {name: [str(problem) for problem in problems] for name, problems in search.errors.items()}
            )
        return runs

    @extend_schema(request=NewRunSerializer, responses={202: RunSerializer}, tags=["runs"])
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Launches a run; a worker takes it up."""
        asked = NewRunSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        values["name"] = values["name"] or propose_name(values["method"], values["base_model"])
        values["placement"] = Placement(**values.get("placement", {}))
        try:
            run = services.launch_run(by=get_labeler(request), **values)
        except services.LaunchErrors as wrong:
            raise serializers.ValidationError(sort_errors(wrong.errors)) from wrong
        return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class RunShareSerializer(serializers.ModelSerializer[RunShare]):
    """What one more machine trains; ``rank`` 0 is the run's own worker."""

    worker = serializers.SerializerMethodField()

    class Meta:
        model = RunShare
        fields = ["rank", "worker", "state", "message", "cause_code", "cause", "started_at", "finished_at"]
        read_only_fields = fields

    def get_worker(self, share: RunShare) -> str:
        return name_worker(share.owner)


class RunDetailSerializer(RunSerializer):
    """``hindrance``: why no worker that is up can take the run; empty where one can, and where it does not wait.

    ``machines``: the further ones that train the present attempt.
    """

    hindrance = serializers.SerializerMethodField()
    machines = serializers.SerializerMethodField()

    class Meta(RunSerializer.Meta):
        fields = [*RunSerializer.Meta.fields, "hindrance", "machines"]
        read_only_fields = fields

    @extend_schema_field(RunShareSerializer(many=True))
    def get_machines(self, run: Run) -> list[dict[str, Any]]:
        return list(RunShareSerializer(run.shares.filter(run_epoch=run.epoch), many=True).data)

    def get_hindrance(self, run: Run) -> str:
        return explain_wait(run.ask, run.hosts) if run.state == WorkState.QUEUED else ""


@extend_schema_view(get=extend_schema(tags=["runs"], description="One run."))
class RunView(generics.RetrieveAPIView[Run]):
    permission_classes = [IsAdmin]
    serializer_class = RunDetailSerializer

    def get_queryset(self) -> QuerySet[Run]:
        return selectors.list_runs()


class RecipeListView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=RecipeSerializer(many=True), tags=["runs"])
    def get(self, request: Request) -> Response:
        """Published settings for runs, with their sources."""
        return Response(RecipeSerializer(list(RECIPES.values()), many=True).data)


class RunCloneView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=CloneSerializer, responses={202: RunSerializer}, tags=["runs"])
    def post(self, request: Request, pk: int) -> Response:
        """Launches the same again with some settings changed."""
        original = get_object_or_404(selectors.list_runs(), pk=pk)
        asked = CloneSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        values["name"] = values["name"] or propose_name(original.method, original.base_model)
        try:
            run = services.clone_run(run=original, by=get_labeler(request), **values)
        except services.LaunchErrors as wrong:
            raise serializers.ValidationError(sort_errors(wrong.errors)) from wrong
        return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class RunTagsView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=TagsSerializer, responses=RunSerializer, tags=["runs"])
    def put(self, request: Request, pk: int) -> Response:
        """The run has these tags and no others."""
        run = get_object_or_404(selectors.list_runs(), pk=pk)
        asked = TagsSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            set_tags(run=run, names=asked.validated_data["tags"], by=get_labeler(request))
        except BadTags as error:
            raise serializers.ValidationError({"tags": [str(error)]}) from error
        return Response(RunSerializer(get_object_or_404(selectors.list_runs(), pk=pk)).data)


class _RunMoveView(APIView):
    """Something that a person does with a run, by the page's service."""

    permission_classes = [IsAdmin]
    move = ""

    def post(self, request: Request, pk: int) -> Response:
        run = get_object_or_404(selectors.list_runs(), pk=pk)
        try:
            services.MOVES[self.move](run=run, by=get_labeler(request))
        except services.REFUSALS as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


def _describe_move(description: str) -> Any:
    shape = extend_schema(request=None, responses={202: RunSerializer}, tags=["runs"], description=description)
    return extend_schema_view(post=shape)


@_describe_move("Ends a run: at once while it waits or is paused, else at its next step, with a checkpoint.")
class RunCancelView(_RunMoveView):
    move = "cancel"


@_describe_move("Holds a waiting run back; a running one saves a checkpoint at its next step and leaves its device.")
class RunPauseView(_RunMoveView):
    move = "pause"


@_describe_move("Lets a paused run wait for a worker again; it goes on from its checkpoint.")
class RunResumeView(_RunMoveView):
    move = "resume"


@_describe_move("Takes a failed or cancelled run up again from its newest sound checkpoint.")
class RunRetryView(_RunMoveView):
    move = "retry"


def _change_run(
    request: Request, pk: int, shape: type[serializers.Serializer[Any]], change: Callable[..., None]
) -> Response:
    """The run after a service has changed it to what was asked for."""
    run = get_object_or_404(selectors.list_runs(), pk=pk)
    asked = shape(data=request.data)
    asked.is_valid(raise_exception=True)
    try:
        change(run=run, by=get_labeler(request), **asked.validated_data)
    except services.LaunchErrors as wrong:
        raise serializers.ValidationError(sort_errors(wrong.errors)) from wrong
    run.refresh_from_db()
    return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class RunPriorityView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=NewPrioritySerializer, responses={202: RunSerializer}, tags=["runs"])
    def post(self, request: Request, pk: int) -> Response:
        """Changes the priority of a run that waits."""
        return _change_run(request, pk, NewPrioritySerializer, services.change_priority)


class RunFollowView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=None, responses={204: None}, tags=["runs"])
    def post(self, request: Request, pk: int) -> Response:
        """Lets you be told what becomes of a run that another launched."""
        return self._follow(request, pk, on=True)

    @extend_schema(request=None, responses={204: None}, tags=["runs"])
    def delete(self, request: Request, pk: int) -> Response:
        """Ends that."""
        return self._follow(request, pk, on=False)

    def _follow(self, request: Request, pk: int, *, on: bool) -> Response:
        notices.follow(get_labeler(request), get_object_or_404(Run, pk=pk), on=on)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RunLimitsView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(request=LimitsSerializer, responses={202: RunSerializer}, tags=["runs"])
    def post(self, request: Request, pk: int) -> Response:
        """Changes the limits of a run that was launched; what they paused can then be resumed."""
        return _change_run(request, pk, LimitsSerializer, services.change_limits)


class RunUsageView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=UsageSerializer, tags=["runs"])
    def get(self, request: Request, pk: int) -> Response:
        """What a run used, over its active time."""
        return Response(get_usage_series(get_object_or_404(Run, pk=pk)))


class RunMetricsView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(parameters=[MetricsWindowSerializer], responses=MetricsSerializer, tags=["runs"])
    def get(self, request: Request, pk: int) -> Response:
        """The curves of a run, or of a part of it; of long runs means, lowest and highest values of several steps."""
        run = get_object_or_404(Run, pk=pk)
        asked = MetricsWindowSerializer(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        window = asked.validated_data
        series = selectors.get_metric_series(
            run=run, first=window["after"] + 1, last=window.get("last"), points=window["points"]
        )
        return Response({"attempt": run.epoch, "over": run.is_at_rest, **vars(series)})


def sort_errors(errors: list[tuple[str, str]]) -> dict[str, Any]:
    """Field to reasons; those of settings and placement stand where the request had them."""
    sorted_errors: dict[str, Any] = {}
    for name, reason in errors:
        part = "placement" if name in PLACEMENT_FIELDS else "values"
        place = sorted_errors if name in OWN_FIELDS else sorted_errors.setdefault(part, {})
        place.setdefault(name, []).append(reason)
    return sorted_errors
