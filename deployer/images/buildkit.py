"""Builds by BuildKit, in the daemon itself, through `docker buildx`.

The format of its progress is buildx's `--progress rawjson`: documents with `vertexes` (steps) and `logs`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import tarfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deployer.core.errors import machine_error
from deployer.core.files import write_private
from deployer.core.ports import BuildFailed, BuildRequest, Buildx, DockerEndpoint
from deployer.core.process import CommandFailed, stream
from deployer.core.redact import URL_PASSWORD, foreign
from deployer.core.shell import no_proxy
from deployer.kube.outage import WhyStopped, ended_with_cluster

_STEP = re.compile(r"\[(?:\S+ )?(\d+)/(\d+)\] (.*)", re.DOTALL)
_PLACE = re.compile(r"\S+:(\d+)")
_ERROR = re.compile(r"ERROR: (?:failed to (?:build|solve): )*(.*)", re.DOTALL)
_PARSE_ERROR = re.compile(r"parse error on line (\d+)|parse error line (\d+)|\(line (\d+)\)")
_LOST = re.compile(
    r"cannot connect to the docker daemon|connection (?:refused|reset)|unexpected eof|code = Unavailable|"
    r"error reading from server|transport is closing|no route to host|i/o timeout",
    re.IGNORECASE,
)


def build(
    buildx: Buildx, endpoint: DockerEndpoint, request: BuildRequest, why_stopped: WhyStopped
) -> Generator[str, None, None]:
    """Yields the build's output line by line, steps as the classic builder words them; the image then has the tag.

    Raises BuildFailed; machine error where the daemon does not answer any more.
    """
    words, env = command(buildx, endpoint, request)
    progress = _Progress()
    with TemporaryDirectory(prefix="todo-deploy-build-") as folder:
        # BuildKit keeps what it received by the folder's name, and takes a file from there if size and time are the
        # same; times are all the same here, so only the same content has the same name.
        digest = hashlib.file_digest(request.context, "sha256")  # type: ignore[arg-type]  # it is a file
        request.context.seek(0)
        context = Path(folder) / digest.hexdigest()
        with tarfile.open(fileobj=request.context) as tar:
            tar.extractall(context, filter="tar")
        write_private(Path(folder) / "Dockerfile", request.content)
        write_private(Path(folder) / "Dockerfile.dockerignore", request.ignore)
        lines = stream(
            [*words, str(context)], env=env, cwd=Path(folder), guard=partial(ended_with_cluster, why_stopped)
        )
        yield from _said(lines, progress, endpoint)


def _said(
    lines: Generator[str, None, None], progress: _Progress, endpoint: DockerEndpoint
) -> Generator[str, None, None]:
    try:
        for document in _documents(lines, progress.text):
            yield from progress.lines(document)
    except CommandFailed as failed:
        said = "\n".join(progress.text)
        if _LOST.search(said) and not progress.error:
            raise machine_error(
                "DOCKER_UNREACHABLE", f"Docker does not answer at {endpoint.host}", detail="\n".join(failed.tail[-3:]),
                hints=("todo-deploy up", "todo-deploy doctor"),
            ) from None  # fmt: skip
        raise progress.failure() from None
    finally:
        lines.close()


def command(buildx: Buildx, endpoint: DockerEndpoint, request: BuildRequest) -> tuple[list[str], dict[str, str]]:
    """The command that builds the request, and its environment, in which all is that may not be in arguments."""
    host = re.sub(r"^\w+://|:\d+$", "", endpoint.host)
    direct = no_proxy(buildx.env, host)
    env = {**buildx.env, "DOCKER_HOST": endpoint.host, "NO_PROXY": direct, "no_proxy": direct,
           "BUILDX_GIT_INFO": "false"}  # fmt: skip
    if endpoint.cert_path is not None:
        env |= {"DOCKER_CERT_PATH": str(endpoint.cert_path), "DOCKER_TLS_VERIFY": "1"}
    words = [str(buildx.docker), "buildx", "build", "--builder", "default", "--progress", "rawjson", "--load"]
    # An attestation would make an index of a plain image; and git is not asked for what it would say.
    words += ["--provenance=false", "--tag", request.ref, "--file", "Dockerfile"]
    words += ["--no-cache"] if request.no_cache else []
    words += ["--target", request.target] if request.target else []
    words += ["--platform", ",".join(request.platforms)] if request.platforms else []
    for name, value in request.labels.items():
        words += ["--label", f"{name}={value}"]
    for name, value in request.args.items():
        # A proxy's address may hold a password; by its name alone an argument is taken from the environment.
        is_secret = URL_PASSWORD.match(value) is not None
        words += ["--build-arg", name if is_secret else f"{name}={value}"]
        env |= {name: value} if is_secret else {}
    for number, (name, value) in enumerate(sorted(request.secrets.items())):
        variable = f"TODO_DEPLOY_BUILD_SECRET_{number}"
        words += ["--secret", f"id={name},env={variable}"]
        env[variable] = value
    return words, env


def _documents(lines: Iterable[str], text: deque[str]) -> Iterator[Mapping[str, Any]]:
    """The JSON documents of the output, on one line each or on several; `text` has the lines between them."""
    part: list[str] = []
    for line in lines:
        if not part and not line.startswith("{"):
            text.append(line)
            continue
        part.append(line)
        if line == "}" or (len(part) == 1 and line.endswith("}")):
            try:
                document = json.loads("".join(part))
            except ValueError:
                text.extend(part)
            else:
                yield document if isinstance(document, dict) else {}
            part = []
    text.extend(part)


class _Progress:
    """What has been said of a build so far."""

    def __init__(self) -> None:
        self.text: deque[str] = deque(maxlen=200)
        self.error = ""
        self._step = ""
        self._names: dict[str, str] = {}
        self._started: set[str] = set()
        self._tail: deque[str] = deque(maxlen=30)

    def lines(self, document: Mapping[str, Any]) -> Iterator[str]:
        """What the document adds: steps as they begin, and what they print."""
        for vertex in document.get("vertexes") or ():
            name, key = foreign(vertex.get("name", "")), str(vertex.get("digest"))
            found = _STEP.fullmatch(name)
            self._names[key] = f"Step {found[1]}/{found[2]} : {' '.join(found[3].split())}" if found else name
            if vertex.get("error") and not self.error:
                self.error, self._step = foreign(vertex["error"]), self._names[key]
            if vertex.get("started") and key not in self._started:
                self._started.add(key)
                yield self._names[key]
        for log in document.get("logs") or ():
            for line in _text(log.get("data")).splitlines():
                if line.strip():
                    self._tail.append(line)
                    yield line

    def failure(self) -> BuildFailed:
        """Why the build failed: what BuildKit says, the step, what was printed last, and the Dockerfile's line."""
        said = next((match[1] for line in reversed(self.text) if (match := _ERROR.match(line))), "")
        place = next((int(match[1]) for line in self.text if (match := _PLACE.fullmatch(line))), 0)
        parsed = _PARSE_ERROR.search(said)
        line = place or (int(next(filter(None, parsed.groups()))) if parsed is not None else 0)
        return BuildFailed(said or self.error or "\n".join(list(self.text)[-5:]), self._step, tuple(self._tail), line)


def _text(data: object) -> str:
    """What a step printed; the masking of the whole document may have met a secret in it, then nothing of it."""
    try:
        return foreign(base64.b64decode(str(data), validate=True).decode("utf-8", "replace"))
    except (binascii.Error, ValueError):
        return "•••"
