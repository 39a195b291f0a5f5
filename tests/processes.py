"""Processes of this machine, as the kernel shows them."""

from __future__ import annotations

from pathlib import Path


def runs(pid: int) -> bool:
    """Whether the process is there and has not ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
