"""What an estimate says to people: a verdict, warnings, and where its figures come from."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.humanize.templatetags.humanize import intcomma
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from training.dry_run.estimate import Estimate
from training.dry_run.lengths import CHARACTERS, COUNTED, LIKE
from training.dry_run.timing import UTILISATION
from training.limits import GB

LONG_DAYS = 3


@dataclass(frozen=True)
class Figure:
    label: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class EstimateWarning:
    """``code`` for programs: hindrance, memory, disk, disk_limit, hour_limit or long."""

    code: str
    text: str


def list_warnings(estimate: Estimate) -> list[EstimateWarning]:
    """Everything that speaks against launching it so; nothing of it keeps anybody from launching."""
    found = [
        ("hindrance", estimate.hindrance),
        ("memory", _warn_of_memory(estimate)),
        ("disk", _warn_of_disk(estimate)),
        ("disk_limit", _warn_of_disk_limit(estimate)),
        ("hour_limit", _warn_of_hours(estimate)),
        ("long", _warn_of_length(estimate)),
    ]
    return [EstimateWarning(code, text) for code, text in found if text]


def say_verdict(estimate: Estimate) -> str:
    """For beside the button: whether it fits, and what it takes."""
    return " ".join(filter(None, [estimate.hindrance, _say_fit(estimate), _warn_of_disk(estimate)]))


def _say_fit(estimate: Estimate) -> str:
    steps = ngettext("%(count)d step", "%(count)d steps", estimate.steps) % {"count": estimate.steps}
    words = {
        "steps": steps,
        "time": say_time(estimate.seconds),
        "memory": show_size(estimate.memory.total),
        "disk": show_size(estimate.disk.peak),
        "usable": show_size(estimate.device.usable),
    }
    if estimate.fits_memory is None:
        return _("Estimated: %(steps)s, %(time)s, %(memory)s of memory, %(disk)s of disk.") % words
    if estimate.fits_memory:
        return _("Fits: %(memory)s of %(usable)s of memory. Estimated: %(steps)s, %(time)s, %(disk)s of disk.") % words
    if estimate.larger:
        return _("Needs %(memory)s of memory, which not every worker has that may take it.") % words
    if not estimate.device.worker:
        return _("Does not fit in the memory asked for: %(memory)s of %(usable)s.") % words
    return _("Fits on no worker that is up: it needs %(memory)s of memory. You may launch it all the same.") % words


def list_figures(estimate: Estimate) -> list[Figure]:
    """For the panel."""
    disk, device = estimate.disk, estimate.device
    of_memory = _("on %(device)s") % {"device": name_device(estimate)}
    if device.memory:
        words = {"usable": show_size(device.usable), "device": name_device(estimate)}
        of_memory = _("of %(usable)s on %(device)s") % words
    kept = ngettext("%(count)d checkpoint of %(size)s", "%(count)d checkpoints of %(size)s", disk.checkpoints)
    rows = ngettext("of %(count)d pair each", "of %(count)d pairs each", estimate.effective_batch)
    hours = {"number": _round(estimate.device_hours) if estimate.device_hours >= 0.1 else "0.1"}
    least = _("%(number)s device-hours") if estimate.device_hours >= 0.1 else _("less than %(number)s device-hours")
    return [
        Figure(_("Steps"), intcomma(estimate.steps), rows % {"count": estimate.effective_batch}),
        Figure(_("Tokens read"), intcomma(estimate.tokens)),
        Figure(_("Time"), say_time(estimate.seconds), least % hours),
        Figure(_("Memory of a device"), show_size(estimate.memory.total), of_memory),
        Figure(
            _("Disk while it trains"),
            show_size(disk.peak),
            kept % {"count": disk.checkpoints, "size": show_size(disk.checkpoint)},
        ),
        Figure(_("Disk that stays"), show_size(disk.kept), _("the model")),
    ]


def _warn_of_memory(estimate: Estimate) -> str:
    if estimate.fits_memory is not False:
        return ""
    device = estimate.device
    words = {
        "needed": show_size(estimate.memory.total),
        "worker": device.worker,
        "usable": show_size(device.usable),
        "device": name_device(estimate),
    }
    text = _("It needs about %(needed)s of memory; of %(device)s it can have %(usable)s.") % words
    if estimate.larger:
        larger = {"worker": estimate.larger.worker, "size": show_size(estimate.larger.memory)}
        text += " " + _("%(worker)s has enough (%(size)s): ask for its label or for so much memory.") % larger
    if estimate.proposed_batch is None:
        text += " " + _("No batch is small enough: use LoRA, shorter pairs, a smaller model or more memory.")
    return text


def _warn_of_disk(estimate: Estimate) -> str:
    disk = estimate.disk
    if disk.fits or disk.free is None:
        return ""
    words = {"needed": show_size(disk.needed), "free": show_size(disk.free)}
    return _("It needs %(needed)s of free disk to train and to save; %(free)s are free.") % words


def _warn_of_disk_limit(estimate: Estimate) -> str:
    limit = estimate.limit_gb
    if limit is None or estimate.disk.peak < limit * GB:
        return ""
    words = {"peak": show_size(estimate.disk.peak), "limit": f"{limit:g}"}
    return _("Its files come to %(peak)s; its limit of %(limit)s GB will pause it.") % words


def _warn_of_hours(estimate: Estimate) -> str:
    limit = estimate.limit_hours
    if limit is None or estimate.seconds < limit * 3600:
        return ""
    words = {"time": say_time(estimate.seconds), "limit": f"{limit:g}"}
    return _("It takes %(time)s; its limit of %(limit)s hours will pause it.") % words


def _warn_of_length(estimate: Estimate) -> str:
    days = estimate.seconds / 86_400
    return _("It takes longer than %(days)d days.") % {"days": LONG_DAYS} if days > LONG_DAYS else ""


def name_device(estimate: Estimate) -> str:
    """NVIDIA H200 of worker one@host; what is not known is said."""
    device = estimate.device
    kind = _("a GPU") if device.kind == "cuda" else _("a processor")
    if device.is_capped:
        return _("a GPU as asked for")
    if not device.worker:
        return kind
    return _("%(device)s of the worker %(worker)s") % {"device": device.name or kind, "worker": device.worker}


def name_part(part: str) -> str:
    """A part of the memory, for a table."""
    return {
        "weights": _("Weights"),
        "gradients": _("Gradients"),
        "optimizer": _("Optimizer"),
        "reference": _("Reference"),
        "activations": _("Activations"),
        "logits": _("Logits"),
        "base": _("Libraries and data"),
    }[part]


def list_sources(estimate: Estimate) -> list[str]:
    """Where the figures come from, a sentence each."""
    return [_say_lengths(estimate), _say_speed(estimate), *_say_rest(estimate)]


def _say_lengths(estimate: Estimate) -> str:
    return {
        COUNTED: _("Steps are exact and lengths are counted: there is a token preview of these settings."),
        LIKE: _("Lengths are those of a token preview with other limits; rows and steps may differ a little."),
        CHARACTERS: _("Lengths are guessed, four letters a token; a token preview counts them and makes steps exact."),
    }.get(estimate.lengths.source) or _(
        "Every pair is taken to be as long as the settings allow; a token preview counts them."
    )


def _say_speed(estimate: Estimate) -> str:
    speed = estimate.speed
    if speed.run is None:
        assumed = _("Time is rough, a factor of three either way: no finished run tells the speed.")
        words = {"rate": show_rate(speed.flops / estimate.processes), "share": round(100 * UTILISATION)}
        if estimate.device.kind == "cuda":
            said = _("Assumed are %(rate)s operations a second, %(share)d %% of the peak of this GPU or a usual one.")
        else:
            said = _("Assumed are %(rate)s operations a second.")
        return f"{assumed} {said % words}"
    words = {"run": speed.run.name, "rate": f"{speed.tokens_per_second:,.0f}"}
    if speed.is_same_hardware:
        return _("Time is scaled from %(run)s, which read %(rate)s tokens a second on the same hardware.") % words
    return _("Time is scaled from %(run)s, which read %(rate)s tokens a second on the same kind of device.") % words


def _say_rest(estimate: Estimate) -> list[str]:
    said = []
    if estimate.shape.is_guess:
        said.append(_("The model's layers are not known here; they are guessed from its parameters."))
    if estimate.reference_seconds:
        words = {"time": say_time(estimate.reference_seconds)}
        said.append(
            _("Of the time %(time)s go to the reference, unless a run before on the same data and model did it.")
            % words
        )
    if estimate.memory.recomputes:
        said.append(_("Activations are computed twice (gradient checkpointing): less memory, more time."))
    if estimate.processes > 1:
        said.append(
            _("Several GPUs or machines are taken to be as fast together as one so many times; this was not measured.")
        )
    return said


def say_time(seconds: float) -> str:
    """About 40 s, 12 min, 3.5 hours or 2.1 days."""
    for limit, size, words in (
        (90, 1, _("about %(number)s s")),
        (5400, 60, _("about %(number)s min")),
        (172_800, 3600, _("about %(number)s hours")),
    ):
        if seconds < limit:
            return words % {"number": _round(seconds / size)}
    return _("about %(number)s days") % {"number": _round(seconds / 86_400)}


def show_rate(flops: float) -> str:
    """Operations a second: 40 billion, 198 trillion."""
    if flops >= 1e12:
        return _("%(number)s trillion") % {"number": _round(flops / 1e12)}
    return _("%(number)s billion") % {"number": _round(flops / 1e9)}


def show_size(size: int) -> str:
    return str(filesizeformat(size))


def _round(number: float) -> str:
    return f"{number:.1f}" if number < 10 and number != int(number) else f"{number:.0f}"
