"""A line in the log for each request, and the number that ties a request's lines together."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import LazyObject, empty

from config.metrics import count_request, name_method, name_route
from models_registry.log_lines import bind_log_fields

log = logging.getLogger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")


def watch_requests(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Gives each request its number, counts it, and says how it ended: by route, never by what was sent."""

    def answer(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        number = choose_request_id(request)
        request.request_id = number  # type: ignore[attr-defined]
        with bind_log_fields(request=number):
            response = get_response(request)
            response["X-Request-ID"] = number
            seconds = time.perf_counter() - began
            count_request(request, response, seconds)
            fields = {
                "method": name_method(request),
                "route": name_route(request),
                "status": response.status_code,
                "user": find_user_id(request),
                "duration_ms": round(seconds * 1000, 1),
            }
            log.info("%(method)s %(route)s %(status)s", fields, extra={"fields": fields})
        return response

    return answer


def choose_request_id(request: HttpRequest) -> str:
    """That of the proxy before us, where it looks like one; otherwise a new one."""
    given = request.headers.get("X-Request-ID", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def find_user_id(request: HttpRequest) -> int | None:
    """Only where somebody asked for it before: a line in the log is not worth a query."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return None
    return getattr(user, "pk", None)
