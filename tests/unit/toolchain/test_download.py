"""Downloads from a local server that breaks off, lies, forgets and remembers."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item
from deployer.toolchain import download
from deployer.toolchain.download import published_pins
from deployer.toolchain.model import architecture, operating_system
from deployer.toolchain.pins import DOWNLOAD_PLATFORMS, DOWNLOADS, Download
from tests.unit.toolchain.support import finish

BODY = bytes(range(256)) * 8192  # 2 MB


@dataclass
class Server:
    """What the server answers, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    resumes: bool = True
    cut_after: int | None = None  # the next answer breaks off there
    errors: list[int] = field(default_factory=list)  # statuses of the next answers

    def serve(self, name: str, body: bytes, checksum: str | None = None) -> None:
        self.files[f"/{name}"] = body
        said = hashlib.sha256(body).hexdigest() if checksum is None else checksum
        self.files[f"/{name}.sha256"] = f"{said}  {name}\n".encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = state.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            if self.path.endswith(".sha256"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)
                return
            if state.errors:
                self.send_error(state.errors.pop(0))
                return
            asked = self.headers.get("Range", "")
            state.ranges.append(asked)
            found = re.fullmatch(r"bytes=(\d+)-", asked)
            start = int(found[1]) if found and state.resumes else 0
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = len(body) if state.cut_after is None else start + state.cut_after
            state.cut_after = None
            self.wfile.write(body[start:end])

        def log_message(self, *_: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def item(server: Server, name: str = "minikube", **more: object) -> Download:
    return Download(name, "v1", f"{server.url}/{name}", ".sha256", **more)  # type: ignore[arg-type]


def test_a_program_is_fetched_checked_and_executable(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    events: list[Event] = []
    path = finish(download.ensure_downloaded(tmp_path, item(server)), events)
    assert path.read_bytes() == BODY
    assert path.stat().st_mode & 0o111
    assert any(isinstance(event, Item) and event.total == len(BODY) for event in events)
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    finish(download.ensure_downloaded(tmp_path, item(server)))
    asked = len(server.ranges)
    finish(download.ensure_downloaded(tmp_path, item(server)))
    assert len(server.ranges) == asked


def test_a_truncated_transfer_is_carried_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    server.cut_after = 500_000
    assert finish(download.ensure_downloaded(tmp_path, item(server))).read_bytes() == BODY
    assert server.ranges == ["", "bytes=500000-"]


def test_the_part_of_a_killed_run_is_used(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    folder = download.downloaded(tmp_path, item(server)).parent
    folder.parent.mkdir(parents=True)
    folder.with_name(f"{folder.name}.part").write_bytes(BODY[:1_000_000])
    assert finish(download.ensure_downloaded(tmp_path, item(server))).read_bytes() == BODY
    assert server.ranges == ["bytes=1000000-"]


def test_a_run_killed_after_the_last_byte_fetches_nothing(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    folder = download.downloaded(tmp_path, item(server)).parent
    folder.parent.mkdir(parents=True)
    folder.with_name(f"{folder.name}.part").write_bytes(BODY)
    assert finish(download.ensure_downloaded(tmp_path, item(server))).read_bytes() == BODY
    assert server.ranges == []


@pytest.mark.parametrize("there", [b"x" * 1_000, b"x" * (len(BODY) + 5)])
def test_a_server_that_cannot_carry_on_sends_all_of_it(server: Server, tmp_path: Path, there: bytes) -> None:
    server.serve("minikube", BODY)
    server.resumes = len(there) > len(BODY)  # the longer part is answered with 416
    folder = download.downloaded(tmp_path, item(server)).parent
    folder.parent.mkdir(parents=True)
    folder.with_name(f"{folder.name}.part").write_bytes(there)
    assert finish(download.ensure_downloaded(tmp_path, item(server))).read_bytes() == BODY


def test_a_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY, checksum="0" * 64)
    with pytest.raises(DeployError) as caught:
        finish(download.ensure_downloaded(tmp_path, item(server)))
    assert caught.value.problems[0].code == "TOOLCHAIN_CHECKSUM"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(download, "PINS", tmp_path / "pins.json")
    return tmp_path / "pins.json"


def pin(path: Path, checksum: str, version: str = "v1") -> None:
    known = {"version": version, "sha256": {f"{operating_system()}-{architecture()}": checksum}}
    path.write_text(json.dumps({"minikube": known}))


def test_a_pinned_checksum_decides_and_upstreams_is_not_asked(server: Server, tmp_path: Path, pins: Path) -> None:
    server.serve("minikube", BODY, checksum="0" * 64)
    pin(pins, hashlib.sha256(BODY).hexdigest())
    assert finish(download.ensure_downloaded(tmp_path / "cache", item(server))).read_bytes() == BODY


def test_what_differs_from_its_pin_is_refused_whatever_upstream_publishes(
    server: Server, tmp_path: Path, pins: Path
) -> None:
    server.serve("minikube", BODY)
    pin(pins, "0" * 64)
    with pytest.raises(DeployError) as caught:
        finish(download.ensure_downloaded(tmp_path / "cache", item(server)))
    assert caught.value.problems[0].code == "TOOLCHAIN_CHECKSUM"


def test_the_pin_of_another_version_says_nothing(server: Server, tmp_path: Path, pins: Path) -> None:
    server.serve("minikube", BODY)
    pin(pins, "0" * 64, version="v0")
    assert finish(download.ensure_downloaded(tmp_path / "cache", item(server))).read_bytes() == BODY


def test_pins_are_what_upstream_publishes_for_every_platform(server: Server, tmp_path: Path, pins: Path) -> None:
    one = Download("minikube", "v1", f"{server.url}/{{version}}-{{os}}-{{arch}}", ".sha256")
    for platform in DOWNLOAD_PLATFORMS:
        server.serve(f"v1-{platform}", platform.encode())
    found = published_pins([one])
    assert found == {
        "minikube": {
            "version": "v1",
            "sha256": {platform: hashlib.sha256(platform.encode()).hexdigest() for platform in DOWNLOAD_PLATFORMS},
        }
    }
    pins.write_text(json.dumps(found))
    server.files = {name: body for name, body in server.files.items() if not name.endswith(".sha256")}
    here = f"{operating_system()}-{architecture()}"
    assert finish(download.ensure_downloaded(tmp_path / "cache", one)).read_bytes() == here.encode()


def test_the_committed_pins_can_be_read() -> None:
    known = json.loads(download.PINS.read_text())
    assert known.keys() <= {one.name for one in DOWNLOADS}
    for entry in known.values():
        assert entry["sha256"].keys() <= DOWNLOAD_PLATFORMS
        assert all(re.fullmatch(r"[0-9a-f]{64}", one) for one in entry["sha256"].values())


def test_a_missing_file_fails_at_once_and_says_where(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    server.errors = [404]
    with pytest.raises(DeployError) as caught:
        finish(download.ensure_downloaded(tmp_path, item(server)))
    problem = caught.value.problems[0]
    assert (problem.code, problem.where) == ("TOOLCHAIN_DOWNLOAD", f"{server.url}/minikube")
    assert server.ranges == []


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY)
    server.errors = [503, 500]
    assert finish(download.ensure_downloaded(tmp_path, item(server))).read_bytes() == BODY


def test_a_checksum_that_is_a_web_page_is_refused(server: Server, tmp_path: Path) -> None:
    server.serve("minikube", BODY, checksum="<html>")
    with pytest.raises(DeployError, match="cannot be read"):
        finish(download.ensure_downloaded(tmp_path, item(server)))


def archive(member: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        info = tarfile.TarInfo(member)
        info.size = 4
        opened.addfile(info, io.BytesIO(b"helm"))
    return buffer.getvalue()


def test_a_program_is_taken_out_of_its_archive(server: Server, tmp_path: Path) -> None:
    server.serve("helm", archive(f"{operating_system()}-{architecture()}/helm"))
    path = finish(download.ensure_downloaded(tmp_path, item(server, "helm", member="{os}-{arch}/helm")))
    assert path.read_bytes() == b"helm"


def test_an_archive_without_the_program_is_refused(server: Server, tmp_path: Path) -> None:
    server.serve("helm", archive("other"))
    with pytest.raises(DeployError) as caught:
        finish(download.ensure_downloaded(tmp_path, item(server, "helm", member="{os}-{arch}/helm")))
    assert caught.value.problems[0].code == "TOOLCHAIN_ARCHIVE"


def test_an_unknown_platform_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "architecture", lambda: "riscv64")
    with pytest.raises(DeployError, match="riscv64"):
        finish(download.ensure_downloaded(tmp_path, item(server)))
