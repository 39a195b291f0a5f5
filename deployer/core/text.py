"""Text that came from elsewhere: cleaned of what moves a cursor or hides other text, and cut."""

from __future__ import annotations

import re

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
