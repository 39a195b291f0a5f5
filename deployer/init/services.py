"""What a repository without a chart runs: the services of its Compose file, or one for each of its Dockerfiles.

The Compose file, with its override file, is read as far as a service of its own is made of it: build, image, ports,
environment, env files, named volumes, text files, command, dependencies, and the path of a health check
(docs.docker.com/reference/compose-file).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from deployer.core.errors import input_error
from deployer.core.image_ref import parse_ref
from deployer.core.reading import Malformed, read_text
from deployer.core.yaml import parse_manifest
from deployer.init.model import FoundDockerfile, Mount, Service, dashed
from deployer.sources import dotenv
from deployer.sources.dockerfile import instructions

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_OVERRIDES = tuple(f"{name}.override.{ending}" for name in ("compose", "docker-compose") for ending in ("yml", "yaml"))
# How Compose merges what is no mapping (docs.docker.com/reference/compose-file/merge).
_PAIRS = ("args", "environment")
_REPLACED = ("command", "entrypoint", "test")
_HEALTH = re.compile(r"https?://[^/\s\"']+(/[^\s\"'|&;]*)")
_DEFAULTED = re.compile(r"\$\{([A-Za-z_]\w*):?[-+]")
_FOLDER = (".", "/", "~", "$")
_LARGEST = 100_000
"""Bytes of a file that is still a value of a release: a release has less than 1 MiB."""
# Where images listen that Compose files name without a port: within its network, none has to be published.
_LISTENS = {
    "adminer": 8080, "caddy": 80, "elasticsearch": 9200, "httpd": 80, "mariadb": 3306, "memcached": 11211,
    "minio": 9000, "mongo": 27017, "mysql": 3306, "nats": 4222, "nginx": 80, "opensearch": 9200, "postgis": 5432,
    "postgres": 5432, "rabbitmq": 5672, "redis": 6379, "valkey": 6379,
}  # fmt: skip


def services(
    root: Path, dockerfiles: Sequence[FoundDockerfile], known: Mapping[str, str] | None = None
) -> tuple[Service, ...]:
    """The services of the repository, by what the env file is `known` to have; input error where its Compose file is
    not readable."""
    file = next((root / name for name in COMPOSE if (root / name).is_file()), None)
    if file is not None:
        over = next((root / name for name in _OVERRIDES if (root / name).is_file()), None)
        listed = _read(file) if over is None else _over(_read(file), _read(over))
        started = {name: body for name, body in listed.items() if not body.get("profiles")}
        found = tuple(_Compose(root, started, dockerfiles, known or {}).services())
        aside = tuple(f"{name}: left out, for it is in a Compose profile" for name in listed if name not in started)
        aside += (f"{over.name}: its settings count over those of {file.name}, as for Compose",) if over else ()
        return (replace(found[0], remarks=(*aside, *found[0].remarks)), *found[1:]) if found else ()
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


def _over(base: Any, over: Any, key: str = "") -> Any:
    """The value with that of the override file over it."""
    if key in _PAIRS:
        return {**_pairs(base), **_pairs(over)}
    if key == "build":
        base, over = ({"context": one} if isinstance(one, str) else one for one in (base, over))
    elif key == "depends_on":
        base, over = ({name: {} for name in one} if isinstance(one, list) else one for one in (base, over))
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{name: _over(base.get(name), one, name) for name, one in over.items()}}
    if isinstance(base, list) and isinstance(over, list) and key not in _REPLACED:
        paths = {mount.path for mount in _mounts({key: over})}
        kept = [one for one in base if not any(mount.path in paths for mount in _mounts({key: [one]}))]
        return [*kept, *(one for one in over if one not in kept)]
    return base if over is None else over


def _pairs(value: Any) -> Mapping[str, Any]:
    """A mapping, also where it is written as a list of `NAME=VALUE`; a name without a value has None."""
    if isinstance(value, dict):
        return {str(name): one for name, one in value.items()}
    return {name: text if sign else None for name, sign, text in (str(one).partition("=") for one in value or ())}


@dataclass(frozen=True, slots=True)
class _Compose:
    """The services of a Compose file that are started, and what they are read by."""

    root: Path
    listed: Mapping[str, Any]
    dockerfiles: Sequence[FoundDockerfile]
    known: Mapping[str, str]

    def services(self) -> Iterator[Service]:
        """Each service that has an image."""
        for name, body in self.listed.items():
            if body.get("build") or body.get("image"):
                yield self._service(name, body)

    def _service(self, name: str, body: Mapping[str, Any]) -> Service:
        build = body.get("build")
        made = self._made(dashed(name), {"context": build} if isinstance(build, str) else build)
        image = self._filled(str(body.get("image") or ""))
        env, keys, whole, remarks = self._environment(name, body)
        command, asked = self._words(body.get("command"))
        entrypoint, more = self._words(body.get("entrypoint"))
        needs = {str(one): one for one in body.get("depends_on") or () if str(one) in self.listed}
        conditions = body["depends_on"] if isinstance(body.get("depends_on"), dict) else {}
        after = [
            one for one in needs if (conditions.get(one) or {}).get("condition") == "service_completed_successfully"
        ]
        check = (body.get("healthcheck") or {}).get("test") or ""
        mounts = tuple(_mounts(body))
        files = tuple(one for one in mounts if self._is_text(one.volume))
        return Service(
            dashed(name), made, image, self._port(name, body, made, image), bool(body.get("ports")), env,
            keys | {key: key for key in (*asked, *more)}, whole, command, entrypoint,
            tuple(one for one in mounts if one.volume and not one.volume.startswith(_FOLDER)), files,
            tuple(dashed(one) for one in needs if one not in after), tuple(dashed(one) for one in after),
            _path(" ".join(check) if isinstance(check, list) else str(check))
            or (_health_of(self.root / made.path) if made is not None else ""),
            (*(f"{name}: {one.volume} of this machine is not mounted at {one.path}" for one in mounts
               if one.volume.startswith(_FOLDER) and one not in files), *remarks),
        )  # fmt: skip

    def _is_text(self, path: str) -> bool:
        """Whether it is a text file of the repository that is not secret by its name."""
        file = (self.root / path).resolve()
        within = path.startswith(".") and file.is_relative_to(self.root.resolve()) and file.is_file()
        if not within or dotenv.names_secret(path) or file.stat().st_size > _LARGEST:
            return False
        try:
            return "\0" not in read_text(file)
        except Malformed:
            return False

    def _made(self, name: str, build: Any) -> FoundDockerfile | None:
        """The Dockerfile that the service is built from, with the context, stage and arguments that Compose says."""
        if not isinstance(build, dict):
            return None
        context = str(PurePosixPath(str(build.get("context") or ".")))
        path = str(PurePosixPath(context, str(build.get("dockerfile") or "Dockerfile")))
        known = next((one for one in self.dockerfiles if one.path == path), FoundDockerfile(path, name, context, True))
        args = _pairs(build.get("args")).items()
        given = {key: "" if value is None else self._filled(str(value)) for key, value in args}
        target = str(build.get("target") or "")
        return replace(
            known, name=name, context=context, sure=True, target=target, given=given, args={**known.args, **given}
        )

    def _port(self, name: str, body: Mapping[str, Any], made: FoundDockerfile | None, image: str) -> int | None:
        """The port within the container: a published one, one that the image has, or the one that others ask."""
        ports = [*_ports(body), *(made.ports if made is not None else ())]
        base = _base(self.root / made.path) if made is not None else image
        named = _LISTENS.get(parse_ref(base).last) if base and "$" not in base else None
        asked = re.compile(rf"(?<![\w.-]){re.escape(name)}:(\d+)")
        texts = (str(one.get(part) or "") for one in self.listed.values() for part in ("environment", "command"))
        others = (int(found[1]) for text in texts if (found := asked.search(text)) is not None)
        return next(iter([*ports, *([named] if named else ()), *others]), None)

    def _environment(
        self, name: str, body: Mapping[str, Any]
    ) -> tuple[dict[str, str], dict[str, str], bool, tuple[str, ...]]:
        """Variables with their texts, those whose value is the env file's, whether all of it is given, remarks."""
        env: dict[str, str] = {}
        keys: dict[str, str] = {}
        whole, remarks = False, []
        for path in _env_files(body):
            if path == ".env" or not (self.root / path).is_file():
                whole = True
                continue
            for key, entry in dotenv.read_env(self.root / path, path, ()).items():
                if dotenv.names_secret(key):
                    keys[key] = key
                    remarks.append(f"{name}: {key} of {path} is asked of .env, for its value is secret")
                else:
                    env[key] = entry.value
        for key, value in _pairs(body.get("environment")).items():
            env.pop(key, None)
            if value is None:
                keys[key] = key
                continue
            text, asked = self._given(str(value).lower() if isinstance(value, bool) else str(value))
            if len(asked) == 1 and text == f"$({asked[0]})":
                keys[key] = asked[0]
            else:
                env[key] = text
                keys |= {one: one for one in asked}
        return env, keys, whole, tuple(remarks)

    def _words(self, value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The words of a command, and the variables of the env file that they refer to."""
        words = value if isinstance(value, list) else shlex.split(value) if isinstance(value, str) else ()
        given = [self._given(str(one)) for one in words]
        return tuple(text for text, _ in given), tuple(key for _, keys in given for key in keys)

    def _given(self, text: str) -> tuple[str, tuple[str, ...]]:
        """The text with references as Kubernetes writes them to what the env file has, and these variables.

        A variable that it lacks has its default; hosts have the names that the cluster gives them.
        """
        asked: dict[str, None] = {}
        defaulted = set(_DEFAULTED.findall(text))

        def lookup(name: str) -> str | None:
            if name in defaulted and not self.known.get(name):
                return None
            asked[name] = None
            return f"$({name})"

        try:
            made = dotenv.substituted(text, lookup)
        except ValueError:
            made = text
        return self._hosts(made), tuple(asked)

    def _filled(self, text: str) -> str:
        """The text with the env file's values, for what is fixed before anything runs."""
        try:
            return dotenv.substituted(text, self.known.get)
        except ValueError:
            return text

    def _hosts(self, text: str) -> str:
        """The text with the Services' names in place of the services' and containers' where they are hosts."""
        for name, body in self.listed.items():
            for old in {name, str(body.get("container_name") or name)} - {dashed(name)}:
                host = re.escape(old)
                text = re.sub(rf"(?<=[/@]){host}(?=[:/]|$)|(?<![\w.-]){host}(?=:\d)|^{host}$", dashed(name), text)
        return text


def _env_files(body: Mapping[str, Any]) -> Iterator[str]:
    listed = body.get("env_file") or ()
    for one in [listed] if isinstance(listed, str | dict) else listed:
        yield str(PurePosixPath(str(one.get("path") if isinstance(one, dict) else one)))


def _mounts(body: Mapping[str, Any]) -> Iterator[Mount]:
    """Volumes and folders that are mounted; what has no name is the container's own."""
    for one in body.get("volumes") or ():
        if isinstance(one, dict):
            if one.get("type") in ("volume", "bind") and one.get("source"):
                yield Mount(str(one["source"]), str(one.get("target") or ""), one.get("read_only") is True)
            continue
        words = str(one).split(":")
        if len(words) > 1:
            yield Mount(words[0], words[1], "ro" in ",".join(words[2:]).split(","))


def _base(dockerfile: Path) -> str:
    """The image that the last stage begins from."""
    text = dockerfile.read_text(encoding="utf-8", errors="replace") if dockerfile.is_file() else ""
    stages = [word for one in instructions(text) if one.word == "FROM" for word in one.words[:1]]
    return stages[-1] if stages else ""


def _ports(body: Mapping[str, Any]) -> list[int]:
    """The ports within the container, published ones first."""
    found = []
    for one in [*(body.get("ports") or ()), *(body.get("expose") or ())]:
        text = str(one.get("target") if isinstance(one, dict) else one).partition("/")[0].rpartition(":")[2]
        found += [int(text)] if text.isdigit() else []
    return found


def _path(text: str) -> str:
    found = _HEALTH.search(text)
    return found[1].rstrip("\"'") if found is not None else ""


def _health_of(dockerfile: Path) -> str:
    """The path that the Dockerfile's HEALTHCHECK asks."""
    text = dockerfile.read_text(encoding="utf-8", errors="replace") if dockerfile.is_file() else ""
    return _path(text.partition("HEALTHCHECK")[2].replace("\\\n", " ").partition("\n")[0])
