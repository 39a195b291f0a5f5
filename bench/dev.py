"""`todo-deploy dev` measured: from a save to the new answer, hot reload in Chromium, and two hundred saves in a row.

    python -m bench.dev [--saves N] [--only small|application]

On the Minikube profile TODO_DEPLOY_TEST_PROFILE (`todo-deploy-test` by default), which must run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.report import recorded
from deployer.composition import open_kube, this_machine
from deployer.config.spec import Cluster
from deployer.core.ports import KubePort
from deployer.status.objects import is_terminating, name_of

HERE = Path(__file__).parent
PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE") or "todo-deploy-test"
ROUNDS = 5
PATIENCE = 120.0
FILES = 1000
PORTS = {"30000": "30996", "30001": "30997"}


class Session:
    """A `dev` that runs, its events, and what the operating system says of it."""

    def __init__(self, root: Path, *words: str) -> None:
        self.root, self.rounds, self.failed = root, 0, 0
        self.events: list[dict[str, Any]] = []
        argv = [sys.executable, "-m", "deployer", "dev", "-o", "json", "--set", f"cluster.name={PROFILE}", *words]
        env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        self.process = subprocess.Popen(
            argv, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self.said = time.monotonic()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            if event["type"] == "log" and event["stage"] == "logs":
                continue
            self.said = time.monotonic()
            self.events.append(event)
            if event["type"] == "run_finished":
                self.rounds += 1
                self.failed += event["outcome"] != "ok"

    def quiet(self, seconds: float = 1.5) -> None:
        """No round is under way, and none began for so many seconds."""
        deadline = time.monotonic() + PATIENCE * 3
        while time.monotonic() < deadline:
            ended = bool(self.events) and self.events[-1]["type"] == "run_finished"
            if ended and time.monotonic() - self.said > seconds:
                return
            if self.process.poll() is not None:
                raise RuntimeError(self.process.stderr.read() if self.process.stderr else "ended")
            time.sleep(0.05)
        raise RuntimeError(f"never quiet: {self.events[-3:]}")

    def memory(self) -> float:
        """MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024

    def belongings(self) -> tuple[int, int, int]:
        """Its processes besides itself, its threads and its open files."""
        own = Path(f"/proc/{self.process.pid}")
        children = (own / f"task/{self.process.pid}/children").read_text().split()
        return len(children), len(list((own / "task").iterdir())), len(list((own / "fd").iterdir()))

    def end(self) -> int:
        """Its exit code after Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


@contextmanager
def session(root: Path, *words: str) -> Iterator[Session]:
    """A `dev` whose first round is over; the application is gone afterwards."""
    made = Session(root, *words)
    try:
        made.quiet()
        yield made
    finally:
        with suppress(subprocess.TimeoutExpired):
            made.end()
        made.process.kill()
        env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
        argv = [sys.executable, "-m", "deployer", "down", "--volumes", "--yes", "--set", f"cluster.name={PROFILE}"]
        subprocess.run([*argv, *words[:2]], cwd=root, env=env, check=False, capture_output=True)


def answered(url: str) -> str:
    """What the URL answers; empty where it does not within a second: a request to a pod that goes may hang."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return ""


def until(come: Callable[[], bool], what: str) -> float:
    """Seconds until it was so."""
    begun = time.monotonic()
    while not come():
        if time.monotonic() - begun > PATIENCE:
            raise RuntimeError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.05)  # asked more often, it would take much of the processors itself
    return time.monotonic() - begun


def replaced(path: Path, text: str) -> None:
    """Saved as most editors do: a file beside it is renamed over it."""
    beside = path.with_name(f".{path.name}.swp")
    beside.write_text(text)
    beside.replace(path)


def seconds(laps: Sequence[float]) -> str:
    """Median and extremes."""
    return f"{statistics.median(laps):.2f} ({min(laps):.2f} to {max(laps):.2f})"


def cluster() -> KubePort:
    """The API server of the profile."""
    return open_kube(this_machine(), Cluster(name=PROFILE))


def node() -> str:
    """The node's address."""
    (found, *_) = cluster().list("Node")
    return str(found["status"]["addresses"][0]["address"])


def saves(url: str, path: Path, write: Callable[[str], str], running: Session) -> list[float]:
    """Seconds from each save to the answer that has its mark."""
    laps = []
    for number in range(ROUNDS):
        mark = f"mark-{number}-{random.randrange(10**6)}"
        text = write(mark)
        replaced(path, text)
        try:
            laps.append(until(lambda mark=mark: mark in answered(url), f"{mark} at {url}"))  # type: ignore[misc]
        except RuntimeError as error:
            failed = [one for one in running.events if one["type"] == "stage_failed"]
            raise RuntimeError(f"{error}; {failed[-1:]}, then {running.events[-2:]}") from None
        running.quiet(0.5)
    return laps


def row(*cells: object) -> None:
    """One row of a table."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def small(folder: Path, count: int) -> None:
    """The small service: by sync, by build, and `count` saves of every kind."""
    root = folder / "small"
    shutil.copytree(HERE / "dev_app", root)
    message = root / "api/src/message.py"
    with session(root) as running:
        url = f"http://{node()}:30995/"
        row("small service, by sync", seconds(saves(url, message, lambda mark: f'MESSAGE = "{mark}"\n', running)))
        storm(root, url, running, count)
    with session(root, "--set", "images.api.sync=[]") as running:
        row("small service, by build", seconds(saves(url, message, lambda mark: f'MESSAGE = "{mark}"\n', running)))


def storm(root: Path, url: str, running: Session, count: int) -> None:
    """Saves in a row, as editors and people make them; at the end what runs is what the sources are."""
    chance = random.Random(16)
    source = root / "api/src"
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-C", str(root)]

    def branch(name: str) -> None:
        subprocess.run([*git, "checkout", "--quiet", name], check=True)

    for command in (["init", "--quiet", "--initial-branch", "one"], ["add", "."], ["commit", "--quiet", "-m", "one"],
                  ["checkout", "--quiet", "-b", "two"]):  # fmt: skip
        subprocess.run([*git, *command], check=True)
    (source / "data").mkdir()
    for number in range(FILES):
        (source / f"data/{number}.txt").write_text(f"{number}\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "two"], check=True)
    until(lambda: local_sums(source) == container_sums(), f"{FILES} files in the container")
    running.quiet()
    before, begun = running.rounds, time.monotonic()
    branch("one")
    until(lambda: running.rounds > before, "the switched branch")
    running.quiet()
    row(f"branch switch of {FILES} files", f"{running.said - begun:.2f}", f"{running.rounds - before} action")

    memory, belongings, rounds, failed = running.memory(), running.belongings(), running.rounds, running.failed
    begun = time.monotonic()
    for number in range(count):
        one_save(source, number, chance)
        if number % 50 == 25:
            subprocess.run([*git, "stash", "--quiet", "--include-untracked"], check=True)
            branch("two" if number % 100 == 25 else "one")
        time.sleep(chance.choice((0.02, 0.2, 1.0)))
    took = time.monotonic() - begun
    (source / "message.py").write_text('MESSAGE = "the end"\n')
    until(lambda: answered(url) == "the end", "the last save")
    running.quiet(3.0)
    same = local_sums(source) == container_sums()
    after = running.belongings()
    words = f"{running.rounds - rounds} actions, {running.failed - failed} failed"
    row(f"{count} saves in {took:.0f} s", words, "what runs equals the sources" if same else "WHAT RUNS DIFFERS")
    row("memory, MiB", f"{memory:.0f} before, {running.memory():.0f} after")
    row("processes, threads, files", f"{belongings} before, {after} after")
    if not same or after[0] > belongings[0]:
        raise RuntimeError(f"what runs differs: {same}, {belongings} → {after}")


def one_save(source: Path, number: int, chance: random.Random) -> None:
    """One thing that a person or an editor does."""
    message = source / "message.py"
    if number % 10 == 0:
        message.write_text("MESSAGE = (\n")
        return
    kind = chance.randrange(6)
    text = f'MESSAGE = "save {number}"\n'
    if kind == 0:
        message.write_text(text)
    elif kind == 1:  # vim: tries whether it may write, keeps the old file beside, writes anew
        (source / "4913").touch()
        (source / "4913").unlink()
        with suppress(FileNotFoundError):
            message.rename(source / "message.py~")
        message.write_text(text)
        (source / "message.py~").unlink(missing_ok=True)
    elif kind == 2:
        folder = source / f"part{chance.randrange(3)}"
        (folder / "deep").mkdir(parents=True, exist_ok=True)
        (folder / f"deep/{number}.txt").write_text(text)
    elif kind == 3:
        for old in source.glob("part*"):
            old.rename(old.with_name(f"part{number}"))
            break
    elif kind == 4:
        victims = [path for path in source.rglob("*.txt") if "data" not in path.parts]
        if victims:
            chance.choice(sorted(victims)).unlink()
    else:
        replaced(message, text)


def local_sums(source: Path) -> list[str]:
    """Each file's checksum and path."""
    files = " ".join(("find . -type f ! -name '*.pyc' -print0 |", "sort -z | xargs -0 sha256sum"))
    done = subprocess.run(["sh", "-c", files], cwd=source, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def container_sums() -> list[str]:
    """As `local_sums`, in the container."""
    words = "cd /app/src && find . -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum"
    kube = cluster()
    (name,) = [name_of(pod) for pod in kube.list("Pod", "bench-dev", labels="app=api") if not is_terminating(pod)]
    return kube.execute("bench-dev", name, "api", ("sh", "-c", words)).output.splitlines()


def application(folder: Path) -> None:
    """The whole application: its backend by sync and by build, and both pages in Chromium."""
    root = folder / "application"
    root.mkdir()
    for name in ("app", "charts", "dockerfiles"):
        shutil.copytree(HERE.parent / name, root / name, ignore=shutil.ignore_patterns("node_modules", ".next", "dist"))
    for path in (root / "charts/todo-app/values.yaml", root / "todo-deploy.yaml"):
        text = (HERE.parent / path.relative_to(root)).read_text()
        for documented, ours in PORTS.items():
            text = text.replace(f"nodePort: {documented}", f"nodePort: {ours}")
        path.write_text(re.sub(r"^(application|namespace): .*", r"\1: bench-dev-todo", text, flags=re.MULTILINE))
    shutil.copy(HERE.parent / ".env.example", root / ".env.example")
    health = root / "app/backend/todo_backend/routes/health.py"
    original = health.read_text()

    def marked(mark: str) -> str:
        return original.replace('{"status": "ok"}', f'{{"status": "ok", "mark": "{mark}"}}')

    with session(root, "--profile", "dev") as running:
        web, chatbot = (f"http://{node()}:{port}/" for port in PORTS.values())
        # By the chatbot's server: Next's starts a process of its own for each request to a route like `/api/[...path]`.
        row("backend of the application, by sync", seconds(saves(f"{chatbot}api/health", health, marked, running)))
        form = root / "app/frontend-web/components/LoginForm.tsx"
        page = root / "app/frontend-chatbot/src/main.ts"
        hot("frontend-web (Next) in Chromium", f"{web}login", form, "Log in to Todo", running)
        hot("frontend-chatbot (Vite) in Chromium", chatbot, page, "Log in to Todo Chatbot", running)
        dockerfile = root / "dockerfiles/backend.Dockerfile"
        settings = root / "app/backend/todo_backend/settings.py"
        for what, path, broken in (
            ("a syntax error in the backend", health, "def broken(:\n"),
            ("a backend that ends at once", settings, f"import os\nos._exit(3)\n{settings.read_text()}"),
            ("a build that fails", dockerfile, dockerfile.read_text().replace(" AS dev\n", " AS dev\nRUN false\n")),
        ):
            fault(what, path, broken, f"{web}api/health", running)
        row("memory of dev, MiB", f"{running.memory():.0f}")
    with session(root, "--profile", "dev", "--set", "images.backend.sync=[]") as running:
        row("backend of the application, by build", seconds(saves(f"{chatbot}api/health", health, marked, running)))


def fault(what: str, path: Path, broken: str, url: str, running: Session) -> None:
    """What was saved fails with a cause, the old version answers, and the next save goes on."""
    good, failed = path.read_text(), running.failed
    path.write_text(broken)
    until(lambda: running.failed > failed, f"a failure of {path.name}")
    problem = next(one for one in reversed(running.events) if one["type"] == "stage_failed")["problems"][0]
    old = "ok" in answered(url)
    ended = running.rounds
    path.write_text(good)
    until(lambda: running.rounds > ended, f"the mended {path.name}")
    running.quiet()
    last = next(one["outcome"] for one in reversed(running.events) if one["type"] == "run_finished")
    row(what, problem["code"], f"the old version {'answers' if old else 'DOES NOT ANSWER'}; next save: {last}")


def hot(name: str, url: str, path: Path, shown: str, running: Session) -> None:
    """Seconds from a save to the new text on the page, which nobody reloads."""
    original = path.read_text()
    with Page(url) as page:
        until(lambda: shown in page.text(), f"{shown} on {url}")
        time.sleep(3)  # the page's own connection for changes comes after its text
        laps = []
        for number in range(ROUNDS):
            mark = f"Seen {number} {random.randrange(10**6)}"
            replaced(path, original.replace(f'"{shown}"', f'"{mark}"'))
            laps.append(until(lambda mark=mark: mark in page.text(), f"{mark} on {url}"))  # type: ignore[misc]
            running.quiet(0.5)
        page.screenshot(Path(tempfile.gettempdir()) / f"bench-dev-{path.name}.png")
        row(name, seconds(laps))
    replaced(path, original)
    running.quiet()


class Page:
    """A page in Chromium, looked at through its DevTools protocol."""

    def __init__(self, url: str) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        program = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
        assert program is not None, "no chromium on PATH"
        argv = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
                f"--user-data-dir={self._profile.name}", "--no-proxy-server", url]  # fmt: skip
        self._browser = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ports = Path(self._profile.name) / "DevToolsActivePort"
        until(lambda: ports.exists() and len(ports.read_text().split()) == 2, "Chromium")
        self._port, self._number = ports.read_text().split()[0], 0
        self._channel: Any = self._connected()

    def _connected(self) -> Any:
        from websocket import create_connection

        pages: list[dict[str, Any]] = []

        def come() -> bool:
            listed = answered(f"http://127.0.0.1:{self._port}/json/list")
            pages[:] = [one for one in json.loads(listed or "[]") if one["type"] == "page"]
            return bool(pages)

        until(come, "a page in Chromium")
        return create_connection(pages[0]["webSocketDebuggerUrl"], suppress_origin=True, timeout=60)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._browser.terminate()
        self._browser.wait(timeout=20)
        self._profile.cleanup()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers."""
        self._number += 1
        self._channel.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (answer := json.loads(self._channel.recv())).get("id") != self._number:
            pass
        result: dict[str, Any] = answer.get("result", {})
        return result

    def text(self) -> str:
        """What a person reads on the page."""
        found = self.ask("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")
        return str(found.get("result", {}).get("value", ""))

    def screenshot(self, path: Path) -> None:
        """The page is a picture."""
        import base64

        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


def main() -> None:
    """The table in bench/results/dev.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--saves", type=int, default=200)
    parser.add_argument("--only", choices=["small", "application"])
    asked = parser.parse_args()
    whole = asked.only is None and asked.saves >= 200
    with (
        recorded("dev", "From a save to the new answer", "make bench-dev", whole=whole),
        tempfile.TemporaryDirectory() as made,
    ):
        print(f"Seconds: median and extremes of {ROUNDS} saves, one after the other.\n")
        row("what", "result", "")
        row("---", "---", "---")
        if asked.only != "application":
            small(Path(made), asked.saves)
        if asked.only != "small":
            application(Path(made))


if __name__ == "__main__":
    main()
