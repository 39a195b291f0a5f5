"""Charts are fetched by helm itself, from registries and repositories, each into the cache as one checked archive.

Helm's own settings say who we are: `registry/config.json` and Docker's `config.json` for registries, and for
repositories `repositories.yaml`. No credential is an argument of a program, and none is printed.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection, gaierror
from subprocess import TimeoutExpired
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from deployer.core.errors import DeployError, input_error
from deployer.core.events import Item, ItemState
from deployer.core.files import copy_within, write_within
from deployer.core.process import CommandFailed, run, waited
from deployer.core.reading import Malformed, parse_json, read_text, shaped
from deployer.core.steps import Steps
from deployer.core.text import elapsed
from deployer.core.yaml import block_lines, parse_texts, parse_yaml
from deployer.helm.client import environment
from deployer.sources.charts import PACK, STAGE, Dependency
from deployer.sources.pins import ARCHIVES, UPDATE, Pin, about, archive_files, digest_of

LONGEST = 120.0
"""Seconds that one command of helm may take."""
EVERY = 5.0
"""Seconds after which it is shown again that one still runs."""
_CONNECT = 10.0
_SHOWN_VERSIONS = 8
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")
_IS_PLAIN = re.compile(r"server gave http response to https client|does not look like a tls handshake", re.IGNORECASE)
_MANIFEST = re.compile(r"^Digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)
_PULLED = re.compile(r"^version: *['\"]?([^\s'\"]+)", re.MULTILINE)
_NO_VERSION = re.compile(
    r"not found|no chart (?:version|name) found|could not locate a version|unable to locate any tags|\b404\b|name_unk",
    re.IGNORECASE,
)
_SAYS_NO = re.compile(r"\b40[13]\b|unauthorized|forbidden|denied|basic credential not found|authorization failed", re.I)
_CAUSES = (
    (_IS_PLAIN, "it speaks plain http", "build.plainHttp: [HOST:PORT] in the spec, where that is meant"),
    (re.compile(r"x509|certificate|tls:"), "its TLS certificate is not trusted",
     "build.ca in the spec, or --ca FILE: a PEM file with the CA's certificate"),
    (re.compile(r"no such host|server misbehaving|name resolution"), "its name is not known (DNS)", ""),
    (re.compile(r"connection refused"), "the connection is refused", ""),
    (re.compile(r"stopped after \d+ redirects"), "it redirects in a circle", ""),
    (re.compile(r"deadline exceeded|timeout|timed out|no route|unreachable"), "it does not answer", ""),
    (re.compile(r"\b(?:429|too many requests|toomanyrequests)\b"), "it answers too many requests (429)", ""),
    (re.compile(r"\b5\d\d\b"), "it answers with an error of its own", ""),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fetching:
    """With what charts are fetched: helm, the cache's folder of charts, a company's CA certificates, and the
    registries that speak plain http."""

    helm: Path
    charts: Path
    certificates: str = ""
    plain_http: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one chart is fetched: its address, a folder of this fetch alone, and the environment of helm."""

    wanted: Dependency
    address: SplitResult
    folder: Path
    helm: Path
    env: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The address, without a password."""
        repository, name, _ = self.wanted.key
        return f"{repository}/{name}" if name else repository

    @property
    def settings(self) -> list[str]:
        """Options by which helm reads and writes this fetch's own files."""
        return ["--repository-config", f"{self.folder}/repositories.yaml", "--repository-cache", f"{self.folder}/index"]


def fetch(wanted: Dependency, pinned: Pin | None, how: Fetching) -> Steps[Pin]:
    """The chart's archive is in the cache, whole and checked; returns what is to be pinned.

    Input error, with the place where the chart is named, for what is not there, not reached, not ours to read, or not
    what it should be.
    """
    how.charts.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".staging-", dir=how.charts))
    try:
        place = _place(wanted, how, folder)
        _connect(place)
        version = pinned.version if pinned is not None else wanted.version
        said = yield from (_from_registry if place.address.scheme == "oci" else _from_repository)(place, version, how)
        archive = next((folder / "out").glob("*.tgz"), None)
        if archive is None:
            raise _failed(place, version, "helm fetched no archive")
        pin = _checked(place, archive, _MANIFEST.search(said))
        _check_index(place, pin)
        if pinned is not None and pin.digest != pinned.digest:
            raise _other(place, pin, pinned)
        copy_within(how.charts, f"{ARCHIVES}/{pin.archive(how.charts).name}", archive)
        return pin
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(wanted: Dependency, how: Fetching, folder: Path) -> _Place:
    env = {**environment(os.environ), "HELM_CACHE_HOME": str(folder / "cache")}
    entry: dict[str, Any] = {}
    repository = wanted.repository.rstrip("/")
    if not repository.startswith("oci://"):
        entry = _entry(wanted, repository, how.helm, env)
        repository = entry.get("url", repository).rstrip("/")
    address = urlsplit(f"{repository}/{wanted.name}" if wanted.name else repository)
    if address.scheme not in ("oci", "https", "http") or not address.hostname:
        raise input_error(
            "CHART_FETCH", f"the dependency `{wanted.name}` has no repository that charts are fetched from",
            detail=f"`{wanted.key[0]}` is not oci://…, https://…, file://… or @NAME", where=wanted.where,
            hints=("correct its `repository` in Chart.yaml",),
        )  # fmt: skip
    if how.certificates:
        write_within(folder, "ca.pem", f"{_public_certificates(env)}\n{how.certificates}\n")
        env["SSL_CERT_FILE"] = str(folder / "ca.pem")
    listed = {"apiVersion": "v1", "repositories": [{**entry, "name": "r", "url": repository}] if wanted.name else []}
    write_within(folder, "repositories.yaml", "\n".join(line for _, line in block_lines(listed)) + "\n")
    (folder / "out").mkdir()
    return _Place(wanted, address, folder, how.helm, env)


def _entry(wanted: Dependency, repository: str, helm: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """What Helm's repositories.yaml says of the repository, with its credentials; empty where it has nothing."""
    alias = next((repository.removeprefix(one) for one in ("@", "alias:") if repository.startswith(one)), "")
    path = Path(run([helm, "env", "HELM_REPOSITORY_CONFIG"], env=_with_users(env)).strip())
    listed: list[Any] = []
    try:
        found = parse_yaml(read_text(path)).value
        listed = found.get("repositories") or [] if isinstance(found, dict) else []
    except FileNotFoundError:
        pass
    except Malformed as error:
        raise input_error("CHART_FETCH", "cannot read Helm's repositories", detail=str(error),
                          where=error.at(str(path)), hints=("helm repo list",)) from None  # fmt: skip
    for one in (each for each in listed if isinstance(each, dict)):
        if (one.get("name") == alias) if alias else (str(one.get("url")).rstrip("/") == repository):
            return {str(key): value for key, value in one.items() if value}
    if alias:
        raise input_error(
            "CHART_FETCH", f"the dependency `{wanted.name}` is in the repository `{alias}`, unknown to Helm",
            where=wanted.where, hints=(f"helm repo add {alias} URL", "or write the repository's address in Chart.yaml"),
        )  # fmt: skip
    return {}


def _with_users(env: Mapping[str, str]) -> dict[str, str]:
    given = os.environ.get("HELM_REPOSITORY_CONFIG")
    return {**env, **({"HELM_REPOSITORY_CONFIG": given} if given else {})}


def _public_certificates(env: Mapping[str, str]) -> str:
    """Those that this machine trusts."""
    usual = ssl.get_default_verify_paths()
    for path in (env.get("SSL_CERT_FILE"), usual.cafile, "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"):
        if path and Path(path).is_file():
            return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def _connect(place: _Place) -> None:
    """Somebody listens at the address: helm itself would try for minutes to reach nobody."""
    host, scheme = place.address.hostname or "", "http" if place.address.scheme == "http" else "https"
    if scheme in getproxies() and not proxy_bypass(host):
        return
    try:
        create_connection((host, place.address.port or (80 if scheme == "http" else 443)), _CONNECT).close()
    except gaierror:
        raise _unreached(place, "its name is not known (DNS)") from None
    except ConnectionRefusedError:
        raise _unreached(place, "the connection is refused") from None
    except OSError as error:
        late = f"it does not answer within {_CONNECT:.0f} s"
        raise _unreached(place, late if isinstance(error, TimeoutError) else str(error.strerror)) from None


def _from_registry(place: _Place, version: str, how: Fetching) -> Steps[str]:
    """The archive of the version is in the folder `out`; returns what helm says of it."""
    words = ["pull", place.address.geturl(), "--destination", f"{place.folder}/out"]
    words += ["--version", version] if version else []
    plain = place.address.netloc in how.plain_http
    try:
        return (yield from _helm(place, [*words, "--plain-http"] if plain else words))
    except CommandFailed as error:
        said = error.output
        if not plain and _IS_PLAIN.search(said) and _LOOPBACK.fullmatch(place.address.hostname or ""):
            more = Fetching(how.helm, how.charts, plain_http=(place.address.netloc,))
            return (yield from _from_registry(place, version, more))
        if not _NO_VERSION.search(said) or _SAYS_NO.search(said):
            raise _failed(place, version, said) from None
        versions = yield from _tags(place, ["--plain-http"] if plain else [])
        raise _absent(place, version, versions) from None


def _tags(place: _Place, options: Sequence[str]) -> Steps[list[str]]:
    """The newest versions: helm lists no tags, and says which is the newest below another one."""
    found: list[str] = []
    wanted = ">=0.0.0-0"
    while len(found) < _SHOWN_VERSIONS // 2:
        try:
            said = yield from _helm(place, ["show", "chart", place.address.geturl(), "--version", wanted, *options])
        except CommandFailed:
            break
        match = _PULLED.search(said)
        if match is None or match[1] in found:
            break
        found.append(match[1])
        wanted = f">=0.0.0-0 <{match[1]}"
    return found


def _from_repository(place: _Place, version: str, how: Fetching) -> Steps[str]:
    """As `_from_registry`, from a repository with an index, or an archive that is served as it is."""
    name = place.wanted.name
    pull = ["pull", f"r/{name}" if name else place.address.geturl(), "--destination", f"{place.folder}/out"]
    pull += ["--version", version] if version and name else []
    try:
        if name:
            said = yield from _helm(place, ["repo", "update", "r", *place.settings])
            if not _index(place).is_file():  # helm 3 ends well all the same
                raise _failed(place, version, said)
        return (yield from _helm(place, [*pull, *place.settings]))
    except CommandFailed as error:
        said = error.output
        if not name or not _index(place).is_file() or not re.search("no chart (version|name) found", said):
            raise _failed(place, version, said) from None
        search = ["search", "repo", f"r/{name}", "--versions", "--devel", "--output", "json", *place.settings]
        listed = shaped(list[dict[str, str]], parse_json((yield from _helm(place, search))))
        raise _absent(place, version, [one["version"] for one in listed if one.get("name") == f"r/{name}"]) from None


def _helm(place: _Place, words: Sequence[str]) -> Steps[str]:
    """What helm writes; it is shown how long it takes. Raises CommandFailed."""
    ticks = waited([place.helm, *words], env=place.env, timeout=LONGEST, every=EVERY)
    try:
        while True:
            passed = next(ticks)
            text = f"asking {place.shown} ({elapsed(passed)}, at most {LONGEST:.0f}s)"
            yield Item(STAGE, place.wanted.name or place.shown, ItemState.RUNNING, text)
    except StopIteration as end:
        return str(end.value)
    except TimeoutExpired:
        raise _unreached(place, f"it did not answer within {LONGEST:.0f} s") from None
    finally:
        ticks.close()


def _index(place: _Place) -> Path:
    return place.folder / "index" / "r-index.yaml"


def _checked(place: _Place, archive: Path, manifest: re.Match[str] | None) -> Pin:
    """What the archive is pinned by, of a chart that may be unpacked and has the name that was asked for."""
    try:
        deque(archive_files(archive), maxlen=0)  # all of it can be unpacked
        name, version = about(archive)
    except Malformed as error:
        raise input_error("CHART_ARCHIVE", f"what {place.shown} serves is not a chart that can be used",
                          detail=str(error), where=place.wanted.where,
                          hints=("correct the address", "report it to the repository's maintainers"),
                          ) from None  # fmt: skip
    repository, wanted, requested = place.wanted.key
    if wanted and name != wanted:
        raise input_error("CHART_NAME", f"the chart at {place.shown} is named `{name}`, not `{wanted}`",
                          where=place.wanted.where, hints=("correct the name or the address",))  # fmt: skip
    return Pin(name, repository, requested, version, digest_of(archive), manifest[1] if manifest else "")


def _check_index(place: _Place, pin: Pin) -> None:
    """The archive has the digest that the repository's index gives for it, if it gives one."""
    index = _index(place)
    if not index.is_file() or pin.digest.removeprefix("sha256:").encode() in index.read_bytes():
        return
    entries = parse_texts(read_text(index)).value.get("entries", {}).get(pin.name) or []
    given = next((one.get("digest") or "" for one in entries if one.get("version") == pin.version), "")
    if given:
        raise input_error(
            "CHART_DIGEST", f"the archive of {pin.name} {pin.version} is not the one in the index of {pin.repository}",
            detail=f"the index says {given}, it is {pin.digest}", where=place.wanted.where,
            hints=("run the command again; a proxy may keep an old file", "report it to the repository's maintainers"),
        )  # fmt: skip


def _other(place: _Place, pin: Pin, pinned: Pin) -> DeployError:
    return input_error(
        "CHART_DIGEST", f"{place.shown} serves another chart for {pinned.version} than the lock file has",
        detail=f"the lock file says {pinned.digest}, it is {pin.digest}", where=place.wanted.where,
        hints=("ask the repository's maintainers why a version changed", f"if it is meant: {UPDATE}"),
    )  # fmt: skip


def _absent(place: _Place, version: str, versions: Sequence[str]) -> DeployError:
    if not versions:
        title, detail = f"there is no chart `{place.wanted.name}` at {place.wanted.key[0]}", ""
    else:
        title, more = f"there is no version {version} of the chart {place.shown}", versions[_SHOWN_VERSIONS:]
        detail = f"there are: {', '.join(versions[:_SHOWN_VERSIONS])}{', …' if more else ''}"
    hints = ("correct the name, the address or the version",)
    return input_error("CHART_NOT_FOUND", title, detail=detail, where=place.wanted.where, hints=hints)


def _failed(place: _Place, version: str, said: str) -> DeployError:
    """Why helm could not fetch it, in the words that its output allows."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("WARNING", "level="))]
    detail = "\n".join(lines[-6:]).replace(str(place.folder), "…")
    if _SAYS_NO.search(said):
        host = place.address.netloc.rpartition("@")[2]
        add = f"helm repo add NAME {place.wanted.key[0]} --username …"
        login = f"helm registry login {host}" if place.address.scheme == "oci" else add
        return input_error("CHART_DENIED", f"{place.shown} may not be read without other credentials", detail=detail,
                           where=place.wanted.where, hints=(login, *_offline(place)))  # fmt: skip
    for pattern, cause, hint in _CAUSES:
        if pattern.search(said.lower()):
            return _unreached(place, cause, detail, hint)
    if _NO_VERSION.search(said):
        return _absent(place, version, ())
    return _unreached(place, "helm failed", detail)


def _unreached(place: _Place, cause: str, detail: str = "", hint: str = "") -> DeployError:
    title = f"the chart {place.shown} cannot be fetched: {cause}"
    hints = (*filter(None, (hint,)), *_offline(place))
    return input_error("CHART_FETCH", title, detail=detail, where=place.wanted.where, hints=hints)


def _offline(place: _Place) -> tuple[str, ...]:
    if re.search(r"(^|/)(Chart|requirements)\.yaml:[^:]*$", place.wanted.where):
        return (f"where it cannot be reached, put the chart into `charts`: {PACK}",)
    return ("where it cannot be reached, use a folder: `helm pull --untar` elsewhere, and `chart: FOLDER` in the spec",)
