"""Parts of a Compose service as a container and a pod of Kubernetes have them: ports, health check, limits, users."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deployer.init.compose_file import listed, pairs
from deployer.init.model import Port
from deployer.init.read import OTHER_PORTS

Fill = Callable[[str], str]

_SHORT = re.compile(r"(?:(?:\[[^]]*\]|[\d.]+):)?(?:[\d-]*:)?(\d+)(?:-(\d+))?(?:/(\w+))?")
_MOST_PORTS = 20
# Of servers, and of the consoles of Consul, Jaeger, Kibana, Mailpit, Neo4j, Prometheus and RabbitMQ.
_PAGES = frozenset({80, 443, 3000, 5000, 5173, 5601, 7474, 8000, 8025, 8080, 8500, 9090, 15672, 16686})
_SIMPLE = re.compile(
    r"(?:curl|wget)\s(?:[^|&;]*?[\s'\"])?(?:(?P<scheme>https?)://)?"
    r"(?P<host>localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::(?P<port>\d+))?(?P<path>/[^\s'\"|&;]*)?['\"]?"
    r"(?P<more>(?:\s+-[\w-]+|\s+[0-9]?>\S+|\s+/dev/null)*)\s*(?:\|\|\s*(?:exit|kill|false)\b.*)?"
)
_ASKS_MORE = re.compile(r"(?:^|\s)(?:-[A-Za-z]*[HXdubA]\b|--(?:header|request|data|user|method|post|resolve|unix))")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
# What has no counterpart, or one that only the reader can choose.
_UNLIKE = {
    "network_mode": "every pod has a network of its own",
    "devices": "a device plugin gives devices",
    "gpus": "a device plugin gives devices",
    "pid": "a pod has processes of its own",
    "ipc": "a pod has memory of its own",
    "sysctls": "the node's administrator allows them",
    "volumes_from": "mount the volumes themselves",
}


def ports(value: Any, fill: Fill) -> Iterator[Port]:
    """The ports within the container that are written so, a range as its ports."""
    for one in listed(value):
        text = f"{one.get('target')}/{one.get('protocol') or 'tcp'}" if isinstance(one, dict) else str(one)
        found = _SHORT.fullmatch(fill(text).strip())
        if found is not None:
            first, last = int(found[1]), int(found[2] or found[1])
            numbers = range(first, min(last, first + _MOST_PORTS - 1) + 1)
            yield from (Port(number, (found[3] or "tcp").upper()) for number in numbers if 0 < number < 65536)


def is_web(port: int) -> bool:
    """Whether a person may open the port: it is none of a database, queue or game."""
    return port not in OTHER_PORTS


def for_people(numbers: Sequence[int]) -> int | None:
    """Of the ports, the one that a person opens: one that pages are at by habit, else the first that may be one."""
    some = [number for number in numbers if is_web(number)]
    return next((number for number in some if number in _PAGES), some[0] if some else None)


def probe(kind: str, words: Sequence[str], known: set[int], *, expands: bool) -> dict[str, Any]:
    """The health check as a probe: a plain request at one of the `known` ports is one, all else runs in the container.

    `expands`: it refers to variables, which a shell has to fill in.
    """
    text = " ".join(words)
    found = None if _ASKS_MORE.search(text) else _SIMPLE.fullmatch(text.strip())
    if found is not None and "$" not in text:
        secure = found["scheme"] == "https"
        port = int(found["port"] or (443 if secure else 80))
        if port in known:
            return {"httpGet": {"path": found["path"] or "/", "port": port, **({"scheme": "HTTPS"} if secure else {})}}
    if kind == "CMD" and not expands:
        return {"exec": {"command": list(words)}}
    shell = " ".join(_quoted(word) for word in words) if kind == "CMD" else text
    return {"exec": {"command": ["sh", "-c", shell]}}


def _quoted(word: str) -> str:
    return f'"{word}"' if "${" in word else shlex.quote(word)


def pace(check: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, int]:
    """How often the probe runs, and how long it may take: Compose's 30 seconds, not Kubernetes' one."""
    found: dict[str, int] = {}
    if interval := seconds(check.get("interval")):
        found["periodSeconds"] = min(interval, 10)
    if timeout := seconds(check.get("timeout")) or (10 if "exec" in made else 0):
        found["timeoutSeconds"] = timeout
    retries = str(check.get("retries") or "")
    if retries.isdigit() and int(retries) > 0:
        found["failureThreshold"] = int(retries)
    return found


def seconds(value: Any) -> int:
    """The duration (`1m30s`) in whole seconds, at least one; 0 where none is written."""
    parts = _DURATION.findall(str(value or ""))
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return max(1, round(total)) if parts and total else 0


def values(body: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """The chart's values for what the service says of its container and pod."""
    deploy = body.get("deploy") if isinstance(body.get("deploy"), dict) else {}
    made: dict[str, Any] = {}
    replicas = fill(str((deploy or {}).get("replicas", body.get("scale", ""))))
    if replicas.isdigit() and replicas != "1":
        made["replicaCount"] = int(replicas)
    if size := _size(body, deploy or {}, fill):
        made["resources"] = size
    if grace := seconds(fill(str(body.get("stop_grace_period") or ""))):
        made["terminationGracePeriodSeconds"] = max(grace, 6)
    more: dict[str, Any] = {"workingDir": fill(str(body.get("working_dir") or ""))}
    more |= {name: body.get(field) is True for name, field in (("stdin", "stdin_open"), ("tty", "tty"))}
    if more := {name: one for name, one in more.items() if one}:
        made["containerSpec"] = more
    hosts = [str(one).replace("=", ":", 1).partition(":")[::2] for one in listed(body.get("extra_hosts"))]
    hosts += list(pairs(body["extra_hosts"]).items()) if isinstance(body.get("extra_hosts"), dict) else []
    if aliases := [{"ip": str(ip), "hostnames": [str(host)]} for host, ip in hosts if re.fullmatch(r"[\d.]+", str(ip))]:
        made["podSpec"] = {"hostAliases": aliases}
    if security := _security(body, fill):
        made["containerSecurityContext"] = security
    return made | _memory(body, fill)


def _security(body: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    made: dict[str, Any] = {}
    user, _, group = fill(str(body.get("user") or "")).partition(":")
    numbers = {"root": "0", **{one: one for one in (user, group) if one.isdigit()}}
    made |= {"runAsUser": int(numbers[user])} if user in numbers else {}
    made |= {"runAsGroup": int(numbers[group])} if group in numbers else {}
    if body.get("read_only") is True:
        made["readOnlyRootFilesystem"] = True
    given = {
        name: [str(one).upper().removeprefix("CAP_") for one in listed(body.get(field))]
        for name, field in (("add", "cap_add"), ("drop", "cap_drop"))
    }
    if capabilities := {name: some for name, some in given.items() if some}:
        made["capabilities"] = capabilities
    if body.get("privileged") is True:
        made["privileged"] = True
    return made


def _memory(body: Mapping[str, Any], fill: Fill) -> dict[str, Any]:
    """Volumes in memory, at the paths that the service has them."""
    found = [(str(one).partition(":")[0], "") for one in listed(body.get("tmpfs"))]
    found += [(str(one.get("target")), str((one.get("tmpfs") or {}).get("size") or "")) for one in
              listed(body.get("volumes")) if isinstance(one, dict) and one.get("type") == "tmpfs"]  # fmt: skip
    found += [("/dev/shm", str(body["shm_size"]))] if body.get("shm_size") else []  # noqa: S108 - the container's
    if not found:
        return {}
    names = [f"memory-{number}" for number in range(len(found))]
    limits = [{"sizeLimit": size} if (size := quantity(fill(text))) else {} for _, text in found]
    return {
        "extraVolumes": [{"name": name, "emptyDir": {"medium": "Memory", **limit}}
                         for name, limit in zip(names, limits, strict=True)],
        "extraVolumeMounts": [{"name": name, "mountPath": path} for name, (path, _) in zip(names, found, strict=True)],
    }  # fmt: skip


def _size(body: Mapping[str, Any], deploy: Mapping[str, Any], fill: Fill) -> dict[str, dict[str, str]]:
    """Requests and limits as the service has them."""
    resources = deploy.get("resources") if isinstance(deploy.get("resources"), dict) else {}
    most, least = ((resources or {}).get(part) or {} for part in ("limits", "reservations"))
    given = {
        "limits": (most.get("cpus") or body.get("cpus"), most.get("memory") or body.get("mem_limit")),
        "requests": (least.get("cpus"), least.get("memory") or body.get("mem_reservation")),
    }
    made: dict[str, dict[str, str]] = {}
    for part, (cpus, memory) in given.items():
        cpu = fill(str(cpus or ""))
        some = {"cpu": cpu} if re.fullmatch(r"\d*\.?\d+", cpu) and float(cpu) else {}
        some |= {"memory": size} if (size := quantity(fill(str(memory or "")))) else {}
        made |= {part: some} if some else {}
    return made


def quantity(text: str) -> str:
    """A size of Docker's (`512m`, of 1024s) as a quantity of Kubernetes'; empty for what is none."""
    found = _BYTES.fullmatch(text.strip())
    if found is None or not float(found[1]):
        return ""
    unit = found[2].upper()
    return f"{found[1]}{'Ki' if unit == 'K' else f'{unit}i' if unit else ''}"


def unlike(name: str, body: Mapping[str, Any]) -> Iterator[str]:
    """What the service says that its pod does not have."""
    for field, why in _UNLIKE.items():
        if body.get(field):
            yield f"{name}: `{field}` is left out: {why}"
    user = str(body.get("user") or "").partition(":")[0]
    if user and user != "root" and not user.isdigit():
        yield f"{name}: user {user} is left out: a pod's user is a number"
