"""API tokens: a name and a password in, a token out; the token goes into the ``Authorization`` header."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularSwaggerSplitView
from knox.models import get_token_model
from rest_framework import permissions, serializers, status
from rest_framework.exceptions import NotAuthenticated, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import AnonRateThrottle
from rest_framework.views import APIView


class LoginThrottle(AnonRateThrottle):
    scope = "login"


class TokenSerializer(serializers.Serializer[User]):
    """``token`` is shown once; send it as ``Authorization: Token <token>``."""

    token = serializers.CharField(read_only=True)
    expiry = serializers.DateTimeField(read_only=True, allow_null=True)


class CredentialsSerializer(serializers.Serializer[User]):
    username = serializers.CharField(write_only=True, max_length=150)
    password = serializers.CharField(write_only=True, trim_whitespace=False, max_length=1000)


class LoginView(APIView):
    permission_classes = [permissions.AllowAny]
    authentication_classes: list[type] = []
    throttle_classes = [LoginThrottle]

    @extend_schema(request=CredentialsSerializer, responses=TokenSerializer, tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Trades a name and a password for a token. Failed tries count together with those of the login page."""
        credentials = CredentialsSerializer(data=request.data)
        credentials.is_valid(raise_exception=True)
        try:
            user = get_adapter().authenticate(request._request, **credentials.validated_data)
        except ValidationError as error:
            raise Throttled(detail=" ".join(error.messages)) from error
        if user is None or not user.is_active:  # allauth also returns somebody whose account is closed
            raise serializers.ValidationError(
                {"non_field_errors": [_("The name or the password is wrong, or the account is closed.")]}
            )
        instance, token = get_token_model().objects.create(user)
        return Response({"token": token, "expiry": instance.expiry})


class DocsView(SpectacularSwaggerSplitView):
    """The API, to be read and tried out. Somebody who opens it in a browser is led to the login first."""

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, NotAuthenticated) and "text/html" in self.request.headers.get("accept", ""):
            login = redirect_to_login(self.request.get_full_path())
            return Response(status=status.HTTP_302_FOUND, headers={"Location": login.url})
        return super().handle_exception(exc)


class LogoutView(APIView):
    @extend_schema(request=None, responses={204: None}, tags=["accounts"])
    def post(self, request: Request) -> Response:
        """Ends the token that this request came with."""
        if request.auth is None:
            return Response({"detail": "This request carries no token."}, status=status.HTTP_400_BAD_REQUEST)
        request.auth.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
