"""The settings. Only the entrypoints see them; services are given plain values."""

from triage.settings.example import example_toml
from triage.settings.groups import ListenerSettings
from triage.settings.reading import DEFAULT_FILE, Settings, read_settings, settings_of_record
from triage.settings.ways_out import DestinationSettings, NotifierSettings
from triage.settings.web import WebSettings

__all__ = [
    "DEFAULT_FILE",
    "DestinationSettings",
    "ListenerSettings",
    "NotifierSettings",
    "Settings",
    "WebSettings",
    "example_toml",
    "read_settings",
    "settings_of_record",
]
