"""The page of garbage: what would go, why all else stays, and what lies in the trash and can be put back."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.permissions import admin_required, get_admin
from training import garbage, trash


@admin_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def show_garbage(request: HttpRequest) -> HttpResponse:
    """By GET nothing is changed; a POST moves to the trash what is garbage then."""
    if request.method == "POST":
        try:
            done = garbage.collect(by=get_admin(request))
        except trash.TrashError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, _say(done))
        return redirect("garbage")
    return render(request, "training/garbage.html", {"plan": garbage.make_plan(), "entries": trash.list_entries()})


@admin_required
@require_POST
def put_back(request: HttpRequest) -> HttpResponse:
    entry = trash.find_entry(request.POST.get("name", ""))
    try:
        if entry is None:
            raise trash.TrashError(_("It is not in the trash any more."))
        garbage.put_back(entry, by=get_admin(request))
    except trash.TrashError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(place)s lies where it lay.") % {"place": entry.place})
    return redirect("garbage")


def _say(done: garbage.Collected) -> str:
    count = len(done.taken)
    words = ngettext(
        "%(count)d thing went to the trash, %(size)s.", "%(count)d things went to the trash, %(size)s.", count
    )
    said = words % {"count": count, "size": filesizeformat(sum(thing.bytes for thing in done.taken))}
    if done.emptied:
        size = filesizeformat(sum(entry.bytes for entry in done.emptied))
        said += " " + _("%(size)s left it for good.") % {"size": size}
    if done.spared:
        count = len(done.spared)
        said += " " + ngettext("%(count)d stays after all.", "%(count)d stay after all.", count) % {"count": count}
    return said
