"""The newest result of each program, in bench/results/NAME.md: what a whole run printed, in place of the one before."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """The machine in a few words, for the head of a result."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory, load {load:.1f}"
    )


def write_result(name: str, text: str, folder: Path = RESULTS) -> None:
    """The result of that name is this text."""
    (folder / f"{name}.md").write_text(text.rstrip("\n") + "\n", encoding="utf-8")


@contextmanager
def recorded(name: str, title: str, command: str, *, whole: bool = True, folder: Path = RESULTS) -> Iterator[None]:
    """What the block prints becomes the result of that name; a run in parts, or one that was cut short, leaves it."""
    head = f"# {title}\n\n`{command}` on {machine()} at the beginning.\n\n"
    copy = _Copy()
    with redirect_stdout(copy):
        yield
    if whole:
        write_result(name, head + copy.getvalue(), folder)


class _Copy(StringIO):
    """Keeps what it passes on to standard output."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = sys.stdout

    def write(self, text: str) -> int:
        self._shown.write(text)
        return super().write(text)

    def flush(self) -> None:
        self._shown.flush()
