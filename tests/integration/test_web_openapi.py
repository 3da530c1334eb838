"""Acceptance 3: whatever is sent to the pages and the interface, no answer is a failure of the server.

What is sent is made by schemathesis from our own OpenAPI description: valid values and others.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from starlette.routing import Route

from tests.stores import STUDY, analysed
from tests.web import Browser
from triage.web.desk import Desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = 30
ENDLESS = {"/events"}
LEAVES = {"/logout"}
"""Signing out ends the session that everything else needs; its own tests are in test_web_login."""


@pytest.fixture
def description(administrator: Browser, desk: Desk) -> Any:
    """Our OpenAPI description, as schemathesis reads it."""
    analysed(desk.db)
    answer = administrator.get("/api/openapi.json")
    assert answer.status_code == 200, answer.text
    return schemathesis.openapi.from_dict(answer.json())


def test_every_route_is_described(app: FastAPI, description: Any) -> None:
    described = {result.ok().path for result in description.get_all_operations()}
    routes = {route.path for route in app.routes if isinstance(route, Route)} - {"/api/openapi.json"}
    assert routes - described == set()


def test_nothing_that_is_sent_makes_the_server_fail(administrator: Browser, description: Any) -> None:
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
                _ask(administrator, case)

            try:
                ask()
            except Unsatisfiable:  # it takes nothing, so nothing can be wrong with it
                assert mode is GenerationMode.NEGATIVE
    assert asked > 100


def _ask(browser: Browser, case: Any) -> None:
    if "study_uid" in (case.path_parameters or {}) and len(str(case.path_parameters["study_uid"])) % 2:
        case.path_parameters["study_uid"] = STUDY
    how = case.as_transport_kwargs(base_url="http://testserver")
    how["headers"] = {**dict(how.get("headers") or {}), **browser.csrf}
    how.pop("cookies", None)
    answer = browser.request(**how)
    assert answer.status_code < 500, f"{how['method']} {how['url']} {how.get('params')}: {answer.status_code}"
