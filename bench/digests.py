"""What the digest of a large tree costs, beside a bare walk that asks for the size and times of every file."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.report import recorded
from deployer.sources.build_context import context_files
from deployer.sources.digest import BuildInputs, FileHashes, image_digest

SIZES = (500, 5_000, 50_000)
ROUNDS = 5
_SETTLED_SECONDS = 2.5
"""A hash of a file that was written within two seconds before is not kept."""


def tree(root: Path, files: int) -> None:
    """So many small files, fifty a folder."""
    for number in range(files):
        folder = root / f"part{number // 2500}" / f"module{number // 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}.py").write_text(f"number = {number}\n" * 20)


def bare_walk(root: Path) -> None:
    """Every file was asked for its size and times."""
    pending = [str(root)]
    while pending:
        for one in os.scandir(pending.pop()):
            if one.is_dir(follow_symlinks=False):
                pending.append(one.path)
            else:
                one.stat(follow_symlinks=False)


def digest(root: Path, cache: Path) -> str:
    """As a run takes it: the index is read, the tree is walked, what is new is hashed, the index is written."""
    hashes = FileHashes(cache)
    found = image_digest(BuildInputs(root, context_files(root), b"FROM scratch"), hashes)
    hashes.save()
    return found.value


def _median(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


def row(files: int) -> str:
    """Milliseconds for a tree of so many files, as a row of Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "tree", Path(folder) / "cache"
        tree(root, files)
        time.sleep(_SETTLED_SECONDS)
        begun = time.perf_counter()
        first = digest(root, cache)
        cold = 1000 * (time.perf_counter() - begun)
        warm = _median(lambda: digest(root, cache))
        assert digest(root, cache) == first
        walk = _median(lambda: bare_walk(root))
        (root / "part0" / "module0" / "file0.py").write_text("changed\n")
        begun = time.perf_counter()
        assert digest(root, cache) != first
        changed = 1000 * (time.perf_counter() - begun)
    return f"| {files:,} | {cold:.0f} | {warm:.1f} | {changed:.1f} | {walk:.1f} | {warm / walk:.1f} |"


def main() -> None:
    """The table is printed."""
    with recorded("digests", "The digest of a large tree", "python -m bench.digests"):
        print(f"Milliseconds; warm and walk: median of {ROUNDS}.\n")
        print("| files | cold | warm | one file changed | bare walk | warm / walk |")
        print("|" + "---|" * 6)
        for files in SIZES:
            print(row(files), flush=True)


if __name__ == "__main__":
    main()
