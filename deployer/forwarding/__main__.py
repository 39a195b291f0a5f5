"""`python -m deployer.forwarding supervise|relay FOLDER`: the background process of `up`, started by it alone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from deployer.core.ports import KubePort
from deployer.forwarding import ports, supervise
from deployer.forwarding.ports import Written

# How long a cluster's context may be missing before it counts as deleted: a start of Minikube's rewrites it.
_GONE_SECONDS = 60.0


def main(role: str, folder: Path) -> int:
    """The exit code."""
    env = dict(os.environ)
    if role == "supervise":
        signal.signal(signal.SIGTERM, _end)
        supervise.supervise(folder, env)
        return 0
    written = ports.read(folder)
    return relay(folder, written, env) if written is not None else 0


def relay(folder: Path, written: Written, env: dict[str, str]) -> int:
    """Serves the port mappings until its supervisor ends; `GONE` when the cluster is gone for good."""
    from deployer.forwarding.relay import listen

    api = Api(written, env)
    orphaned = threading.Event()
    supervise.when_orphaned(orphaned)
    servers = [listen(mapping, api.connect) for mapping in written.doors]
    missing_since: float | None = None
    while not orphaned.wait(5):
        missing = not api.exists()
        missing_since = (missing_since or time.monotonic()) if missing else None
        if missing_since is not None and time.monotonic() - missing_since > _GONE_SECONDS:
            return supervise.GONE
    for server in servers:
        server.close()
    supervise.outlived(folder, written, env)
    return 0


class Api:
    """The cluster's API server, opened again whenever the kubeconfig was written: a start of the cluster moves it."""

    def __init__(self, written: Written, env: dict[str, str]) -> None:
        self._written = written
        self._env = {**env, "KUBECONFIG": written.kubeconfig}
        self._lock = threading.Lock()
        self._opened: tuple[int, KubePort] | None = None

    def connect(self) -> KubePort:
        """A client of the API server; raises as `composition.open_kube` does."""
        from dataclasses import replace

        from deployer import composition
        from deployer.config.spec import Cluster

        seen = Path(self._written.kubeconfig).stat().st_mtime_ns
        with self._lock:
            if self._opened is None or self._opened[0] != seen:
                name = self._written.cluster
                wanted = Cluster(name=name)
                if self._written.provider == "context":
                    wanted = Cluster(provider="context", context=name)
                self._opened = seen, composition.open_kube(replace(composition.this_machine(), env=self._env), wanted)
            return self._opened[1]

    def exists(self) -> bool:
        """Whether the kubeconfig still names the cluster; while it cannot be read, nothing is known to be gone."""
        from deployer.core.errors import DeployError
        from deployer.kube import kubeconfig

        try:
            document = kubeconfig.read(Path(self._written.kubeconfig))
        except DeployError:
            return True
        return kubeconfig.owner(document, self._written.cluster) != "absent"


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
