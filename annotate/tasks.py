"""What workers do for projects; the work itself is in the services."""

from __future__ import annotations

from annotate.models import DatasetVersion, Import, SamplingJob, ScoringJob
from annotate.services.datasets import build_dataset_version
from annotate.services.imports import perform_import
from annotate.services.sampling import sample_responses
from annotate.services.scoring import score_responses
from models_registry.leases import register_program, register_task
from models_registry.slots import name_device_slot

register_task(Import, perform_import)
register_task(DatasetVersion, build_dataset_version)
register_program(SamplingJob, sample_responses, slot=name_device_slot())
register_program(ScoringJob, score_responses, slot=name_device_slot())
