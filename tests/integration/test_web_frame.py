"""What holds for every answer: headers, limits, error pages, probes, and files that are given out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.conftest import unavailable
from tests.services import MissingProgramError, find_program
from tests.web import Browser, Clock, make_desk
from triage.domain.errors import StoreUnavailable
from triage.domain.intended_use import INTENDED_USE
from triage.store.db import Database
from triage.web.app import make_app
from triage.web.desk import Desk, DeskDep
from triage.web.protection import LARGEST_BODY, SECURITY_HEADERS

STATIC = Path(__file__).resolve().parents[2] / "triage" / "web" / "static"
TEMPLATES = STATIC.parent / "templates"

GETS = ["/healthz", "/readyz", "/login", "/accounts", "/nowhere", "/static/style.css", "/static/nowhere", "/api/x"]


@pytest.fixture
def broken(app: FastAPI) -> FastAPI:
    """The app with three endpoints that fail, each in its way."""

    @app.get("/bug")
    def bug() -> None:
        raise ZeroDivisionError("DOE^JANE")

    @app.get("/api/bug")
    def api_bug() -> None:
        raise ZeroDivisionError("DOE^JANE")

    @app.get("/down")
    def down(_desk: DeskDep) -> None:
        raise StoreUnavailable("connection to 192.0.2.1 refused")

    return app


@pytest.mark.parametrize("path", [*GETS, "/bug", "/api/bug", "/down"])
def test_every_answer_has_the_headers(broken: FastAPI, path: str) -> None:
    browser = Browser(broken)
    for answer in (browser.get(path), browser.post(path), browser.post(path, content=b"x" * (LARGEST_BODY + 1))):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, (path, answer.status_code, name)
        assert "strict-transport-security" not in answer.headers, "a promise that plain http could not keep"


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/bug", "/healthz"])
def test_nothing_personal_is_kept_by_browsers_and_proxies(broken: FastAPI, path: str) -> None:
    assert Browser(broken).get(path).headers["cache-control"] == "no-store"


def test_the_policy_allows_nothing_inline(app: FastAPI) -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    for directive in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert directive in policy


@pytest.mark.parametrize("template", sorted(p.name for p in TEMPLATES.glob("*.html")))
def test_templates_need_nothing_inline_and_escape_everything(template: str) -> None:
    text = (TEMPLATES / template).read_text()
    for forbidden in (
        " style=",
        "<style",
        "javascript:",
        " onclick=",
        " onload=",
        "|safe",
        "| safe",
        "hx-on",
        "hx-vals='js:",
    ):
        assert forbidden not in text, forbidden
    for script in text.split("<script")[1:]:
        assert script.lstrip().startswith(("src=", 'type="module" src=')), "scripts are files"


def test_scripts_need_no_eval() -> None:
    for script in STATIC.glob("*.js"):
        if script.name != "htmx.min.js":  # its own is switched off in base.html
            text = script.read_text()
            assert "eval(" not in text.replace("maybeEval(", ""), script.name
            assert "new Function" not in text, script.name


@pytest.mark.parametrize(("path", "status"), [("/bug", 500), ("/nowhere", 404), ("/down", 503)])
def test_an_error_page_is_plain_words(broken: FastAPI, path: str, status: int) -> None:
    answer = Browser(broken).get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "This did not work" in answer.text
    for secret in ("DOE", "ZeroDivision", "Traceback", "192.0.2.1"):
        assert secret not in answer.text


def test_an_error_of_the_interface_is_json(broken: FastAPI) -> None:
    answer = Browser(broken).get("/api/bug")
    assert (answer.status_code, list(answer.json())) == (500, ["detail"])
    assert Browser(broken).get("/api/nowhere").json() == {"detail": "There is no such page."}


def test_every_page_says_what_this_is_for(app: FastAPI) -> None:
    for path in ("/login", "/nowhere"):
        assert INTENDED_USE in Browser(app).get(path).text


def test_a_wrong_value_is_not_repeated(administrator: Browser) -> None:
    answer = administrator.post("/accounts/users", data={"name": "x", "role": "<b>emperor", "password": "my secret"})
    assert answer.status_code == 422
    for text in ("emperor", "my secret", "<b>"):
        assert text not in answer.text


def test_a_large_body_is_refused_before_it_is_read(anonymous: Browser) -> None:
    assert anonymous.post("/login", content=b"x" * (LARGEST_BODY + 1)).status_code == 413
    assert anonymous.post("/login", headers={"Content-Length": "-1"}, content=b"").status_code == 413


def test_a_body_of_unknown_length_is_refused(anonymous: Browser) -> None:
    assert anonymous.post("/login", content=iter([b"x"])).status_code == 413


@pytest.mark.parametrize(("host", "status"), [("triage.example", 200), ("TRIAGE.example", 200), ("evil.example", 421)])
def test_only_the_public_name_is_answered(
    database: Database, tmp_path: Path, clock: Clock, host: str, status: int
) -> None:
    app = make_app(make_desk(database, tmp_path, clock, public_url="https://triage.example", secure=True))
    assert Browser(app).get("/login", headers={"Host": host}).status_code == status
    assert Browser(app).get("/healthz", headers={"Host": host}).status_code == 200, "probes ask by address"


def test_without_a_public_name_any_is_answered(anonymous: Browser) -> None:
    assert anonymous.get("/login", headers={"Host": "127.0.0.1:8080"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/%2e%2e%2fapp.py",
        "/static/....//app.py", "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..\\app.py",
        "/static/%00", "/static/style.css%00.png", "/static/", "/static", "/static/%c0%ae%c0%ae/app.py",
    ],
)  # fmt: skip
def test_only_our_own_files_are_given_out(anonymous: Browser, path: str) -> None:
    answer = anonymous.get(path)
    assert answer.status_code in (303, 307, 404)
    assert "import" not in answer.text


def test_the_files_of_the_pages_are_there(anonymous: Browser) -> None:
    for name in ("style.css", "app.js", "htmx.min.js", "sse.js"):
        assert anonymous.get(f"/static/{name}").status_code == 200


def test_scripts_are_javascript() -> None:
    try:
        node = find_program("node", "nodejs")
    except MissingProgramError as missing:
        unavailable(str(missing))
    for script in sorted(STATIC.glob("*.js")):
        ran = subprocess.run([node, "--check", str(script)], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr


# Probes


def test_probes_tell_nothing_but_yes(anonymous: Browser) -> None:
    assert anonymous.get("/healthz").text == "ok\n"
    assert anonymous.get("/readyz").text == "ready\n"


def test_not_ready_without_a_schema(empty_database_url: str, tmp_path: Path) -> None:
    db = Database(empty_database_url)
    try:
        browser = Browser(make_app(make_desk(db, tmp_path)))
        assert browser.get("/healthz").status_code == 200
        answer = browser.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "not ready\n")
    finally:
        db.dispose()


def test_not_ready_without_a_database(tmp_path: Path) -> None:
    db = Database("postgresql://nobody@127.0.0.1:1/none")
    browser = Browser(make_app(make_desk(db, tmp_path)))
    assert browser.get("/readyz").status_code == 503
    sent = browser.get("/password", headers={"Cookie": "triage=x"})
    assert sent.status_code == 503
    assert "database does not answer" in sent.text
    scrape = browser.get("/metrics", headers={"Authorization": "Bearer SYNTHETIC"})
    assert scrape.status_code == 503, "docs/operator.md: up is 0 then, and no alarm of ours"
    db.dispose()


def test_the_interface_describes_itself_to_who_may_ask(service: Browser, anonymous: Browser, desk: Desk) -> None:
    described = service.get("/api/openapi.json").json()
    assert described["info"]["title"] == "ich-triage"
    assert "/healthz" in described["paths"]
    assert anonymous.get("/api/openapi.json").status_code == 401
