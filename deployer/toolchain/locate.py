"""What this machine has and reaches: the toolchain of an earlier run, programs on PATH, hosts that answer.

The earlier toolchain is read from its stamp in a few milliseconds, without starting a process. The stamp holds size and
time of every program; it says nothing about images in Docker, which `ensure_toolchain` looks at before a cluster
is started or repaired.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from deployer.core.errors import machine_error
from deployer.core.process import CommandFailed, run
from deployer.toolchain.files import fingerprint, pins_key, read_json, write_json
from deployer.toolchain.model import Reach, Setting, Toolchain, minor_version
from deployer.toolchain.pins import DOWNLOADS, HELM_AT_LEAST, HELM_BELOW, KUBERNETES, MINIKUBE_AT_LEAST, REGISTRY_CHECKS
from deployer.toolchain.source.debian import host_sources

HELM_VARIABLE = "TODO_DEPLOY_HELM"

_FORMAT = 2
_PATHS = ("minikube", "helm", "kubectl", "docker")


def locate_toolchain(setting: Setting, cache_dir: Path) -> Toolchain | None:
    """What `ensure_toolchain` returned last, if pins, recipes and files are still the same."""
    found = read_stamp(setting, cache_dir)
    return None if found is None else with_chosen_helm(found[0], os.environ)


def with_chosen_helm(toolchain: Toolchain, env: Mapping[str, str]) -> Toolchain:
    """The toolchain with the helm that TODO_DEPLOY_HELM names, where that is set; machine error if it is unfit."""
    chosen = env.get(HELM_VARIABLE)
    if not chosen:
        return toolchain
    found = look("helm", env, chosen)
    if found is None or found.unfit:
        why = f"{found.version} {found.unfit}".strip() if found is not None else "is no program"
        hints = (f"unset {HELM_VARIABLE}, or let it name a helm of {_text(HELM_AT_LEAST)} or newer",)
        raise machine_error("TOOLCHAIN_HELM", f"{HELM_VARIABLE}={chosen} cannot be used", detail=why, hints=hints)
    return replace(toolchain, helm=found.path.absolute(), versions={**toolchain.versions, "helm": found.version})


def read_stamp(setting: Setting, cache_dir: Path) -> tuple[Toolchain, Reach | None] | None:
    """The stamp's toolchain and what could be reached when it was written."""
    stamp = read_json(_stamp(setting, cache_dir))
    if stamp is None or stamp.get("key") != [_FORMAT, pins_key()]:
        return None
    try:
        files: dict[str, Any] = stamp["files"]
        if any(fingerprint(Path(path)) != known for path, known in files.items()):
            return None
        fields: dict[str, Any] = dict(stamp["toolchain"])
        for name in (*_PATHS, "bin", "kubernetes_binaries"):
            fields[name] = None if fields[name] is None else Path(fields[name])
        reach = stamp["reach"]
        return Toolchain(**fields), None if reach is None else Reach(**reach)
    except (KeyError, TypeError, AttributeError):
        return None


def write_stamp(setting: Setting, cache_dir: Path, toolchain: Toolchain, reach: Reach | None) -> None:
    """The toolchain is found again by `locate_toolchain`."""
    fields = asdict(toolchain)
    files = {str(path): fingerprint(path) for path in (getattr(toolchain, name) for name in _PATHS)}
    if toolchain.kubernetes_binaries is not None:
        files |= {str(path): fingerprint(path) for path in sorted(toolchain.kubernetes_binaries.iterdir())}
    # The links are looked at as what they lead to: a removed link is a missing file.
    files |= {str(path): fingerprint(path) for path in sorted(toolchain.bin.iterdir())}
    document = {
        "key": [_FORMAT, pins_key()],
        "toolchain": {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()},
        "files": files,
        "reach": None if reach is None else asdict(reach),
    }
    write_json(_stamp(setting, cache_dir), document)


def _stamp(setting: Setting, cache_dir: Path) -> Path:
    return cache_dir / "toolchain" / f"toolchain-{setting}.json"


NAMES = ("minikube", "helm", "kubectl")

_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "minikube": ("version", "--short"),
    "helm": ("version", "--short"),
    "kubectl": ("version", "--client", "--output=json"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A program on PATH; `unfit` says why it cannot be used ("" when it can)."""

    path: Path
    version: str
    unfit: str


def look(name: str, env: Mapping[str, str], chosen: str = "") -> Found | None:
    """The program on PATH, or the chosen one, and what it says of itself; None where there is none."""
    path = shutil.which(chosen or name, path=env.get("PATH"))
    if path is None:
        return None
    try:
        said = run([path, *_QUESTIONS[name]], env=env, timeout=20)
    except (CommandFailed, OSError, subprocess.TimeoutExpired) as error:
        return Found(Path(path), "", f"does not print its version ({error})")
    match = re.search(r"v(\d+)\.(\d+)(?:\.(\d+))?", said)
    if match is None:
        return Found(Path(path), "", "does not print its version")
    return Found(Path(path), match[0], unfit(name, (int(match[1]), int(match[2]))))


def unfit(name: str, version: tuple[int, int]) -> str:
    """Why this version of the program cannot be used, or ""."""
    if name == "minikube" and version < MINIKUBE_AT_LEAST:
        return f"is older than {_text(MINIKUBE_AT_LEAST)}"
    if name == "helm" and not HELM_AT_LEAST <= version < HELM_BELOW:
        return f"is not at least {_text(HELM_AT_LEAST)} and below {_text(HELM_BELOW)}"
    if name == "kubectl":
        major, minor = minor_version(KUBERNETES)
        if version[0] != major or abs(version[1] - minor) > 1:
            return f"is more than one minor version away from Kubernetes {KUBERNETES}"
    return ""


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


LIMIT_SECONDS = 3.0
_DOCKER, _OF_DOCKER = "registry-1.docker.io", ("", "docker.io", "index.docker.io")


def probe() -> Reach:
    """Asks all hosts at once. A group counts as reached when every host of it answers as it should."""
    # Small files that upstream publishes, for a platform that always exists.
    checksums = [f"{item.url}{item.checksum_suffix}".format(version=item.version, os="linux", arch="amd64")
                 for item in DOWNLOADS]  # fmt: skip
    mirrors = [f"{source.uri.rstrip('/')}/dists/{source.suite}/InRelease" for source in host_sources()[:1]]
    checks: dict[tuple[str, str], Callable[[], bool]] = {}
    checks |= {("downloads", url): partial(_is_checksum, url) for url in checksums}
    checks |= {("registries", url): partial(_is_registry, url) for url in REGISTRY_CHECKS}
    checks |= {("packages", url): partial(_answers, url) for url in mirrors}
    answers = ask(checks, LIMIT_SECONDS)
    groups = {name: [answer for (group, _), answer in answers.items() if group == name] for name, _ in answers}
    return Reach(*(bool(groups.get(name)) and all(groups[name]) for name in ("downloads", "registries", "packages")))


def silent_registries(hosts: Iterable[str]) -> frozenset[str]:
    """Those of the registries (empty: Docker's own) that do not answer; those of this machine are not asked."""
    asked = {host: host.rpartition(":")[0] or host for host in hosts}
    there = {host for host, name in asked.items() if name in ("localhost", "127.0.0.1")}
    urls = {(host, scheme): f"{scheme}://{_DOCKER if host in _OF_DOCKER else host}/v2/"
            for host in asked.keys() - there for scheme in ("https", "http")}  # fmt: skip
    answers = ask({key: partial(_is_registry, url) for key, url in urls.items()}, LIMIT_SECONDS)
    return frozenset(asked.keys() - there - {host for (host, _), answer in answers.items() if answer})


def ask(checks: dict[tuple[str, str], Callable[[], bool]], limit: float) -> dict[tuple[str, str], bool]:
    """Every check's answer after at most `limit` seconds; one that is not there by then is a no."""
    answers = dict.fromkeys(checks, False)

    def work(key: tuple[str, str], check: Callable[[], bool]) -> None:
        answers[key] = check()

    # Threads, not an executor: looking up a name has no time-out, and nobody waits for a late one.
    threads = [threading.Thread(target=work, args=item, daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _status(url: str) -> tuple[int, bytes]:
    """The status of a GET and the first bytes of its answer; 0 when there is no answer."""
    # Imported here, because it takes longer than everything else a quiet run does in this package.
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=LIMIT_SECONDS) as answer:  # noqa: S310 (pinned https addresses)
            return answer.status, answer.read(256)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, b""
    except (OSError, ValueError):
        return 0, b""


def _answers(url: str) -> bool:
    return _status(url)[0] == 200


def _is_registry(url: str) -> bool:
    # A proxy that forbids the host answers 403.
    return _status(url)[0] in {200, 401}


def _is_checksum(url: str) -> bool:
    status, start = _status(url)
    return status == 200 and re.match(rb"[0-9a-f]{64}\b", start) is not None
