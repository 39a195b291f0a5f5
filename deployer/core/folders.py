"""Where this user's caches and state are kept."""

from __future__ import annotations

from pathlib import Path

_APPLICATION = "todo-deploy"


def cache_folder() -> Path:
    """What can be made again: toolchain, staged charts, hashes of files."""
    from platformdirs import user_cache_path

    return user_cache_path(_APPLICATION)


def state_folder() -> Path:
    """What a run leaves for the next one and for a person: run records, locks, notes."""
    from platformdirs import user_state_path

    return user_state_path(_APPLICATION)
