"""What a person is told, below /api/v1/notices/: the pages' services, of the person who asks and nobody else."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_registry import notices
from models_registry.models import Channel, Notice, NoticeSettings, Topic
from models_registry.notice_forms import NoticeSettingsForm
from models_registry.permissions import get_person


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    """``words`` say what happened; ``kind`` and ``number`` what it is about, ``path`` where that is shown."""

    words = serializers.SerializerMethodField()
    path = serializers.SerializerMethodField()

    class Meta:
        model = Notice
        fields = ["id", "topic", "kind", "number", "name", "cause_code", "words", "path", "created_at", "read_at"]
        read_only_fields = fields

    def get_words(self, notice: Notice) -> str:
        return notices.say(notice)

    def get_path(self, notice: Notice) -> str:
        return notices.locate(notice)


class NoticeSettingsSerializer(serializers.Serializer[Any]):
    """How the person is told of each topic; ``mail`` needs an address, and a house that sends mails."""

    email = serializers.EmailField(allow_blank=True, max_length=254)
    language = serializers.ChoiceField(choices=settings.LANGUAGES)
    channels = serializers.DictField(child=serializers.ChoiceField(choices=Channel.choices))


@extend_schema_view(
    get=extend_schema(
        tags=["notices"],
        parameters=[OpenApiParameter("unread", bool, description="Only those not yet read.")],
        description="What you were told, newest first.",
    )
)
class NoticeListView(generics.ListAPIView[Notice]):
    serializer_class = NoticeSerializer

    def get_queryset(self) -> QuerySet[Notice]:
        found = notices.list_notices(get_person(self.request))
        return found.filter(read_at=None) if self.request.query_params.get("unread") in ("1", "true") else found


class NoticeReadView(APIView):
    @extend_schema(request=None, responses={200: NoticeSerializer}, tags=["notices"])
    def post(self, request: Request, pk: int) -> Response:
        """Marks one notice as read."""
        notice = get_object_or_404(Notice, pk=pk, user=get_person(request))
        notices.mark_read(notice.user, notice=notice)
        notice.refresh_from_db()
        return Response(NoticeSerializer(notice).data)


class NoticeReadAllView(APIView):
    @extend_schema(request=None, responses={204: None}, tags=["notices"])
    def post(self, request: Request) -> Response:
        """Marks all your notices as read."""
        notices.mark_read(get_person(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class NoticeSettingsView(APIView):
    @extend_schema(responses=NoticeSettingsSerializer, tags=["notices"])
    def get(self, request: Request) -> Response:
        """What you are told, and how."""
        user = get_person(request)
        row = NoticeSettings.objects.filter(user=user).first()
        channels = row.channels if row else {}
        told = {topic.value: notices.read_channel(channels, topic) for topic in Topic}
        return Response({"email": user.email, "language": row.language if row else "en", "channels": told})

    @extend_schema(request=NoticeSettingsSerializer, responses=NoticeSettingsSerializer, tags=["notices"])
    def put(self, request: Request) -> Response:
        """Changes what you are told; topics that are left out are told in the app."""
        asked = NoticeSettingsSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        if unknown := values["channels"].keys() - set(Topic.values):
            raise serializers.ValidationError({"channels": [f"There is no topic {', '.join(sorted(unknown))}."]})
        usual = dict.fromkeys(Topic.values, Channel.APP.value)
        form = NoticeSettingsForm(usual | values["channels"] | {key: values[key] for key in ("email", "language")})
        if not form.is_valid():
            raise serializers.ValidationError(
                {name: [str(problem) for problem in problems] for name, problems in form.errors.items()}
            )
        notices.save_settings(
            get_person(request), channels=form.channels, language=values["language"], email=values["email"]
        )
        return self.get(request)
