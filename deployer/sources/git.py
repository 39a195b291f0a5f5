"""What git knows of the project's folder, and the files of a commit in a folder of their own."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deployer.core.files import copy_within
from deployer.core.process import CommandFailed, run
from deployer.plan.tags import Commit

_SECONDS, _WRITE_SECONDS = 20, 120


def read_commit(root: Path) -> Commit | None:
    """The commit that the spec's folder is at; None outside git, before the first commit, or without git."""
    argv = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch", "--untracked-files=normal"]
    try:
        lines = run(argv, timeout=_SECONDS).splitlines()
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


def _ended(*argv: str) -> int | None:
    """How git ended; None where there is no git or it did not end."""
    try:
        run(["git", *argv], timeout=_SECONDS)
    except CommandFailed as failed:
        return failed.returncode
    except (OSError, subprocess.TimeoutExpired):
        return None
    return 0


class NoCheckout(Exception):
    """The commit's files cannot be checked out; its text is the end of a sentence that says why."""


@contextmanager
def checked_out(spec: Path, sha: str, env: Mapping[str, str]) -> Iterator[tuple[Path, Path]]:
    """While inside, the spec as it was at the commit and the folder with all of its files. Raises NoCheckout.

    `checkout-index` with an index of its own: unlike `git archive` it leaves nothing out that an attribute excludes
    from exports, and unlike `git worktree` it writes nothing into the repository.
    """
    with tempfile.TemporaryDirectory(prefix="todo-deploy-") as name:
        folder = Path(name)
        argv = ["git", "-C", str(spec.parent)]
        private = {**env, "GIT_INDEX_FILE": str(folder / "index")}
        _run([*argv, "rev-parse", "--git-dir"], env, "this folder is in no git repository")
        prefix = run([*argv, "rev-parse", "--show-prefix"], env=dict(env), timeout=_SECONDS).strip()
        known = [*argv, "cat-file", "-e", f"{sha}^{{commit}}"]
        _run(known, env, f"commit {sha[:7]} is not in this clone (git fetch may bring it)")
        top = run([*argv, "rev-parse", "--show-toplevel"], env=dict(env), timeout=_SECONDS).strip()
        tree = folder / "tree"
        why = f"commit {sha[:7]} cannot be checked out"
        _run(["git", "-C", top, "read-tree", sha], private, why)
        _run(["git", "-C", top, "checkout-index", "--all", "--force", f"--prefix={tree}/"], private, why)
        path = tree / prefix / spec.name
        if not path.is_file():
            raise NoCheckout(f"commit {sha[:7]} has no {prefix}{spec.name}")
        _take_overlay(spec, path)
        yield path, tree


def _take_overlay(spec: Path, path: Path) -> None:
    """The git-ignored overlay lies over the spec there as it does here."""
    overlay = spec.with_name(f"{spec.stem}.local.yaml")
    if overlay.is_file() and not path.with_name(overlay.name).exists():
        copy_within(path.parent, overlay.name, overlay)


def _run(argv: list[str], env: Mapping[str, str], why: str) -> None:
    try:
        run(argv, env=dict(env), timeout=_WRITE_SECONDS)
    except FileNotFoundError:
        raise NoCheckout("there is no git on PATH") from None
    except (CommandFailed, subprocess.TimeoutExpired):
        raise NoCheckout(why) from None
