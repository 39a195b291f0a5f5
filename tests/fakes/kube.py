"""An API server in memory: names, namespaces, resource versions, label selectors and immutable Secrets; no controllers.

What a controller or a person would do comes from the test: `put` and `drop`, at a moment of the clock if need be.
"""

from __future__ import annotations

import copy
import io
import re
import shlex
import socket
import tarfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import KINDS, DryRun, Executed, Kind, Object, PodAnswer, PodConnection, kind_of
from tests.fakes.clock import FakeClock

Key = tuple[str, str, str]


class FakeKube:
    """Objects by kind, namespace and name; `writes` lists every change that was asked for through the port."""

    def __init__(self, clock: FakeClock | None = None, *, version: str = "v1.37.2") -> None:
        self.clock = clock or FakeClock()
        self.is_ready = True
        self.writes: list[tuple[str, str, str, str]] = []
        self.container_logs: dict[tuple[str, str, str, bool], list[str]] = {}
        self.pod_servers: dict[tuple[str, str, int], Callable[[str, str, Mapping[str, str]], PodAnswer]] = {}
        self.disk: dict[str, int] = {}
        self.memory: dict[str, dict[tuple[str, str, str], int]] = {}
        self.fixed: dict[Key, DryRun] = {}
        """Objects that cannot become others, with what the server says to a patch of them."""
        self.pod_addresses: dict[tuple[str, str, int], tuple[str, int]] = {}
        self.files: dict[tuple[str, str, str], dict[str, bytes]] = {}
        """What containers have that take commands, by namespace, pod and container."""
        self.read_only: set[tuple[str, str, str]] = set()
        self.commands: dict[tuple[str, ...], Executed] = {}
        self.executed: list[tuple[str, str, str, tuple[str, ...]]] = []
        self.allowed_in: frozenset[str] | None = None
        """The namespaces that the user has rights in, and none beyond them; None where all is allowed."""
        self.lost_kinds: frozenset[tuple[str, str]] = frozenset()
        """apiVersion and kind of what was served once and is so no more: a definition that was deleted."""
        self._version = version
        self._objects: dict[Key, Object] = {}
        self._serial = 0
        for name in ("default", "kube-system"):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def ready(self) -> bool:
        return self.is_ready

    def version(self) -> str:
        return self._version

    def kinds(self) -> Mapping[tuple[str, str], Kind]:
        return {(where.api.partition("/")[2], kind): where for kind, where in KINDS.items()}

    def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun:
        name = next(name for name, where in KINDS.items() if where == kind)
        key = _key(name, body["metadata"].get("namespace", ""), body["metadata"]["name"])
        there = key in self._objects
        if patch:
            return self.fixed.get(key, DryRun(200)) if there else DryRun(404, "not found")
        return DryRun(409, "already exists") if there else DryRun(201)

    def _check_right(self, kind: str, namespace: str) -> None:
        if self.allowed_in is not None and namespace not in self.allowed_in:
            raise _refusal("Forbidden", f"{kind} is forbidden in `{namespace}`", ExitCode.REFUSED)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        self._check_right(kind, namespace)
        found = self._objects.get(_key(kind, namespace, name))
        return copy.deepcopy(found) if found is not None else None

    def names(self, kind: str, namespace: str = "default") -> list[str]:
        """The names of the objects of a kind."""
        return [one["metadata"]["name"] for one in self.list(kind, namespace)]

    def list(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Object]:
        self._check_right(kind, namespace)
        there = dict(self._objects)  # helm may be at work in another thread
        chosen = [
            copy.deepcopy(there[key])
            for key in sorted(there)
            if key[0] == kind
            and namespace in ("", key[1])
            and _selected(there[key], labels)
            and _has_fields(there[key], fields)
        ]
        return [{"kind": kind, "metadata": one["metadata"]} for one in chosen] if metadata_only else chosen

    def serves(self, kind: str) -> bool:
        return kind in KINDS or any(key[0] == kind for key in self._objects)

    def contents(self, namespace: str = "") -> Sequence[Object]:
        return [
            {
                "apiVersion": self._objects[key].get("apiVersion", ""),
                "kind": key[0].partition(".")[0],
                "metadata": copy.deepcopy(self._objects[key]["metadata"]),
            }
            for key in sorted(self._objects)
            if _namespaced(key[0]) and namespace in ("", key[1])
        ]

    def state(self) -> dict[Key, Object]:
        """All that there is, to be compared with what there is later."""
        return copy.deepcopy(self._objects)

    def awaited(self, kind: str, namespace: str, name: str, come: Callable[[Object], bool], seconds: float) -> bool:
        until = self.clock.elapsed + seconds
        while True:
            found = self.get(kind, namespace, name)
            if found is not None and come(found):
                return True
            if self.clock.elapsed >= until:
                return False
            self.clock.sleep(min(0.05, until - self.clock.elapsed))

    def create(self, body: Object) -> Object:
        key = _key_of(body)
        if key[0] == "SelfSubjectAccessReview":
            where = body["spec"]["resourceAttributes"].get("namespace")
            return {**body, "status": {"allowed": self.allowed_in is None or where in self.allowed_in}}
        self._check_right(*key[:2])
        self._write("create", key)
        if key in self._objects:
            raise _refusal("AlreadyExists", f'{KINDS[key[0]].plural} "{key[2]}" already exists', ExitCode.REFUSED)
        self._check_namespace(key)
        return self.put(body)

    def apply(self, body: Object) -> Object:
        key = _key_of(body)
        self._write("apply", key)
        self._check_namespace(key)
        found = self._objects.get(key)
        return self.put(body if found is None else _merged(found, body))

    def replace(self, body: Object) -> Object:
        key = _key_of(body)
        self._write("replace", key)
        found = self._existing(key)
        version = body["metadata"].get("resourceVersion")
        if version and version != found["metadata"]["resourceVersion"]:
            raise _refusal("Conflict", "the object has been modified", ExitCode.REFUSED)
        _check_immutable(found, body)
        kept = {name: found["metadata"][name] for name in ("uid", "creationTimestamp")}
        return self.put({**body, "metadata": {**body["metadata"], **kept}})

    def patch(self, kind: str, namespace: str, name: str, body: Object) -> Object | None:
        key = _key(kind, namespace, name)
        self._write("patch", key)
        if key not in self._objects:
            return None
        merged = _merged(self._objects[key], body)
        _check_immutable(self._objects[key], merged)
        return self.put(merged)

    def delete(self, kind: str, namespace: str, name: str, *, orphan: bool = False) -> bool:
        key = _key(kind, namespace, name)
        self._write("delete", key)
        self.fixed.pop(key, None)
        return self.drop(*key)

    def logs(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, tail: int = 40
    ) -> Sequence[str]:
        return tuple(self.container_logs.get((namespace, pod, container, previous), ())[-tail:])

    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool, follow: bool
    ) -> Generator[str, None, None]:
        yield from self.logs(namespace, pod, container, previous=previous, tail=tail)

    def connect_pod(self, namespace: str, pod: str, port: int, *, timeout: float | None = None) -> PodConnection:
        """A connection to the server that a test has put in the pod's place."""
        if (namespace, pod, port) not in self.pod_addresses:
            raise ConnectionError(f"no pod {pod}")
        return _Socket(socket.create_connection(self.pod_addresses[namespace, pod, port], timeout=timeout))

    def ask_pod(
        self, namespace: str, pod: str, port: int, method: str, path: str, headers: Mapping[str, str]
    ) -> PodAnswer:
        if (namespace, pod, port) not in self.pod_servers:
            raise ConnectionError(f"nothing listens on port {port} of {pod}")
        return self.pod_servers[namespace, pod, port](method, path, headers)

    def execute(self, namespace: str, pod: str, container: str, command: Sequence[str], data: bytes = b"") -> Executed:
        """Files come and go as in a container that has `tar`; other commands end as `self.commands` says."""
        where = namespace, pod, container
        self.executed.append((*where, tuple(command)))
        if where not in self.files:
            raise ConnectionError(f"no container {container} in {pod}")
        if "tar" not in command[2:3][0] if len(command) > 2 else True:
            return self.commands.get(tuple(command), Executed(0))
        if where in self.read_only:
            return Executed(1, "rm: cannot remove '/app/x': Read-only file system")
        lines, _, raw = data.partition(b"\n\n") if not data.startswith(b"\n") else (b"", b"", data[1:])
        files = self.files[where]
        for gone in filter(None, lines.decode().split("\n")):
            for path in [path for path in files if f"{path}/".startswith(f"{gone}/")]:
                del files[path]
        assert len(raw) == int(command[3])
        if raw:
            with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
                for one in tar:
                    content = tar.extractfile(one)
                    files[f"/{one.name}"] = content.read() if content is not None else b""
        return self._said_after_files(where, command[2])

    def _said_after_files(self, where: tuple[str, str, str], script: str) -> Executed:
        """How the script's own commands ended, each of which comes after a line that `echo` prints."""
        said = ""
        for mark, line in re.findall(r"^echo '(.*)'\n(.*) < /dev/null \|\| exit$", script, re.MULTILINE):
            command = tuple(shlex.split(line))
            self.executed.append((*where, command))
            ended = self.commands.get(command, Executed(0))
            said += f"{mark}\n{ended.output}"
            if ended.code:
                return Executed(ended.code, said)
        return Executed(0, said)

    def free_disk(self, node: str) -> int | None:
        return self.disk.get(node)

    def memory_in_use(self, node: str) -> Mapping[tuple[str, str, str], int]:
        return self.memory.get(node, {})

    def put(self, body: Object) -> Object:
        """The object is stored, whoever wrote it: a new resource version unless it is as it was."""
        key = _key_of(body)
        found = self._objects.get(key)
        self._serial += 1
        stamps = {"uid": f"uid-{self._serial}", "creationTimestamp": self.clock.stamp(self.clock.elapsed)}
        metadata: dict[str, Any] = {**stamps, **copy.deepcopy(body["metadata"])}
        if found is not None:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
            metadata |= {name: found["metadata"][name] for name in stamps if name not in body["metadata"]}
        made = {**copy.deepcopy(body), "metadata": metadata}
        if made != found:
            metadata["resourceVersion"] = str(self._serial)
            self._objects[key] = made
        return copy.deepcopy(made)

    def drop(self, kind: str, namespace: str, name: str) -> bool:
        """The object is gone, and with a namespace all that is in it."""
        if self._objects.pop(_key(kind, namespace, name), None) is None:
            return False
        if kind == "Namespace":
            for key in [key for key in self._objects if key[1] == name]:
                del self._objects[key]
        return True

    def __iter__(self) -> Iterator[Object]:
        """Every object, for searching them all."""
        return iter(copy.deepcopy(list(self._objects.values())))

    def _write(self, verb: str, key: Key) -> None:
        self.writes.append((verb, *key))

    def _existing(self, key: Key) -> Object:
        if key not in self._objects:
            raise _not_found(*key)
        return self._objects[key]

    def _check_namespace(self, key: Key) -> None:
        if _namespaced(key[0]) and ("Namespace", "", key[1]) not in self._objects:
            raise _not_found("Namespace", "", key[1])


class _Socket:
    """A connection to a server of this machine, as one to a pod."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def receive(self) -> bytes:
        return self._connection.recv(65536)

    def interrupt(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()


def _key(kind: str, namespace: str, name: str) -> Key:
    return kind, namespace if _namespaced(kind) else "", name


def _namespaced(kind: str) -> bool:
    """A kind that the tool does not know is a custom resource's."""
    return kind not in KINDS or KINDS[kind].namespaced


def _key_of(body: Object) -> Key:
    return _key(kind_of(body), body["metadata"].get("namespace", ""), body["metadata"]["name"])


def _has_fields(body: Object, selector: str) -> bool:
    """Only `field=value` and `field!=value` of top-level fields."""
    for term in filter(None, selector.split(",")):
        name, equal, value = term.partition("!=" if "!=" in term else "=")
        if (body.get(name) == value) != (equal == "="):
            return False
    return True


def _selected(one: Object, selector: str) -> bool:
    """Whether the labels meet a selector of `key=value`, `key!=value` and `key`."""
    labels = one["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        name, unequal, value = term.partition("!=")
        if not unequal:
            name, equal, value = term.partition("=")
            if name not in labels or (equal and labels[name] != value):
                return False
        elif labels.get(name) == value:
            return False
    return True


def _merged(base: Any, over: Any) -> Any:
    """A JSON merge patch (RFC 7396)."""
    if not isinstance(over, dict):
        return copy.deepcopy(over)
    made = dict(base) if isinstance(base, dict) else {}
    for name, value in over.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = _merged(made.get(name), value)
    return made


def _check_immutable(found: Object, body: Object) -> None:
    if found["kind"] != "Secret":
        return
    if found.get("type") != body.get("type"):
        raise _refusal("Invalid", "type: field is immutable", ExitCode.INPUT)
    if found.get("immutable") and (not body.get("immutable") or found.get("data") != body.get("data")):
        raise _refusal("Invalid", "data: field is immutable when `immutable` is set", ExitCode.INPUT)


def _refusal(reason: str, message: str, exit_code: ExitCode) -> DeployError:
    return DeployError(Problem(f"API_{reason.upper()}", "the API server refused", message), exit_code)


def _not_found(kind: str, namespace: str, name: str) -> DeployError:
    return _refusal("NotFound", f'{KINDS[kind].plural} "{name}" not found in "{namespace}"', ExitCode.MACHINE)
