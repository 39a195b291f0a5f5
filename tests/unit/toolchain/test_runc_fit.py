"""The OCI runtime's own tests, where there is a Go to run them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deployer.toolchain.files import RECIPES


@pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go on PATH")
def test_the_runtime_trims_what_the_machine_lacks(tmp_path: Path) -> None:
    for name in ("main.go", "go.mod"):
        shutil.copyfile(RECIPES / "runc-fit" / name, tmp_path / name)
    # Kept under another suffix, so that Go's tools do not see a lone test file among Python's.
    shutil.copyfile(Path(__file__).with_name("runc_fit.go.txt"), tmp_path / "main_test.go")
    env = {**os.environ, "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
    done = subprocess.run(["go", "test", "./..."], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
