"""The registry: what models there are, where their files lie, how good they are."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from models_registry.archivable import Archivable
from models_registry.work import LeasedWork, WorkState

__all__ = [
    "Archivable",
    "Channel",
    "Follow",
    "LeasedWork",
    "ModelEvent",
    "ModelImport",
    "ModelKind",
    "ModelVersion",
    "Notice",
    "NoticeSettings",
    "Promotion",
    "Topic",
    "WorkState",
    "Worker",
]


class ModelKind(models.TextChoices):
    POLICY = "policy", _("Policy")
    REWARD = "reward", _("Reward model")


class ModelSource(models.TextChoices):
    DEMO = "demo", _("Demo model")
    FOLDER = "folder", _("Local folder")
    HUB = "hub", _("Model hub")
    PULL = "pull", _("Shared hub folder")
    RUN = "run", _("Trained here")


class ModelVersion(Archivable):
    """One immutable set of weights. Its files lie in ``folder``; until they do, ``ready_at`` is empty.

    The row outlives its files: ``weights_removed_at`` says when they went.
    """

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=10, choices=ModelKind, default=ModelKind.POLICY)
    source = models.CharField(max_length=10, choices=ModelSource)
    source_ref = models.CharField(max_length=300, blank=True, help_text=_("Hub id or folder name it came from."))
    base = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="descendants")
    facts = models.JSONField(default=dict, help_text=_("Architecture, parameters, context length, file digests."))
    metrics = models.JSONField(default=dict)
    licence = models.CharField(max_length=100, blank=True)
    notes = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)
    weights_removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        return Path(settings.DATA_DIR) / "models" / str(self.pk)

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None

    @property
    def is_usable(self) -> bool:
        return not self.explain_unusable()

    def explain_unusable(self) -> str:
        """Why nothing new can be begun with it; empty where it can."""
        words = ""
        if self.weights_removed_at:
            words = gettext("The weights of %(model)s were removed.")
        elif self.archived_at:
            words = gettext("%(name)s is archived. Restore it first.")
        elif not self.is_ready:
            words = gettext("%(model)s is not ready yet.")
        return words % {"model": self.name, "name": self.name} if words else ""


class ModelImport(LeasedWork):
    """Bringing the files of a base model in: fetching, converting, checking."""

    queue = "gpu"
    folder_name = "model-imports"

    model = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="model_import")

    class Meta(LeasedWork.Meta):
        pass


class Promotion(models.Model):
    """An alias given to a model, or taken from ``former`` without a successor. Rows are added, never changed."""

    alias = models.CharField(
        _("alias"),
        max_length=30,
        validators=[
            RegexValidator(
                r"^[a-z][a-z0-9-]*\Z", _("An alias has small letters, digits and hyphens, and begins with a letter.")
            )
        ],
        help_text=_("Such as production or candidate. It leaves the model that has it."),
    )
    kind = models.CharField(max_length=10, choices=ModelKind)
    model = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="promotions")
    former = models.ForeignKey(ModelVersion, null=True, on_delete=models.PROTECT, related_name="+")
    note = models.TextField(_("reason"), max_length=1000, help_text=_("Why, for those who ask later."))
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["alias", "kind", "-id"], name="promotion_newest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(model=None, former__isnull=False) | Q(model__isnull=False, former=None),
                name="promotion_has_one_model",
            )
        ]

    def __str__(self) -> str:
        return f"{self.alias}: {self.model or '–'}"


class ModelEvent(models.Model):
    """What was done to a model as a whole. Rows are added, never changed; ``by`` is nobody where a command did it."""

    class Action(models.TextChoices):
        ARCHIVED = "archived", _("Archived")
        RESTORED = "restored", _("Restored from the archive")
        WEIGHTS_REMOVED = "weights_removed", _("Weights removed")
        WEIGHTS_RESTORED = "weights_restored", _("Weights put back")

    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="events")
    action = models.CharField(max_length=20, choices=Action)
    note = models.CharField(max_length=300, blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.action}: {self.model}"


class Worker(models.Model):
    """A worker process, what it has, and when it last said that it lives; see workers.py. Not what it works on."""

    name = models.CharField(max_length=200, unique=True, help_text="As celery names it: gpu-1@host.")
    queues = models.CharField(max_length=100, help_text="With commas between them.")
    is_leaving = models.BooleanField(default=False, help_text="Asked to leave; it takes nothing new.")
    machine = models.JSONField(default=dict, help_text="What it has; see machines.py.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Topic(models.TextChoices):
    """What people are told of."""

    RUN_FINISHED = "run_finished", _("A run has finished")
    RUN_FAILED = "run_failed", _("A run has failed")
    RUN_PAUSED = "run_paused", _("A run was paused by a limit or a full disk")
    RUN_ODD = "run_odd", _("A run's curves look wrong")
    WORKER_LOST = "worker_lost", _("A worker was lost with a run")
    IMPORT_FAILED = "import_failed", _("An import has failed")
    DATASET_FAILED = "dataset_failed", _("A dataset version has failed")


class Channel(models.TextChoices):
    APP = "app", _("Here")
    MAIL = "mail", _("Here and by mail")
    NONE = "none", _("Not at all")


class Notice(models.Model):
    """Something that a person is told. ``mail_due_at`` is there while a mail is still to be sent; see mailing.py."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    topic = models.CharField(max_length=20, choices=Topic)
    kind = models.CharField(max_length=30, help_text="The model's name of what it is about.")
    number = models.BigIntegerField()
    name = models.CharField(max_length=200)
    cause_code = models.CharField(max_length=50, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    read_at = models.DateTimeField(null=True, blank=True)
    mail_due_at = models.DateTimeField(null=True, blank=True)
    mail_sent_at = models.DateTimeField(null=True, blank=True)
    mail_tries = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["user", "-id"], name="notice_person"),
            # The count in the head of every page.
            models.Index(fields=["user"], name="notice_unread", condition=Q(read_at=None)),
            models.Index(fields=["mail_due_at"], name="notice_mail", condition=Q(mail_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.name}"


class Follow(models.Model):
    """Somebody who wants to know what becomes of work that another launched."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=30)
    number = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "number", "user"], name="followed_once")]

    def __str__(self) -> str:
        return f"{self.user} follows {self.kind} {self.number}"


class NoticeSettings(models.Model):
    """What a person wants to be told and how: ``channels`` by topic; a topic that is missing is told in the app."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notice_settings")
    channels = models.JSONField(default=dict)
    language = models.CharField(max_length=10, help_text="Of mails.")

    def __str__(self) -> str:
        return f"notices of {self.user}"
