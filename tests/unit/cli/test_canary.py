"""Secret values that programs, Kubernetes, helm, Docker and servers print: no command shows them, nor any record."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deployer import composition
from deployer.cli import status as status_command
from deployer.commands import connection
from deployer.core.ports import BuildRequest, Upgraded, UpgradeRequest
from deployer.core.redact import MASK
from deployer.core.text import LINE_LENGTH
from deployer.helm.client import Helm, Program
from deployer.images.docker import _lines
from deployer.state.runs import runs_dir
from tests.fakes.cluster import RUNNING
from tests.fakes.images import FakeImages
from tests.fakes.scene import BACK_OFF, TOOLS
from tests.fakes.shop import SPEC, Shop
from tests.fakes.workloads import show
from tests.forms import ENCODERS, shown
from tests.unit.cli.conftest import Ended, Run

EARLIER = 'Wj4/canary+9Zt=?&<%41"QvX8m'
NEWER = 'Kq7/canary+3Lr=?&<%41"HbN2d'
KEEP = ("--on-failure", "keep", "--timeout", "9s")
FORMS = (
    "as written", "quote, all", "quote, lower case", "quote_plus", "encodeURIComponent", "JSON", "JSON of Go", "HTML",
    "HTML, hexadecimal", "coloured", "base64", "base64, URL", "base64, wrapped", "hexadecimal",
)  # fmt: skip
"""The rest of them are tried in the tests of `core.redact`."""
PEM_LINES = ("Mfp4WmGd81RtQs", "b7XkYz")
PEM = "\n".join(["-----BEGIN KEY-----", *PEM_LINES, "-----END KEY-----", ""])
URL = "\nforward: never\nurls:\n  web: {service: web, nodePort: 30100}\n"


@dataclass
class Leaks:
    """Everything that was printed or written, searched for what it must not hold."""

    places: int = 0
    found: list[str] = field(default_factory=list)
    masked: int = 0

    def search(self, where: str, text: str) -> None:
        """The text is searched for every part of every value in every form, also as JSON shows it."""
        strings = "\n".join(_strings(text)) if text.lstrip().startswith(("{", "[")) else ""
        for one in (text, strings):
            self.places += one.count("\n") + 1
            self.masked += one.count(MASK)
            for value in (EARLIER, NEWER, *PEM_LINES):
                self.found += [f"{where}: {part!r}" for part in shown(value, one)[:1]]

    def of(self, words: tuple[str, ...], ended: Ended) -> Ended:
        """The command's output was searched."""
        self.search(" ".join(words), ended.out)
        self.search(f"{' '.join(words)} (standard error)", ended.err)
        return ended

    def under(self, *folders: Path) -> None:
        """Every file below the folders was searched, but for env files."""
        for folder in folders:
            for file in folder.rglob("*"):
                if file.is_file() and file.name != ".env":
                    self.search(str(file), file.read_bytes().decode("utf-8", "replace"))


def _strings(text: str) -> Iterator[str]:
    """The texts that JSON, a document or a line each, holds."""

    def walk(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, one in value.items():
                yield key
                yield from walk(one)
        elif isinstance(value, list):
            for one in value:
                yield from walk(one)

    try:
        yield from walk(json.loads(text))
    except ValueError:
        for line in text.splitlines():
            try:
                yield from walk(json.loads(line))
            except ValueError:
                yield line


def said(*values: str, before: str = "cannot start: invalid key") -> list[str]:
    """A line of a program for each form of the values."""
    return [f"{before} {ENCODERS[form](value)} was given" for value in values for form in FORMS]


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503, f"unavailable {NEWER}")
        self.send_header("Location", f"/{NEWER}")
        self.end_headers()
        self.wfile.write("\n".join(said(NEWER, EARLIER)).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    """A server whose answers hold the values; its port."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made.server_address[1]
    made.shutdown()
    made.server_close()


class _Images(FakeImages):
    """A builder that prints the values."""

    says: tuple[str, ...] = (EARLIER,)

    def build(self, request: BuildRequest) -> Iterator[str]:  # type: ignore[override]
        for line in said(*self.says, before="RUN echo"):
            yield from _lines({"stream": line})
        yield from super().build(request)


class _Shop(Shop):
    """The shop on a machine of fakes, driven by the command line."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch, port: int) -> None:
        super().__init__(path, patch)
        self.cluster.current = replace(RUNNING, node_ip="127.0.0.1")
        self.images: _Images = _Images()
        self.helm_says: list[str] = []
        self.program = path / "helm"
        spec = SPEC.replace("keys: {TOKEN: {}}", "keys: {TOKEN: {}, PEM: {}}")
        self.spec = self.root / "todo-deploy.yaml"
        self.spec.write_text(spec)
        self.kube.put({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
        })  # fmt: skip
        patch.setenv("HOME", str(path))
        patch.setenv("XDG_STATE_HOME", str(path / "state"))
        patch.setenv("XDG_CACHE_HOME", str(path / "cache"))
        patch.setattr(composition, "SystemClock", lambda: self.kube.clock)
        patch.setattr(composition, "open_images", lambda *_: self.images)
        patch.setattr(composition, "open_builder", lambda *_: self.images)
        patch.setattr(composition, "open_helm", lambda *_: self)
        patch.setattr(connection, "locate_toolchain", lambda *_: TOOLS)
        patch.chdir(self.root)

    def keyed(self, token: str, version: str) -> None:
        """The env file has this token, and the code another content."""
        self.write(version)
        (self.root / ".env").write_text(f"TOKEN='{token}'\nPEM='{PEM}'\n")
        self.spec.write_text(re.sub(r'version: "\d"', f'version: "{version}"', self.spec.read_text()))

    # --- helm, whose errors come from a real program

    def __getattr__(self, name: str) -> object:
        return getattr(self.helm, name)

    def upgrade(self, request: UpgradeRequest) -> Upgraded:
        if self.helm_says:
            text = self.program.with_suffix(".txt")
            text.write_text("\n".join(self.helm_says))
            self.program.write_text(f"#!/bin/sh\ncat '{text}' >&2\nexit 1\n")
            self.program.chmod(0o755)
            Helm(Program(self.program, "v4.3.2"), self.here.kubeconfig, "tiny", "v1.37.2").upgrade(request)
        return self.helm.upgrade(request)

    # --- a program that crashes, and prints what it was given

    def crash(self, lines: list[str], message: str) -> None:
        """The pod ends again and again; log, statuses and events hold these texts."""
        show(self.kube, "web", ready=False, restarts=3, waiting=(BACK_OFF[0], message), crashed=1)
        pod = self.kube.get("Pod", "default", "web-pod")
        assert pod is not None
        status = pod["status"]["containerStatuses"][0]
        status["lastState"]["terminated"]["message"] = "\n".join(lines)
        pod["status"]["message"] = message
        self.kube.put(pod)
        for previous in (True, False):
            self.kube.container_logs["default", "web-pod", "web", previous] = lines
        stamp = self.kube.clock.stamp(self.kube.clock.elapsed)
        for reason, text in (("BackOff", message), ("Unhealthy", f"Readiness probe failed: {message}"),
                             ("FailedMount", message), ("FailedScheduling", message)):  # fmt: skip
            self.kube.put({
                "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"e-{reason}", "namespace": "default"},
                "type": "Warning", "reason": reason, "message": text, "firstTimestamp": stamp, "lastTimestamp": stamp,
                "involvedObject": {"kind": "Pod", "name": "web-pod", "namespace": "default", "uid": "pod-web"},
            })  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: int) -> _Shop:
    """The shop, deployed well with the earlier value."""
    return _Shop(tmp_path, monkeypatch, server)


LOOKS: tuple[tuple[str, ...], ...] = (
    ("status",), ("status", "-o", "json"), ("logs",), ("logs", "-o", "json"), ("logs", "--previous"),
    ("history",), ("history", "-o", "json"), ("plan",), ("plan", "-o", "json"), ("urls",), ("validate",),
    ("validate", "-o", "json"), ("doctor",), ("doctor", "-o", "json"), ("env",), ("config", "view"),
    ("secrets", "check"), ("images",), ("images", "-o", "json"), ("schema",), ("completion", "bash"), ("init",),
    ("explain",), ("explain", "--list"), ("explain", "-o", "json"), ("explain", "--html", "page.html"),
)  # fmt: skip


def test_no_command_shows_a_value(
    shop: _Shop, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaks = Leaks()

    def ran(*words: str) -> Ended:
        return leaks.of(words, run(*words))

    shop.keyed(EARLIER, "1")
    assert ran("up", "-v", "-v", "--progress", "plain").code == 0
    # The next value, and a program that prints it and the one before.
    shop.keyed(NEWER, "2")
    shop.images.says = (NEWER, EARLIER)
    shop.helm.slow = {"2"}
    lines = said(NEWER, EARLIER, *PEM_LINES)
    shop.kube.clock.at(shop.kube.clock.elapsed + 1.5, lambda: shop.crash(lines, " | ".join(lines)))
    failed = ran("up", "-v", "-v", "--progress", "plain", *KEEP)
    assert failed.code != 0 and "error[" in failed.err
    shop.crash(lines, " | ".join(lines))
    for words in LOOKS:
        ran(*words)
    with monkeypatch.context() as patch:
        patch.setattr(status_command.time, "sleep", _interrupt)
        patch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        ran("status", "--watch")
    for words in (
        ("restart", "web"),
        ("up", "-o", "json", "--progress", "json", *KEEP),
    ):
        ran(*words)
    # helm's errors, a URL's answers, then the way back
    shop.keyed(NEWER, "3")
    shop.helm_says = ["Error: UPGRADE FAILED: execution error", *said(NEWER, EARLIER)]
    assert "error[CHART_RENDER]" in ran("up").err
    shop.helm_says = []
    shop.spec.write_text(shop.spec.read_text() + URL)
    shop.keyed(NEWER, "4")
    assert "error[URL_FAILED]" in ran("up", *KEEP).err
    for words in (*LOOKS, ("rollback",), ("rollback", "-o", "json"), ("down",), ("status",), ("explain",)):
        ran(*words)
    leaks.under(tmp_path / "state", tmp_path / "cache", shop.root)
    assert len(list(runs_dir(tmp_path / "state" / "todo-deploy").glob("*/cluster/logs/*"))) >= 1
    with capsys.disabled():
        print(f"\ncanary: {leaks.places} places searched, {leaks.masked} masked, {len(leaks.found)} leaks")
    assert leaks.found == []
    assert leaks.masked > 1000


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("limit", [200, 300, LINE_LENGTH, 600, 1000])
def test_a_value_at_any_cut_is_masked_whole(shop: _Shop, run: Run, limit: int) -> None:
    leaks = Leaks()
    shop.keyed(NEWER, "1")
    assert run("up").code == 0
    for form in (str, ENCODERS["coloured"], ENCODERS["base64"], ENCODERS["JSON"]):
        for at in range(0, len(form(NEWER)) + 3, 3):
            line = ("could not use: " + "x " * limit)[: limit - at] + form(NEWER)
            shop.crash([line], line)
            leaks.of(("status", "-o", "json"), run("status", "-o", "json"))
    assert leaks.found == []
    assert leaks.places > 1000
