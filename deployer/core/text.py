"""Text fit for a terminal: what came from elsewhere cleaned and cut, times and counts in words, marks of a screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LINE_LENGTH = 400
CUT = "…"

ESCAPES = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS and their like
    r"|\x1b[ -/]*[0-~]?"
)
"""Terminal control sequences (ECMA-48); one that is cut short is one, too."""

# Line ends and tabs are no part of it; zero-width characters and those that reorder a line are.
INVISIBLE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
_REMOVED = re.compile(f"{ESCAPES}|{INVISIBLE}")


def clean_text(text: object) -> str:
    """The text, of several lines as it may be, without terminal control sequences and invisible characters."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return _REMOVED.sub("", plain.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: object, length: int = LINE_LENGTH) -> str:
    """The text cleaned, on one line, cut at `length`. Secret values are masked before: see `core.redact`."""
    line = " ".join(clean_text(text).split())
    return line if len(line) <= length else line[: length - 1] + CUT


def cut_lines(text: str, length: int) -> list[str]:
    """The lines of the text, each cut at `length`."""
    return [line if len(line) <= length else line[: length - 1] + CUT for line in text.splitlines()]


_UNFIT = {
    **dict.fromkeys((0x09, 0x0A, 0x0B, 0x0C, 0x2028, 0x2029), " "),
    **dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"),  # no stream can encode these
}


def clean(text: str) -> str:
    """One line that moves no cursor, changes no colour and is written as it is read."""
    if text.isascii() and text.isprintable():
        return text
    last = text.rstrip("\r\n").rpartition("\r")[2]  # a progress bar's last state is what counts
    return clean_text(last.translate(_UNFIT))


def clean_lines(text: str) -> list[str]:
    """The lines of a longer text, each clean, without blank ones at the ends."""
    return [clean(line).rstrip() for line in text.strip("\r\n").split("\n")] if text.strip() else []


def duration(seconds: float) -> str:
    """Seconds as people say them: `0.8 s`, `34.2 s`, `2 m 05 s`, `1 h 02 m`."""
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"


def elapsed(seconds: float) -> str:
    """The time of something still running, in whole seconds: digits that race distract."""
    return f"{int(seconds)} s" if 0 <= seconds < 60 else duration(seconds).replace("0.0 s", "0 s")


def age(seconds: float) -> str:
    """How old an object is, in the largest unit that fits: `45s`, `12m`, `3h`, `5d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(seconds, 0))}s"


def progress(done: float | None, total: float | None) -> str:
    """`4/9` where steps are counted, `42%` where the unit is something smaller, nothing where there is no total."""
    if done is None or not total:
        return ""
    if total <= 99 and float(done).is_integer() and float(total).is_integer():
        return f"{int(done)}/{int(total)}"
    return f"{min(max(done / total, 0), 1):.0%}"


def count(number: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(name: str, known: Iterable[str], before: str = "") -> tuple[str, ...]:
    """The hint that names what is known and most like the name, with what stands before it; none without such a one."""
    import difflib  # only a mistake needs it

    close = difflib.get_close_matches(name, list(known), 1)
    return (f"did you mean `{before}{close[0]}`?",) if close else ()


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Each row as one line, its cells left-aligned below each other and two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks of a screen; each is one cell wide except `arrow` and `ellipsis`."""

    done: str
    failed: str
    unchanged: str
    waiting: str
    warning: str
    arrow: str
    ellipsis: str
    dot: str
    bar: str
    bar_rest: str
    spinner: str


UNICODE = Glyphs("✓", "✗", "–", "·", "!", "→", "…", "·", "━", "─", "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")  # noqa: RUF001
ASCII = Glyphs("+", "x", "-", ".", "!", "->", "...", "-", "=", ".", "|/|\\")


def glyphs_for(encoding: str | None) -> Glyphs:
    """The marks that a stream of this encoding can carry."""
    return UNICODE if (encoding or "utf-8").lower().replace("-", "").startswith("utf") else ASCII
