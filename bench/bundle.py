"""A first `up` from a bundle, where there is no network: file size, and seconds by step.

The default application is saved from its cluster on this machine. Then everything happens in a network namespace
without a way out: a Docker daemon of its own with an empty data root, an empty home, a new virtual environment from
the bundle's wheels, a clone of this repository, `bundle load`, and `up` on a Minikube profile of its own to proven
URLs. All of it is removed at the end. Needs root, and about 10 GB of disk.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import recorded

ROOT = Path(__file__).parents[1]
PROFILE = "todo-deploy-bundle"
INSIDE = "--inside"
GIB = 2**30
NEEDED = 10 * GIB
LIMIT = 1500
# The least that makes the node, its pods and the second daemon fit beside others.
OPTIONS = ("--profile", "small", "--set", f"cluster.name={PROFILE}", "--yes", "-o", "json")


def main() -> int:
    """Saves, then runs itself within a namespace; prints the table. Returns the exit code."""
    if os.geteuid() != 0:
        sys.exit("bench.bundle: needs root, for network namespaces")
    if sys.argv[1:2] == [INSIDE]:
        return _newcomer(Path(sys.argv[2]), Path(sys.argv[3]))
    if shutil.disk_usage(tempfile.gettempdir()).free < NEEDED:
        sys.exit(f"bench.bundle: {tempfile.gettempdir()} has less than {NEEDED // GIB} GiB free")
    with recorded("bundle", "A first `up` from a bundle, without a network", "make bundle"):
        _measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    return 0


def _measure(saved: Path | None) -> None:
    """Prints the table; `saved` is a bundle that is there already."""
    # A socket's path may have 108 bytes.
    with tempfile.TemporaryDirectory(prefix="bundle-") as name:
        work = Path(name)
        file, steps = saved or work / "todo.bundle", dict[str, float]()
        program = [sys.executable, "-m", "deployer", "bundle"]
        if saved is None:
            with _timed(steps, "`bundle save`, on the machine that has everything"):
                _json([*program, "save", str(file), "-o", "json"], os.environ)
        shown = _json([*program, "show", str(file), "-o", "json"], os.environ)
        words: list[str | Path] = [sys.executable, "-m", "bench.bundle", INSIDE, work, file]
        done = subprocess.run(["unshare", "--net", "--mount", *words], cwd=ROOT, timeout=LIMIT, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        steps |= json.loads((work / "steps.json").read_text(encoding="utf-8"))
    print("| step | seconds |\n|---|---|")
    for step, seconds in steps.items():
        print(f"| {step} | {seconds:.0f} |")
    print(f"\nThe file has {shown['bytes'] / 10**6:.0f} MB:\n\n| part | MB |\n|---|---|")
    for part, size in _sizes(shown["members"]).items():
        print(f"| {part} | {size / 10**6:.0f} |")
    print("\nWithout the bundle the same takes about ten minutes on two quiet cores, and a network.")


def _sizes(members: Sequence[Mapping[str, object]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in members:
        name = str(one["name"])
        part = name if name.startswith("images/") else name.partition("/")[0]
        found[part] = found.get(part, 0) + int(str(one["size"]))
    return found


def _newcomer(work: Path, file: Path) -> int:
    """Within the namespace: from a machine that has Docker, Python and the file to proven URLs."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _refuse_network()
    steps: dict[str, float] = {}
    env = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(work / "home"),
        "DOCKER_HOST": f"unix://{work}/docker.sock",
    }
    (work / "home").mkdir()
    with _timed(steps, "the tool from the bundle's wheels (`pip install --no-index`)"):
        program = _installed(work, file, env)
    subprocess.run(["git", "clone", "--quiet", "--local", str(ROOT), str(work / "clone")], check=True)
    with _daemon(work, env):
        try:
            with _timed(steps, "`bundle load`"):
                _json([program, "bundle", "load", str(file), "-o", "json"], env)
            with _timed(steps, "`bundle load` again"):
                again = _json([program, "bundle", "load", str(file), "-o", "json"], env)
            assert not again["changed"], again
            with _timed(steps, "`up` to proven URLs"):
                up = _json([program, "up", *OPTIONS], env, work / "clone")
            steps |= {f"… of it, {one['name']}": one["seconds"] for one in up["stages"] if one["seconds"] >= 1}
            assert not any(one["built"] for one in up["images"]), up["images"]
            assert up["urls"] and all(url["status"] == 200 for url in up["urls"]), up["urls"]
            with _timed(steps, "`up` again: nothing changes"):
                assert not _json([program, "up", *OPTIONS], env, work / "clone")["changed"]
        finally:
            minikube = next((work / "home").rglob("toolchain/bin/minikube"), None)
            if minikube is not None:
                subprocess.run([minikube, "delete", "--profile", PROFILE], env=env, check=False, timeout=300)
    (work / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
    return 0


def _refuse_network() -> None:
    """Nothing outside can be reached: there is no route, so that not even a packet leaves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return
    sys.exit("bench.bundle: this namespace has a way out")


def _installed(work: Path, file: Path, env: Mapping[str, str]) -> str:
    """As docs/guides/offline.md says: no todo-deploy is needed for it."""
    venv = work / "venv"
    subprocess.run(["tar", "-xf", file, "-C", work, "wheels"], check=True)
    subprocess.run([_python(), "-m", "venv", venv], env=env, check=True)
    words: list[str | Path] = [
        venv / "bin" / "pip",
        "install",
        "--quiet",
        "--no-index",
        "--find-links",
        work / "wheels",
        "todo-deploy",
    ]
    subprocess.run(words, env=env, check=True)
    return str(venv / "bin" / "todo-deploy")


def _python() -> str:
    """The machine's own, not that of a virtual environment."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


@contextmanager
def _daemon(work: Path, env: Mapping[str, str]) -> Iterator[None]:
    """A Docker daemon with nothing in it."""
    words: list[str | Path] = [
        "dockerd", "--host", env["DOCKER_HOST"], "--data-root", work / "docker", "--exec-root", work / "exec",
        "--pidfile", work / "docker.pid",
    ]  # fmt: skip
    with (work / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while subprocess.run(["docker", "version"], env=env, capture_output=True, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("bench.bundle: dockerd does not run:\n" + (work / "dockerd.log").read_text()[-3000:])
            time.sleep(0.2)
        assert not subprocess.run(["docker", "images", "-q"], env=env, capture_output=True, check=True).stdout
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def _timed(steps: dict[str, float], name: str) -> Iterator[None]:
    print(f"{name} …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    yield
    steps[name] = time.monotonic() - begun


def _json(words: Sequence[str], env: Mapping[str, str], where: Path = ROOT) -> dict[str, Any]:
    """The `data` of a command that ended well; its progress goes to standard error."""
    done = subprocess.run(
        [*words, "--progress", "plain"], cwd=where, env=dict(env), stdout=subprocess.PIPE, check=False
    )
    document = json.loads(done.stdout or b"{}")
    if done.returncode:
        sys.exit(f"bench.bundle: {' '.join(words)} ended with {done.returncode}: {document.get('errors')}")
    data: dict[str, Any] = document["data"]
    return data


if __name__ == "__main__":
    sys.exit(main())
