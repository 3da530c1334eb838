"""Acceptance 3: whatever is sent to the pages and the interface, no answer is a failure of the server.

What is sent is made by schemathesis from our own OpenAPI description: valid values and others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from starlette.routing import Route

from tests.studies import installation, suspected
from tests.web import Browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = 30
ENDLESS = {"/events"}
LEAVES = {"/logout"}
"""Signing out ends the session that everything else needs; its own tests are in test_web_login."""


@pytest.fixture
def study(database_url: str, tmp_path: Path) -> str:
    """UID of a study that is there."""
    with installation(database_url, tmp_path / "blobs") as site:
        return suspected(site)


@pytest.fixture
def description(administrator: Browser, study: str) -> Any:
    """Our OpenAPI description, as schemathesis reads it."""
    answer = administrator.get("/api/openapi.json")
    assert answer.status_code == 200, answer.text
    return schemathesis.openapi.from_dict(answer.json())


def test_every_route_is_described(app: FastAPI, description: Any) -> None:
    described = {result.ok().path for result in description.get_all_operations()}
    routes = {route.path for route in app.routes if isinstance(route, Route)} - {"/api/openapi.json"}
    assert routes - described == set()


def test_nothing_that_is_sent_makes_the_server_fail(administrator: Browser, description: Any, study: str) -> None:
    asked = 0
    for result in description.get_all_operations():
        operation = result.ok()
        if operation.path in ENDLESS | LEAVES:
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
            def ask(case: Any) -> None:
                nonlocal asked
                asked += 1
                _ask(administrator, case, study)

            try:
                ask()
            except Unsatisfiable:  # it takes nothing, so nothing can be wrong with it
                assert mode is GenerationMode.NEGATIVE
    assert asked > 100


def _ask(browser: Browser, case: Any, study: str) -> None:
    if "study_uid" in (case.path_parameters or {}) and len(str(case.path_parameters["study_uid"])) % 2:
        case.path_parameters["study_uid"] = study
    how = case.as_transport_kwargs(base_url="http://testserver")
    how["headers"] = {**dict(how.get("headers") or {}), **browser.csrf}
    how.pop("cookies", None)
    if isinstance(how.get("data"), (bytes, str)):
        how["content"] = how.pop("data")  # what is no form, as the client wants it
    answer = browser.request(**how)
    assert answer.status_code < 500, f"{how['method']} {how['url']} {how.get('params')}: {answer.status_code}"
