"""What workers do for training; the work itself is in the services."""

from __future__ import annotations

from models_registry.leases import register_program, register_task
from models_registry.slots import name_device_slot
from training.models import ModelPush, Run, RunShare, TokenPreview
from training.placement import list_waiting, list_waiting_shares
from training.previews import preview_tokens
from training.pushes import push_model
from training.services import train_model, train_share

register_task(ModelPush, push_model)
register_program(Run, train_model, slot=name_device_slot(), list_waiting=list_waiting)
register_program(RunShare, train_share, slot=name_device_slot(), list_waiting=list_waiting_shares)
register_program(TokenPreview, preview_tokens, slot="preview")  # reads on the CPU: beside a run, but one at a time
