"""What the house does otherwise than allauth."""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

log = logging.getLogger(__name__)


class HouseAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Failed logins count by name alone: allauth adds the Host header, which a caller can vary."""
        return str(credentials.get("username", "")).lower()

    def get_client_ip(self, request: HttpRequest) -> str:
        """As allauth's; but a header that fewer proxies have written to than are trusted is left aside.

        Such a request came past a proxy (a health check, a second entrance), so any of the addresses may be invented;
        the connection's own is not. Allauth would answer 500.
        """
        try:
            return str(super().get_client_ip(request))
        except ImproperlyConfigured:
            log.warning(
                "X-Forwarded-For of a request from %s names fewer addresses than TRUSTED_PROXIES=%d.",
                request.META["REMOTE_ADDR"],
                settings.TRUSTED_PROXIES,
            )
            return str(request.META["REMOTE_ADDR"])
