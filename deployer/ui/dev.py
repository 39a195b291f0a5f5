"""The live view of `dev`: services, what is done and why, what is wrong, and the last lines of each service's log."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from deployer.core.errors import Problem
from deployer.core.events import Event, RunFinished, RunStarted, StageFinished
from deployer.core.steps import Clock
from deployer.core.text import clean, duration, elapsed
from deployer.status import WorkloadStatus
from deployer.ui.console import BUSY, CARE, CAUSE, GOOD, PHASE_STYLES, QUIET, STRONG, Page, page_of
from deployer.ui.draw import problem_text, stage_lines
from deployer.ui.live import with_usual
from deployer.ui.view import View, fold
from deployer.ui.words import copied_words, why_not

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")
KEYS = (("r", "rebuild"), ("l", "logs"), ("o", "open"), ("p", "pause"), ("q", "leave"))
_FRAMES_PER_SECOND = 4
_LOG_LINES, _ROUNDS = 200, 3
_KEY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Round:
    """One thing that was done: when it began (local time), why, and how it ended."""

    at: str
    why: str = ""
    outcome: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class DevView:
    """A session of `dev` so far."""

    run: View = field(default_factory=View)
    rounds: tuple[Round, ...] = ()
    workloads: tuple[WorkloadStatus, ...] = ()
    synced: frozenset[str] = frozenset()
    addresses: Mapping[str, str] = field(default_factory=dict)
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    """What is wrong since the last round that failed."""
    shown: str | None = None
    """The one service whose log is shown; None for all."""
    state: str = ""
    notice: str = ""

    @property
    def services(self) -> list[str]:
        """The services, in the order of the table."""
        return [one.ref.name for one in self.statuses]

    @property
    def statuses(self) -> tuple[WorkloadStatus, ...]:
        """How the services stand: as last seen, or as the first round shows them."""
        return self.workloads or self.run.workloads


def fold_dev(view: DevView, event: Event, now: float, at: str) -> DevView:
    """The session after one more event of a round; `at` is the time of day in words."""
    match event:
        case RunStarted():
            rounds = (*view.rounds[1 - _ROUNDS :], Round(at))
            return replace(view, run=fold(View(), event, now), rounds=rounds, notice="")
        case StageFinished(stage="sources"):
            view = replace(view, rounds=(*view.rounds[:-1], replace(view.rounds[-1], why=event.text)))
        case RunFinished():
            last = replace(view.rounds[-1], outcome=event.outcome, seconds=event.seconds)
            problems = view.run.problems if event.outcome == "failed" else ()
            view = replace(view, rounds=(*view.rounds[:-1], last), problems=problems)
    return replace(view, run=fold(view.run, event, now))


def dev_frame(view: DevView, now: float, page: Page, height: int) -> list[Text]:
    """The picture of the session, of exactly so many lines: logs get what the rest leaves, and at least a sixth.

    Where little is left for a cause, what was done before it goes, and most of the logs.
    """
    top = [_title(view, now, page), Text(), *_services(view, page), Text()]
    rounds = list(_rounds(view, now, page))
    cause = [line for problem in view.problems[:1] for line in _wrapped(problem, page)]
    most = max(height - len(top) - len(rounds) - 3 - height // 6, 4)
    if len(cause) > most:
        rounds = list(_rounds(replace(view, rounds=view.rounds[-1:], run=replace(view.run, warnings=())), now, page))
        most = max(height - len(top) - len(rounds) - 3 - height // 12, 4)
    top += rounds
    if len(cause) > most:  # what a program printed last says most
        head = most // 2
        left_out = Text(f"  {page.glyphs.ellipsis} todo-deploy explain", style=QUIET)
        cause = [*cause[:head], left_out, *cause[head + 1 - most :]]
    top += [Text(), *cause] if cause else []
    rest = height - len(top) - 2
    logs = list(_logs(view, page, max(rest, 0)))
    body = [*top, Text(), *logs][: height - 1]
    return [*body, *(Text() for _ in range(height - 1 - len(body))), _keys(view, page)]


def dev_summary(view: DevView, page: Page) -> list[Text]:
    """What stays on the screen after the session."""
    lines = [*_services(view, page)]
    if view.synced:
        lines += [Text(), Text.assemble((f"{page.glyphs.warning} ", CARE), copied_words(view.synced))]
    return lines


def _title(view: DevView, now: float, page: Page) -> Text:
    run = view.run
    state, style = view.state or "watching", CARE if view.state else GOOD
    if run.command and run.outcome is None:
        state, style = f"at work {page.glyphs.dot} {elapsed(now - run.began)}", BUSY
    elif view.problems and not view.state:
        state, style = "failed: waiting for the next save", CAUSE
    return page.line(
        (run.application or "todo-deploy", STRONG),
        (f" {page.glyphs.dot} dev {page.glyphs.dot} ", QUIET),
        (state, style),
    )


def _services(view: DevView, page: Page) -> Iterator[Text]:
    width = max(page.column([one.ref.name for one in view.statuses], page.width // 3), 7)
    yield page.line((f"  {'SERVICE':<{width}}  {'STATE':<12}  {'READY':>5}  {'URL'}", QUIET))
    for one in view.statuses:
        address, why = view.addresses.get(one.ref.name, ""), why_not(one)
        words = [word for word in (address, "copied" if one.ref.name in view.synced else "", why) if word]
        yield page.line(
            (f"  {page.fit(one.ref.name, width)}", _colour(view, one.ref.name)),
            (f"  {one.phase.value:<12}", PHASE_STYLES[one.phase]),
            (f"  {f'{one.ready}/{one.desired}':>5}  ", ""),
            (f" {page.glyphs.dot} ".join(words), "" if address else QUIET),
        )
    if not view.statuses:
        yield page.line((f"  {page.glyphs.ellipsis} not seen yet", QUIET))


def _rounds(view: DevView, now: float, page: Page) -> Iterator[Text]:
    glyphs = page.glyphs
    marks = {"ok": (glyphs.done, GOOD), "failed": (glyphs.failed, CAUSE), "interrupted": (glyphs.warning, CARE)}
    for one in view.rounds:
        mark, style = marks.get(one.outcome, (glyphs.waiting, BUSY))
        took = duration(one.seconds) if one.outcome else ""
        why = one.why or "reading the sources"
        yield page.line((f"  {mark} ", style), (f"{one.at}  {took:>7}  ", QUIET), (why, ""))
    for warning in view.run.warnings[-2:]:
        yield page.line((f"  {glyphs.warning} ", CARE), (f"warning: {warning.title}", ""))
    if view.run.outcome is None:
        yield from stage_lines(view.run, now, page)


def _wrapped(problem: Problem, page: Page) -> Iterator[Text]:
    console = Console(width=page.width, file=None)
    for line in problem_text(problem, page):
        yield from line.wrap(console, page.width)


def _logs(view: DevView, page: Page, rows: int) -> Iterator[Text]:
    names = [name for name in (view.services if view.shown is None else [view.shown]) if view.logs.get(name)]
    width = max(page.column(names, page.width // 4), 1)
    for name, count in _shares({name: len(view.logs[name]) for name in names}, rows).items():
        for line in list(view.logs[name])[len(view.logs[name]) - count :] if count else ():
            yield page.line((f"{page.fit(name, width)} | ", _colour(view, name)), (line, ""))


def _shares(lines: Mapping[str, int], rows: int) -> dict[str, int]:
    """How many rows each has: as many as it needs where it needs few, else an equal part of what is left."""
    shares = dict.fromkeys(lines, 0)
    left = rows
    while left > 0 and (hungry := [name for name in lines if shares[name] < lines[name]]):
        for name in hungry[:left] if left < len(hungry) else hungry:
            given = min(max(left // len(hungry), 1), lines[name] - shares[name])
            shares[name] += given
            left -= given
            if left <= 0:
                break
    return shares


def _keys(view: DevView, page: Page) -> Text:
    if view.notice:
        return page.line((f" {view.notice}", CARE))
    words = {"l": f"logs: {view.shown or 'all'}", "p": "go on" if view.state else "pause"}
    parts: list[tuple[str, str]] = []
    for key, word in KEYS:
        parts += [(f"  {key} ", STRONG), (words.get(key, word), QUIET)]
    return page.line(*parts)


def _colour(view: DevView, name: str) -> str:
    names = view.services
    return COLOURS[names.index(name) % len(COLOURS)] if name in names else ""


class DevScreen:
    """While inside, the terminal is the session's; afterwards it is as it was, whatever happened."""

    def __init__(self, console: Console, clock: Clock, keyboard: TextIO) -> None:
        self.view = DevView()
        self._console, self._clock, self._keyboard = console, clock, keyboard
        self._logs: dict[str, deque[str]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._press: Callable[[str], None] = lambda key: None
        self._open: Callable[[str], bool] = lambda url: False
        self._modes: list[Any] | None = None
        self._live = self._new_live()
        self._stopped: Any = None

    def _new_live(self) -> Live:
        return Live(
            get_renderable=self._picture, console=self._console, screen=True, redirect_stdout=False,
            redirect_stderr=False, refresh_per_second=_FRAMES_PER_SECOND, vertical_overflow="crop",
        )  # fmt: skip

    def __enter__(self) -> DevScreen:
        if hasattr(signal, "SIGTSTP"):
            self._stopped = signal.signal(signal.SIGTSTP, self._suspend)
        self._take()
        if self._keyboard.isatty():
            keys = self._keyboard.fileno()
            threading.Thread(target=self._read_keys, args=(keys,), name="keys", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._stopped is not None:
            signal.signal(signal.SIGTSTP, self._stopped)
        self._give_back()
        with suppress(OSError):  # the terminal may be gone
            self._console.print(Group(*dev_summary(self.view, page_of(self._console))))

    def keys(self, press: Callable[[str], None], show: Callable[[str], bool]) -> None:
        """Keys that are not about the picture go to `press`; `show` opens a URL and says whether it could."""
        self._press, self._open = press, show

    @contextmanager
    def round(self) -> Iterator[Callable[[Event], None]]:
        """The sink of one round."""
        yield self._fold

    def log(self, service: str, line: str) -> None:
        """One more line of a service's log."""
        with self._lock:
            self._logs.setdefault(service, deque(maxlen=_LOG_LINES)).append(clean(line))
            self.view = replace(self.view, logs=self._logs)

    def workloads(
        self, statuses: tuple[WorkloadStatus, ...], synced: frozenset[str], addresses: Mapping[str, str]
    ) -> None:
        """The services stand so."""
        with self._lock:
            self.view = replace(self.view, workloads=statuses, synced=synced, addresses=addresses)

    def says(self, state: str) -> None:
        """What the session is doing besides watching."""
        with self._lock:
            self.view = replace(self.view, state=state)

    def _fold(self, event: Event) -> None:
        with self._lock:
            at = time.strftime("%H:%M:%S", time.localtime(self._clock.now()))
            self.view = fold_dev(self.view, event, self._clock.monotonic(), at)
            self.view = replace(self.view, run=with_usual(self.view.run, event))

    def _picture(self) -> Group:
        with self._lock:
            page, height = page_of(self._console), self._console.size.height
            return Group(*dev_frame(self.view, self._clock.monotonic(), page, height))

    def _take(self) -> None:
        """The terminal hands out keys as they are pressed, and shows the picture."""
        if self._keyboard.isatty():
            import termios
            import tty

            self._modes = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)
        self._live.start()

    def _give_back(self) -> None:
        """The terminal is as it was."""
        try:
            with suppress(OSError):
                self._live.stop()
                self._console.show_cursor(True)
        finally:
            if self._modes is not None:
                import termios

                with suppress(OSError, termios.error):
                    termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._modes)

    def _suspend(self, signum: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal, and the picture comes back with `fg`."""
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
        self._live = self._new_live()
        self._take()

    def _read_keys(self, descriptor: int) -> None:
        while not self._ended.is_set():
            with suppress(OSError, ValueError):
                ready, _, _ = select.select([descriptor], [], [], _KEY_SECONDS)
                if not ready:
                    continue
                raw = os.read(descriptor, 32)
                if not raw:
                    return
                if not raw.startswith(b"\x1b"):  # arrows and their like
                    for key in raw.decode(errors="replace").lower():
                        self._pressed(key)

    def _pressed(self, key: str) -> None:
        with self._lock:
            view = replace(self.view, notice="")
            if key == "l":
                every = [None, *view.services]
                at = every.index(view.shown) if view.shown in every else 0
                view = replace(view, shown=every[(at + 1) % len(every)])
            elif key == "o":
                url = view.addresses.get(view.shown or "") or next(iter(view.addresses.values()), "")
                if not url or not self._open(url):
                    view = replace(view, notice=f"open {url} yourself: no browser here" if url else "no URL yet")
            self.view = view
        if key in "rpq":
            self._press(key)
