"""The buildx that builds go through: the machine's own plugin of `docker`, else that of the cluster's node."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from deployer.core.docker_context import docker_folder
from deployer.core.files import write_private
from deployer.core.ports import Buildx
from deployer.core.process import CommandFailed, run
from deployer.toolchain.files import link

_PLUGIN = "docker-buildx"
# Where distributions and Docker's own packages put it (docker/cli, cli-plugins/manager).
NODE_PLUGINS = tuple(f"/usr/{folder}/docker/cli-plugins/{_PLUGIN}" for folder in ("libexec", "lib", "local/lib"))
_AT_LEAST = (0, 13)  # --progress rawjson
# Settings that would lead a build to another daemon, or change its output.
_LEFT_OUT = ("DOCKER_CONTEXT", "BUILDX_BUILDER", "BUILDKIT_PROGRESS", "DOCKER_DEFAULT_PLATFORM")


def find_buildx(
    docker: Path, env: Mapping[str, str], cache_dir: Path, node_plugin: Callable[[], bytes | None]
) -> Buildx | None:
    """The machine's `docker buildx`, else one with the plugin of the cluster's node; None where neither works here."""
    own = {name: value for name, value in env.items() if name not in _LEFT_OUT}
    own["BUILDX_CONFIG"] = str(cache_dir / "buildx" / "state")
    machine = Buildx(docker, own)
    if _works(machine):
        return machine
    # Plugins are looked for beside the configuration, in which credentials for registries are.
    folder = cache_dir / "buildx"
    configured = docker_folder(env) / "config.json"
    node = Buildx(docker, {**own, "DOCKER_CONFIG": str(folder)})
    plugin = folder / "cli-plugins" / _PLUGIN
    content = None if sys.platform != "linux" or (plugin.is_file() and _works(node)) else node_plugin()
    if content is not None:
        write_private(plugin, content)
        plugin.chmod(0o700)
    if not plugin.is_file():
        return None
    link(folder / "config.json", configured)
    return node if _works(node) else None


def _works(buildx: Buildx) -> bool:
    try:
        said = run([buildx.docker, "buildx", "version"], env=buildx.env, timeout=20)
    except (CommandFailed, OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(r"\bv?(\d+)\.(\d+)", said.partition(" ")[2])
    return found is not None and (int(found[1]), int(found[2])) >= _AT_LEAST
