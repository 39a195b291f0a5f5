"""URLs at this machine's own address: as on a machine that cannot reach the node, although this one can.

`make more` runs these; their sample among all tests is in test_04_repairs.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.browser import Browser, Visitors, request
from tests.e2e.project import Project, command_lines, tell

Forwarded = dict[str, str]


@pytest.fixture(scope="module")
def forwarded(app_of_module: Project) -> Iterator[Forwarded]:
    """The application is served at this machine's own address, and at the node's again afterwards."""
    app = app_of_module
    data = app.up("--forward", "always")
    tell("up with a forward", f"{data['seconds']} s")
    yield {one["name"]: one["url"].rstrip("/") for one in data["urls"]}
    data = app.up()
    assert {urlsplit(one["url"]).hostname for one in data["urls"]} != {"127.0.0.1"}
    assert app.json("status")["data"]["forward"] is None
    assert ours(app) == []


@pytest.fixture(scope="module")
def app_of_module(project: Project, first_up: object) -> Project:
    return project


def ours(app: Project) -> list[str]:
    """The command lines of forwards of this deployment."""
    return [line for line in command_lines() if "deployer.forwarding" in line and str(app.state) in line]


def pids(app: Project, role: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        lines = command_lines([int(entry.name)]) if entry.name.isdigit() else []
        if any(f"deployer.forwarding {role} {app.state}" in line for line in lines):
            found.append(int(entry.name))
    return found


def test_every_url_is_proven_and_shown_at_this_machine(app: Project, forwarded: Forwarded) -> None:
    assert {urlsplit(url).hostname for url in forwarded.values()} == {"127.0.0.1"}
    assert urlsplit(forwarded["web"]).port != urlsplit(forwarded["chatbot"]).port
    status = app.json("status")["data"]
    assert {one["name"]: one["url"].rstrip("/") for one in status["urls"]}.items() <= forwarded.items()
    assert status["forward"]["running"] is True
    listed = {one["name"]: one["url"].rstrip("/") for one in app.json("urls", "--all")["data"]["urls"]}
    assert listed == forwarded
    checks = {one["name"]: one for one in app.json("doctor", "--forward", "always")["data"]["checks"]}
    assert checks["forward"]["state"] == "pass"
    assert "serves the URLs itself" in checks["forward"]["detail"]


def test_the_application_works_through_it(app: Project, forwarded: Forwarded) -> None:
    browser = Browser(forwarded["web"])
    browser.register("through-the-forward@example.com", "correct horse battery")
    browser.add("feed the cat")
    origins = app.object("configmap", "backend-config")["data"]["ALLOWED_ORIGINS"]
    assert forwarded["web"] in origins.split(",")


def test_a_second_up_changes_nothing_and_leaves_the_process_alone(app: Project, forwarded: Forwarded) -> None:
    before, pods = (pids(app, "supervise"), pids(app, "relay")), app.pods()
    data = app.up("--forward", "always")
    assert data["changed"] is False
    assert (pids(app, "supervise"), pids(app, "relay")) == before
    assert app.pods() == pods
    tell("nothing changed, with a forward", f"{data['seconds']} s")


def test_a_rolling_update_costs_no_request(app: Project, forwarded: Forwarded) -> None:
    pods = app.pods()
    with Visitors(forwarded["web"] + "/health") as web, Visitors(forwarded["chatbot"] + "/health", people=1) as chat:
        done = app.run("restart", "frontend-web")
    assert done.returncode == 0, done.stderr
    assert app.rolled(pods) == {"frontend-web"}
    tell("requests through the forward while frontend-web rolled", (
        f"web {web.asked} ({web.rate:.0f}/s, slowest {web.slowest:.2f} s), chatbot {chat.asked}; "
        f"failed {len(web.failures)}, {len(chat.failures)}"
    ))  # fmt: skip
    assert web.failures == []
    assert chat.failures == []
    assert web.asked > 20


@pytest.mark.parametrize("role", ["relay", "supervise"])
def test_it_comes_back_when_it_is_killed(app: Project, forwarded: Forwarded, role: str) -> None:
    (victim,) = pids(app, role)
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    answered = False
    while not answered and time.monotonic() - begun < 30:
        if victim not in pids(app, role):
            with suppress(OSError):
                answered = bool(pids(app, role)) and request("GET", forwarded["web"] + "/health").status == 200
        time.sleep(0.05)
    assert answered
    tell(f"the forward's {role} killed", f"served again after {time.monotonic() - begun:.1f} s")
    assert len(pids(app, "supervise")) == len(pids(app, "relay")) == 1
    assert app.json("status")["data"]["forward"]["running"] is True


def test_after_both_are_gone_the_next_up_starts_it_again(app: Project, forwarded: Forwarded) -> None:
    """As after a restart of the machine."""
    for role in ("supervise", "relay"):
        for pid in pids(app, role):
            os.kill(pid, signal.SIGSTOP)
    for pid in pids(app, "relay") + pids(app, "supervise"):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while ours(app) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ours(app) == []
    assert app.json("status")["data"]["forward"]["running"] is False
    data = app.up("--forward", "always")
    assert data["changed"] is False
    assert {one["name"]: one["url"].rstrip("/") for one in data["urls"]} == forwarded
