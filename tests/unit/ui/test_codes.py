"""The codes of problems, and the links that a terminal shows them with."""

from __future__ import annotations

import io
import re
import urllib.parse
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from deployer.core.errors import Problem
from deployer.ui import codes
from deployer.ui.console import make_console, page_of
from deployer.ui.draw import problem_text

PROBLEM = Problem("CRASH_LOOP", "it ends", hints=("todo-deploy logs backend",))
LINK = re.compile(r"\x1b\]8;[^;]*;([^\x1b]*)\x1b\\(?:\x1b\[[\d;]*m)*(\w+)")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    codes._page.cache_clear()
    yield tmp_path
    codes._page.cache_clear()


def drawn(stream: io.StringIO, *, terminal: bool) -> list[tuple[str, str]]:
    console = make_console(stream, {"TERM": "xterm-256color", **({"FORCE_COLOR": "1"} if terminal else {})}, 100)
    for line in problem_text(PROBLEM, page_of(console)):
        console.print(line)
    return LINK.findall(stream.getvalue())


def test_the_live_screen_leads_from_the_code_to_its_entry(cache: Path) -> None:
    stream = io.StringIO()
    first, last = drawn(stream, terminal=True)
    assert first == last and first[1] == "CRASH_LOOP"
    file, _, anchor = first[0].removeprefix("file://").partition("#")
    page = Path(urllib.parse.unquote(file))
    assert cache in page.parents and f'<h2 id="{anchor}">CRASH_LOOP</h2>' in page.read_text(encoding="utf-8")
    assert stream.getvalue().rstrip().splitlines()[-1].count("todo-deploy help")


def test_off_a_terminal_nothing_is_linked_and_no_page_is_made(cache: Path) -> None:
    stream = io.StringIO()
    assert drawn(stream, terminal=False) == [] and "\x1b" not in stream.getvalue() and list(cache.iterdir()) == []


def test_plain_lines_are_linked_at_their_head_and_at_their_end() -> None:
    assert LINK.findall(codes.linked("error[CRASH_LOOP]: it ends")) == [(codes.address("CRASH_LOOP"), "CRASH_LOOP")]
    assert LINK.findall(codes.linked("  more: todo-deploy help CRASH_LOOP"))
    for line in ("error[NOT_A_CODE]: x", "  a log line: error[CRASH_LOOP]", "  help: todo-deploy up"):
        assert codes.linked(line) == line


def test_reasons_of_the_api_server_lead_to_their_common_entry() -> None:
    assert codes.address("API_TEAPOT").endswith("#API_STATUS")


def test_an_address_in_the_package_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Message()
    said["Project-URL"] = "Documentation, https://docs.example/todo-deploy/"
    monkeypatch.setattr(codes, "metadata", lambda name: said)
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 22 192.0.2.2 22")
    assert codes.address("LOCKED") == "https://docs.example/todo-deploy/reference/codes/#LOCKED"


def test_a_terminal_of_another_machine_gets_no_file(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 22 192.0.2.2 22")
    assert codes.address("LOCKED") == "" and list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_costs_the_link_only(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    assert codes.linked("error[LOCKED]: x") == "error[LOCKED]: x"


def test_the_page_has_no_markdown_left(cache: Path) -> None:
    (cache / "todo-deploy").mkdir()
    (cache / "todo-deploy/codes-0.html").write_text("of an older version")
    codes.address("LOCKED")
    assert not (cache / "todo-deploy/codes-0.html").exists()
    text = next(Path(urllib.parse.urlsplit(codes._page()).path).parent.glob("codes-*.html")).read_text(encoding="utf-8")
    outside = re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    assert (
        "```" not in text
        and "**" not in outside
        and "`" not in outside
        and text.count("<h2") == len(codes.every_code())
    )


def test_what_went_well_is_a_note_on_the_live_screen_too() -> None:
    lines = problem_text(Problem("ROLLED_BACK", "rolled back to revision 1"), page_of(make_console(io.StringIO(), {})))
    assert [line.plain for line in lines] == ["note[ROLLED_BACK]: rolled back to revision 1"]
