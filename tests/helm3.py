"""Helm 3 for the tests that need both: built once into the user's cache, of the pins in `tests/data/helm3`.

`python -m tests.helm3` prints where it is; `make helm3` gives it to all contracts and the core path (TODO_DEPLOY_HELM).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from deployer.core.files import cache_folder
from deployer.core.steps import drive
from deployer.toolchain.source.go import ensure_go
from tests import DATA

VERSION = "v3.22.0"
_PROGRAM = "helm.sh/helm/v3/cmd/helm"


def helm3() -> Path:
    """The program exists and says which version it is; the first time that takes two minutes."""
    folder = cache_folder() / "tests"
    kept = folder / f"helm-{VERSION}"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        go = drive(ensure_go(cache_folder(), os.environ), lambda _: None)
        flags = f"-s -w -X helm.sh/helm/v3/internal/version.version={VERSION}"
        with tempfile.TemporaryDirectory(dir=folder) as made:
            words = [str(go), "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", made]
            env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
            subprocess.run([*words, _PROGRAM], cwd=DATA / "helm3", env=env, stdin=subprocess.DEVNULL, check=True)
            (Path(made) / "helm").rename(kept)
    return kept


if __name__ == "__main__":
    print(helm3())
