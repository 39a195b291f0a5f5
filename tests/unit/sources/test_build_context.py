"""Contexts hold what Docker would send, and their tars are the same bytes for the same files."""

import contextlib
import errno
import hashlib
import io
import os
import random
import socket
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import pytest

from deployer.core.errors import DeployError
from deployer.sources.build_context import (
    OUTSIDE_DOCKERFILE,
    ContextFile,
    biggest,
    context_files,
    context_tar,
    dockerfile_name,
    ignored,
    parse_dockerignore,
    total_size,
)

TREE = (
    ".git/HEAD",
    "A/x.md",
    "README.md",
    "a/b/c.txt",
    "a/b/d.md",
    "a/keep.md",
    "app.py",
    "docs/README.md",
    "docs/deep/note.md",
    "node_modules/p/index.js",
    "sub/node_modules/q/index.js",
    "sub/node_modules/q/keep.txt",
    "t[1].txt",
    "tmp.log",
)


def tree(root: Path, files: tuple[str, ...] = TREE) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def unpacked(file: IO[bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    with file, tarfile.open(fileobj=file, errors="surrogateescape") as tar:
        return [(member, tar.extractfile(member).read() if member.isfile() else b"") for member in tar]  # type: ignore[union-attr]


def sent(root: Path) -> list[str]:
    return [entry.path for entry in context_files(root) if entry.kind != "dir"]


# What moby/patternmatcher 0.6.0 and its ignorefile answer, recorded by running them.
CASES: list[tuple[str, tuple[str, ...]]] = [
    ("", TREE),
    ("# only\n\n  \n", TREE),
    (".git", tuple(name for name in TREE if name != ".git/HEAD")),
    ("/a/", tuple(name for name in TREE if not name.startswith("a/"))),
    ("a", tuple(name for name in TREE if not name.startswith("a/"))),  # not "A": case counts
    ("*.md", tuple(name for name in TREE if name != "README.md")),
    ("**/*.md", tuple(name for name in TREE if not name.endswith(".md"))),
    ("**/*.md\n!README.md", tuple(name for name in TREE if not name.endswith(".md") or name == "README.md")),
    ("*\n!a/keep.md", ("a/keep.md",)),
    ("*\n!a/b", ("a/b/c.txt", "a/b/d.md")),
    ("*\n!a\na/b", ("a/keep.md",)),
    ("*\n!**/*.md", tuple(name for name in TREE if name.endswith(".md"))),
    ("!a/b\na", tuple(name for name in TREE if not name.startswith("a/"))),  # order counts
    ("**/node_modules", tuple(name for name in TREE if "node_modules" not in name)),
    ("node_modules", tuple(name for name in TREE if not name.startswith("node_modules"))),
    (
        "**/node_modules\n!sub/node_modules/q/keep.txt",
        tuple(name for name in TREE if "node_modules" not in name or name.endswith("keep.txt")),
    ),
    ("a/**", tuple(name for name in TREE if not name.startswith("a/"))),
    ("a/*/c.txt", tuple(name for name in TREE if name != "a/b/c.txt")),
    ("?pp.py\ntmp.l?g", tuple(name for name in TREE if name not in ("app.py", "tmp.log"))),
    ("[a-c]pp.py", tuple(name for name in TREE if name != "app.py")),
    ("[^b]pp.py", tuple(name for name in TREE if name != "app.py")),
    ("t\\[1].txt", tuple(name for name in TREE if name != "t[1].txt")),
    ("t[1].txt", TREE),
    ("a/../docs/./deep//", tuple(name for name in TREE if not name.startswith("docs/deep"))),
    ("../a\n.\n/", TREE),
    ("  app.py  \r\n#tmp.log\r\n", tuple(name for name in TREE if name != "app.py")),
    (" # not a comment\ntmp.log", tuple(name for name in TREE if name != "tmp.log")),
    ("\ufeffapp.py", tuple(name for name in TREE if name != "app.py")),
    ("**", ()),
    ("*", ()),
    ("docs\n!docs/README.md\n*/README.md", tuple(name for name in TREE if not name.startswith("docs/"))),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_dockerignore(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    tree(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / ".dockerignore").write_text(text)
    assert sent(tmp_path) == sorted({*expected, "Dockerfile", ".dockerignore"})


@pytest.mark.parametrize("line", ["!", "! ", "!/", "[", "a[]", "a[b", "[a-]", "[z-a]", "a\\"])
def test_bad_patterns_are_reported_with_their_line(line: str) -> None:
    with pytest.raises(DeployError) as caught:
        parse_dockerignore(f"# c\nok\n{line}\n")
    assert caught.value.problems[0].where == ".dockerignore:3"


def test_generated_trees_against_the_docker_sdk(tmp_path: Path) -> None:
    """The SDK's matcher is compared where it follows Docker (it ignores case, and guesses a pattern's folders)."""
    from docker.utils import exclude_paths

    rng = random.Random(5)
    names = ["a", "b", "ab", "x.md", "y.txt", ".git", "lib"]
    compared = 0
    for number in range(60):
        root = tmp_path / str(number)
        for _ in range(rng.randint(4, 12)):
            folder = root.joinpath(*rng.choices(["a", "b", "ab", "lib"], k=rng.randint(0, 3)))
            with contextlib.suppress(OSError):  # a file may stand where a folder should, and the reverse
                folder.mkdir(parents=True, exist_ok=True)
                (folder / rng.choice(names)).write_text("")
        paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
        for _ in range(8):
            lines = []
            for _ in range(rng.randint(1, 3)):
                chosen = rng.choice(
                    [*paths, "*", "*.md", "**/*.md", "**/lib", "a*", "?b", "a/**", "*/b", "[ab]", "lib/"]
                )
                lines.append(chosen)
            if rng.random() < 0.5:  # a file by name: folders and wildcards it does not bring back as Docker does
                lines.append("!" + rng.choice([path for path in paths if (root / path).is_file()]))
            patterns = parse_dockerignore("\n".join(lines))
            if any(pattern.negated for pattern in patterns) and any("**" in line for line in lines):
                continue  # it looks parents up by depth, which `**` has not
            (root / ".dockerignore").write_text("\n".join(lines))
            ours = {entry.path for entry in context_files(root)}
            assert ours == set(exclude_paths(str(root), list(lines))), lines
            compared += 1
    assert compared > 300


def test_what_an_ignored_folder_is_searched_for() -> None:
    patterns = parse_dockerignore("*\n!a/b*/c\n!d\n")
    below = {folder: [p.may_match_below(folder) for p in patterns if p.negated] for folder in ("a", "a/b1", "b", "d")}
    assert below == {"a": [True, False], "a/b1": [True, False], "b": [False, False], "d": [False, False]}
    assert ignored(patterns, "d")[0] is False


def test_the_dockerfiles_own_ignore_file_comes_first(tmp_path: Path) -> None:
    tree(tmp_path, ("a", "b", "web.Dockerfile"))
    (tmp_path / ".dockerignore").write_text("a")
    (tmp_path / "web.Dockerfile.dockerignore").write_text("b\n*ile")
    names = [entry.path for entry in context_files(tmp_path, tmp_path / "web.Dockerfile")]
    assert names == [".dockerignore", "a", "web.Dockerfile", "web.Dockerfile.dockerignore"]


def test_kinds_of_files(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("x")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "dir").mkdir()
    (tmp_path / "to-dir").symlink_to("dir")
    (tmp_path / "dangling").symlink_to("../nowhere")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / b"caf\xe9".decode("utf-8", "surrogateescape")).write_text("latin")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        files = context_files(tmp_path)
    assert files == (
        ContextFile("caf\udce9", "file", 5),
        ContextFile("dangling", "symlink", target="../nowhere"),
        ContextFile("dir", "dir"),
        ContextFile("loop", "symlink", target="."),
        ContextFile("run.sh", "file", 1, executable=True),
        ContextFile("to-dir", "symlink", target="dir"),
    )
    modes = {member.name: member.mode for member, _ in unpacked(context_tar(tmp_path, files))}
    assert modes["run.sh"] == 0o755 and modes["caf\udce9"] == 0o644 and modes["dir"] == 0o755


def test_what_is_gone_since_it_was_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, ("a", "b/c", "d"))
    listed = os.scandir

    def then_gone(place: str) -> list[os.DirEntry[str]]:
        found = list(listed(place))
        for name in ("d", "b/c"):
            (tmp_path / name).unlink(missing_ok=True)
        if (tmp_path / "b").exists():
            (tmp_path / "b").rmdir()
        return found

    monkeypatch.setattr(os, "scandir", then_gone)
    assert [entry.path for entry in context_files(tmp_path)] == ["a", "b"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="cannot read"):
        context_files(tmp_path / "none")


def test_the_tar_is_the_same_bytes_on_any_machine(tmp_path: Path) -> None:
    contents = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        before = os.umask(umask)
        try:
            root = tree(tmp_path / name)
        finally:
            os.umask(before)
        os.utime(root / "app.py", (1 if name == "one" else 2, 1))
        with context_tar(root, reversed(context_files(root))) as file:
            contents.append(file.read())
    assert contents[0] == contents[1]
    entries = unpacked(io.BytesIO(contents[0]))
    members = [member for member, _ in entries]
    assert all(content == member.name.encode() for member, content in entries if member.isfile())
    assert {(m.uid, m.gid, m.mtime, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    assert [m.name for m in members] == sorted(m.name for m in members)


def test_long_names(tmp_path: Path) -> None:
    name = "/".join(["d" * 60] * 4) + "/é" + "f" * 100
    tree(tmp_path, (name,))
    assert unpacked(context_tar(tmp_path, context_files(tmp_path)))[-1][0].name == name


def test_a_dockerfile_from_elsewhere(tmp_path: Path) -> None:
    root = tree(tmp_path / "app", ("app.py", OUTSIDE_DOCKERFILE))
    outside = tmp_path / "web.Dockerfile"
    outside.write_text("FROM scratch")
    for dockerfile in (outside, b"FROM scratch"):
        entries = unpacked(context_tar(root, context_files(root, outside), dockerfile))
        content = {member.name: data for member, data in entries}
        assert content[OUTSIDE_DOCKERFILE] == b"FROM scratch"
        assert content[".dockerignore"].decode().split() == [".dockerignore", OUTSIDE_DOCKERFILE]
    (root / ".dockerignore").write_text("*.log")
    entries = unpacked(context_tar(root, context_files(root, outside), outside))
    content = {member.name: data for member, data in entries}
    assert content[".dockerignore"].decode().split() == ["*.log", OUTSIDE_DOCKERFILE]
    assert len(content) == len(entries)


def test_the_dockerfiles_name(tmp_path: Path) -> None:
    root = tree(tmp_path / "app", ("Dockerfile", "docker/web"))
    (root / "link").symlink_to("../elsewhere")
    assert dockerfile_name(root, root / "Dockerfile") == "Dockerfile"
    assert dockerfile_name(root, root / "docker" / ".." / "docker" / "web") == "docker/web"
    assert dockerfile_name(root, root / ".." / "other") == OUTSIDE_DOCKERFILE
    assert dockerfile_name(root, root / "link") == OUTSIDE_DOCKERFILE


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    tree(tmp_path, ("a",))
    files = context_files(tmp_path)
    for now, packed in (("and more", b"a"), ("", b"")):
        (tmp_path / "a").write_text(f"a{now}" if now else "")
        hashes: dict[str, str] = {}
        entries = unpacked(
            context_tar(tmp_path, files, packed_as=lambda file, found, seen=hashes: seen.update({file.path: found}))
        )
        assert [content for _, content in entries] == [packed]
        assert hashes == {"a": hashlib.sha256(packed).hexdigest()}
    (tmp_path / "a").unlink()
    assert unpacked(context_tar(tmp_path, files)) == []


def test_sizes() -> None:
    files = [ContextFile("n/a", "file", 5), ContextFile("n/b/c", "file", 6), ContextFile("x", "file", 7)]
    files += [ContextFile("n", "dir"), ContextFile("y", "symlink", target="x")]
    assert total_size(files) == 18
    assert biggest(files, 2) == (("n", 11), ("x", 7))


def test_what_is_nearly_all_of_a_folder_is_reported_in_its_place() -> None:
    files = [ContextFile("data", "dir"), ContextFile("data/models/big.bin", "file", 90),
             ContextFile("data/notes", "file", 5), ContextFile("src/a", "file", 3), ContextFile("src/b", "file", 3),
             ContextFile("empty", "dir")]  # fmt: skip
    assert biggest(files, 3) == (("data/models/big.bin", 90), ("src", 6), ("empty", 0))


def test_a_full_disk_is_no_fault_of_the_file_that_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(OSError, match="No space left") as caught, context_tar(tmp_path, context_files(tmp_path)):
        pass
    assert caught.value.filename == tempfile.gettempdir()
