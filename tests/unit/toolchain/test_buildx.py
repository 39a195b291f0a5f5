"""Whose buildx is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.ports import Buildx
from deployer.toolchain.buildx import find_buildx


def docker(folder: Path, body: str) -> Path:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


VERSION = 'case "$*" in "buildx version") echo "github.com/docker/buildx {} x";; esac'


def test_the_machines_own_plugin_comes_first(tmp_path: Path) -> None:
    program = docker(tmp_path, VERSION.format("v0.13.0"))
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "DOCKER_CONTEXT": "other"}
    found = find_buildx(program, env, tmp_path / "cache", lambda: b"not asked")
    assert found is not None and "DOCKER_CONFIG" not in found.env and "DOCKER_CONTEXT" not in found.env
    assert not (tmp_path / "cache" / "buildx" / "cli-plugins" / "docker-buildx").exists()


@pytest.mark.parametrize("plugin", [None, b"#!/bin/sh\n"])
def test_the_nodes_plugin_is_used_where_the_machine_has_none(tmp_path: Path, plugin: bytes | None) -> None:
    test = '[ -x "$DOCKER_CONFIG/cli-plugins/docker-buildx" ] || exit 1\n'
    program = docker(tmp_path, test + VERSION.format("0.13.1+ds1"))
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    found = find_buildx(program, env, tmp_path / "cache", lambda: plugin)
    assert (found is None) is (plugin is None)
    if found is not None:
        config = Path(found.env["DOCKER_CONFIG"]) / "config.json"
        assert config.readlink() == tmp_path / ".docker" / "config.json"
        assert find_buildx(program, env, tmp_path / "cache", lambda: pytest.fail("it is kept")) == found


def test_what_worked_is_not_tried_again_until_a_file_of_it_changes(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program = docker(tmp_path, f"echo x >> {calls}\n{VERSION.format('v0.13.0')}")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def found_after(times: int) -> Buildx | None:
        found = find_buildx(program, env, tmp_path / "cache", lambda: None)
        assert calls.read_text().count("x") == times
        return found

    assert found_after(1) == found_after(1) is not None
    docker(tmp_path, f"echo x >> {calls}; exit 1 # it is another, and broken")
    assert found_after(2) is None and found_after(3) is None
    docker(tmp_path, f"echo x >> {calls}\n{VERSION.format('v0.14.0')}")
    (tmp_path / ".docker" / "cli-plugins").mkdir(parents=True)
    assert found_after(4) == found_after(4)
    (tmp_path / ".docker" / "cli-plugins" / "docker-buildx").write_text("a plugin of one's own")
    assert found_after(5) is not None


def test_a_buildx_without_readable_progress_is_none(tmp_path: Path) -> None:
    program = docker(tmp_path, VERSION.format("v0.12.1"))
    assert find_buildx(program, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, tmp_path, lambda: None) is None
