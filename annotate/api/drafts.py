"""What one has begun to say of a pair, through the API; the compare page keeps the same."""

from __future__ import annotations

from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from annotate.api.compare import DraftSerializer, LabelingView
from annotate.models import Assignment
from annotate.selectors.drafts import find_draft
from annotate.services.drafts import save_draft


class DraftView(LabelingView):
    @extend_schema(responses=DraftSerializer, tags=["comparing"])
    def get(self, request: Request, slug: str, token: UUID) -> Response:
        """What you have begun to say of the pair that has this token; 404 where that is nothing."""
        labeler, project = self.find_place(slug)
        pair = Assignment.objects.filter(labeler=labeler, project=project, token=token).first()
        draft = find_draft(pair) if pair else None
        if draft is None:
            raise Http404
        return Response(DraftSerializer(draft).data)

    @extend_schema(request=DraftSerializer, responses={204: None}, tags=["comparing"])
    def put(self, request: Request, slug: str, token: UUID) -> Response:
        """Keeps this in place of what you had begun before, for 14 days; an empty one drops it."""
        labeler, project = self.find_place(slug)
        asked = DraftSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        save_draft(labeler=labeler, project=project, token=token, **asked.validated_data)
        return Response(status=status.HTTP_204_NO_CONTENT)
