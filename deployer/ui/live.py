"""The live screen: rich redraws the view a few times a second, and a summary is left when it ends."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live

from deployer.core.events import Event, RunStarted, Warned
from deployer.core.files import state_folder
from deployer.core.steps import Clock
from deployer.core.text import UNICODE
from deployer.state import runs
from deployer.ui.console import Page, page_of
from deployer.ui.draw import frame, summary
from deployer.ui.view import View, fold

FRAMES_PER_SECOND = 5


class LiveSink:
    """While inside, the terminal shows the run; afterwards it shows the summary, and its cursor, whatever happened."""

    def __init__(self, console: Console, clock: Clock, *, verbosity: int = 0) -> None:
        self.view = View()
        self._console = console
        self._clock = clock
        self._verbosity = verbosity
        self._over = False
        self._live = Live(
            get_renderable=self._picture,
            console=console,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,  # stdout carries data, never this screen
            vertical_overflow="crop",
        )

    def __enter__(self) -> LiveSink:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        try:
            self._live.stop()
        finally:
            self._console.show_cursor(True)
        if self.view != View():
            self._console.print(Group(*summary(self.view, page_of(self._console))))

    def __call__(self, event: Event) -> None:
        if self._verbosity and isinstance(event, Warned):
            event = Warned(event.problem)
        # the drawing thread reads this one reference to an immutable value: no lock is needed
        view = fold(self.view, event, self._clock.monotonic())
        if isinstance(event, RunStarted):
            view = replace(view, usual=runs.usual_seconds(state_folder(), event.application, event.command))
        self.view = view

    def _picture(self) -> Group:
        if self._over or self.view == View():
            return Group()  # nothing is left to erase, however tall the last picture was
        size = self._console.size
        page = page_of(self._console)
        return Group(*frame(self.view, self._clock.monotonic(), page, size.height, self._verbosity))


def export_svg(view: View, title: str, *, width: int = 100, now: float | None = None) -> str:
    """The view as a picture of a terminal: the summary, or with `now` the live frame of that moment."""
    console = Console(
        file=io.StringIO(), record=True, width=width, markup=False, emoji=False, highlight=False, _environ={}
    )
    page = Page(width, UNICODE)
    console.print(Group(*(summary(view, page) if now is None else frame(view, now, page, height=60))))
    svg = console.export_svg(title=title, unique_id="todo-deploy")
    # rich's template loads a font from a CDN; README pictures may not, so it falls back to the reader's own
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
