"""Whether URLs must be served by this machine itself, and at which of its ports."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.config.spec import Cluster, Spec
from deployer.core.ports import LocalPorts
from deployer.forwarding.state import Door, Known, known, local_ports

HOST = "127.0.0.1"
# Every node's kubelet listens there (kubernetes.io/docs/reference/networking/ports-and-protocols).
_KUBELET = 10250
_PATIENCE_SECONDS, _SHORT_SECONDS = 0.7, 0.2
# Ports of URLs without a NodePort of their own: below the NodePorts, and below what systems hand out themselves.
_FIRST, _COUNT = 20000, 9000


@dataclass(frozen=True, slots=True)
class Forward:
    """The doors that a deployment is to have on this machine."""

    folder: Path
    kubeconfig: Path
    cluster: Cluster
    doors: tuple[Door, ...]

    @property
    def local(self) -> LocalPorts:
        """The local ports by what they lead to."""
        return local_ports(self.doors)


def wanted(
    spec: Spec, node_ip: str | None, folder: Path, kubeconfig: Path, reaches: Callable[[str], bool] | None = None
) -> Forward | None:
    """The doors of the spec's URLs; None where it has none, says `never`, or the node itself answers this machine.

    A URL keeps the port it had; a new one gets its NodePort's number where that is free here.
    """
    if not spec.urls or spec.forward == "never":
        return None
    before = known(folder)
    if spec.forward == "auto" and (node_ip is None or (reaches or _asks(before))(node_ip)):
        return None
    return Forward(folder, kubeconfig, spec.cluster, _doors(spec, before))


def reachable(address: str, patience: float = _PATIENCE_SECONDS) -> bool:
    """Whether the node's address answers this machine within some seconds: a node on it answers at once."""
    try:
        with socket.create_connection((address, _KUBELET), timeout=patience):
            return True
    except OSError:
        return False


def _asks(before: Known) -> Callable[[str], bool]:
    """Less patient where the node did not answer before: every later run would wait in vain."""
    return lambda address: reachable(address, _PATIENCE_SECONDS if before.pid is None else _SHORT_SECONDS)


def _doors(spec: Spec, before: Known) -> tuple[Door, ...]:
    ours = set(before.local.values()) if before.pid is not None else set()
    numbers: dict[tuple[str, str, str], int] = {}
    for name, url in spec.urls.items():
        key = (url.namespace or spec.namespace, url.service or "", str(url.port or ""))
        if url.ingress_host is not None:
            key = ("", "", "")
        own = url.node_port or _FIRST + zlib.crc32(f"{spec.application}/{name}".encode()) % _COUNT
        if key not in numbers or url.node_port is not None:
            numbers[key] = own
    return tuple(Door(*key, local) for key, local in choose(numbers, before.local, lambda n: n in ours or free(n)))


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
