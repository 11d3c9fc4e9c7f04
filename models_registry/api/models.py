"""The registry below /api/v1/models/: what the pages show, through the same services."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_registry import hub, promotions, services
from models_registry.models import ModelImport, ModelKind, ModelSource, ModelVersion, Promotion
from models_registry.permissions import IsAdmin, get_admin
from models_registry.selectors import list_models, list_promotions, list_standing
from models_registry.store import StoreError


class ModelImportSerializer(serializers.ModelSerializer[ModelImport]):
    """How far the preparation of a base model is."""

    class Meta:
        model = ModelImport
        fields = ["state", "step", "total_steps", "seconds_left", "message", "cause_code", "cause"]
        read_only_fields = fields


class ModelSerializer(serializers.ModelSerializer[ModelVersion]):
    """``preparation`` is null for models that were trained here; ``ready_at`` is null until the files are there."""

    base = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True)
    facts = serializers.DictField(read_only=True)
    metrics = serializers.DictField(read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    preparation = ModelImportSerializer(source="model_import", read_only=True, allow_null=True, default=None)
    aliases = serializers.SerializerMethodField()

    class Meta:
        model = ModelVersion
        fields = [
            "id",
            "name",
            "kind",
            "source",
            "source_ref",
            "base",
            "facts",
            "metrics",
            "licence",
            "notes",
            "aliases",
            "created_by",
            "created_at",
            "ready_at",
            "weights_removed_at",
            "archived_at",
            "archive_reason",
            "preparation",
        ]
        read_only_fields = fields

    def get_aliases(self, model: Any) -> list[str]:
        """What it is called now; ``model`` as list_models gives it."""
        return [promotion.alias for promotion in model.standing]


class NewModelSerializer(serializers.Serializer[ModelVersion]):
    """``ref``: a hub id for ``hub``, a folder of the server's list for ``folder``, one of
    ``models/pushed/`` for ``pull``, nothing for ``demo``."""

    source = serializers.ChoiceField(  # type: ignore[assignment]  # the base class has an attribute of this name
        choices=[ModelSource.DEMO, ModelSource.FOLDER, ModelSource.HUB, ModelSource.PULL]
    )
    ref = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    name = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)


class PromotionSerializer(serializers.ModelSerializer[Promotion]):
    """``model`` is null where an alias was taken back: it is held by nobody from then on."""

    by = serializers.CharField(source="by.username", read_only=True)

    class Meta:
        model = Promotion
        fields = ["id", "alias", "kind", "model", "note", "by", "at"]
        read_only_fields = ["id", "kind", "model", "at"]


class ModelFilterSerializer(serializers.Serializer[Any]):
    """Which models are listed; an empty value asks for nothing."""

    alias = serializers.CharField(default="", allow_blank=True)
    kind = serializers.ChoiceField(choices=ModelKind.choices, default="", allow_blank=True)
    archived = serializers.CharField(default="", allow_blank=True)


LIST_PARAMETERS = [
    OpenApiParameter("alias", str, description="Those alone that have this alias now."),
    OpenApiParameter("kind", str, enum=list(ModelKind.values)),
    OpenApiParameter("archived", str, enum=["1"], description="Those alone that were put away."),
]


@extend_schema_view(
    get=extend_schema(tags=["models"], description="All models in use, newest first.", parameters=LIST_PARAMETERS)
)
class ModelListView(generics.ListCreateAPIView[ModelVersion]):
    permission_classes = [IsAdmin]
    serializer_class = ModelSerializer

    def get_queryset(self) -> QuerySet[ModelVersion]:
        wanted = ModelFilterSerializer(data=self.request.query_params.dict())
        wanted.is_valid(raise_exception=True)
        asked = wanted.validated_data
        models = list_models().filter(archived_at__isnull=asked["archived"] != "1")
        if kind := asked["kind"]:
            models = models.filter(kind=kind)
        if alias := asked["alias"]:
            models = models.filter(pk__in=list_standing().filter(alias=alias).values("model"))
        return models

    @extend_schema(request=NewModelSerializer, responses={202: ModelSerializer}, tags=["models"])
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Registers a base model; its files are brought in by a worker, see ``preparation``."""
        asked = NewModelSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        by = get_admin(request)
        try:
            if values["source"] == ModelSource.DEMO:
                model = services.add_demo_model(by=by)
            else:
                model = services.register_model(by=by, **values)
        except services.RegisterError as error:
            raise serializers.ValidationError({error.field: [str(error)]}) from error
        fresh = list_models().get(pk=model.pk)
        return Response(ModelSerializer(fresh).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(get=extend_schema(tags=["models"], description="One model."))
class ModelView(generics.RetrieveAPIView[ModelVersion]):
    permission_classes = [IsAdmin]
    serializer_class = ModelSerializer

    def get_queryset(self) -> QuerySet[ModelVersion]:
        return list_models()


class PushedSerializer(serializers.Serializer[Any]):
    """``url`` is where the folders lie."""

    url = serializers.CharField()
    folders = serializers.ListField(child=serializers.CharField())


class PushedView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=PushedSerializer, tags=["models"])
    def get(self, request: Request) -> Response:
        """Which models can be pulled from the shared hub folder."""
        try:
            return Response({"url": hub.locate_hub(), "folders": hub.list_pushed()})
        except StoreError as error:
            raise serializers.ValidationError({"non_field_errors": [str(error)]}) from error


class PromotionListView(APIView):
    permission_classes = [IsAdmin]

    @extend_schema(responses=PromotionSerializer(many=True), tags=["models"])
    def get(self, request: Request, pk: int) -> Response:
        """When the model got aliases and lost them by word, newest first."""
        rows = list_promotions(get_object_or_404(ModelVersion, pk=pk))
        return Response(PromotionSerializer(rows, many=True).data)

    @extend_schema(request=PromotionSerializer, responses={201: PromotionSerializer}, tags=["models"])
    def post(self, request: Request, pk: int) -> Response:
        """Moves an alias to the model, from whichever of its kind had it."""
        model = get_object_or_404(ModelVersion, pk=pk)
        asked = PromotionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            made = promotions.promote(model=model, by=get_admin(request), **asked.validated_data)
        except promotions.PromotionError as error:
            raise serializers.ValidationError({"alias": [str(error)]}) from error
        return Response(PromotionSerializer(made).data, status=status.HTTP_201_CREATED)
