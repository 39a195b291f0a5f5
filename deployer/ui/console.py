"""The one place a rich console is made, and lines of text for it that are never read as markup."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from deployer.core.text import Glyphs, clean, glyphs_for
from deployer.status import Phase
from deployer.ui.codes import address

UNCUT = 1000  # off a terminal nothing is cropped or wrapped to 80 columns: `grep` wants one row a line
CAUSE, GOOD, CARE, BUSY, QUIET, STRONG = "bold red", "green", "yellow", "cyan", "dim", "bold"

PHASE_STYLES: dict[Phase, str] = {
    Phase.PENDING: QUIET,
    Phase.PROGRESSING: BUSY,
    Phase.AVAILABLE: GOOD,
    Phase.DEGRADED: CARE,
    Phase.PAUSED: CARE,
    Phase.STALLED: CAUSE,
    Phase.FAILED: CAUSE,
    Phase.SCALED_TO_ZERO: QUIET,
    Phase.TERMINATING: QUIET,
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever began the command decides how it ends."""
        raise BrokenPipeError


def make_console(stream: TextIO, env: Mapping[str, str], width: int | None = None) -> Console:
    """A console on the stream that shows text as it is given; NO_COLOR, TERM and COLUMNS are those of `env`."""
    if isinstance(stream, io.TextIOWrapper) and glyphs_for(stream.encoding).ellipsis == "...":
        stream.reconfigure(errors="replace")  # a name outside the locale must not end the run
    console = _Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=width,
        legacy_windows=False,
        _environ=env,
    )
    if width is None and not console.is_terminal and not env.get("COLUMNS", "").isdigit():
        console.width = UNCUT
    return console


@dataclass(frozen=True, slots=True)
class Page:
    """Where lines are drawn: how wide they may be and with which marks."""

    width: int
    glyphs: Glyphs
    address: Callable[[str], str] = lambda code: ""
    """Where a code is explained, for a link to it; empty where there is nothing to lead to."""

    def line(self, *parts: tuple[str, str]) -> Text:
        """One line of (text, style) parts, cropped to the width."""
        text = Text(no_wrap=True, overflow="ignore")
        for words, style in parts:
            text.append(clean(words), style or None)
        if text.cell_len > self.width:
            text.truncate(max(self.width - len(self.glyphs.ellipsis), 0), overflow="crop")
            text.append(self.glyphs.ellipsis)
        return text

    def fit(self, words: str, cells: int) -> str:
        """The words in exactly so many cells: padded, or cropped with an ellipsis."""
        words = clean(words)
        if cell_len(words) > cells:
            text = Text(words)
            text.truncate(max(cells - len(self.glyphs.ellipsis), 0), overflow="crop")
            words = text.plain + self.glyphs.ellipsis
        return words + " " * (cells - cell_len(words))

    def column(self, words: list[str], limit: int) -> int:
        """The cells that the longest of the words needs, at most `limit`."""
        return min(max((cell_len(clean(word)) for word in words), default=0), limit)


def page_of(console: Console) -> Page:
    """The page that the console's width and encoding allow."""
    page = Page(console.width, glyphs_for(console.encoding))
    return replace(page, address=address) if shows_links(console) else page


def shows_links(console: Console) -> bool:
    """Whether rich writes links there: it does on terminals that can show more than text."""
    return console.is_terminal and console.color_system is not None
