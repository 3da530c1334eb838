"""The role ``work`` as a loop: what ends it, and as what."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import FixedPredictor
from tests.integration.site import Site, head
from triage.domain.errors import DeviceLost, ProviderUnavailable
from triage.domain.finding import WorklistStatus
from triage.entrypoints.worker import work


def app_of(site: Site) -> Any:
    """What the role needs of an App, over a site and its one predictor."""
    rack = SimpleNamespace(active=lambda: site.predictor, shadow=lambda: None, chosen=False)
    return SimpleNamespace(
        rack=lambda: rack, analyst=lambda _: site.analyst, db=site.db, clock=lambda: site.now, settings=None
    )


def test_a_gpu_that_is_lost_on_the_way_does_not_speak_of_the_settings(database_url: str, tmp_path: Path) -> None:
    """Status 78 would end the whole daemon, and systemd would never start the worker again."""

    def lose() -> None:
        raise ProviderUnavailable("SYNTHETIC: the GPU is gone.")

    site = Site(database_url, tmp_path / "blobs", predictor=FixedPredictor(at_segment=lose))
    series = head()
    site.send(series)
    site.settle()
    with pytest.raises(DeviceLost, match="the GPU is gone"):
        work(app_of(site), threading.Event())
    site.predictor = FixedPredictor()
    site.wait(5)
    assert site.analyse()
    assert site.row(str(series[0].StudyInstanceUID)).status is WorklistStatus.SUSPECTED
    site.db.dispose()
