"""The working copy that the end-to-end tests deploy, and everything they ask of it and of its cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.composition import this_machine
from deployer.core.yaml import parse_manifest
from deployer.toolchain import Toolchain, locate_toolchain
from tests.cluster import PROFILE, PROGRAM, CompletedCli, run_cli

Object = dict[str, Any]

CHECKOUT = Path(__file__).parents[2]
APPLICATION = "todo"
RELEASE = "todo-app"
# What the user was at before: no run of ours may take it away.
CURRENT_CONTEXT = "somewhere-else"
FIGURES: list[tuple[str, str]] = []


def tell(name: str, value: str) -> None:
    """The figure stands in the summary of the test run."""
    FIGURES.append((name, value))
    print(f"{name}: {value}")


@dataclass(frozen=True)
class Project:
    """A copy of this repository as a user's clone, deployed to the profile of the tests."""

    root: Path
    home: Path
    toolchain: Toolchain
    broken: list[str] = field(default_factory=list)
    """Names of tests that failed on the deployment, since it was last put right."""
    more_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def env_file(self) -> Path:
        return self.root / ".env"

    @property
    def settings(self) -> tuple[str, ...]:
        """What makes the spec's cluster the one of the tests."""
        return ("--set", f"cluster.name={PROFILE}", "--set", "cluster.memory=4g")

    @property
    def environment(self) -> dict[str, str]:
        """The copy's own code, a state folder and a kubeconfig of its own, and the user's cache."""
        return {
            "PYTHONPATH": str(self.root),
            "XDG_STATE_HOME": str(self.state),
            "KUBECONFIG": str(self.kubeconfig),
            "NO_COLOR": "1",
            **self.more_environment,
        }

    def run(
        self, *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 600
    ) -> CompletedCli:
        """`todo-deploy` ran to its end in the copy, against the cluster of the tests."""
        words = [*args, *self.settings]
        return run_cli(*words, cwd=cwd or self.root, env={**self.environment, **(env or {})}, timeout=timeout)

    def json(self, *args: str | Path, exit_code: int = 0, **how: Any) -> Object:
        """The one document that the command printed, which ended with `exit_code`."""
        done = self.run(*args, "-o", "json", **how)
        assert done.returncode == exit_code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr[-6000:]}"
        return one_document(done.stdout)

    def up(self, *args: str, **how: Any) -> Object:
        """The data of an `up` that ended well; the first one of all has shown the hold of five seconds."""
        data: Object = self.json("up", "--progress", "plain", "--hold", "1s", *args, **how)["data"]
        return data

    def start(self, *args: str | Path) -> Running:
        """`todo-deploy` at work in the copy."""
        return Running(self.process(*args))

    def process(self, *args: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """`todo-deploy` as a terminal starts it: in a process group of its own, which Ctrl-C reaches as a whole."""
        return subprocess.Popen(
            [str(PROGRAM), *map(str, args), *self.settings],
            cwd=self.root,
            env={**os.environ, **self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,
        )

    def kubectl(self, *args: str) -> str:
        """What the tool's own kubectl prints of the cluster of the tests."""
        words = [str(self.toolchain.kubectl), "--kubeconfig", str(self.kubeconfig), "--context", PROFILE, *args]
        return _output(words)

    def helm(self, *args: str) -> str:
        """What the tool's own helm prints of the cluster of the tests."""
        words = [str(self.toolchain.helm), *args, "--kubeconfig", str(self.kubeconfig), "--kube-context", PROFILE]
        return _output(words)

    def minikube(self, *args: str) -> str:
        """What the tool's own minikube prints about the profile of the tests."""
        words = [str(self.toolchain.minikube), *args, "--profile", PROFILE]
        return _output(words, {**os.environ, "KUBECONFIG": str(self.kubeconfig)})

    def in_node(self, *args: str) -> str:
        """What a command prints that runs in the cluster's node."""
        return _output([str(self.toolchain.docker), "exec", PROFILE, *args])

    def objects(self, kinds: str, *args: str) -> list[Object]:
        """The live objects of the kinds in the application's namespace."""
        items: list[Object] = json.loads(self.kubectl("get", kinds, "--namespace", "default", "-o", "json", *args))[
            "items"
        ]
        return items

    def object(self, kind: str, name: str) -> Object:
        """One live object."""
        found: Object = json.loads(self.kubectl("get", kind, name, "--namespace", "default", "-o", "json"))
        return found

    def pods(self) -> dict[str, tuple[str, str, str]]:
        """The running application's pods: name → component, uid, start time; those that are going away left out."""
        return {
            one["metadata"]["name"]: (
                one["metadata"]["labels"]["app"], one["metadata"]["uid"], one["status"]["startTime"]
            )
            for one in self.objects("pods", "--selector", "app")
            if not one["metadata"].get("deletionTimestamp")
        }  # fmt: skip

    def rolled(self, before: Mapping[str, tuple[str, str, str]]) -> set[str]:
        """The components of which a pod is another than before."""
        now = set(self.pods().values())
        return {component for component, *_ in now ^ set(before.values())}

    def revision(self) -> int:
        """The newest revision in Helm's own history."""
        history = json.loads(self.helm("history", RELEASE, "--namespace", "default", "-o", "json"))
        return int(history[-1]["revision"])

    def current_context(self) -> str:
        """The kubeconfig's current context."""
        return str(read_yaml(self.kubeconfig).get("current-context", ""))

    def env_value(self, key: str) -> str:
        """The value of a key in the copy's env file; the tests write no quotes into it."""
        lines = self.env_file.read_text().splitlines()
        return next(line.partition("=")[2].strip("'") for line in lines if line.startswith(f"{key}="))

    def set_env(self, key: str, value: str) -> None:
        """The env file gives the key this value; all other lines stay."""
        lines = self.env_file.read_text().splitlines()
        assert any(line.startswith(f"{key}=") for line in lines)
        fresh = [f"{key}='{value}'" if line.startswith(f"{key}=") else line for line in lines]
        self.env_file.write_text("\n".join(fresh) + "\n")

    @contextmanager
    def edited(self, path: str, change: Callable[[str], str]) -> Iterator[None]:
        """While inside, the file of the copy has been changed."""
        file = self.root / path
        before = file.read_text()
        after = change(before)
        assert after != before, path
        file.write_text(after)
        try:
            yield
        finally:
            file.write_text(before)


class Running:
    """A `todo-deploy` at work, its lines as they come, and every process below it that was ever seen."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.stdout: list[str] = []
        self.descendants: dict[int, str] = {}
        self._readers = [
            threading.Thread(target=self._read, args=(process.stderr, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(process.stdout, self.stdout), daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, what: Callable[[], bool], seconds: float = 120) -> None:
        """Returns when `what` holds; fails when the program ends before, or time is up."""
        deadline = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, "it ended before:\n" + "".join(self.lines)[-4000:]
            assert time.monotonic() < deadline, "it did not come to that:\n" + "".join(self.lines)[-4000:]
            time.sleep(0.02)

    def wait_for_line(self, start: str, seconds: float = 120) -> None:
        """Returns when a line of standard error begins with these words, however many blanks are between them."""
        words = start.split()
        self.wait_for(lambda: any(line.split()[: len(words)] == words for line in list(self.lines)), seconds)

    def interrupt(self, seconds: float = 60) -> int:
        """Ctrl-C was pressed once and the program has ended; its exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait(seconds)

    def wait(self, seconds: float = 300) -> int:
        """The program has ended; its exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return code

    def survivors(self) -> list[str]:
        """Command lines of processes below the program that are still there, some moments after its end."""
        deadline = time.monotonic() + 3
        while left := [words for pid, words in self.descendants.items() if command_lines([pid]) == [words]]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return left

    def _watch(self) -> None:
        while self.process.poll() is None:
            parents = _parents()
            below = {self.process.pid}
            while more := {pid for pid, parent in parents.items() if parent in below} - below:
                below |= more
            for pid in below - {self.process.pid}:
                words = command_lines([pid])
                self.descendants |= {pid: words[0]} if words else {}
            time.sleep(0.01)

    @staticmethod
    def _read(stream: Any, into: list[str]) -> None:
        into.extend(iter(stream.readline, ""))


class ProcessList:
    """While inside, the command line of every process of the machine (the node's too) is looked at, again and again."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> ProcessList:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)

    def _look(self) -> None:
        while not self._over.is_set():
            self.seen.update(command_lines())
            self.looks += 1
            time.sleep(0.005)


def command_lines(pids: Sequence[int] | None = None) -> list[str]:
    """The command lines of these processes, or of all; of those that are gone, none."""
    found = []
    for pid in pids if pids is not None else _pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if words:
            found.append(words)
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _parents() -> dict[int, int]:
    parents = {}
    for pid in _pids():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            continue
        parents[pid] = int(stat.rpartition(")")[2].split()[1])
    return parents


def make_project(folder: Path) -> Project:
    """A copy of the files of this repository, also of new ones, with a kubeconfig and a state of its own."""
    root = folder / "clone"
    listed = _output(["git", "-C", str(CHECKOUT), "ls-files", "-co", "--exclude-standard", "-z"])
    for name in filter(None, listed.split("\0")):
        source, target = CHECKOUT / name, root / name
        if source.is_file():  # git still lists what was deleted since
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    here = this_machine()
    toolchain = locate_toolchain("auto", here.cache_dir)
    assert toolchain is not None, "the cluster of the tests runs, so its toolchain must be known"
    project = Project(root, folder, toolchain)
    project.kubeconfig.write_text(json.dumps(own_kubeconfig(here.kubeconfig)))
    project.kubeconfig.chmod(0o600)
    return project


def own_kubeconfig(source: Path) -> Object:
    """The profile's context, beside somebody's current one that leads nowhere."""
    document = read_yaml(source)

    def of_profile(kind: str) -> list[Object]:
        return [one for one in document.get(kind) or () if one["name"] == PROFILE]

    other = {"name": CURRENT_CONTEXT, "context": {"cluster": CURRENT_CONTEXT, "user": CURRENT_CONTEXT}}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CURRENT_CONTEXT,
        "contexts": [*of_profile("contexts"), other],
        "clusters": [
            *of_profile("clusters"),
            {"name": CURRENT_CONTEXT, "cluster": {"server": "https://127.0.0.1:1"}},
        ],
        "users": [*of_profile("users"), {"name": CURRENT_CONTEXT, "user": {}}],
    }


def read_yaml(path: Path) -> Object:
    """The first document of a YAML file."""
    document: Object = next(iter(parse_manifest(path.read_text())), {})
    return document


def one_document(text: str) -> Object:
    """The JSON document that is all of the text."""
    assert text.count("\n") == 1, f"more than one line on standard output:\n{text}"
    document: Object = json.loads(text)
    assert set(document) == {"schemaVersion", "command", "ok", "exitCode", "data", "errors"}
    assert document["schemaVersion"] == 1
    for error in document["errors"]:
        assert set(error) == {"code", "title", "detail", "where", "hints"}
    return document


def _output(words: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
