"""Signing in on the pages: forms, cookies, sessions, and what strangers try."""

from __future__ import annotations

import re

from tests.web import PASSWORD, Browser, add_user
from triage.domain.account import Role
from triage.web.desk import Desk


def log_in(browser: Browser, name: str, password: str = PASSWORD, next_page: str = "/") -> object:
    form = browser.get("/login", params={"next": next_page})
    token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', form.text).group(1)
    wanted = re.search(r'name="next" value="([^"]*)"', form.text).group(1)
    return browser.post("/login", data={"name": name, "password": password, "csrf_token": token, "next": wanted})


def test_the_right_password_opens_a_session(desk: Desk, anonymous: Browser) -> None:
    add_user(desk, "rad", Role.RADIOLOGIST)
    answer = log_in(anonymous, " RAD ", next_page="/login?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?x=1")
    assert anonymous.get("/login").status_code == 303
