"""Bodies of 200 MB against the running application's own pods: what they are answered, and what it costs the pod.

Each of the three services gets REQUESTS of them, AT_ONCE at a time, half with a length and half in chunks, while
another user lists and adds tasks at the same pod. Everything goes through `kubectl port-forward` to 127.0.0.1, and only
to a cluster on this machine. It ends by itself: each request after REQUEST_SECONDS, each service after SERVICE_SECONDS.
"""

from __future__ import annotations

import argparse
import http.client
import ipaddress
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.report import recorded
from deployer.composition import this_machine
from deployer.toolchain import Toolchain, locate_toolchain

SERVICES = {"backend": 8000, "frontend-web": 3000, "frontend-chatbot": 3001}
REQUESTS, AT_ONCE, BODY_BYTES = 50, 8, 200 * 1000 * 1000
REQUEST_SECONDS, SERVICE_SECONDS = 30.0, 240.0
COLUMNS = ("service", "answers", "sent of each body, mean", "slowest", "memory of the pod: before, highest, limit",
           "highest of its process", "restarts", "requests of the other user", "failed")  # fmt: skip
PIECE = b"x" * 65_536
# The pod's own account, of either version of cgroups: usage, highest usage, limit; then the main process's memory.
ACCOUNT = (
    "cd /sys/fs/cgroup; if [ -e memory.max ]; then f='memory.current memory.peak memory.max'; "
    "else f='memory/memory.usage_in_bytes memory/memory.max_usage_in_bytes memory/memory.limit_in_bytes'; fi; "
    "for i in $(seq 600); do echo $(cat $f 2>/dev/null) $(grep VmRSS /proc/1/status) || exit; sleep 0.5; done"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """kubectl with a context of a cluster on this machine."""

    toolchain: Toolchain
    context: str
    namespace: str

    def command(self, *words: str) -> list[str]:
        """The argument list of kubectl."""
        return [str(self.toolchain.kubectl), "--context", self.context, "--namespace", self.namespace, *words]

    def output(self, *words: str) -> str:
        """What kubectl prints; CalledProcessError when it fails, TimeoutExpired after half a minute."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=True, timeout=30).stdout


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to: a status, or 0 for a connection that was closed without one."""

    status: int
    seconds: float
    sent: int


@dataclass(slots=True)
class Memory:
    """The pod's memory in bytes: what it used (highest seen), its limit, and the main process's resident set."""

    before: int = 0
    highest: int = 0
    limit: int = 0
    resident: int = 0


@dataclass(slots=True)
class Visits:
    """Requests of the other user: the seconds of those that were served, and what became of the others."""

    served: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def refuse_other_machines(cluster: Cluster) -> None:
    """The context's API server is on this machine: at a loopback address or in its Docker. SystemExit otherwise."""
    server = cluster.output("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    host = urlsplit(server).hostname
    addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    words = [str(cluster.toolchain.docker), "inspect", "-f", addresses, cluster.context]
    ours = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30).stdout
    if host not in ours.split() and not ipaddress.ip_address(host or "0.0.0.0").is_loopback:
        raise SystemExit(f"the API server of context {cluster.context} ({host}) is not on this machine")


@contextmanager
def forwarded(cluster: Cluster, pod: str, port: int) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to the pod's."""
    words = cluster.command("port-forward", "--address", "127.0.0.1", f"pod/{pod}", f":{port}")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", process.stdout.readline())
            if found is None:
                raise ConnectionError(f"no port of pod {pod}")
            yield int(found[1])
        finally:
            process.terminate()


def send(port: int, chunked: bool, stubborn: bool) -> Answer:
    """The answer to one large body; a stubborn client sends until the connection is closed, others until the answer."""
    begun, sent, status = time.monotonic(), 0, 0
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {BODY_BYTES}"
    head = f"POST /api/tasks HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    piece = b"%x\r\n%s\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    with socket.create_connection(("127.0.0.1", port), timeout=REQUEST_SECONDS) as connection:
        with suppress(OSError):
            connection.sendall(head.encode())
            while sent < BODY_BYTES and time.monotonic() - begun < REQUEST_SECONDS:
                status = status if stubborn else _status(connection, 0.001)
                if status:
                    break
                connection.settimeout(REQUEST_SECONDS)
                connection.sendall(piece)
                sent += len(PIECE)
        status = status or _status(connection, REQUEST_SECONDS)
    return Answer(status, time.monotonic() - begun, sent)


def _status(connection: socket.socket, seconds: float) -> int:
    """The status of the answer; 0 when none came within the seconds, or the connection was closed without one."""
    connection.settimeout(seconds)
    try:
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", connection.recv(4096))
    except OSError:
        return 0
    return int(found[1]) if found else 0


def attack(cluster: Cluster, pod: str, port: int, until: float) -> list[Answer]:
    """The answers to all requests; those that had no time any more are left out."""

    def one(number: int) -> Answer | None:
        if time.monotonic() > until:
            return None
        # A forward of its own: kubectl ends a forward when one of its connections is reset.
        with forwarded(cluster, pod, port) as local:
            return send(local, chunked=number % 2 == 1, stubborn=number % 4 >= 2)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [answer for answer in pool.map(one, range(REQUESTS)) if answer is not None]


def ask(port: int, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    """Status and document of a small request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


@contextmanager
def visiting(port: int, token: str) -> Iterator[Visits]:
    """While the block runs, the other user adds a task and lists all of them, four times a second at most."""
    visits, over = Visits(), threading.Event()

    def visit() -> None:
        while not over.wait(0.25):
            for method, body, expected in [("POST", {"title": "another task"}, 201), ("GET", None, 200)]:
                begun = time.monotonic()
                try:
                    status, _ = ask(port, method, "/api/tasks", body, token)
                except (OSError, http.client.HTTPException, ValueError) as error:
                    visits.failed.append(type(error).__name__)
                    continue
                if status == expected:
                    visits.served.append(time.monotonic() - begun)
                else:
                    visits.failed.append(str(status))

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield visits
    finally:
        over.set()
        thread.join()


@contextmanager
def weighed(cluster: Cluster, pod: str) -> Iterator[Memory]:
    """The memory that the pod used while the block ran, read twice a second."""
    memory = Memory()
    words = cluster.command("exec", pod, "--", "sh", "-c", ACCOUNT)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        lines = process.stdout
        assert lines is not None

        def read() -> None:
            for line in lines:
                numbers = [int(number) for number in re.findall(r"\d+", line)]
                if len(numbers) < 3:
                    continue
                memory.before = memory.before or numbers[0]
                memory.highest = max(memory.highest, numbers[0])
                memory.limit = numbers[-2]
                memory.resident = max(memory.resident, numbers[-1] * 1024)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(2)
        try:
            yield memory
            time.sleep(1)
        finally:
            process.terminate()
            thread.join()


def restarts(cluster: Cluster, pod: str) -> int:
    """How often the pod's container was restarted."""
    return int(cluster.output("get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"))


def first_pod(cluster: Cluster, service: str) -> str:
    """The name of a running pod of the service."""
    words = ["--field-selector=status.phase=Running", "-o", "jsonpath={.items[0].metadata.name}"]
    return cluster.output("get", "pods", "-l", f"app={service}", *words)


def counted(words: list[str]) -> str:
    """Each of the words with how often it is there."""
    return ", ".join(f"{count} x {word}" for word, count in Counter(words).items())


def row(service: str, answers: list[Answer], memory: Memory, visits: Visits, restarted: int) -> str:
    """The measured figures of a service as a row of the table."""
    statuses = counted([str(answer.status or "closed") for answer in answers])
    times = sorted(visits.served) or [0.0]
    cells = [
        service,
        statuses,
        f"{sum(a.sent for a in answers) / len(answers) / 1e6:.1f} of {BODY_BYTES / 1e6:.0f} MB",
        f"{max(a.seconds for a in answers):.1f} s",
        f"{memory.before / 2**20:.0f} → {memory.highest / 2**20:.0f}, {memory.limit / 2**20:.0f} MiB",
        f"{memory.resident / 2**20:.0f} MiB",
        str(restarted),
        f"{len(visits.served)}, median {times[len(times) // 2] * 1000:.0f} ms, slowest {times[-1] * 1000:.0f} ms",
        counted(visits.failed) or "none",
    ]
    return f"| {' | '.join(cells)} |"


def load(cluster: Cluster, service: str, token: str) -> tuple[str, bool]:
    """The row of a service, and whether all was refused or closed, nothing restarted and the other user served."""
    pod, port = first_pod(cluster, service), SERVICES[service]
    until, before = time.monotonic() + SERVICE_SECONDS, restarts(cluster, pod)
    with forwarded(cluster, pod, port) as local, weighed(cluster, pod) as memory, visiting(local, token) as visits:
        answers = attack(cluster, pod, port, until)
    restarted = restarts(cluster, pod) - before
    refused = len(answers) == REQUESTS and all(answer.status in (0, 413) for answer in answers)
    good = refused and not restarted and not visits.failed and bool(visits.served) and memory.highest < memory.limit
    return row(service, answers, memory, visits, restarted), good


def main() -> int:
    """0 when every service passed; the result is in bench/results/load_application.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.load_application", description=__doc__)
    parser.add_argument("--context", default="todo-deploy", help="context of kubectl's configuration")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("services", nargs="*", help="default: all of them, which writes the result")
    given = parser.parse_args()
    here = this_machine()
    toolchain = locate_toolchain("auto", here.cache_dir)
    if toolchain is None:
        raise SystemExit("bring the application up first: todo-deploy up")
    cluster = Cluster(toolchain, given.context, given.namespace)
    refuse_other_machines(cluster)
    with forwarded(cluster, first_pod(cluster, "backend"), SERVICES["backend"]) as local:
        credentials = {"email": f"visitor-{time.time_ns()}@example.com", "password": "correct horse battery"}
        _, made = ask(local, "POST", "/api/auth/register", credentials)
    title = "Bodies of 200 MB against the application"
    with recorded("load_application", title, "python -m bench.load_application", whole=not given.services):
        print(
            f"{REQUESTS} requests to one pod of each service, {AT_ONCE} at a time, half of them in chunks. Half of the"
        )
        print(
            "clients stop at the answer, half send until the connection is closed. Another user adds and lists tasks at"
        )
        print("the same pod.\n")
        print(f"| {' | '.join(COLUMNS)} |")
        print("|---" * len(COLUMNS) + "|")
        passed = True
        for service in given.services or SERVICES:
            line, good = load(cluster, service, made["access_token"])
            print(line)
            passed = passed and good
        print(f"\n{'Passed' if passed else 'FAILED'}: every body was refused, no memory limit was reached, nothing was")
        print("restarted, and every request of the other user was served.")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
