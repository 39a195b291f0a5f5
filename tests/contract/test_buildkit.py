"""What only BuildKit builds, one feature each: built on the node, and named as such for the classic builder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest

from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.ports import BuildFailed, BuildRequest, ImagePort
from deployer.sources.dockerfile import buildkit_needs
from deployer.toolchain import locate_toolchain
from deployer.toolchain.source.debian import base_ref
from tests.cluster import PROFILE
from tests.contract.conftest import Connected

pytestmark = pytest.mark.cluster

# Each fails to build where its feature is not what BuildKit makes of it.
FEATURES = {
    "RUN --mount=type=cache": "RUN --mount=type=cache,target=/cache touch /cache/x",
    "RUN --mount=type=bind": "RUN --mount=type=bind,source=app.txt,target=/in/app.txt grep hello /in/app.txt",
    "RUN --mount=type=secret": "RUN --mount=type=secret,id=token grep -q . /run/secrets/token",
    "RUN --mount=type=tmpfs": "RUN --mount=type=tmpfs,target=/scratch grep ' /scratch ' /proc/mounts",
    "RUN --network": "RUN --network=none ! grep -q eth0 /proc/net/dev",
    "a here-document of commands": "RUN <<EOT\nset -e\necho made > /made\nEOT\nRUN grep made /made",
    "a here-document of a file": "COPY <<EOT /made\nmade\nEOT\nRUN grep made /made",
    "COPY --link": "COPY --link app.txt /app.txt\nRUN grep hello /app.txt",
    "COPY --chmod": 'COPY --chmod=0444 app.txt /app.txt\nRUN test "$(stat -c %a /app.txt)" = 444',
    "ADD --chmod": 'ADD --chmod=0400 app.txt /app.txt\nRUN test "$(stat -c %a /app.txt)" = 400',
    "TARGETARCH": 'ARG TARGETARCH\nRUN test -n "$TARGETARCH"',
    "FROM --platform=$BUILDPLATFORM": "FROM --platform=$BUILDPLATFORM {base}\nRUN true",
}


@pytest.fixture(scope="module")
def daemon(connected: Connected) -> ImagePort:
    """The node's daemon, which has our base image, with BuildKit."""
    here = composition.this_machine()
    host = composition.open_images(here.host_docker)
    if host.image(base_ref()) is None:
        pytest.skip("images can be pulled on this machine, so that no base of our own is here")
    endpoint, toolchain = connected.facts.docker, locate_toolchain("auto", here.cache_dir)
    assert endpoint is not None and toolchain is not None
    host.copy_to(endpoint, [base_ref()])
    return composition.open_builder(here, Cluster(name=PROFILE), toolchain.docker, endpoint)


@pytest.fixture
def ref(daemon: ImagePort, name: str) -> Iterator[str]:
    yield f"{name}:1"
    daemon.remove(f"{name}:1")


def request(ref: str, dockerfile: str, content: bytes = b"hello\n") -> BuildRequest:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("app.txt")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    packed.seek(0)
    secrets = {"token": "canary"}
    return BuildRequest(ref, packed, "Dockerfile", {}, {"l": "1"}, secrets=secrets, content=dockerfile.encode())


@pytest.mark.parametrize("feature", FEATURES)
def test_buildkit_builds_it_and_the_classic_builder_is_not_asked(daemon: ImagePort, ref: str, feature: str) -> None:
    text = f"FROM {base_ref()}\n{FEATURES[feature].format(base=base_ref())}\n"
    assert buildkit_needs(text)
    assert daemon.has_buildkit
    lines = list(daemon.build(request(ref, text)))
    found = daemon.image(ref)
    assert found is not None and found.labels["l"] == "1"
    assert "canary" not in "\n".join(lines)


def test_a_change_that_leaves_the_size_as_it_was_is_built(daemon: ImagePort, ref: str) -> None:
    for word in ("hello", "world", "hello"):
        text = f"FROM {base_ref()}\nCOPY app.txt /\nRUN grep {word} /app.txt\n"
        list(daemon.build(request(ref, text, f"{word}\n".encode())))


def test_a_failing_step_has_its_line_and_output(daemon: ImagePort, ref: str) -> None:
    text = f"FROM {base_ref()}\n# a comment\nRUN echo said && \\\n  false\n"
    with pytest.raises(BuildFailed) as caught:
        list(daemon.build(request(ref, text)))
    assert (caught.value.line, caught.value.tail, daemon.image(ref)) == (3, ("said",), None)


def test_a_build_that_is_given_up_leaves_no_image(daemon: ImagePort, ref: str) -> None:
    # Its text is new each time, or a build that an earlier test gave up would be found in the cache; and the program
    # runs by then: Docker 26 does not heed who gives up while it is being started.
    mark = f"begun-{ref}"
    build = daemon.build(request(ref, f"FROM {base_ref()}\nRUN echo {mark} && sleep 300\n"))
    assert any(line.strip() == mark for line in build)
    build.close()
    assert daemon.image(ref) is None
