"""What git says of the project's folder: its commit, and whether a file would be published with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deployer.core.process import CommandFailed, run
from deployer.plan.tags import Commit

_SECONDS = 10


def read_commit(root: Path) -> Commit | None:
    """The commit that the spec's folder is at; None outside git, before the first commit, or without git."""
    words = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=normal"]
    try:
        lines = run(words, timeout=_SECONDS).splitlines()
    except (CommandFailed, OSError, subprocess.TimeoutExpired):
        return None
    sha = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    clean = not any(not line.startswith("#") for line in lines)
    return None if sha == "(initial)" else Commit(sha, clean)


def tracks(path: Path) -> bool:
    """Whether git tracks the file."""
    return _ended("-C", str(path.parent), "ls-files", "--error-unmatch", path.name) == 0


def would_add(path: Path) -> bool:
    """Whether the next `git add` of everything would take the file in; False outside a repository."""
    return _ended("-C", str(path.parent), "check-ignore", "--quiet", path.name) == 1


def _ended(*words: str) -> int | None:
    """How git ended; None where there is no git or it did not end."""
    try:
        run(["git", *words], timeout=_SECONDS)
    except CommandFailed as failed:
        return failed.returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
    return 0
