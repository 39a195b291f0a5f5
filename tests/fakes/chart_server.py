"""A repository and a registry of charts on a port of this machine, with what may go wrong there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def packed(files: Mapping[str, str]) -> bytes:
    """A gzipped tar archive of these files, the same for the same files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, text in files.items():
            one = tarfile.TarInfo(path)
            one.size = len(text.encode())
            archive.addfile(one, io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)


def packed_chart(name: str, version: str, **more: str) -> bytes:
    """A chart with one ConfigMap; `more` are further files, by their path with `__` for `/`."""
    config = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{of: {{{{ .Values.of }}}}}}\n"
    files = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n", "values.yaml": f"of: v{version}\n"}
    files |= {"templates/config.yaml": config} | {path.replace("__", "/"): text for path, text in more.items()}
    return packed({f"{name}/{path}": text for path, text in files.items()})


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class ChartServer:
    """Charts by name and version, at `/` as a repository and at `/v2/charts/NAME` as a registry."""

    charts: dict[tuple[str, str], bytes] = field(default_factory=dict)
    login: str = ""
    """`user:password`, where these alone may read."""
    faults: dict[str, int] = field(default_factory=dict)
    """Path → the status that is answered there; 302 leads to the same path again, 0 never ends."""
    index: dict[tuple[str, str], str] = field(default_factory=dict)
    """Digests that the index gives instead of the right ones."""
    asked: list[str] = field(default_factory=list)
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, version: str, content: bytes | None = None, **more: str) -> bytes:
        """The server has the chart, and returns its archive."""
        self.charts[name, version] = content or packed_chart(name, version, **more)
        return self.charts[name, version]

    @property
    def repository(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def registry(self) -> str:
        return f"oci://127.0.0.1:{self.port}/charts"

    def manifest(self, name: str, version: str) -> bytes:
        content = self.charts[name, version]
        config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": sha256(b"{}"), "size": 2}
        layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
        layers = [{"mediaType": layer, "digest": sha256(content), "size": len(content)}]
        return json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, type and body of what is at the path."""
        known = {f"/{name}-{version}.tgz": one for (name, version), one in self.charts.items()}
        if path in known:
            return 200, "application/gzip", known[path]
        if path == "/index.yaml":
            entries: dict[str, list[dict[str, object]]] = {}
            for (name, version), content in self.charts.items():
                digest = self.index.get((name, version), sha256(content)).removeprefix("sha256:")
                one = {"apiVersion": "v2", "name": name, "version": version, "urls": [f"{name}-{version}.tgz"]}
                entries.setdefault(name, []).append(one | ({"digest": digest} if digest else {}))
            return 200, "text/yaml", json.dumps({"apiVersion": "v1", "entries": entries}).encode()
        blobs = {sha256(one): one for one in self.charts.values()} | {sha256(b"{}"): b"{}"}
        head, _, last = path.rpartition("/")
        if path == "/v2/":
            return 200, "application/json", b"{}"
        name = head.removeprefix("/v2/charts/").partition("/")[0]
        if head.endswith("/blobs") and last in blobs:
            return 200, "application/octet-stream", blobs[last]
        tags = [version for one, version in self.charts if one == name]
        if path.endswith("/tags/list") and tags:
            return 200, "application/json", json.dumps({"name": f"charts/{name}", "tags": tags}).encode()
        manifests = {ref: raw for one in tags for raw in (self.manifest(name, one),) for ref in (one, sha256(raw))}
        if head.endswith("/manifests") and last in manifests:
            return 200, "application/vnd.oci.image.manifest.v1+json", manifests[last]
        code = "MANIFEST_UNKNOWN" if tags else "NAME_UNKNOWN"
        return 404, "application/json", json.dumps({"errors": [{"code": code, "message": "not found"}]}).encode()


@contextmanager
def serving(server: ChartServer) -> Iterator[ChartServer]:
    """The server answers while inside."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            status, kind, body = server.answer(self.path)
            given = self.headers.get("Authorization", "").removeprefix("Basic ")
            if server.login and base64.b64decode(given or b"").decode() != server.login:
                status, kind, body = 401, "text/plain", b"no"
            status = server.faults.get(self.path, status)
            if not status:
                server.ended.wait(30)
            self.send_response(status or 500)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", sha256(body))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="charts"')
            if status == 302:
                self.send_header("Location", self.path)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.port = listening.server_port
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.ended.set()
        listening.shutdown()
        listening.server_close()
