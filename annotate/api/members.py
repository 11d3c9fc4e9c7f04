"""Members of a project, below /api/v1/projects/<slug>/members/; for those who lead it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate.models import Project, Role
from annotate.permissions import get_labeler, get_led_project
from annotate.selectors.projects import list_members
from annotate.services.projects import add_member, remove_member


class MemberSerializer(serializers.Serializer[User]):
    """``votes`` are those that stand."""

    id = serializers.IntegerField(read_only=True)
    username = serializers.CharField(read_only=True)
    role = serializers.ChoiceField(choices=Role.choices, read_only=True)
    votes = serializers.IntegerField(read_only=True)


class NewMemberSerializer(serializers.Serializer[Any]):
    username = serializers.SlugRelatedField(
        slug_field="username", queryset=User.objects.filter(is_active=True), source="user"
    )
    role = serializers.ChoiceField(choices=Role.choices, default=Role.LABELER)


class RoleSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=Role.choices)


@extend_schema_view(get=extend_schema(tags=["projects"], description="The members by name."))
class MemberListView(generics.ListAPIView[User]):
    serializer_class = MemberSerializer

    def get_queryset(self) -> QuerySet[User]:
        if getattr(self, "swagger_fake_view", False):
            return User.objects.none()
        return list_members(get_led_project(get_labeler(self.request), self.kwargs["slug"]))

    @extend_schema(request=NewMemberSerializer, responses={201: MemberSerializer}, tags=["projects"])
    def post(self, request: Request, slug: str) -> Response:
        """Lets an account in; who is a member already gets this role."""
        by = get_labeler(request)
        project = get_led_project(by, slug)
        asked = NewMemberSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user, role = asked.validated_data["user"], Role(asked.validated_data["role"])
        add_member(project=project, user=user, role=role, by=by)
        return Response(describe_member(project, user), status=status.HTTP_201_CREATED)


class MemberView(APIView):
    @extend_schema(request=RoleSerializer, responses=MemberSerializer, tags=["projects"])
    def put(self, request: Request, slug: str, user_id: int) -> Response:
        """Gives an account this role, as a new member or instead of the role it has."""
        by = get_labeler(request)
        project = get_led_project(by, slug)
        user = get_object_or_404(User, pk=user_id, is_active=True)
        asked = RoleSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        add_member(project=project, user=user, role=Role(asked.validated_data["role"]), by=by)
        return Response(describe_member(project, user))

    @extend_schema(responses={204: None}, tags=["projects"])
    def delete(self, request: Request, slug: str, user_id: int) -> Response:
        """Ends somebody's access, if they had any; what they judged stays."""
        by = get_labeler(request)
        project = get_led_project(by, slug)
        remove_member(project=project, user=get_object_or_404(User, pk=user_id), by=by)
        return Response(status=status.HTTP_204_NO_CONTENT)


def describe_member(project: Project, user: User) -> dict[str, Any]:
    return dict(MemberSerializer(list_members(project).get(pk=user.pk)).data)
