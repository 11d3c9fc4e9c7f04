"""Imports below /api/v1/, for those who lead a project: the pages' services, with the whole report as data."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, parsers, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.models import Import
from annotate.permissions import get_labeler, get_led_project, require_lead
from annotate.services.imports import ImportRefused, start_import


class ImportSerializer(serializers.ModelSerializer[Import]):
    """``report`` is empty until the file was checked; rows are in the project only when ``state`` is finished."""

    project = serializers.SlugRelatedField[Any](slug_field="slug", read_only=True)
    created_by = serializers.CharField(source="created_by.username", read_only=True)
    report = serializers.DictField(read_only=True)

    class Meta:
        model = Import
        fields = [
            "id",
            "project",
            "format",
            "on_bad_line",
            "file_name",
            "bytes",
            "sha256",
            "state",
            "step",
            "cause_code",
            "cause",
            "report",
            "created_by",
            "created_at",
            "finished_at",
        ]
        read_only_fields = fields


class ImportSummarySerializer(ImportSerializer):
    """Without the list of single lines."""

    class Meta(ImportSerializer.Meta):
        fields = [name for name in ImportSerializer.Meta.fields if name != "report"]
        read_only_fields = fields


class NewImportSerializer(serializers.Serializer[Import]):
    """A file as multipart/form-data. The page of imports shows a line of each format; any pair may carry its known
    answer: `"gold": {"winner": "a", "grade": "slightly", "explanation": "..."}`."""

    file = serializers.FileField(allow_empty_file=True)
    format = serializers.ChoiceField(choices=Import.Format.choices)
    on_bad_line = serializers.ChoiceField(choices=Import.OnBadLine.choices, default=Import.OnBadLine.REJECT)


@extend_schema_view(get=extend_schema(tags=["imports"], description="A project's imports, newest first."))
class ImportListView(generics.ListCreateAPIView[Import]):
    serializer_class = ImportSummarySerializer
    parser_classes = [parsers.MultiPartParser]

    def get_queryset(self) -> QuerySet[Import]:
        if getattr(self, "swagger_fake_view", False):
            return Import.objects.none()
        project = get_led_project(get_labeler(self.request), self.kwargs["slug"])
        return project.imports.select_related("project", "created_by")

    @extend_schema(request=NewImportSerializer, responses={202: ImportSerializer}, tags=["imports"])
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Stores the file; a worker checks it and enters its rows. Ask for the import to see how it goes."""
        project = get_led_project(get_labeler(request), kwargs["slug"])
        asked = NewImportSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        upload = asked.validated_data.pop("file")
        try:
            work = start_import(project=project, uploaded_file=upload, by=get_labeler(request), **asked.validated_data)
        except ImportRefused as error:
            raise serializers.ValidationError({"file": [str(error)]}) from error
        return Response(ImportSerializer(work).data, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(get=extend_schema(tags=["imports"], description="One import with its report."))
class ImportView(generics.RetrieveAPIView[Import]):
    serializer_class = ImportSerializer
    queryset = Import.objects.select_related("project", "created_by")

    def get_object(self) -> Import:
        work = super().get_object()
        require_lead(get_labeler(self.request), work.project)
        return work
