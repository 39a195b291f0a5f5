"""Builds through buildx: what is run, and what is read of its progress."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.ports import BuildFailed, BuildRequest, Buildx, DockerEndpoint
from deployer.images.buildkit import build, command
from deployer.kube.outage import unknown

NODE = DockerEndpoint("tcp://192.168.49.2:2376", Path("/certs"))
STEP = {"digest": "sha256:1", "name": "[build 2/2] RUN echo hi &&   false"}
FAILED = [
    {"vertexes": [{"digest": "sha256:0", "name": "[internal] load metadata", "started": "t"}]},
    {"vertexes": [STEP]},
    {"vertexes": [{**STEP, "started": "t"}]},
    {"vertexes": [{**STEP, "started": "t"}]},
    {"logs": [{"vertex": "sha256:1", "stream": 1, "data": "aGkKdGhlcmUK"}]},
    {"vertexes": [{**STEP, "started": "t", "completed": "t", "error": "exit code: 1"}]},
]
SNIPPET = ["Dockerfile:4", "------", "   4 | >>> RUN echo hi && \\", "------"]


def request(content: bytes = b"", **more: object) -> BuildRequest:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        entry = tarfile.TarInfo("app.py")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    context.seek(0)
    return BuildRequest("shop/api:1", context, "Dockerfile", {}, {}, content=b"FROM a\n", **more)  # type: ignore[arg-type]


def docker(folder: Path, body: str) -> Path:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def printing(
    folder: Path, documents: Iterable[object], lines: Iterable[str], status: int, indent: int | None
) -> Buildx:
    said = [*(json.dumps(one, indent=indent) for one in documents), *lines]
    (folder / "said").write_text("\n".join(said) + "\n")
    return Buildx(docker(folder, f"cat {folder}/said; exit {status}"), {"PATH": "/usr/bin:/bin"})


@pytest.mark.parametrize("indent", [None, 2])  # buildx before 0.14 writes a document on several lines
def test_a_failed_build_has_its_step_output_and_line(tmp_path: Path, indent: int | None) -> None:
    said = [*SNIPPET, "ERROR: failed to build: failed to solve: process did not complete: exit code: 1"]
    lines: list[str] = []
    with pytest.raises(BuildFailed) as caught:
        lines.extend(build(printing(tmp_path, FAILED, said, 1, indent), NODE, request(), unknown))
    failed = caught.value
    assert (str(failed), failed.line, failed.tail) == ("process did not complete: exit code: 1", 4, ("hi", "there"))
    assert failed.step == "Step 2/2 : RUN echo hi && false"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("ERROR: failed to solve: dockerfile parse error on line 7: unknown instruction: RUNX", 7),
        ("ERROR: failed to solve: dockerfile parse error line 3: Unknown flag: link", 3),
        ("ERROR: failed to solve: something else", 0),
    ],
)
def test_a_dockerfile_that_cannot_be_read_has_its_line(tmp_path: Path, said: str, line: int) -> None:
    with pytest.raises(BuildFailed) as caught:
        list(build(printing(tmp_path, (), [said], 1, None), NODE, request(), unknown))
    assert caught.value.line == line


def test_each_step_is_shown_once_as_it_begins(tmp_path: Path) -> None:
    lines = list(build(printing(tmp_path, FAILED[:-1], (), 0, None), NODE, request(), unknown))
    assert lines == ["[internal] load metadata", "Step 2/2 : RUN echo hi && false", "hi", "there"]


def test_a_daemon_that_went_away_is_named_as_such(tmp_path: Path) -> None:
    said = "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF"
    with pytest.raises(DeployError) as caught:
        list(build(printing(tmp_path, (), [said], 1, None), NODE, request(), unknown))
    assert caught.value.problems[0].code == "DOCKER_UNREACHABLE"


def test_the_context_and_what_hides_from_copy_are_files(tmp_path: Path) -> None:
    shown = 'for last; do :; done; ls -A "$last"; cat Dockerfile Dockerfile.dockerignore'
    buildx = Buildx(docker(tmp_path, shown), {"PATH": "/usr/bin:/bin"})
    with pytest.raises(BuildFailed) as caught:
        list(build(Buildx(docker(tmp_path, f"{shown}; exit 1"), buildx.env), NODE, request(ignore=b"*.md\n"), unknown))
    assert str(caught.value).split() == ["app.py", "FROM", "a", "*.md"]


def test_only_the_same_content_has_the_same_name(tmp_path: Path) -> None:
    buildx = Buildx(
        docker(tmp_path, f'for last; do :; done; basename "$last" >> {tmp_path}/names'), {"PATH": "/bin:/usr/bin"}
    )
    for content in (b"a", b"b", b"a"):
        list(build(buildx, NODE, request(content), unknown))
    one, other, again = (tmp_path / "names").read_text().split()
    assert one == again != other


def test_no_secret_is_in_the_arguments() -> None:
    proxy = "http://me:canary-proxy@proxy:3128"
    args = {"HTTPS_PROXY": proxy, "MODE": "x"}
    words, env = command(
        Buildx(Path("docker"), {"NO_PROXY": "corp"}), NODE,
        BuildRequest("a:1", io.BytesIO(), "Dockerfile", args, {"l": "1"}, "final", platforms=("linux/arm64",),
                     secrets={"npm": "canary-token"}),
    )  # fmt: skip
    assert "canary" not in " ".join(words)
    assert {"HTTPS_PROXY", "MODE=x", "final", "linux/arm64", "id=npm,env=TODO_DEPLOY_BUILD_SECRET_0"} <= set(words)
    assert (env["HTTPS_PROXY"], env["TODO_DEPLOY_BUILD_SECRET_0"]) == (proxy, "canary-token")
    assert "192.168.49.2" in env["NO_PROXY"].split(",") and env["DOCKER_TLS_VERIFY"] == "1"
