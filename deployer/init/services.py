"""What a repository without a chart runs: the services of its Compose file, or one for each of its Dockerfiles.

The Compose file is read as far as a service of its own is made of it: build, image, ports, environment, env files,
named volumes, command, dependencies, and the path of a health check (docs.docker.com/reference/compose-file).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from deployer.core.errors import input_error
from deployer.core.reading import Malformed, read_text
from deployer.core.yaml import parse_manifest
from deployer.init.model import FoundDockerfile, Service, dashed

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_REFERENCE = re.compile(r"\$\{?([A-Za-z_]\w*)(?::?-([^}]*))?\}?")
_HEALTH = re.compile(r"https?://[^/\s\"']+(/[^\s\"'|&;]*)")


def services(root: Path, dockerfiles: Sequence[FoundDockerfile]) -> tuple[Service, ...]:
    """The services of the repository; input error where its Compose file is not readable."""
    file = next((root / name for name in COMPOSE if (root / name).is_file()), None)
    if file is not None:
        return tuple(_of_compose(root, _read(file), dockerfiles))
    own = [one for one in dockerfiles if not one.target and not one.given]
    return tuple(
        Service(one.name, one, port=next(iter(one.ports), None), published=bool(one.ports),
                health=_health_of(root / one.path))
        for one in own
    )  # fmt: skip


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = next(iter(parse_manifest(read_text(file))), {})
    except Malformed as error:
        title, hints = f"cannot read `{file.name}`", (f"docker compose -f {file.name} config",)
        raise input_error("COMPOSE_YAML", title, detail=str(error), where=error.at(file.name), hints=hints) from None
    found = document.get("services")
    return {str(name): one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}


def _of_compose(root: Path, listed: Mapping[str, Any], dockerfiles: Sequence[FoundDockerfile]) -> Iterator[Service]:
    for name, body in listed.items():
        if not body.get("build") and not body.get("image"):
            continue
        build = body.get("build")
        made = _made(dashed(name), {"context": build} if isinstance(build, str) else build, dockerfiles)
        ports, published = _ports(body), bool(body.get("ports"))
        env, keys = _environment(body.get("environment"))
        mounts = [one.split(":") for one in body.get("volumes") or () if isinstance(one, str)]
        named = [one[1] for one in mounts if len(one) > 1 and not one[0].startswith((".", "/", "~", "$"))]
        shared = [one[0] for one in mounts if len(one) > 1 and one[0].startswith((".", "/", "~"))]
        needs = body.get("depends_on") or ()
        check = (body.get("healthcheck") or {}).get("test") or ""
        port = next(iter([*ports, *(made.ports if made is not None else ())]), None)
        yield Service(
            dashed(name), made, str(body.get("image") or ""), port, published, env, keys,
            whole=bool(body.get("env_file")),
            command=_words(body.get("command")), entrypoint=_words(body.get("entrypoint")),
            volume=next(iter(named), ""), needs=tuple(dashed(str(one)) for one in needs),
            health=_path(" ".join(check) if isinstance(check, list) else str(check))
            or (_health_of(root / made.path) if made is not None else ""),
            remarks=tuple(f"{name}: the folder {one} of this machine is not mounted" for one in shared),
        )  # fmt: skip


def _made(name: str, build: Any, dockerfiles: Sequence[FoundDockerfile]) -> FoundDockerfile | None:
    """The Dockerfile that the service is built from, with the context, stage and arguments that Compose says."""
    if not isinstance(build, dict):
        return None
    context = str(PurePosixPath(str(build.get("context") or ".")))
    path = str(PurePosixPath(context, str(build.get("dockerfile") or "Dockerfile")))
    known = next((one for one in dockerfiles if one.path == path), FoundDockerfile(path, name, context, True))
    args = build.get("args") or {}
    pairs = (str(one).partition("=")[::2] for one in args) if isinstance(args, list) else args.items()
    given = {str(key): "" if value is None else str(value) for key, value in pairs}
    target = str(build.get("target") or "")
    return replace(
        known, name=name, context=context, sure=True, target=target, given=given, args={**known.args, **given}
    )


def _ports(body: Mapping[str, Any]) -> list[int]:
    """The ports within the container, published ones first."""
    found = []
    for one in [*(body.get("ports") or ()), *(body.get("expose") or ())]:
        text = str(one.get("target") if isinstance(one, dict) else one).partition("/")[0].rpartition(":")[2]
        found += [int(text)] if text.isdigit() else []
    return found


def _environment(listed: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables with their texts, and those whose value is the env file's."""
    pairs = listed.items() if isinstance(listed, dict) else (str(one).partition("=")[::2] for one in listed or ())
    env: dict[str, str] = {}
    keys = []
    for key, value in pairs:
        text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        found = _REFERENCE.fullmatch(text)
        if (found is not None and found[2] is None) or (value in (None, "") and not isinstance(listed, dict)):
            keys.append(str(key))
        else:
            env[str(key)] = _REFERENCE.sub(lambda one: one[2] or "", text)
    return env, tuple(keys)


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(one) for one in value)
    return tuple(shlex.split(value)) if isinstance(value, str) else ()


def _path(text: str) -> str:
    found = _HEALTH.search(text)
    return found[1].rstrip("\"'") if found is not None else ""


def _health_of(dockerfile: Path) -> str:
    """The path that the Dockerfile's HEALTHCHECK asks."""
    text = dockerfile.read_text(encoding="utf-8", errors="replace") if dockerfile.is_file() else ""
    return _path(text.partition("HEALTHCHECK")[2].replace("\\\n", " ").partition("\n")[0])
