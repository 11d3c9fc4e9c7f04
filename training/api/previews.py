"""Token previews below /api/v1/token-previews/: ask for one, look at it; the page's services."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.strict import StrictSerializer
from annotate.models import DatasetVersion
from annotate.permissions import IsAdmin, get_labeler
from models_registry.models import ModelVersion
from training import previews
from training.api.runs import sort_errors
from training.models import Method, TokenPreview
from training.services import LaunchErrors


class NewPreviewSerializer(StrictSerializer[TokenPreview]):
    """As for a run; ``values`` are the settings that differ from the recipe's or the method's usual ones."""

    method = serializers.ChoiceField(choices=Method.choices)
    dataset_version = serializers.PrimaryKeyRelatedField[DatasetVersion](
        queryset=DatasetVersion.objects.all(), pk_field=serializers.IntegerField()
    )
    base_model = serializers.PrimaryKeyRelatedField[ModelVersion](
        queryset=ModelVersion.objects.all(), pk_field=serializers.IntegerField()
    )
    recipe = serializers.CharField(max_length=50, default="", allow_blank=True)
    values = serializers.DictField(child=serializers.JSONField(), default=dict)


class ListedPreviewSerializer(serializers.ModelSerializer[TokenPreview]):
    dataset_version = serializers.PrimaryKeyRelatedField[DatasetVersion](read_only=True)
    base_model = serializers.PrimaryKeyRelatedField[ModelVersion](read_only=True)
    config = serializers.DictField(read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)

    class Meta:
        model = TokenPreview
        fields = [
            "id",
            "state",
            "message",
            "cause_code",
            "cause",
            "method",
            "dataset_version",
            "base_model",
            "config",
            "created_by",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields


class PreviewSerializer(ListedPreviewSerializer):
    """``result``, once ``state`` is finished: counts of the whole set, and rows token by token.

    The state of a token is masked, trained, read (for the score), unused (a side that the method leaves alone) or cut.
    """

    result = serializers.DictField(read_only=True)

    class Meta(ListedPreviewSerializer.Meta):
        fields = [*ListedPreviewSerializer.Meta.fields, "result"]
        read_only_fields = fields


@extend_schema_view(get=extend_schema(tags=["runs"], description="The newest token previews, without their results."))
class PreviewListView(generics.ListCreateAPIView[TokenPreview]):
    permission_classes = [IsAdmin]
    serializer_class = ListedPreviewSerializer

    def get_queryset(self) -> QuerySet[TokenPreview]:
        return previews.list_previews().defer("result", "log_tail")

    @extend_schema(request=NewPreviewSerializer, responses={202: PreviewSerializer}, tags=["runs"])
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Shows what a run would train on; a worker reads the data. The same settings give the same preview."""
        asked = NewPreviewSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            preview = previews.request_preview(by=get_labeler(request), **asked.validated_data)
        except LaunchErrors as wrong:
            raise serializers.ValidationError(sort_errors(wrong.errors)) from wrong
        return Response(PreviewSerializer(preview).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(get=extend_schema(tags=["runs"], description="One token preview with its result."))
class PreviewView(generics.RetrieveAPIView[TokenPreview]):
    permission_classes = [IsAdmin]
    serializer_class = PreviewSerializer

    def get_queryset(self) -> QuerySet[TokenPreview]:
        return previews.list_previews()
