"""Wheels that are packed anew from what is installed, as an installer would take them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

from deployer import __version__
from deployer.toolchain.wheels import wheels


@cache
def packed() -> dict[str, bytes]:
    return {one.name.removeprefix("wheels/"): b"".join(one.chunks()) for one in wheels()}


def test_every_wheel_is_named_and_recorded_as_the_format_says() -> None:
    assert len(packed()) > 15
    for name, raw in packed().items():
        assert re.fullmatch(r"[A-Za-z0-9_.]+-[^-]+-[^-]+-[^-]+-[^-]+\.whl", name), name
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
            (record,) = [one for one in names if one.endswith(".dist-info/RECORD")]
            rows = {row[0]: row[1:] for row in csv.reader(archive.read(record).decode().splitlines())}
            assert sorted(rows) == sorted(names), name
            for one in names:
                if one != record:
                    content = archive.read(one)
                    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
                    assert rows[one] == [f"sha256={digest}", str(len(content))], (name, one)


def test_the_tool_runs_from_its_own_wheel(tmp_path: Path) -> None:
    (name,) = [one for one in packed() if one.startswith("todo_deploy-")]
    with zipfile.ZipFile(io.BytesIO(packed()[name])) as archive:
        archive.extractall(tmp_path)
    assert name == f"todo_deploy-{__version__}-py3-none-any.whl"
    assert (tmp_path / "deployer/charts/workload/Chart.yaml").is_file()
    assert (tmp_path / "deployer/charts/component/Chart.yaml").is_file()
    assert (tmp_path / "deployer/toolchain/recipes/node/os.Dockerfile").is_file()
    done = subprocess.run(
        [sys.executable, "-m", "deployer", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert __version__ in done.stdout
