"""The live screen: rich redraws the view a few times a second, and a summary is left when it ends."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live

from deployer.core.events import Event, RunStarted, Warned
from deployer.core.files import state_folder
from deployer.core.steps import Clock
from deployer.state import runs
from deployer.ui.console import page_of
from deployer.ui.draw import frame, summary
from deployer.ui.view import View, fold

FRAMES_PER_SECOND = 5


def with_usual(view: View, event: Event) -> View:
    """The view, which knows how long the stages of such a run take from when it begins."""
    if not isinstance(event, RunStarted):
        return view
    return replace(view, usual=runs.usual_seconds(state_folder(), event.application, event.command))


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

    def __exit__(self, *error: object) -> None:
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
        self.view = with_usual(fold(self.view, event, self._clock.monotonic()), event)

    def _picture(self) -> Group:
        if self._over or self.view == View():
            return Group()  # nothing is left to erase, however tall the last picture was
        size = self._console.size
        page = page_of(self._console)
        return Group(*frame(self.view, self._clock.monotonic(), page, size.height, self._verbosity))
