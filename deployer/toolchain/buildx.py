"""The buildx that builds go through: the machine's own plugin of `docker`, else that of the cluster's node."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deployer.core.files import write_private
from deployer.core.ports import Buildx
from deployer.core.process import CommandFailed, run
from deployer.core.reading import Malformed, read_json
from deployer.toolchain.dockerhost import docker_folder
from deployer.toolchain.files import link

_PLUGIN = "docker-buildx"
# Where distributions and Docker's own packages put it (docker/cli, cli-plugins/manager).
_FOLDERS = ("libexec", "lib", "local/libexec", "local/lib")
NODE_PLUGINS = tuple(f"/usr/{folder}/docker/cli-plugins/{_PLUGIN}" for folder in _FOLDERS)
_AT_LEAST = (0, 13)  # --progress rawjson
# Settings that would lead a build to another daemon, or change its output.
_LEFT_OUT = ("DOCKER_CONTEXT", "BUILDX_BUILDER", "BUILDKIT_PROGRESS", "DOCKER_DEFAULT_PLATFORM")


@dataclass(frozen=True, slots=True)
class _Known:
    """Whether the node's plugin was the one that worked the last time, and the files that decide it as they were."""

    is_node: bool
    files: Mapping[str, tuple[int, int]]


def find_buildx(
    docker: Path, env: Mapping[str, str], cache_dir: Path, node_plugin: Callable[[], bytes | None]
) -> Buildx | None:
    """The machine's `docker buildx`, else one with the plugin of the cluster's node; None where neither works here.

    What worked is not tried again while Docker's client, its configuration and its plugins are the same.
    """
    own = {name: value for name, value in env.items() if name not in _LEFT_OUT}
    folder, configured = cache_dir / "buildx", docker_folder(env)
    own["BUILDX_CONFIG"] = str(folder / "state")
    # Plugins are looked for beside the configuration, in which credentials for registries are.
    machine, node = Buildx(docker, own), Buildx(docker, {**own, "DOCKER_CONFIG": str(folder)})
    plugin, memory = folder / "cli-plugins" / _PLUGIN, folder / "works.json"
    decisive = (docker, configured / "config.json", configured / "cli-plugins" / _PLUGIN, *map(Path, NODE_PLUGINS))
    with suppress(OSError, Malformed):
        known = read_json(memory, _Known)
        if known.files == _stamps((*decisive, plugin)):
            return node if known.is_node else machine
    is_node = not _works(machine)
    if is_node and not _supplied(node, plugin, folder / "config.json", configured / "config.json", node_plugin):
        return None
    with suppress(OSError):
        write_private(memory, json.dumps(asdict(_Known(is_node, _stamps((*decisive, plugin))))))
    return node if is_node else machine


def _supplied(node: Buildx, plugin: Path, link_at: Path, config: Path, node_plugin: Callable[[], bytes | None]) -> bool:
    """Whether the node's plugin works here; it was copied from there where it was not here, or did not work."""
    content = None if sys.platform != "linux" or (plugin.is_file() and _works(node)) else node_plugin()
    if content is not None:
        write_private(plugin, content)
        plugin.chmod(0o700)
    if not plugin.is_file():
        return False
    link(link_at, config)
    return _works(node)


def _stamps(paths: Iterable[Path]) -> dict[str, tuple[int, int]]:
    """Time of change, in nanoseconds, and size of each file that is there."""
    found = {}
    for path in paths:
        with suppress(OSError):
            seen = path.stat()
            found[str(path)] = (seen.st_mtime_ns, seen.st_size)
    return found


def _works(buildx: Buildx) -> bool:
    try:
        said = run([buildx.docker, "buildx", "version"], env=buildx.env, timeout=20)
    except (CommandFailed, OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(r"\bv?(\d+)\.(\d+)", said.partition(" ")[2])
    return found is not None and (int(found[1]), int(found[2])) >= _AT_LEAST
