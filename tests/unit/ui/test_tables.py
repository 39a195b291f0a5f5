from __future__ import annotations

import io
import time

from rich.console import Group, RenderableType

from deployer.commands.doctor import Check
from deployer.commands.plan import Step
from deployer.core.errors import Problem
from deployer.core.text import ASCII, UNICODE
from deployer.state.history import Entry
from deployer.status import Phase
from deployer.ui.console import Page, make_console
from deployer.ui.draw import problem_text
from deployer.ui.tables import StatusRow, checks_table, history_table, plan_view, status_table

from .scenes import CRASH


def shown(renderable: RenderableType, width: int | None = None) -> list[str]:
    stream = io.StringIO()
    make_console(stream, {}, width).print(renderable)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_status_is_one_row_a_workload_then_the_causes() -> None:
    rows = [
        StatusRow("deployment/api", Phase.FAILED, 0, 1, 4, "3m", "api:9f1c", "", "exit 1 [red]x[/red]"),
        StatusRow("deployment/web", Phase.AVAILABLE, 2, 2, 0, "5d", "web:77ab", "http://10.0.0.2:30080"),
    ]
    assert shown(status_table(rows)) == [
        "WORKLOAD        STATE      READY  RESTARTS  AGE  IMAGE     URL",
        "deployment/api  Failed       0/1         4  3m   api:9f1c",
        "deployment/web  Available    2/2         0  5d   web:77ab  http://10.0.0.2:30080",
        "",
        "✗ deployment/api: exit 1 [red]x[/red]",
    ]
    named = StatusRow("deployment/api", Phase.FAILED, 0, 1, 4, cause="deployment/api needs secret `s`")
    assert shown(status_table([named]))[-1] == "✗ deployment/api needs secret `s`"
    assert shown(status_table([StatusRow("job/seed", Phase.PENDING, 0, 1, 0)])) == [
        "WORKLOAD  STATE    READY  RESTARTS",
        "job/seed  Pending    0/1         0",
    ]


def test_a_terminal_too_narrow_for_a_row_gets_lines() -> None:
    long = "frontend:1.0.0-0123456789ab"
    rows = [StatusRow("deployment/web", Phase.AVAILABLE, 2, 2, 1, "5d", long, "http://10.0.0.2:30080", "slow")]
    assert shown(status_table(rows), 40) == [
        "deployment/web", "  Available 2/2, 1 restart, 5d", "  http://10.0.0.2:30080", f"  {long}", "",
        "✗ deployment/web: slow",
    ]  # fmt: skip
    assert shown(status_table([StatusRow("job/seed", Phase.PENDING, 0, 1, 0)]), 40)[0].startswith("WORKLOAD  STATE")


def test_history_is_a_table_where_it_fits_and_else_lines() -> None:
    at = time.mktime((2026, 11, 30, 12, 0, 0, 0, 0, -1))
    why = "web: image.tag: 1.0.0-b8c66f3e3f75 → 1.0.0-0524be665d4b"
    images = {name: f"todo-{name}:1.0.0-0123456789ab" for name in ("backend", "frontend-web", "frontend-chatbot")}
    one = Entry(3, "r", at, "me@vm", why, "0123456789", True, images, verdict="verified", seconds=7.2)
    assert shown(history_table([one]), 100) == [
        "3  2026-11-30 12:00:00  verified after 7 s  me@vm 0123456+",
        f"  {why}",
    ]
    wide = shown(history_table([one]), 200)
    assert wide[0].startswith("REV  WHEN") and why in wide[1] and any("todo-frontend-web:" in line for line in wide)
    few = Entry(1, "r", at, "me", "first", images={"api": "api:1"})
    assert shown(history_table([few]), 80)[0].split()[-1] == "IMAGES"


def test_checks_name_the_command_that_mends() -> None:
    rows = [
        Check("docker", "pass", "Engine 28.1"),
        Check(".env", "fail", "2 keys are missing", "todo-deploy secrets init"),
        Check("disk", "warn", "3 GB free"),
        Check("cluster", "skip", "docker first"),
    ]
    assert shown(checks_table(rows, ASCII)) == [
        "+ pass  docker   Engine 28.1",
        "x fail  .env     2 keys are missing",
        "                 -> todo-deploy secrets init",
        "! warn  disk     3 GB free",
        "- skip  cluster  docker first",
        "",
        "1 passed, 1 warning, 1 failed, 1 skipped",
    ]
    assert all(len(line) <= 60 for line in shown(checks_table([Check("a", "fail", "word " * 40)]), 60))


def test_a_plan_says_what_and_why() -> None:
    rows = [
        Step("images", "api", "build", "todo_backend/main.py changed\nDockerfile changed"),
        Step("images", "web", "unchanged"),
        Step("secrets", "todo-env", "update", "GEMINI_API_KEY: **** -> ****"),
    ]
    assert shown(plan_view(rows)) == [
        "images",
        "  + api       build      todo_backend/main.py changed",
        "                         Dockerfile changed",
        "  = web       unchanged",
        "secrets",
        "  ~ todo-env  update     GEMINI_API_KEY: **** -> ****",
        "",
        "1 to build, 1 to update, 1 unchanged",
    ]
    assert shown(plan_view(rows[1:2]))[-1] == shown(plan_view([]))[-1] == "nothing to change"


def test_problems_end_with_the_next_command() -> None:
    page = Page(80, UNICODE)
    assert shown(Group(*problem_text(Problem("A", "[bold]a[/bold]"), page, "error"))) == [
        "error[A]: [bold]a[/bold]",
        "  more: todo-deploy help A",
    ]
    hints = shown(Group(*problem_text(CRASH, page, "error")))[-3:]
    assert hints == [
        "  → todo-deploy secrets check",
        "  → todo-deploy rollback",
        f"  more: todo-deploy help {CRASH.code}",
    ]
    plain = Page(80, ASCII)
    assert shown(Group(*problem_text(CRASH, plain, "error")))[-2] == "  -> todo-deploy rollback"
