"""What a repository without a chart runs: the services of its Compose file, or one for each of its Dockerfiles.

A service of a Compose file becomes what a container of a pod has in its place; what has no counterpart is a remark
(docs.docker.com/reference/compose-file/services).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from deployer.core.image_ref import parse_ref
from deployer.core.reading import Malformed, read_text
from deployer.init import container
from deployer.init.compose_file import ComposeFile, Mounted, filled, listed, load, mounts, pairs
from deployer.init.model import FoundDockerfile, Mount, Port, Service, dashed
from deployer.sources import dotenv
from deployer.sources.dockerfile import exposed_ports, health_check, last_base

_HEALTH = re.compile(r"https?://[^/\s\"']+(/[^\s\"'|&;]*)")
_DEFAULTED = re.compile(r"\$\{([A-Za-z_]\w*):?[-+]([^}]*)\}?")
_OF_MACHINE = re.compile(r"/($|(dev|etc|lib|proc|root|run|sys|usr|var/(lib/docker|log|run))($|/))")
_LARGEST = 100_000
"""Bytes of a file, or of a folder's files, that are still a value of a release: a release has less than 1 MiB."""
_MOST_FILES = 40
_SECRETS = "/run/secrets/"
# Where images listen that Compose files name without a port: within its network, none has to be published.
_LISTENS = {
    "adminer": 8080, "caddy": 80, "elasticsearch": 9200, "httpd": 80, "mariadb": 3306, "memcached": 11211,
    "minio": 9000, "mongo": 27017, "mysql": 3306, "nats": 4222, "nginx": 80, "opensearch": 9200, "postgis": 5432,
    "postgres": 5432, "rabbitmq": 5672, "redis": 6379, "valkey": 6379,
}  # fmt: skip
# Of debuggers and reloaders, which nobody opens.
_DEBUG = frozenset({2345, 4711, 5005, 5678, 9229, 9230, 24678, 35729, 40000})
# Names whose whole value is the secret, unlike TOKEN_EXPIRY, and values that say where it is, or whether.
_SECRET_VALUE = re.compile(
    r"(PASS(WORD|WD|PHRASE)?|PWD|SECRET|TOKEN|KEY_BASE|SALT|(^|_)(API|PRIVATE|ACCESS|SECRET|ENCRYPTION|SIGNING|AUTH)_?KEY)"
    r"$", re.IGNORECASE,
)  # fmt: skip
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*):?-([^${}]+)\}")
# Keys of a fixed form, which no generated text has: hexadecimal, a UUID, several lines, Base64.
_FORMED = re.compile(r"[0-9a-fA-F-]{24,}|base64:.*|.*\s.*|.{40,}={0,2}", re.DOTALL)
_WORDS = re.compile(r"[\w-]+")
_NO_SECRET = re.compile(r"|/.*|true|false|yes|no|on|off|none|null|[01]", re.IGNORECASE)


def services(
    root: Path, dockerfiles: Sequence[FoundDockerfile], known: Mapping[str, str] | None = None
) -> tuple[Service, ...]:
    """The services of the repository, by what the env file is `known` to have; input error where its Compose file is
    not readable."""
    known = {"PWD": ".", **(known or {})}
    file = load(root, known)
    if file is not None:
        found = tuple(_Compose(root, file, dockerfiles, known).services())
        return (replace(found[0], remarks=(*file.remarks, *found[0].remarks)), *found[1:]) if found else ()
    own = [one for one in dockerfiles if not one.target and not one.given]
    return tuple(
        Service(one.name, one, port=next(iter(one.ports), None), published=bool(one.ports),
                health=_path(health_check(_text_of(root / one.path))),
                web=next((number for number in one.ports if container.is_web(number)), None),
                others=tuple(Port(number) for number in one.ports[1:]))
        for one in own
    )  # fmt: skip


def built(
    root: Path, dockerfiles: Sequence[FoundDockerfile], known: Mapping[str, str]
) -> Iterator[tuple[str, FoundDockerfile]]:
    """Each image that the Compose file builds, in its profiles too: what it calls it (empty: nothing), and of what.

    Input error where the Compose file is not readable.
    """
    everything = {"PWD": ".", **known, "COMPOSE_PROFILES": "*"}
    file = load(root, everything)
    if file is not None:
        yield from _Compose(root, file, dockerfiles, everything).built()


@dataclass(frozen=True, slots=True)
class _Mounts:
    """What of a service's mounts is kept: volumes, files, and what is said of the others."""

    volumes: tuple[Mount, ...]
    files: tuple[Mount, ...]
    remarks: tuple[str, ...]


class _Compose:
    """The services of a Compose file that are started, and what they are read by."""

    def __init__(
        self, root: Path, file: ComposeFile, dockerfiles: Sequence[FoundDockerfile], known: Mapping[str, str]
    ) -> None:
        self.root = root
        self.file = file
        self.listed = file.services
        self.dockerfiles = dockerfiles
        self.known = known
        names = [alias for name, body in self.listed.items() for alias in (*_aliases(name, body), *_linked(body))]
        names = [(old, new) for old, new in names if old not in self.listed or dashed(old) != old]
        self.hosts = [(_as_host(old), new) for old, new in names]
        self.addresses = [(_in_file(old), new) for old, new in names]

    def services(self) -> Iterator[Service]:
        """Each service that has an image; those with one build have one image."""
        images: dict[tuple[object, ...], str] = {}
        for name, body in self.listed.items():
            if body.get("build") or body.get("image"):
                one = self._service(name, body)
                made = one.dockerfile
                if made is not None:
                    build = (made.path, made.context, made.target, *sorted(made.given.items()))
                    one = replace(one, dockerfile=replace(made, name=images.setdefault(build, made.name)))
                yield one

    def built(self) -> Iterator[tuple[str, FoundDockerfile]]:
        """Each image that is built, and what it is called."""
        for name, body in self.listed.items():
            made, _ = self._made(name, body)
            if made is not None:
                yield self._filled(str(body.get("image") or "")), made

    def _service(self, name: str, body: Mapping[str, Any]) -> Service:
        made, aside = self._made(name, body)
        image = self._filled(str(body.get("image") or ""))
        env, keys, whole, remarks = self._environment(name, body)
        command, asked = self._words(body.get("command"))
        entrypoint, more = self._words(body.get("entrypoint"))
        if "entrypoint" in body and not entrypoint:
            entrypoint, command = command, ()
        needs = {str(one): one for one in (*(body.get("depends_on") or ()), *_links(body)) if str(one) in self.listed}
        conditions = body["depends_on"] if isinstance(body.get("depends_on"), dict) else {}
        after = [
            one for one in needs if (conditions.get(one) or {}).get("condition") == "service_completed_successfully"
        ]
        ports, published = self._ports(name, body, made, image)
        port = next((one.number for one in ports if one.protocol == "TCP"), None)
        path, probe, wanted = self._health(name, body, made, {one.number for one in ports})
        mounted = self._mounts(name, body)
        hidden, missing = self._hidden(name, body)
        keys |= {key: key for key in (*asked, *more, *wanted)}
        return Service(
            dashed(name), made, image, port, bool(published), env, keys, whole, command, entrypoint, mounted.volumes,
            (*mounted.files, *self._configs(name, body)),
            tuple(dashed(one) for one in needs if one not in after), tuple(dashed(one) for one in after),
            path,
            (*mounted.remarks, *remarks, *aside, *missing, *container.unlike(name, body)),
            tuple(one for one in ports if one.number != port or one.protocol != "TCP"),
            container.for_people([one.number for one in ports if one in published and one.protocol == "TCP"]),
            probe,
            hidden,
            frozenset(self.literals.values()) & {*keys.values()},
            self._build_secrets(body),
            container.values(body, self._filled),
        )  # fmt: skip

    def _mounts(self, name: str, body: Mapping[str, Any]) -> _Mounts:
        volumes, files, remarks = [], [], []
        for one in mounts(body, self.known):
            if one.kind == "volume" and one.source:
                volumes.append(Mount(one.source, one.target, one.read_only))
            elif one.kind == "bind" and (texts := self._texts(one)):
                files += texts
            elif one.kind == "bind" and self._is_data(one):
                volume = dashed(one.source)
                volumes.append(Mount(volume, one.target, one.read_only))
                remarks.append(f"{name}: {one.source} becomes a volume of the cluster, empty at first")
            elif one.kind == "bind":
                remarks.append(f"{name}: {one.source} of this machine is not mounted at {one.target}")
        return _Mounts(tuple(volumes), tuple(files), tuple(remarks))

    def _texts(self, mount: Mounted) -> list[Mount]:
        """The mounted file, or the files of the folder, if they are few texts of the repository and not secret."""
        place = (self.root / mount.source).resolve()
        if not mount.source.startswith("."):
            return []
        if not place.is_dir():
            return [self._file(mount.source, mount.target, mount)] if self._is_text(place) else []
        if self._is_source(place):
            return []
        found = []
        for file in place.rglob("*"):
            if file.is_file() and not file.name.startswith(".git"):
                found.append(file)
            if len(found) > _MOST_FILES:
                return []
        if not all(self._is_text(file) for file in found) or sum(one.stat().st_size for one in found) > _LARGEST:
            return []
        return [
            self._file(f"{mount.source.rstrip('/')}/{inner}", inner, mount, mount.target)
            for inner in sorted(file.relative_to(place).as_posix() for file in found)
        ]

    def _file(self, path: str, target: str, mount: Mounted, folder: str = "") -> Mount:
        """The file, with its text where that has a host by another name than the cluster's."""
        written = text = read_text(self.root / path)
        for pattern, new in self.addresses:
            text = pattern.sub(new, text)
        return Mount(path, target, mount.read_only, folder, text if text != written else None)

    def _is_source(self, place: Path) -> bool:
        """Whether the folder is what some image is built of, or has it within: what is mounted is the program then."""
        root = self.root.resolve()
        return place == root or any(one.is_relative_to(place) or (one != root and place.is_relative_to(one))
                                    for one in self._contexts)  # fmt: skip

    @cached_property
    def literals(self) -> dict[str, str]:
        """Each secret that the Compose file has as a text → the key of the env file that is used in its place.

        One that a command, a health check or a mounted file may have too stays a text: there, a reference is a guess.
        """
        found = _literals(self.listed, self.known)
        run = [
            str(body.get(part) or "")
            for body in self.listed.values()
            for part in ("command", "entrypoint", "healthcheck")
        ]
        words = set(_WORDS.findall(" ".join(run)))
        mounted = set(_WORDS.findall(" ".join(self._mounted)))
        own = self._unmistakable(found)
        found = {one: key for one, key in found.items() if one not in mounted and (one in own or one not in words)}
        own_programs = self._of_programs(found)
        return {one: key for one, key in found.items() if one not in own_programs}

    def _of_programs(self, found: Mapping[str, str]) -> set[str]:
        """The passwords of databases that no other service is given: their programs have them in their own sources."""
        texts = {name: [_text(value) for value in pairs(body.get("environment")).values()]
                 for name, body in self.listed.items()}  # fmt: skip
        known: set[str] = set()
        for name, body in self.listed.items():
            if parse_ref(str(body.get("image") or "")).last in _LISTENS:
                own = {one for one in found if any(one in _WORDS.findall(text) for text in texts[name])}
                others = {word for other, some in texts.items() if other != name for text in some
                          for word in _WORDS.findall(text)}  # fmt: skip
                known |= set() if own & others else own
        return known

    def _unmistakable(self, found: Mapping[str, str]) -> frozenset[str]:
        """The secrets that are no other word of the file, such as a user's name, too."""
        texts = [(key, _text(value)) for body in self.listed.values()
                 for key, value in pairs(body.get("environment")).items()]  # fmt: skip
        others = [re.sub(r":[^:@/\s]+@", "@", text) for key, text in texts if not is_secret(key, text)]
        others += [*self.listed, *(str(body.get("image")) for body in self.listed.values())]
        words = set(_WORDS.findall(" ".join(others)))
        return frozenset(one for one in found if len(one) > 5 and one not in words and not one.isalpha())

    @cached_property
    def words(self) -> frozenset[str]:
        """The secrets that mean nothing else, wherever they are."""
        return self._unmistakable(self.literals)

    @cached_property
    def _contexts(self) -> frozenset[Path]:
        made = (self._made(name, body)[0] for name, body in self.listed.items())
        found = (one.context for one in (*self.dockerfiles, *made) if one is not None)
        return frozenset((self.root / one).resolve() for one in found)

    @cached_property
    def _asking(self) -> list[str]:
        """What may ask a service at a port: variables, commands and mounted files."""
        texts = [str(one.get(part) or "") for one in self.listed.values() for part in ("environment", "command")]
        return [*texts, *self._mounted]

    @cached_property
    def _mounted(self) -> list[str]:
        """The texts of mounted files."""
        binds = (mount for one in self.listed.values() for mount in mounts(one, self.known) if mount.kind == "bind")
        files = dict.fromkeys(file.volume for mount in binds for file in self._texts(mount))
        return [read_text(self.root / file) for file in files]

    def _is_text(self, file: Path) -> bool:
        """Whether it is a small text file that is not secret by its name or its text."""
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return False
        root = self.root.resolve()
        if not file.is_relative_to(root) or dotenv.names_secret(str(file.relative_to(root))):
            return False
        try:
            text = read_text(file)
        except (OSError, Malformed):
            return False
        return "\0" not in text and "PRIVATE KEY-----" not in text

    def _is_data(self, mount: Mounted) -> bool:
        """Whether the service keeps data there: a folder that the repository has nothing in."""
        place = self.root / Path(mount.source).expanduser()
        if mount.read_only or _OF_MACHINE.match(mount.source) or not dashed(mount.source):
            return False
        if place.is_dir():
            return mount.source.startswith(".") and all(one.name.startswith(".git") for one in place.iterdir())
        return not place.exists() and not PurePosixPath(mount.source).suffix

    def _configs(self, name: str, body: Mapping[str, Any]) -> Iterator[Mount]:
        for source, target in _named_files(body.get("configs"), "/"):
            config = self.file.configs.get(source)
            config = config if isinstance(config, dict) else {}
            if isinstance(config.get("content"), str):
                yield Mount(source, target, read_only=True, text=self._filled(config["content"]))
            elif config.get("file") and self._is_text((self.root / self._filled(config["file"])).resolve()):
                yield Mount(self._filled(config["file"]), target, read_only=True)

    def _hidden(self, name: str, body: Mapping[str, Any]) -> tuple[tuple[Mount, ...], tuple[str, ...]]:
        """The service's secrets, each a key of the env file in a file, and what is said of them."""
        found, remarks = [], []
        for source, target in _named_files(body.get("secrets"), _SECRETS):
            key = self._key(source)
            found.append(Mount(key, target, read_only=True))
            by = self.file.secrets.get(source)
            file = by.get("file") if isinstance(by, dict) else None
            remarks += [f"{name}: {target} has {key} of .env, not the text of {file}"] if file else []
        return tuple(found), tuple(remarks)

    def _key(self, secret: str) -> str:
        """The env file's name for a secret of the Compose file."""
        by = self.file.secrets.get(secret)
        named = str(by.get("environment") or "") if isinstance(by, dict) else ""
        return named or re.sub(r"[^A-Za-z0-9]+", "_", secret).strip("_").upper()

    def _build_secrets(self, body: Mapping[str, Any]) -> dict[str, str]:
        build = body.get("build")
        listed_ = listed(build.get("secrets")) if isinstance(build, dict) else []
        named = [one if isinstance(one, dict) else {"source": one} for one in listed_]
        return {str(one.get("target") or one.get("source")): self._key(str(one.get("source"))) for one in named}

    def _made(self, name: str, body: Mapping[str, Any]) -> tuple[FoundDockerfile | None, tuple[str, ...]]:
        """The Dockerfile that the service is built from, with the context, stage and arguments that Compose says."""
        build = body.get("build")
        build = {"context": build} if isinstance(build, str) else build
        if not isinstance(build, dict):
            return None, ()
        written = self._filled(str(build.get("context") or "."))
        if "://" in written or written.startswith("git@"):
            return None, (f"{name}: {written} is not built here: clone it, and make its folder the context",)
        context = str(PurePosixPath(written))
        path = str(PurePosixPath(context, self._filled(str(build.get("dockerfile") or "Dockerfile"))))
        lower = str(PurePosixPath(context, "dockerfile"))
        path = lower if not (self.root / path).is_file() and (self.root / lower).is_file() else path
        own = FoundDockerfile(path, dashed(name), context, True)
        known = next((one for one in self.dockerfiles if one.path == path and not one.target), own)
        given = {key: self.known.get(key, "") if value is None else self._filled(_text(value))
                 for key, value in pairs(build.get("args")).items()}  # fmt: skip
        target = self._filled(str(build.get("target") or ""))
        remarks = [f"{name}: build.additional_contexts: {one} is not given to the build"
                   for one in pairs(build.get("additional_contexts"))]  # fmt: skip
        if build.get("dockerfile_inline"):
            remarks.append(f"{name}: write what `dockerfile_inline` says into {path}")
        return replace(
            known, name=dashed(name), context=context, sure=True, target=target, given=given,
            args={**known.args, **given},
        ), tuple(remarks)  # fmt: skip

    def _ports(
        self, name: str, body: Mapping[str, Any], made: FoundDockerfile | None, image: str
    ) -> tuple[list[Port], list[Port]]:
        """The ports within the container, first the one to ask, and which of them are published."""
        published = list(container.ports(body.get("ports"), self._filled))
        within = [*published, *container.ports(body.get("expose"), self._filled)]
        base = image
        if made is not None:
            text, target = _text_of(self.root / made.path), made.target or None
            within += [Port(number) for number in exposed_ports(text, made.given, target)]
            base = last_base(text, made.given, target)
        named = _LISTENS.get(parse_ref(base).last) if base and "$" not in base else None
        within += [Port(named)] if named and not within else []
        if not any(one.protocol == "TCP" for one in within):
            within += [Port(number) for number in self._asked(name, body)][:1]
        return sorted(dict.fromkeys(within), key=lambda one: one.number in _DEBUG), published

    def _asked(self, name: str, body: Mapping[str, Any]) -> Iterator[int]:
        """The ports at which others ask the service."""
        hosts = "|".join(re.escape(one) for one in dict.fromkeys([name, *(old for old, _ in _aliases(name, body))]))
        asked = re.compile(rf"(?<![\w.-])(?:{hosts}):(\d+)")
        return (int(found[1]) for text in self._asking for found in asked.finditer(text))

    def _environment(
        self, name: str, body: Mapping[str, Any]
    ) -> tuple[dict[str, str], dict[str, str], bool, tuple[str, ...]]:
        """Variables with their texts, those whose value is the env file's, whether all of it is given, remarks."""
        env: dict[str, str] = {}
        keys: dict[str, str] = {}
        whole, remarks = False, []
        for path, required in self._env_files(body):
            if path == ".env" or not (self.root / path).is_file():
                whole = whole or required or path == ".env"
                continue
            for key, entry in dotenv.read_env(self.root / path, path, ()).items():
                if is_secret(key, entry.value):
                    keys[key] = key
                    remarks.append(f"{name}: {key} of {path} is asked of .env, for its value is secret")
                else:
                    env[key] = entry.value
        for key, value in pairs(body.get("environment")).items():
            env.pop(key, None)
            keys.pop(key, None)
            if value is None:
                if key in self.known or is_secret(key, "any"):
                    keys[key] = key
                else:
                    remarks.append(f"{name}: {key} is passed on where it is set, and .env does not set it")
                continue
            text, secret = _text(value), self._secret(key, _text(value))
            text, asked = (f"$({secret})", (secret,)) if secret else self._given(text)
            if len(asked) == 1 and text == f"$({asked[0]})":
                keys[key] = asked[0]
            else:
                env[key] = text
                keys |= {one: one for one in asked}
        return env, keys, whole, tuple(remarks)

    def _secret(self, key: str, text: str) -> str:
        """The key of a secret that the Compose file has as the variable's text or default; empty for none."""
        default = _DEFAULT.fullmatch(text)
        literal = default[2] if default is not None and not self.known.get(default[1]) else text
        return self.literals.get(literal, "") if is_secret(key, literal) else ""

    def _env_files(self, body: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
        for one in listed(body.get("env_file")):
            by = one if isinstance(one, dict) else {"path": one}
            yield str(PurePosixPath(self._filled(str(by.get("path"))))), by.get("required") is not False

    def _words(self, value: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The words of a command, and the variables of the env file that they refer to."""
        words = value if isinstance(value, list) else _split(value) if isinstance(value, str) else ()
        given = [self._given(_text(one)) for one in words]
        return tuple(text for text, _ in given), tuple(key for _, keys in given for key in keys)

    def _given(self, text: str, form: str = "$({})") -> tuple[str, tuple[str, ...]]:
        """The text with references as Kubernetes writes them to what the env file has, and these variables.

        A variable that it lacks has its default; hosts have the names that the cluster gives them. A secret that the
        Compose file has as a text or a default is a variable of the env file, too.
        """
        asked: dict[str, None] = {}
        defaults = dict(_DEFAULTED.findall(text))

        def lookup(name: str) -> str | None:
            if name in defaults and not self.known.get(name):
                if defaults[name] not in self.literals or not is_secret(name, defaults[name]):
                    return None
                name = self.literals[defaults[name]]
            asked[name] = None
            return form.format(name)

        try:
            made = dotenv.substituted(text, lookup)
        except ValueError:
            made = text
        for literal, key in self.literals.items():
            # As the password of an address, or as a word that can be nothing else.
            word = re.escape(literal) if literal in self.words else f"(?<=:){re.escape(literal)}(?=@)"
            found = re.compile(rf"(?<![\w-]){word}(?![\w-])|(?<=-p){word}(?!\w)")
            if found.search(made):
                made = form.format(key).join(found.split(made))
                asked[key] = None
        return self._hosts(made), tuple(asked)

    def _health(
        self, name: str, body: Mapping[str, Any], made: FoundDockerfile | None, ports: set[int]
    ) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        """The path that the health check asks, it as a probe, and the variables of the env file that it needs."""
        check = body.get("healthcheck") if isinstance(body.get("healthcheck"), dict) else {}
        test = (check or {}).get("test")
        if not test or test == ["NONE"] or test == "NONE":
            off = bool(test) or (check or {}).get("disable") is True
            text = "" if off or made is None else _text_of(self.root / made.path)
            return _path(health_check(text, made.target or None if made is not None else None)), {}, ()
        words = [str(one) for one in test] if isinstance(test, list) else ["CMD-SHELL", str(test)]
        given = [self._given(word, "${{{}}}") for word in words[1:]]
        asked = tuple(key for _, keys in given for key in keys)
        probe = container.probe(words[0], [text for text, _ in given], ports, expands=bool(asked))
        got = probe.get("httpGet") or {}
        return got.get("path", ""), {**probe, **container.pace(check or {}, probe)}, () if got else asked

    def _filled(self, text: str) -> str:
        return filled(text, self.known)

    def _hosts(self, text: str) -> str:
        """The text with the Services' names in place of the services' and containers' where they are hosts."""
        for pattern, new in self.hosts:
            text = pattern.sub(new, text)
        return text


def is_secret(key: str, value: str) -> bool:
    """Whether the variable's value is a secret itself."""
    return _SECRET_VALUE.search(key) is not None and _NO_SECRET.fullmatch(value.strip()) is None


def _literals(listed_: Mapping[str, Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    """Each secret that the Compose file has as a text or a default, and no env file has → the variable that first has
    it."""
    found: dict[str, str] = {}
    for body in listed_.values():
        for key, value in pairs(body.get("environment")).items():
            text, name = _text(value), key
            if default := _DEFAULT.fullmatch(text):
                name, text = default.groups()
            can = is_secret(key, text) and not dotenv.references(text) and not _FORMED.fullmatch(text)
            if can and name not in found.values() and not known.get(name):
                found.setdefault(text, name)
    return found


def _text(value: Any) -> str:
    """The scalar as Compose writes it."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _aliases(name: str, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names under which others reach the service, apart from the one that Kubernetes has, which is last."""
    networks = body.get("networks")
    given = [one for net in (networks.values() if isinstance(networks, dict) else ()) if isinstance(net, dict)
             for one in listed(net.get("aliases"))]  # fmt: skip
    own = (body.get(key) or name for key in ("container_name", "hostname"))
    for old in dict.fromkeys(map(str, (name, *own, *given))):
        if old != dashed(name) and "." not in old and "$" not in old:
            yield old, dashed(name)


def _as_host(name: str) -> re.Pattern[str]:
    host = re.escape(name)
    return re.compile(rf"(?<=[/@]){host}(?=[:/]|$)|(?<![\w.-]){host}(?=:\d)|^{host}$")


def _in_file(name: str) -> re.Pattern[str]:
    """The host in a URL or before a port: other words of a file are none."""
    host = re.escape(name)
    return re.compile(rf"(?<=://){host}(?=[:/\s\"';,]|$)|(?<![\w./-]){host}(?=:\d)", re.MULTILINE)


def _links(body: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(one).partition(":")[0] for one in listed(body.get("links")))


def _linked(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in listed(body.get("links")):
        name, _, alias = str(one).partition(":")
        yield from [(alias, dashed(name))] if alias and alias != dashed(name) and "." not in alias else []


def _named_files(value: Any, folder: str) -> Iterator[tuple[str, str]]:
    """Each config or secret of a service, and the file that has it."""
    for one in listed(value):
        by = one if isinstance(one, dict) else {"source": one}
        source = str(by.get("source") or "")
        target = str(by.get("target") or source)
        yield source, target if target.startswith("/") else f"{folder}{target}"


def _text_of(dockerfile: Path) -> str:
    return dockerfile.read_text(encoding="utf-8", errors="replace") if dockerfile.is_file() else ""


def _path(text: str) -> str:
    found = _HEALTH.search(text)
    return found[1].rstrip("\"'") if found is not None else ""
