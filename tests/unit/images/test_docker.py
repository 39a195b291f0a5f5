"""A daemon that goes away in the middle of a call: named as what it is, whichever call that was."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import BuildFailed, BuildRequest, ClusterFacts, DockerEndpoint
from deployer.images.docker import DockerEngine
from deployer.kube.outage import ClusterStopped, watch_node
from deployer.status import ClusterPhase
from tests.fakes import FakeClock
from tests.fakes.play import code

REQUEST = BuildRequest("shop/api:1", io.BytesIO(b"tar"), "Dockerfile", {}, {})


class Daemon(BaseHTTPRequestHandler):
    """Tells its version, refuses builds when asked to, and hangs up on everything else."""

    refusal = ""

    def do_GET(self) -> None:
        if self.path == "/version":
            self._answer(200, {"ApiVersion": "1.41", "Version": "20.10.24"})

    def do_POST(self) -> None:
        if self.refusal:
            self._answer(500, {"message": self.refusal})

    def do_DELETE(self) -> None:
        self.close_connection = True

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def endpoint() -> Iterator[DockerEndpoint]:
    with HTTPServer(("127.0.0.1", 0), Daemon) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield DockerEndpoint(f"tcp://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


CALLS: dict[str, Callable[[DockerEngine], object]] = {
    "build": lambda engine: list(engine.build(REQUEST)),
    "container": lambda engine: engine.container("node"),
    "image": lambda engine: engine.image("shop/api:1"),
    "images": lambda engine: engine.images("owner"),
    "refs": lambda engine: engine.refs(),
    "remove": lambda engine: engine.remove("shop/api:1"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_that_hangs_up_is_named(call: str, endpoint: DockerEndpoint) -> None:
    engine = DockerEngine(endpoint)
    with pytest.raises(DeployError) as caught:
        CALLS[call](engine)
    engine.close()
    assert (code(caught.value), caught.value.exit_code) == ("DOCKER_UNREACHABLE", ExitCode.MACHINE)
    assert caught.value.problems[0].hints[0] == "todo-deploy up"


@pytest.mark.parametrize("call", CALLS)
def test_a_daemon_whose_cluster_was_stopped_is_named_so(call: str, endpoint: DockerEndpoint) -> None:
    engine = DockerEngine(endpoint, watch_node(lambda: ClusterFacts(ClusterPhase.STOPPED), "todo", FakeClock()))
    with pytest.raises(ClusterStopped):
        CALLS[call](engine)
    engine.close()


def test_a_build_that_is_refused_as_a_whole_says_why(endpoint: DockerEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Daemon, "refusal", "no space left on device")
    engine = DockerEngine(endpoint)
    with pytest.raises(BuildFailed, match="no space left on device"):
        list(engine.build(REQUEST))
    engine.close()
