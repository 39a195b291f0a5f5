"""A Docker daemon in memory: it reads the context it is sent and walks through the Dockerfile's instructions."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from deployer.core.errors import DeployError, machine_error
from deployer.core.ports import BuildFailed, BuildRequest, DockerEndpoint, ImageFacts

HERE = DockerEndpoint("unix:///fake/docker.sock")


@dataclass(frozen=True)
class Built:
    """One build that was asked for, and the files it was sent."""

    ref: str
    request: BuildRequest
    files: tuple[str, ...]


class FakeImages:
    """Images by reference; `COPY` of a file that was not sent fails, as does a base image that is not there."""

    def __init__(self, refs: Sequence[str] = (), others: dict[DockerEndpoint, FakeImages] | None = None) -> None:
        self.known = {ref: ImageFacts(ref, f"sha256:{ref}", 1000, "", "amd64") for ref in refs}
        self.built: list[Built] = []
        self.sizes: dict[str, int] = {}
        self.copied: list[tuple[DockerEndpoint, tuple[str, ...]]] = []
        self.published_refs: dict[str, str] = {}
        self.remote: dict[str, ImageFacts] = {}
        """What a registry has of images that this daemon has not."""
        self.refusals: list[DeployError] = []
        """What the registry says to the next pushes."""
        self.gate: threading.Barrier | None = None
        self.others = others if others is not None else {}

    def image(self, ref: str) -> ImageFacts | None:
        return self.known.get(ref)

    def images(self, label: str) -> Sequence[ImageFacts]:
        name, equal, value = label.partition("=")
        return tuple(
            self.known[ref]
            for ref in sorted(self.known)
            if name in self.known[ref].labels and (not equal or self.known[ref].labels[name] == value)
        )

    def refs(self) -> Sequence[str]:
        return sorted(self.known)

    has_buildkit = True

    def build(self, request: BuildRequest) -> Generator[str, None, None]:
        with tarfile.open(fileobj=request.context) as tar:
            files = tuple(sorted(tar.getnames()))
            member = None if self.has_buildkit and request.content else tar.extractfile(request.dockerfile)
            text = (member.read() if member is not None else request.content).decode()
        self.built.append(Built(request.ref, request, files))
        instructions = _instructions(text)
        if request.labels:  # the builder's own last step
            instructions.append(
                "LABEL " + " ".join(f"{name}={value}" for name, value in sorted(request.labels.items()))
            )
        tail: list[str] = []
        for number, instruction in enumerate(instructions, 1):
            step = f"Step {number}/{len(instructions)} : {instruction}"
            tail.append(step)
            yield step
            if self.gate is not None:
                self.gate.wait(timeout=20)
            yield from self._sleep(instruction)
            self._execute(instruction, step, tail, files, request)
            tail.append(f" ---> {number:012x}")
            yield tail[-1]
        size = self.sizes.get(request.ref, 5000)
        self.known[request.ref] = ImageFacts(
            request.ref, f"sha256:{request.ref}", size, "", "amd64", dict(request.labels)
        )

    def copy_to(self, other: DockerEndpoint, refs: Sequence[str]) -> None:
        self.copied.append((other, tuple(refs)))
        if other in self.others:
            self.others[other].known |= {ref: replace(self.known[ref]) for ref in refs}

    def save(self, refs: Sequence[str]) -> Iterator[bytes]:
        yield json.dumps({ref: asdict(self.known[ref]) for ref in refs}).encode()

    def load(self, archive: Iterable[bytes]) -> None:
        try:
            loaded = json.loads(b"".join(archive))
        except ValueError as error:
            raise machine_error("IMAGES_LOAD", str(error)) from None
        self.known |= {ref: ImageFacts(**facts) for ref, facts in loaded.items()}

    def remove(self, ref: str) -> None:
        self.known.pop(ref, None)

    def published(self, ref: str) -> ImageFacts | None:
        digest = self.published_refs.get(ref)
        return ImageFacts(ref, "", 0, "", "", digest=digest) if digest else None

    def pull(self, name: str) -> ImageFacts | None:
        if name in self.published_refs:
            self.known.setdefault(name, self.remote.get(name, ImageFacts(name, "", 0, "", "amd64")))
        return self.known.get(name)

    def push(self, ref: str, name: str) -> Generator[tuple[int, int], None, None]:
        yield 1 << 20, 2 << 20
        if self.refusals:
            raise self.refusals.pop(0)
        self.published_refs[name] = f"sha256:{hashlib.sha256(self.known[ref].id.encode()).hexdigest()}"

    def _sleep(self, instruction: str) -> Generator[str, None, None]:
        """`RUN sleep infinity` has output until the build is given up."""
        for _ in range(4000 if instruction == "RUN sleep infinity" else 0):
            time.sleep(0.005)
            yield "still here"

    def _execute(
        self, instruction: str, step: str, tail: Sequence[str], files: Sequence[str], request: BuildRequest
    ) -> None:
        word, _, rest = instruction.partition(" ")
        first = rest.split()[0] if rest.split() else ""
        for name, value in request.args.items():
            first = first.replace(f"${{{name}}}", value).replace(f"${name}", value)
        if word == "FROM" and first != "scratch" and first not in self.known:
            raise BuildFailed(f"manifest for {first} not found", step, tail)
        if word == "COPY" and not rest.startswith("--from") and first != "." and first not in files:
            raise BuildFailed(f"COPY failed: file not found in build context: stat {first}", step, tail)
        if word == "RUN" and rest.startswith("false"):
            raise BuildFailed("The command '/bin/sh -c false' returned a non-zero code: 1", step, tail)


def _instructions(text: str) -> list[str]:
    """The Dockerfile's instructions as the classic builder prints them: each on one line, comments left out."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    return [" ".join(one.split()) for one in "\n".join(lines).replace("\\\n", "").splitlines()]
