"""What is forwarded, in a file of the deployment's folder: the process lives as long as the file names it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.config.spec import Cluster, Spec
from deployer.core.files import take_lock, write_private
from deployer.core.ports import LocalPorts
from deployer.core.process import has_ended, start_time
from deployer.core.reading import Malformed, read_json

if TYPE_CHECKING:  # the process itself plans nothing
    from deployer.plan import UrlPlan

LOG = "forward.log"
_STATE, _PID = "forward.json", "forward.pid"


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of this machine that leads to a Service of the cluster, or to its ingress where `service` is empty."""

    namespace: str
    service: str
    port: str
    local: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What it leads to."""
        return self.namespace, self.service, self.port

    @property
    def target(self) -> str:
        """What it leads to, for people."""
        return f"{self.namespace}/{self.service}" if self.service else "ingress"


def local_ports(mappings: Iterable[PortMapping]) -> LocalPorts:
    """The local ports by what they lead to."""
    return {one.key: one.local for one in mappings}


@dataclass(frozen=True, slots=True)
class Written:
    """The file: whose process it is, which cluster it leads to, and by which port mappings."""

    token: str
    program: str
    kubeconfig: str
    provider: str
    cluster: str
    doors: tuple[PortMapping, ...]
    """The port mappings, under the key that the file has."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is forwarded for a deployment, and the process that does it; `pid` is None where it does not run."""

    mappings: tuple[PortMapping, ...] = ()
    pid: int | None = None

    @property
    def local(self) -> LocalPorts:
        """The local ports by what they lead to."""
        return local_ports(self.mappings)


NOTHING = Known()
"""Nothing is forwarded."""


def known(folder: Path) -> Known:
    """What is forwarded for the deployment that keeps its things in the folder."""
    written = read(folder)
    return NOTHING if written is None else Known(written.doors, running(folder))


def read(folder: Path) -> Written | None:
    """The file's content; None where there is none that can be read."""
    try:
        return read_json(folder / _STATE, Written)
    except (OSError, Malformed):
        return None


def write(
    folder: Path, program: str, kubeconfig: str, provider: str, cluster: str, mappings: Sequence[PortMapping]
) -> Written:
    """The file says this, with a token of its own: the process of an earlier token ends. Raises OSError."""
    written = Written(secrets.token_hex(8), program, kubeconfig, provider, cluster, tuple(mappings))
    write_private(folder / _STATE, json.dumps(asdict(written), indent=1))
    return written


def forget(folder: Path) -> None:
    """There is no file: whatever process served it ends by itself."""
    (folder / _STATE).unlink(missing_ok=True)


def running(folder: Path) -> int | None:
    """The supervisor's process id while it holds its file; None where nothing runs.

    A file that is left of a process whose number another one has by now names nobody.
    """
    path = folder / _PID
    try:
        with path.open("r+") as stream:
            if take_lock(stream):
                return None
            stream.seek(0)
            pid, _, started = stream.read().partition(" ")
            return None if has_ended(int(pid), started) and int(pid) != os.getpid() else int(pid)
    except (OSError, ValueError):
        return None


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Inside, this process is the deployment's supervisor; False where another one is."""
    with (folder / _PID).open("a+") as stream:
        # Whoever looks whether a supervisor runs holds the lock for a moment.
        held, deadline = take_lock(stream), time.monotonic() + 2
        while not held and time.monotonic() < deadline:
            time.sleep(0.05)
            held = take_lock(stream)
        if held:
            stream.truncate(0)
            stream.write(f"{os.getpid()} {start_time(os.getpid())}")
            stream.flush()
        yield held
        if held:
            with suppress(OSError):
                stream.truncate(0)


HOST = "127.0.0.1"
# Every node's kubelet listens there (kubernetes.io/docs/reference/networking/ports-and-protocols).
_KUBELET = 10250
_TIMEOUT_SECONDS, _SHORT_TIMEOUT_SECONDS = 0.7, 0.2
# Ports of URLs without a NodePort of their own: below the NodePorts, and below what systems hand out themselves.
_FIRST, _COUNT = 20000, 9000


@dataclass(frozen=True, slots=True)
class Forward:
    """The port mappings that a deployment is to have on this machine."""

    folder: Path
    kubeconfig: Path
    cluster: Cluster
    mappings: tuple[PortMapping, ...]

    @property
    def local(self) -> LocalPorts:
        """The local ports by what they lead to."""
        return local_ports(self.mappings)


def wanted(spec: Spec, node_ip: str | None, folder: Path, kubeconfig: Path) -> Forward | None:
    """The port mappings of the spec's URLs; None without URLs, with `never`, or where the node answers this machine.

    A URL keeps the port it had; a new one gets its NodePort's number where that is free here.
    """
    if not spec.urls or spec.forward == "never":
        return None
    before = known(folder)
    if spec.forward == "auto":
        # Who may not list an existing cluster's nodes knows no address of one.
        unknown = spec.cluster.provider == "minikube"
        # Where the node did not answer before, every later run would wait in vain.
        timeout = _TIMEOUT_SECONDS if before.pid is None else _SHORT_TIMEOUT_SECONDS
        if unknown if node_ip is None else reachable(node_ip, timeout):
            return None
    return Forward(folder, kubeconfig, spec.cluster, _mappings(spec, before))


def reachable(address: str, timeout: float = _TIMEOUT_SECONDS) -> bool:
    """Whether the node's address answers this machine within some seconds: a node on it answers at once."""
    try:
        with socket.create_connection((address, _KUBELET), timeout=timeout):
            return True
    except OSError:
        return False


def _mappings(spec: Spec, before: Known) -> tuple[PortMapping, ...]:
    ours = set(before.local.values()) if before.pid is not None else set()
    numbers: dict[tuple[str, str, str], int] = {}
    for name, url in spec.urls.items():
        key = (url.namespace or spec.namespace, url.service or "", str(url.port or ""))
        if url.ingress_host is not None:
            key = ("", "", "")
        own = url.node_port or _FIRST + zlib.crc32(f"{spec.application}/{name}".encode()) % _COUNT
        if key not in numbers or url.node_port is not None:
            numbers[key] = own
    return tuple(
        PortMapping(*key, local) for key, local in choose(numbers, before.local, lambda n: n in ours or free(n))
    )


def with_urls(forward: Forward, urls: Iterable[UrlPlan]) -> Forward:
    """The port mappings, and those of URLs that the spec no longer has."""
    known = forward.local
    keys = (
        ("", "", "") if url.ingress_host else (url.namespace, url.service or "", str(url.port or "")) for url in urls
    )
    own = {key: _FIRST + zlib.crc32("/".join(key).encode()) % _COUNT for key in keys if key not in known}
    ours = set(known.values())
    chosen = choose({**known, **own}, known, lambda port: port in ours or free(port))
    return replace(forward, mappings=tuple(PortMapping(*key, local) for key, local in chosen))


def choose(
    numbers: Mapping[tuple[str, str, str], int], before: LocalPorts, usable: Callable[[int], bool]
) -> list[tuple[tuple[str, str, str], int]]:
    """A port for each: the one it had, else its own number, else the next that can be used; no two alike."""
    chosen: dict[tuple[str, str, str], int] = {}

    def can(port: int) -> bool:
        return port not in chosen.values() and usable(port)

    for wishes in (before, numbers):
        for key in numbers:
            if key not in chosen and key in wishes and can(wishes[key]):
                chosen[key] = wishes[key]
    for key, number in numbers.items():
        if key not in chosen:
            chosen[key] = next((port for port in range(number + 1, number + 500) if can(port)), number)
    return [(key, chosen[key]) for key in numbers]


def free(port: int) -> bool:
    """Whether nobody on this machine listens at the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
