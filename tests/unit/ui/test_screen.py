"""The live screen, drawn for a fixed moment and compared with text files; UPDATE_GOLDEN=1 writes them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Group

from deployer.core.events import Item, Log, RunFinished, RunStarted, StageStarted
from deployer.core.text import ASCII, UNICODE
from deployer.status import Phase
from deployer.ui.console import Page, make_console, page_of
from deployer.ui.draw import frame, summary
from deployer.ui.live import LiveSink

from .scenes import (
    ALSO,
    BUILDING,
    DONE_WELL,
    FAILED_OF_MANY,
    FAILED_RUN,
    ROLLING,
    RUNNING,
    FakeClock,
    Script,
    events,
    viewed,
    workload,
)

GOLDEN = Path(__file__).parent / "golden"
SCENES = {"building": BUILDING, "rolling": ROLLING, "done": DONE_WELL, "failed": FAILED_RUN}
COLOUR = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def drawn(script: Script, width: int, height: int = 40, ascii_only: bool = False) -> list[str]:
    view, now = viewed(script)
    page = Page(width, ASCII if ascii_only else UNICODE)
    over = view.outcome is not None
    lines = summary(view, page) if over else frame(view, now, page, height)
    stream = io.StringIO()
    make_console(stream, {}, width).print(Group(*lines))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("scene", SCENES)
def test_the_screen_looks_like_this(scene: str, width: int) -> None:
    lines = drawn(SCENES[scene], width)
    assert all(cell_len(line) <= width for line in lines)
    golden = GOLDEN / f"{scene}-{width}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert "\n".join(lines) + "\n" == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("scene", SCENES)
def test_the_screen_without_utf8_is_ascii(scene: str) -> None:
    lines = drawn([pair for pair in SCENES[scene] if not isinstance(pair[1], Log)], 80, ascii_only=True)
    assert "\n".join(lines).isascii()


def test_a_name_outside_the_locale_does_not_end_the_run() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with LiveSink(make_console(stream, {}), FakeClock()) as sink:
        sink(RunStarted("up", "日本", ("images",)))
    stream.flush()
    assert raw.getvalue().startswith(b"?? - up")


@pytest.mark.parametrize("height", [6, 12, 16, 24, 60])
def test_a_frame_fits_the_window(height: int) -> None:
    many: Script = [*BUILDING, *((0.0, Item("images", f"image-{n}", RUNNING, "x", n, 40)) for n in range(30))]
    many += [(0.0, workload(f"w{n}", Phase.PENDING, 0, 1)) for n in range(3)]
    lines = drawn(many, 80, height)
    assert len(lines) < height
    if height == 24:
        assert any("and " in line and " more" in line for line in lines)


def test_verbosity_shows_more_output() -> None:
    view, now = viewed([*BUILDING, (0.0, Log("images", "backend", "second line"))])
    page = Page(100, UNICODE)
    assert len(frame(view, now, page, 40, verbosity=1)) == len(frame(view, now, page, 40)) + 1


def live(script: Script, env: dict[str, str], verbosity: int = 0) -> tuple[str, LiveSink]:
    stream, clock = io.StringIO(), FakeClock()
    sink = LiveSink(make_console(stream, env), clock, verbosity=verbosity)
    with sink:
        for wait, event in script:
            clock.sleep(wait)
            sink(event)
            sink._live.refresh()
    return stream.getvalue(), sink


def test_the_screen_shows_the_first_finding_and_all_when_asked() -> None:
    text, _ = live(FAILED_OF_MANY, {})
    assert "1 further finding: -v, or todo-deploy explain" in text
    assert ALSO.code not in text
    every, _ = live(FAILED_OF_MANY, {}, verbosity=1)
    assert ALSO.code in every
    assert "further finding" not in every


def test_the_picture_gives_way_to_the_summary() -> None:
    written, _ = live(DONE_WELL, COLOUR)
    assert written.count(HIDE) == 1 and written.rindex(SHOW) > written.rindex(HIDE)
    left = written[written.rindex(SHOW) :]
    assert "up done in 1 m 18 s" in left and "RUN pip" not in left
    assert "\x1b]8;" in left and ";http://192.168.49.2:30080\x1b\\" in left
    assert "owned" not in written and "[red]not markup[/red]" in written


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_cursor_comes_back_whatever_happens(error: type[BaseException]) -> None:
    stream = io.StringIO()
    with pytest.raises(error), LiveSink(make_console(stream, COLOUR), FakeClock()) as sink:
        for event in events(BUILDING):
            sink(event)
        raise error
    written = stream.getvalue()
    assert HIDE in written and written.rindex(SHOW) > written.rindex(HIDE)
    assert "not finished" in written[written.rindex(SHOW) :]


def test_no_color_means_no_colour() -> None:
    written, _ = live(FAILED_RUN, {**COLOUR, "NO_COLOR": "1"})
    plain, _ = live(FAILED_RUN, COLOUR)
    assert "\x1b[1;31m" in plain
    assert not any(f"{code}m" in written for code in ("\x1b[31", "\x1b[1;31", "\x1b[32", "\x1b[33", "\x1b[36"))
    assert "✗" in written and "error" in written


def test_off_a_terminal_only_the_summary_is_printed_uncut() -> None:
    long = "x" * 300
    written, _ = live([(0.0, RunStarted("up", long, ())), (0.0, RunFinished(0, False, 1.0, "ok"))], {})
    assert written.splitlines()[0].startswith(long) and "\x1b" not in written
    assert written.splitlines()[-1] == "– up: nothing to change (1.0 s)"  # noqa: RUF001


def test_without_events_nothing_is_drawn() -> None:
    written, sink = live([], {})
    assert written == "" and sink.view.command == ""


def test_stray_writes_to_stdout_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    with LiveSink(make_console(stream, COLOUR), FakeClock()) as sink:
        sink(StageStarted("images"))
        print("data")
    assert capsys.readouterr().out == "data\n" and "data" not in stream.getvalue()


def test_wide_characters_are_counted_in_cells() -> None:
    page = Page(20, UNICODE)
    assert page.line(("日本語日本語日本語日本語", "")).cell_len <= 20
    assert cell_len(page.fit("日本語日本語", 7)) == 7 and page.fit("ab", 4) == "ab  "
    assert page_of(make_console(io.StringIO(), {}, 70)) == Page(70, UNICODE)
