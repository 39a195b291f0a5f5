"""A company's CA certificates in real builds: a server whose certificate they signed is refused without them."""

from __future__ import annotations

import functools
import http.server
import io
import ipaddress
import json
import ssl
import subprocess
import tarfile
import threading
import zipfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha512
from pathlib import Path

import pytest

from deployer import composition
from deployer.commands.toolchain import replacements_for
from deployer.core.errors import DeployError
from deployer.core.ports import ImagePort
from deployer.images.delivery import IntoNodes
from deployer.plan import ImagePlan, ImageSource
from deployer.sources.load import prelude, read_certificates
from deployer.stages.images import Building, ensure_images
from deployer.toolchain import ensure_replacements, locate_toolchain
from tests.contract.conftest import opened
from tests.fakes.play import failed, played

pytestmark = pytest.mark.cluster
PYTHON, NODE = "python:3.11-slim", "node:18-alpine"


@dataclass(frozen=True)
class Company:
    """A server of this machine as builds reach it, and the file of the only authority that vouches for it."""

    address: str
    authority: Path


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    folder = tmp_path_factory.mktemp("company")
    network = json.loads(_output("docker", "network", "inspect", "bridge"))
    address = network[0]["IPAM"]["Config"][0]
    gateway = address.get("Gateway") or str(next(ipaddress.ip_network(address["Subnet"]).hosts()))
    _make_certificates(folder, gateway)
    site = folder / "site"
    handler = functools.partial(_Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer((gateway, 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://{gateway}:{server.server_address[1]}"
    _make_packages(site, address)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Company(address, folder / "ca.pem")
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed on standard error."""


def _make_certificates(folder: Path, address: str) -> None:
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    _output(*new, "-subj", "/CN=Some Company", "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem"),
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    _output(*new, "-subj", "/CN=packages", "-keyout", str(folder / "server.key"), "-out", str(folder / "server.pem"),
            "-addext", f"subjectAltName=IP:{address}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"))  # fmt: skip


def _make_packages(site: Path, address: str) -> None:
    """A wheel, an npm package and an apt repository, each with hardly anything in it."""
    (site / "simple" / "tiny").mkdir(parents=True)
    wheel = "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(site / wheel, "w") as packed:
        packed.writestr("tiny.py", "")
        packed.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        packed.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr("tiny-1.0.dist-info/RECORD", "")
    (site / "simple" / "tiny" / "index.html").write_text(f'<a href="../../{wheel}">{wheel}</a>')
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        entry = tarfile.TarInfo("package/package.json")
        text = b'{"name": "tiny", "version": "1.0.0"}'
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    (site / "tiny.tgz").write_bytes(raw.getvalue())
    dist = {
        "tarball": f"{address}/tiny.tgz",
        "integrity": "sha512-" + b64encode(sha512(raw.getvalue()).digest()).decode(),
    }
    version = {"name": "tiny", "version": "1.0.0", "dist": dist}
    (site / "tiny").write_text(json.dumps({"name": "tiny", "dist-tags": {"latest": "1.0.0"},
                                           "versions": {"1.0.0": version}}))  # fmt: skip
    (site / "deb").mkdir()
    (site / "deb" / "Packages").write_text("")


@pytest.fixture(scope="module")
def bases() -> Mapping[str, str]:
    """Upstream's names → what builds of this machine stand on."""
    here = composition.this_machine()
    toolchain = locate_toolchain("auto", here.cache_dir)
    assert toolchain is not None
    played(ensure_replacements([PYTHON, NODE], toolchain, here.cache_dir, here.env))
    found = replacements_for(toolchain, [PYTHON, NODE])
    return {base: found.get(base, base) for base in (PYTHON, NODE)}


@pytest.fixture
def daemon() -> Iterator[ImagePort]:
    with opened(composition.this_machine().host_docker) as images:
        yield images
        images.remove("todo-deploy-test-ca:1")


def image(tmp_path: Path, dockerfile: str) -> ImagePlan:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    source = ImageSource("digest", {})
    return ImagePlan("tried", "todo-deploy-test-ca", "1", tmp_path, tmp_path / "Dockerfile", {}, (), None, {}, "900m",
                     source)  # fmt: skip


APT = """echo "deb [trusted=yes] {address}/deb ./" > /etc/apt/sources.list && apt-get update --error-on=any"""
FETCHES = {
    "pip": (PYTHON, "pip download --no-deps --no-cache-dir --index-url {address}/simple/ --dest /tmp tiny"),
    "python": (PYTHON, "python -c 'import urllib.request as u; u.urlopen(\"{address}/tiny\")'"),
    "apt": (PYTHON, APT),
    "npm": (NODE, "npm view tiny version --registry {address}/ --fetch-retries 0"),
    "node": (NODE, "node -e 'fetch(\"{address}/tiny\").then(a => process.exit(!a.ok), () => process.exit(1))'"),
}  # fmt: skip


@pytest.mark.parametrize("tool", FETCHES)
def test_what_a_build_fetches_is_refused_without_the_ca_certificates_and_accepted_with_them(
    tool: str, company: Company, bases: Mapping[str, str], daemon: ImagePort, tmp_path: Path
) -> None:
    base, words = FETCHES[tool]
    wanted = image(tmp_path, f"FROM {bases[base]}\nUSER root\nRUN {words.format(address=company.address)}\n")
    clock = composition.this_machine().clock

    _, error = failed(ensure_images([wanted], IntoNodes(daemon), _no_supply, {}, Building({}, rebuild=True), clock))
    assert isinstance(error, DeployError)
    assert error.problems[0].code == "BUILD_FAILED"
    assert error.problems[0].where.endswith("Dockerfile:3")

    trusted = prelude(read_certificates(company.authority, "ca.pem"))
    how = Building({}, rebuild=True, prelude=trusted)
    events, done = played(ensure_images([wanted], IntoNodes(daemon), _no_supply, {}, how, clock))
    assert done.value[0].built
    assert not [event for event in events if "BEGIN CERTIFICATE" in str(event)]


def test_an_image_holds_no_trace_of_them(
    company: Company, bases: Mapping[str, str], daemon: ImagePort, tmp_path: Path
) -> None:
    text = f'FROM {bases[PYTHON]} AS one\nRUN test -s "$SSL_CERT_FILE" && touch /done\nFROM {bases[PYTHON]}\n'
    wanted = image(tmp_path, text + 'COPY --from=one /done /done\nUSER 1000\nRUN test -s "$PIP_CERT"\n')
    trusted = prelude(read_certificates(company.authority, "ca.pem"))
    clock = composition.this_machine().clock
    how = Building({}, rebuild=True, prelude=trusted)
    played(ensure_images([wanted], IntoNodes(daemon), _no_supply, {}, how, clock))
    config = json.loads(_output("docker", "image", "inspect", wanted.ref))[0]["Config"]
    before = json.loads(_output("docker", "image", "inspect", bases[PYTHON]))[0]["Config"]
    assert config["Env"] == before["Env"]
    assert config.get("Shell") == before.get("Shell")
    saved = subprocess.run(["docker", "save", wanted.ref], capture_output=True, check=True).stdout
    certificate = company.authority.read_text().splitlines()[1].encode()
    with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
        layers = [archive.extractfile(one) for one in archive.getmembers() if one.isfile()]
        holding = [file for file in layers if file is not None and _layer_holds(file.read(), certificate)]
    assert holding == []


def _layer_holds(raw: bytes, what: bytes) -> bool:
    """Whether a file of the layer holds it; what is no layer (the image's history) is not looked at."""
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as layer:
            return any(what in file.read() for one in layer if one.isfile() and (file := layer.extractfile(one)))
    except tarfile.TarError:
        return False


def _no_supply(lacking: object) -> Iterator[object]:
    raise AssertionError(f"bases are there: {lacking}")
    yield


def _output(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
