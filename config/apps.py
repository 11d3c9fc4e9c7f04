from django.apps import AppConfig
from django.contrib.staticfiles.apps import StaticFilesConfig


class HouseConfig(AppConfig):
    """Holds the management commands that set up and run the whole house."""

    name = "config"


class StaticFiles(StaticFilesConfig):
    """Leaves the source of the CSS where it is: only what was compiled is served."""

    ignore_patterns = [*StaticFilesConfig.ignore_patterns, "src"]
