"""`.env` files are made and completed without ever losing or showing anything."""

import os
import re
import socket
from pathlib import Path

import pytest

import deployer.sources.env_files as envfile
from deployer.core.errors import DeployError, ExitCode
from deployer.sources.dotenv import read_env
from deployer.sources.env_files import append_generated, file_problems, init_env_file

EXAMPLE = """\
# Keys of the application.
OPENAI_API_KEY=   # optional

# Made for you.
export BETTER_AUTH_SECRET="change \\" me"  # 43 characters
JWT_SECRET=
# LATER=1
EMPTY= # c
"""
URL_SAFE = re.compile(r"[A-Za-z0-9_-]+")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_made_from_its_example(tmp_path: Path) -> None:
    example, path = tmp_path / ".env.example", tmp_path / ".env"
    example.write_text(EXAMPLE)
    wanted = {"BETTER_AUTH_SECRET": 43, "JWT_SECRET": 7, "EMPTY": 1, "LATER": 64}
    assert init_env_file(path, example, wanted) == tuple(wanted)
    env = read_env(path, ".env")
    for key, length in wanted.items():
        assert len(env[key].value) == length and URL_SAFE.fullmatch(env[key].value)
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    for key in wanted:
        text = text.replace(env[key].value, "•", 1) if len(env[key].value) > 1 else text
    assert text.splitlines()[:7] == [
        "# Keys of the application.",
        "OPENAI_API_KEY=   # optional",
        "",
        "# Made for you.",
        "export BETTER_AUTH_SECRET=•  # 43 characters",
        "JWT_SECRET=•",
        "# LATER=1",
    ]
    assert names(tmp_path) == [".env", ".env.example"]


def test_without_example_and_with_windows_line_ends(tmp_path: Path) -> None:
    init_env_file(tmp_path / "a", None, {"A": 8})
    assert re.fullmatch(rb"A=[\w-]{8}\n", (tmp_path / "a").read_bytes())
    (tmp_path / "e").write_bytes(b"\xef\xbb\xbfA=\r\nB=1")
    init_env_file(tmp_path / "b", tmp_path / "e", {"A": 8, "C": 8})
    assert re.fullmatch(rb"A=[\w-]{8}\r\nB=1\r\nC=[\w-]{8}\r\n", (tmp_path / "b").read_bytes())


def test_a_file_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("A=mine\n")
    with pytest.raises(DeployError) as caught:
        init_env_file(path, None, {"A": 8})
    assert caught.value.exit_code is ExitCode.REFUSED
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DeployError):
        init_env_file(link, None, {"A": 8})

    # Somebody is faster between the look and the write.
    late = tmp_path / "late"
    publish = envfile._publish
    monkeypatch.setattr(
        envfile, "_publish", lambda temporary, to: (to.write_text("A=theirs\n"), publish(temporary, to))
    )
    with pytest.raises(DeployError):
        init_env_file(late, None, {"A": 8})
    assert late.read_text() == "A=theirs\n"
    assert path.read_text() == "A=mine\n"
    assert names(tmp_path) == [".env", "late", "link"]


def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    init_env_file(tmp_path / ".env", None, {"A": 8})
    assert read_env(tmp_path / ".env", ".env").value("A")
    assert names(tmp_path) == [".env"]


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "b").write_text("B=1\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeployError, match="cannot write"):
        init_env_file(tmp_path / "a", None, {"A": 8})
    with pytest.raises(DeployError, match="cannot write"):
        append_generated(tmp_path / "b", {"A": 8})
    assert names(tmp_path) == ["b"]
    assert (tmp_path / "b").read_text() == "B=1\n"


def test_a_bad_example_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(DeployError):
        init_env_file(tmp_path / ".env", tmp_path / "none", {})
    (tmp_path / "e").write_text("A=1\nA=2\n")
    with pytest.raises(DeployError) as caught:
        init_env_file(tmp_path / ".env", tmp_path / "e", {})
    assert caught.value.problems[0].where == "e:2"
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", rb"A=(.{8})\nB=(.{9})\n"),
        (b"X=1", rb"X=1\nA=(.{8})\nB=(.{9})\n"),
        (b"X='a\nb' # c\r\n", rb"X='a\nb' # c\r\nA=(.{8})\r\nB=(.{9})\r\n"),
        (b"\xef\xbb\xbfX=1\n", b"\xef\xbb\xbfX=1\nA=(.{8})\nB=(.{9})\n"),
        (b"A=mine\n#A=\n", rb"A=mine\n#A=\nB=(.{9})\n"),
        (b"A= # make me\nX=1\n", rb"A=(.{8}) # make me\nX=1\nB=(.{9})\n"),
        (b"export B=''\nX=1", rb"export B=(.{9})\nX=1\nA=(.{8})\n"),
    ],
)
def test_generated_keys_are_appended(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / ".env"
    path.write_bytes(before)
    path.chmod(0o640)
    made = append_generated(path, {"A": 8, "B": 9})
    assert re.fullmatch(after, path.read_bytes())
    assert set(made) == {"A", "B"} - ({"A"} if b"A=mine" in before else set())
    assert path.stat().st_mode & 0o777 == 0o640
    once = path.read_bytes()
    assert append_generated(path, {"A": 8, "B": 9}) == ()
    assert path.read_bytes() == once
    assert names(tmp_path) == [".env"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("X=1\n")
    (tmp_path / ".env").symlink_to("real")
    append_generated(tmp_path / ".env", {"A": 8})
    assert (tmp_path / ".env").is_symlink()
    assert read_env(tmp_path / "real", "real").value("A")


def test_a_change_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.write_text("X=1\n")
    monkeypatch.setattr(os, "fsync", lambda _: path.write_text("X=2\n"))
    with pytest.raises(DeployError, match="at the same time"):
        append_generated(path, {"A": 8})
    assert path.read_text() == "X=2\n"
    assert names(tmp_path) == [".env"]


def test_file_problems(tmp_path: Path) -> None:
    def codes(name: str) -> list[str]:
        return [problem.code for problem in file_problems(tmp_path / name, tmp_path)]

    assert codes("none") == ["ENV_FILE_MISSING"]
    (tmp_path / "dangling").symlink_to("none")
    assert codes("dangling") == ["ENV_FILE_MISSING"]
    (tmp_path / "dir").mkdir()
    assert codes("dir") == ["ENV_DIRECTORY"]
    os.mkfifo(tmp_path / "fifo")
    assert codes("fifo") == ["ENV_NOT_REGULAR"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert codes("socket") == ["ENV_NOT_REGULAR"]
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o600)
    assert codes("file") == []
    assert codes("file/below") == ["ENV_UNREADABLE"]
    (tmp_path / "file").chmod(0o644)
    assert codes("file") == ["ENV_MODE"]
    problem = file_problems(tmp_path / "file", tmp_path)[0]
    assert (problem.where, problem.hints) == ("file", ("chmod 600 file",))


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is readable for root")
def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    (tmp_path / "f").chmod(0)
    assert file_problems(tmp_path / "f", tmp_path)[0].code == "ENV_UNREADABLE"
