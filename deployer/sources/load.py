"""The inputs of a run, read and checked before anything is changed: env files, build contexts, charts, the commit."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from deployer.config.load import LoadedSpec, chart_folder, dockerfile_of, local_overlay
from deployer.config.releases import BUILTIN
from deployer.config.spec import Image, Spec, mebibytes
from deployer.core.errors import DeployError, ExitCode, Problem, input_error
from deployer.core.image_ref import parse_ref
from deployer.core.reading import Malformed, read_text, text_if_any
from deployer.core.redact import KNOWN
from deployer.core.text import did_you_mean
from deployer.core.values import list_of, mapped, overlaid
from deployer.core.yaml import Location, parse_values
from deployer.plan import (
    ChartSource,
    ImageSource,
    build_args,
    generated_keys,
    images_on,
    is_on,
    missing_keys,
    switch_states,
    wanted_keys,
)
from deployer.sources import build_context, charts, digest, dotenv, env_files
from deployer.sources.dockerfile import base_images, copied, instructions, is_plain, lines_of, of_stage, reaches, stages
from deployer.sources.dotenv import EnvEntry, EnvFile
from deployer.sources.pins import Pins, lock_file, read_lock, unpacked

VARIABLE = "TODO_DEPLOY_CA"
# Filled in by the plan, once the address is known.
_URL = re.compile(r"(\$\{url:[^}]*\})")
# The classic builder reads lines of at most 64 KiB.
_MOST = 40_000
_PATTERN = re.compile(r"[*?[\\]")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_FILE, _APT = "/dev/shm/todo-deploy-ca.pem", "/dev/shm/todo-deploy-apt.conf"  # noqa: S108 - of a build's container
# The image's own CA certificates, where Debian, Alpine and Fedora keep them.
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt")
# OpenSSL (apk too), pip and requests, curl, git, cargo, and Node.js, which adds the file to its own.
_NAMES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO",
          "NODE_EXTRA_CA_CERTS")  # fmt: skip
_SHELLS = re.compile(r'"(?:/\S*/)?(?:ba|da|a|k|z)?sh"')
_RUN = re.compile(r"(\s*RUN\s+(?:--\S+\s+)*)", re.IGNORECASE)


def read_certificates(path: Path, shown: str) -> str:
    """The certificates of the file, and nothing else of it; input error where it holds none, or too many."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise input_error(
            "CA_UNREADABLE", f"cannot read the CA certificates in {shown}", detail=error.strerror or "",
            hints=(f"`build.ca` in the spec, --ca or {VARIABLE}: a PEM file",),
        ) from None  # fmt: skip
    found = "\n".join(match[0] for match in _CERTIFICATE.finditer(text))
    if not found:
        raise input_error(
            "CA_EMPTY", f"{shown} contains no PEM certificate", hints=("openssl x509 -inform der -in FILE",)
        )
    if len(found) > _MOST:
        count = found.count("BEGIN")
        raise input_error(
            "CA_TOO_LARGE", f"{shown} contains {count} certificates; a build can take {_MOST // 1000} kB of them",
            hints=("give only your company's own certificates: images have the public ones",),
        )  # fmt: skip
    return found


def prelude(certificates: str) -> str:
    """Shell commands after which programs trust the image's own CA certificates and these; one line, ending in `;`."""
    lines = " ".join(shlex.quote(line.strip()) for line in certificates.splitlines())
    bundles = " || ".join(f"cat {path} 2>/dev/null" for path in _BUNDLES)
    exports = " ".join(f"{name}={_FILE}" for name in _NAMES)
    # npm's setting replaces its own certificates: only a complete file may.
    complete = " || ".join(f"[ -s {path} ]" for path in _BUNDLES)
    return (
        f"{{ {bundles} || true; printf '%s\\n' {lines}; }} > {_FILE}; "
        f"echo 'Acquire::https::CAInfo \"{_FILE}\";' > {_APT}; "
        f"export {exports} APT_CONFIG={_APT}; "
        f"if {complete}; then export npm_config_cafile={_FILE}; fi; "
    )


def with_prelude(dockerfile: str, commands: str) -> str:
    """The Dockerfile with the commands before what each `RUN` gives to a shell; every line keeps its number."""
    lines = lines_of(dockerfile)
    is_shell = True
    for one in instructions(dockerfile):
        if one.word == "FROM":
            is_shell = True
        elif one.word == "SHELL":
            is_shell = bool(_SHELLS.search(one.rest.split(",")[0]))
        elif one.word == "RUN" and is_shell and not one.rest.startswith("[") and "<<" not in one.rest:
            lines[one.first] = _RUN.sub(lambda match: match[1] + commands, lines[one.first], count=1)
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class Sources:
    """Digests of everything that images and releases are made from."""

    images: Mapping[str, ImageSource]
    charts: Mapping[str, ChartSource]


def values_of(env: EnvFile) -> dict[str, str]:
    """The env values by key."""
    return {key: entry.value for key, entry in env.items()}


def load_env(loaded: LoadedSpec) -> EnvFile:
    """The merged env files, whose secrets are masked from now on; empty where none exists.

    Secret is what the spec uses. A line that it does not use may name an image or a folder that others write, too.

    Input error with the line for a wanted key that cannot be read.
    """
    env = dotenv.merge_env(())
    for path in (loaded.root / name for name in loaded.spec.env.files):
        if path.exists():
            lookup = _lookup(loaded, env)
            read = dotenv.read_env(path, loaded.shown(path), wanted_keys(loaded.spec), lookup)
            env = dotenv.merge_env((env, read))
    KNOWN.own_names = _names(loaded.spec)
    used = wanted_keys(loaded.spec)
    values = values_of(env).items()
    KNOWN.learn_keys((key, value) for key, value in values if key in used or dotenv.may_be_secret(key, value))
    return env


def _names(spec: Spec) -> frozenset[str]:
    """What the spec calls its parts."""
    repositories = (one.repository for one in spec.images.values())
    services = (one.service for one in spec.urls.values() if one.service)
    return frozenset((spec.application, *spec.namespaces, *spec.images, *repositories, *spec.releases, *services))


def _lookup(loaded: LoadedSpec, env: EnvFile | None = None) -> dotenv.Lookup | None:
    """What fills in variables where the spec asks for it: as for Compose, the environment comes before the files."""
    return (lambda name: os.environ.get(name, env.value(name) if env else None)) if loaded.spec.env.expand else None


def ensure_env(loaded: LoadedSpec) -> tuple[str, ...]:
    """The first env file has every generated key, and exists where there was none; returns what was done, in sentences.

    A file that exists is never overwritten: absent generated keys are appended or filled in, every other byte stays.
    """
    change = env_change(loaded)
    if change is None:
        return ()
    path = loaded.root / loaded.spec.env.files[0]
    if not change.creates:
        added = env_files.append_generated(path, change.generated)
        return (f"added generated {', '.join(added)} to {loaded.shown(path)}",)
    example = loaded.root / change.example if change.example else None
    made = env_files.init_env_file(path, example, change.generated, wanted_keys(loaded.spec))
    source = f" from {change.example}" if change.example else ""
    return (f"made {loaded.shown(path)}{source} with generated {', '.join(made) or 'nothing'} (mode 0600)",)


@dataclass(frozen=True, slots=True)
class EnvChange:
    """What `ensure_env` does to the first env file: makes it, maybe from an example, or adds these keys (lengths)."""

    creates: bool
    example: str
    generated: Mapping[str, int]


def _has_env_file(loaded: LoadedSpec) -> bool:
    return any((loaded.root / name).exists() for name in loaded.spec.env.files)


def env_change(loaded: LoadedSpec) -> EnvChange | None:
    """What `ensure_env` would do; None where it does nothing."""
    spec = loaded.spec
    if not _has_env_file(loaded):
        given = example_values(loaded)
        example = spec.env.example if given and spec.env.example else ""
        # What would be refused as a placeholder is generated where it can be.
        source = _example(loaded)
        real = {key: value for key, value in given.items() if dotenv.placeholder(value, key, source) is None}
        return EnvChange(True, example, generated_keys(spec, real)) if spec.secrets else None
    absent = generated_keys(spec, values_of(load_env(loaded)))
    return EnvChange(not (loaded.root / spec.env.files[0]).exists(), "", absent) if absent else None


def filled(loaded: LoadedSpec, env: Mapping[str, str]) -> LoadedSpec:
    """The spec with the references in its build arguments and values filled in, where `env.expand` asks for it.

    Input error for one that cannot be filled in, and for a key of a Secret, whose value would be readable there.
    """
    spec = loaded.spec
    if not spec.env.expand:
        return loaded
    secret = {one.source or key for holder in spec.secrets.values() for key, one in holder.keys.items()}
    secret |= {key for image in spec.images.values() for key in image.secrets.values()}
    problems: list[Problem] = []

    def lookup(name: str) -> str | None:
        if name in secret:
            raise ValueError(f"refers to `{name}`, whose value is a secret and would be readable there")
        return os.environ.get(name, env.get(name))

    def fill(text: str, at: Location) -> str:
        try:
            return "".join(one if _URL.fullmatch(one) else dotenv.substituted(one, lookup) for one in _URL.split(text))
        except ValueError as error:
            title, hints = f"{'.'.join(map(str, at))} {error}", ("correct the reference, or write `$$` for a `$`",)
            problems.append(Problem("SPEC_REFERENCE", title, where=str(loaded.origin(*at)), hints=hints))
            return text

    images = {
        name: one.model_copy(update={"args": mapped(one.args, fill, ("images", name, "args"))})
        for name, one in spec.images.items()
    }
    releases = {
        name: one.model_copy(update={"values": mapped(one.values, fill, ("releases", name, "values"))})
        for name, one in spec.releases.items()
    }
    if problems:
        raise DeployError(problems, ExitCode.INPUT)
    return replace(loaded, spec=spec.model_copy(update={"images": images, "releases": releases}))


def unfilled(loaded: LoadedSpec) -> list[Problem]:
    """Every build argument that refers to a variable, which a build would take for text."""
    if loaded.spec.env.expand:
        return []
    return [
        Problem(
            "SPEC_REFERENCE",
            f"images.{name}.args.{key} refers to a variable, and nothing is filled in",
            where=str(loaded.origin("images", name, "args", key)),
            hints=("write the value itself", "or set `env.expand: true` in the spec; `$$` then is a `$`"),
        )
        for name, image in loaded.spec.images.items()
        for key, value in image.args.items()
        if dotenv.references(value)
    ]


def example_values(loaded: LoadedSpec) -> dict[str, str]:
    """The values of the example that the env file is made from; empty where there is none."""
    example = _example(loaded)
    return values_of(example) if example is not None else {}


def env_or_example(loaded: LoadedSpec) -> EnvFile:
    """What the env files give, or the example where `up` would make the file from it."""
    example = None if any((loaded.root / name).exists() for name in loaded.spec.env.files) else _example(loaded)
    return example if example is not None and loaded.spec.secrets else load_env(loaded)


def complete_values(spec: Spec, env: Mapping[str, str]) -> dict[str, str]:
    """The env values as `up` has them, with words for those that it generates."""
    return {**env, **dict.fromkeys(generated_keys(spec, env), "to be generated")}


def env_problems(loaded: LoadedSpec, env: EnvFile) -> list[Problem]:
    """Every required key that no env file gives, with its nearest miss, every placeholder that was left, and every
    build argument that refers to a variable and gets no value."""
    problems = unfilled(loaded)
    spec, values = loaded.spec, values_of(env)
    shown = spec.env.files[0]
    for key, (secret, name) in missing_keys(spec, values).items():
        near = dotenv.suggest(key, env)
        hint = (f"{env[near].where} has `{near}`: did you mean `{key}`?",) if near else ()
        problems.append(
            Problem(
                "ENV_KEY_MISSING",
                f"`{key}` is missing in {shown}: secret `{secret}` needs it",
                where=env[near].where if near else str(loaded.origin("secrets", secret, "keys", name)),
                hints=(*hint, f"add a line {key}=… to {shown}, then: todo-deploy secrets check"),
            )
        )
    example = _example(loaded)
    change = env_change(loaded) if not _has_env_file(loaded) else None
    made = change.generated if change is not None else {}
    on = switch_states(spec, values)
    problems += [
        Problem(
            "ENV_KEY_MISSING",
            f"`{key}` is missing in {shown}: the build of image `{name}` needs it",
            where=str(loaded.origin("images", name, "secrets", id_)),
            hints=(f"add a line {key}=… to {shown}, then: todo-deploy secrets check",),
        )
        for name, image in images_on(spec, values).items()
        for id_, key in image.secrets.items()
        if not values.get(key)
    ]
    for secret_name, holder in spec.secrets.items():
        for key, wanted in holder.keys.items():
            source = wanted.source or key
            value = values.get(source)
            if not value or source in made or not is_on(holder.when, on):
                continue
            why = dotenv.placeholder(value, source, example)
            if why is not None:
                problems.append(_placeholder(env[source], source, f"{secret_name}.{key}", why, wanted.kind))
    return problems


def wanted_bases(loaded: LoadedSpec, env: Mapping[str, str]) -> tuple[str, ...]:
    """The base images of the images that take part: those the spec hands over, and those the Dockerfiles name."""
    found: set[str] = set()
    for name, image in images_on(loaded.spec, env).items():
        dockerfile = dockerfile_of(loaded.root, image)
        found.update(image.bases.values())
        if dockerfile.is_file():  # a missing one is reported when the sources are read
            found.update(_named_bases(dockerfile.read_bytes(), build_args(loaded.spec, name, {})))
    return tuple(sorted(found))


def built_on(loaded: LoadedSpec, env: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """For each image that takes part, the images of the spec that it is built on, by how its Dockerfile names them."""
    spec, images = loaded.spec, images_on(loaded.spec, env)
    found: dict[str, dict[str, str]] = {}
    for name, image in images.items():
        dockerfile = dockerfile_of(loaded.root, image)
        text = text_if_any(dockerfile) if dockerfile.is_file() else ""
        others = {other: one for other, one in images.items() if one.repository != image.repository}
        bases = [one.ref for one in base_images(text, build_args(spec, name, {}))]
        found[name] = {base: other for base in bases for other, one in others.items() if _is_made(one, base)}
    return found


def _is_made(image: Image, base: str) -> bool:
    """Whether the reference is the image's: by a tag that is not its own, another image is meant."""
    ref = parse_ref(base)
    return ref.name == image.repository and ref.tag in ("", "latest", image.version) and not ref.digest


def _bases_first(on: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The images, each after those that it is built on; input error where there is no such order."""
    try:
        return list(TopologicalSorter({name: set(others.values()) for name, others in on.items()}).static_order())
    except CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        hints = ("let one of them be built on an image from outside",)
        raise input_error("IMAGES_CIRCLE", f"these images are built on each other: {circle}", hints=hints) from None


def read_sources(
    loaded: LoadedSpec, env: Mapping[str, str], replacements: Mapping[str, str], cache_dir: Path
) -> Sources:
    """Digests of every context and chart; input error for a context that is absent or too large, or a bad chart."""
    spec, root = loaded.spec, loaded.root
    images: dict[str, ImageSource] = {}
    # A file for each repository: what others have is neither read nor kept in memory.
    hashes = digest.FileHashes(cache_dir / "hashes" / hashlib.sha256(os.fsencode(root)).hexdigest()[:16])
    on = built_on(loaded, env)
    for name in _bases_first(on):
        image = spec.images[name]
        folder, dockerfile = root / image.context, dockerfile_of(root, image)
        _check_context(loaded, name, folder, dockerfile)
        files = build_context.context_files(folder, dockerfile)
        content = dockerfile.read_bytes()
        _check_stages(loaded, name, content)
        _check_copied(loaded, name, content, files)
        bases = {argument: replacements.get(base, base) for argument, base in image.bases.items()}
        named = _named_bases(content, build_args(spec, name, replacements))
        replaced = {base: replacements[base] for base in named if base in replacements}
        taken = copied(content.decode(errors="replace"), build_args(spec, name, replacements))
        own = build_context.dockerfile_name(folder, dockerfile)
        beside = _beside(loaded, folder, (one.path for one in files if one.path != own))
        # BuildKit asks for what the Dockerfile takes: Git's folder may be larger than all of that.
        counted = tuple(one for one in files if one.path not in beside or _taken_by(taken, one.path))
        if spec.rules.max_context_size:
            _check_size(loaded, name, counted, mebibytes(spec.rules.max_context_size))
        from_here = {base: images[other].digest for base, other in on[name].items()}
        wanted = digest.BuildInputs(
            folder, counted, content, image.args, image.target, ",".join(image.platforms) or None,
            bases | replaced | from_here, image.secrets,
        )  # fmt: skip
        found = digest.image_digest(wanted, hashes)
        sizes = {one.path: one.size for one in counted}
        images[name] = ImageSource(found.value, found.manifest, replaced, sizes, on[name])
    staged = {}
    for name, release in spec.releases.items():
        chart = _staged(loaded, name, cache_dir / "charts", hashes)
        paths_of = (*release.images.values(), *release.secrets.values(), *release.switches.values())
        lists = any(list_of(path) for paths in paths_of for path in paths)
        defaults = charts.own_values(chart.path) if lists else {}
        staged[name] = ChartSource(chart.digest.value, chart.path, _values(loaded, name), defaults)
    hashes.save()
    return Sources(images, staged)


def _staged(loaded: LoadedSpec, name: str, cache: Path, hashes: digest.FileHashes) -> charts.StagedChart:
    """The release's chart with all its parts; input error where a folder or something to be fetched is not there."""
    release, pins = loaded.spec.releases[name], known_pins(loaded)
    if release.is_remote:
        wanted = addressed(loaded, name)
        pin = pins.get(wanted.key)
        if pin is None or not pin.archive(cache).is_file():
            raise charts.not_fetched(wanted)
        chart = charts.stage_chart(unpacked(pin.archive(cache), cache / "unpacked"), cache, hashes, pins=pins)
    else:
        folder, within = _chart_folder(loaded, name)
        chart = charts.stage_chart(folder, cache, hashes, within, pins)
    for item in chart.remote:
        raise charts.not_fetched(item)
    return chart


def known_pins(loaded: LoadedSpec) -> Pins:
    """What this run has resolved, or else what the lock file pins."""
    return loaded.pins if loaded.pins is not None else read_lock(lock_file(loaded.path))


def fetched_charts(loaded: LoadedSpec) -> tuple[charts.Dependency, ...]:
    """Every chart and dependency of the spec's releases that is not in a folder here."""
    found: dict[charts.Dependency, None] = {}
    for name, release in loaded.spec.releases.items():
        if release.is_remote:
            found[addressed(loaded, name)] = None
        else:
            found |= dict.fromkeys(charts.missing_parts(*_chart_folder(loaded, name)))
    return tuple(found)


def addressed(loaded: LoadedSpec, name: str) -> charts.Dependency:
    """The release's chart as a dependency of the spec."""
    release = loaded.spec.releases[name]
    repository, _, chart = release.chart.rstrip("/").rpartition("/")
    if chart.endswith(".tgz"):
        repository, chart = release.chart, ""
    return charts.Dependency(
        chart, release.version or "", repository, "", str(loaded.origin("releases", name, "chart"))
    )


def _chart_folder(loaded: LoadedSpec, name: str) -> tuple[Path, tuple[Path, ...]]:
    """The folder of the release's chart, and those that it may take files from."""
    release = loaded.spec.releases[name]
    folder = chart_folder(loaded.root, release.chart)
    if not folder.is_dir():
        raise input_error(
            "CHART_MISSING",
            f"release `{name}`: no chart at {release.chart}",
            where=str(loaded.origin("releases", name, "chart")),
            hints=("correct the chart's path in the spec",),
        )
    return folder, loaded.readable if release.chart != BUILTIN else (folder.parent,)


def shipped(loaded: LoadedSpec, env: Mapping[str, str]) -> list[Problem]:
    """For every image that copies Git's folder, the spec or a chart: where, since each change of them makes a new tag.

    Input error for an ignore file that cannot be read.
    """
    problems = []
    for name, image in images_on(loaded.spec, env).items():
        folder, dockerfile = loaded.root / image.context, dockerfile_of(loaded.root, image)
        if not folder.is_dir() or not dockerfile.is_file():
            continue
        text, args = dockerfile.read_text(encoding="utf-8", errors="replace"), build_args(loaded.spec, name, {})
        taken = copied(text, args, certain=True)
        beside = _beside(loaded, folder, (one.path for one in build_context.context_files(folder, dockerfile)))
        lines = {own: line for path, own in beside.items() if (line := _taken_by(taken, path))}
        lines = {own: line for own, line in lines.items() if not env_files.is_env_file(own)}
        if lines:
            title = f"image `{name}` copies {', '.join(sorted(lines))}: each change there makes a new tag and rollout"
            where = f"{loaded.shown(dockerfile)}:{min(lines.values())}"
            hint = f"add to {Path(image.context) / '.dockerignore'}: {' '.join(sorted(lines))}"
            problems.append(Problem("CONTEXT_SHIPS", title, where=where, hints=(hint,)))
    return problems


def _beside(loaded: LoadedSpec, folder: Path, paths: Iterable[str]) -> dict[str, str]:
    """Those of a context's paths that are no content of an image, and what they are part of: Git's folder, the spec,
    an env file, a chart or a values file."""
    spec = loaded.spec
    found: dict[str, str] = {}
    charts_and_values = [path for one in spec.releases.values() for path in (one.chart, *one.values_files)
                         if path != one.chart or not one.is_remote]  # fmt: skip
    files = [loaded.root / name for name in (*spec.env.files, *charts_and_values)]
    inside = (
        os.path.relpath(path, folder).replace(os.sep, "/")
        for path in (loaded.path, local_overlay(loaded.path), lock_file(loaded.path), *files)
    )
    own = [path for path in inside if path != "." and not path.startswith("..")]
    folders = tuple(f"{one}/" for one in own)
    for path in paths:
        if ".git" in path and ".git" in (parts := path.split("/")):
            found[path] = "/".join(parts[: parts.index(".git") + 1])
        elif f"{path}/".startswith(folders):  # once for all of them: there may be many thousand paths
            found[path] = next(one for one in own if f"{path}/".startswith(f"{one}/"))
    return found


def _taken_by(taken: Sequence[tuple[str, int]], path: str) -> int:
    """The line of the Dockerfile by which the path comes into the image; 0 where none does."""
    return next((line for source, line in taken if reaches(source, path)), 0)


def build_prelude(loaded: LoadedSpec) -> str:
    """Shell commands before every step of a build that make it trust the company's CA; input error for a bad file."""
    found = ca_certificates(loaded)
    return prelude(found) if found else ""


def ca_certificates(loaded: LoadedSpec) -> str:
    """The company's CA certificates; empty where the spec names none, input error for a bad file."""
    name = loaded.spec.build.ca
    return read_certificates(loaded.root / name, name) if name else ""


def _named_bases(content: bytes, args: Mapping[str, str]) -> list[str]:
    return [one.ref for one in base_images(content.decode(errors="replace"), args)]


def _values(loaded: LoadedSpec, name: str) -> dict[str, Any]:
    """What a release's values files say, later ones over earlier ones; input error for one that cannot be read."""
    merged: dict[str, Any] = {}
    for file in loaded.spec.releases[name].values_files:
        where = str(loaded.origin("releases", name, "valuesFiles"))
        try:
            values = parse_values(read_text(loaded.root / file))
        except FileNotFoundError:
            raise input_error(
                "VALUES_MISSING",
                f"release `{name}`: no values file {file}",
                where=where,
                hints=(f"correct releases.{name}.valuesFiles in the spec",),
            ) from None
        except OSError as error:
            title = f"release `{name}`: cannot read {file}"
            hints = (f"ls -l {file}",)
            raise input_error("VALUES_YAML", title, detail=error.strerror or "", where=where, hints=hints) from None
        except Malformed as error:
            title = f"release `{name}`: cannot read {file}"
            hints = ("correct the line; `helm lint --values` shows it too",)
            raise input_error("VALUES_YAML", title, detail=str(error), where=error.at(file), hints=hints) from None
        if not isinstance(values, dict | None):
            raise input_error(
                "VALUES_YAML",
                f"release `{name}`: {file} is not a mapping of keys",
                where=where,
                hints=("a values file is a YAML document with keys",),
            )
        merged = overlaid(merged, values or {})
    return merged


def _placeholder(entry: EnvEntry, source: str, used: str, why: str, kind: str) -> Problem:
    hint = f"put the real value there, or leave it empty ({used})" if kind == "optional" else "put the real value there"
    title = f"`{source}` still has a placeholder value: {why}"
    return Problem("ENV_PLACEHOLDER", title, where=entry.where, hints=(hint,))


def _example(loaded: LoadedSpec) -> EnvFile | None:
    name = loaded.spec.env.example
    path = loaded.root / name if name else None
    if path is None or not path.is_file():
        return None
    return dotenv.read_env(path, path.name, wanted_keys(loaded.spec), _lookup(loaded))


def _check_context(loaded: LoadedSpec, name: str, folder: Path, dockerfile: Path) -> None:
    if not folder.is_dir():
        where = str(loaded.origin("images", name, "context"))
        raise input_error(
            "CONTEXT_MISSING_FOLDER",
            f"image `{name}`: no folder {loaded.shown(folder)}",
            where=where,
            hints=(f"correct images.{name}.context in the spec",),
        )
    if not dockerfile.is_file():
        where = str(loaded.origin("images", name, "dockerfile"))
        hints = (f"correct images.{name}.dockerfile or context in the spec",)
        title = f"image `{name}`: no {loaded.shown(dockerfile)}"
        raise input_error("DOCKERFILE_MISSING", title, where=where, hints=hints)


def _check_stages(loaded: LoadedSpec, name: str, content: bytes) -> None:
    """The Dockerfile has a stage, and the one that the spec names; another frontend's own language has what it has."""
    image, text = loaded.spec.images[name], content.decode(errors="replace")
    if not is_plain(text):
        return
    shown, known = loaded.shown(dockerfile_of(loaded.root, image)), stages(text)
    if not known:
        hint = "save it as UTF-8" if b"\0" in content else "a Dockerfile begins with FROM IMAGE"
        raise input_error("DOCKERFILE_EMPTY", f"image `{name}`: no FROM in {shown}", where=f"{shown}:1", hints=(hint,))
    if image.target and image.target.lower() not in known:
        hints = did_you_mean(image.target, known) or (f"its stages: {', '.join(known)}",)
        title, where = f"image `{name}`: no stage `{image.target}` in {shown}", loaded.origin("images", name, "target")
        raise input_error("TARGET_MISSING", title, where=str(where), hints=hints)


def _check_copied(loaded: LoadedSpec, name: str, content: bytes, files: Sequence[build_context.ContextFile]) -> None:
    """What the image copies of its context is there, as far as its Dockerfile says so without patterns."""
    image, text = loaded.spec.images[name], content.decode(errors="replace")
    if not is_plain(text) or image.platforms:
        return
    args, folder, dockerfile = (
        build_args(loaded.spec, name, {}),
        loaded.root / image.context,
        dockerfile_of(loaded.root, image),
    )
    run = {one.first + 1 for one in of_stage(text, args, image.target) if one.word != "ONBUILD"}
    paths = {one.path for one in files}
    links = tuple(f"{one.path}/" for one in files if one.kind == "symlink")
    taken = [(path, line) for path, line in copied(text, args, certain=True) if line in run and path]
    lacking = {path: line for path, line in taken
               if path not in paths and not _PATTERN.search(path) and not path.startswith(links)
               and not any(one.startswith(f"{path}/") for one in paths)}  # fmt: skip
    if not lacking:
        return
    there = paths | {above.as_posix() for path in paths for above in PurePosixPath(path).parents}
    ignored_by = build_context.ignore_file(folder, dockerfile)[1]
    problems = [
        Problem(
            "COPY_MISSING",
            f"image `{name}` copies `{path}`, which "
            + (f"{ignored_by} leaves out" if os.path.lexists(folder / path) else "is not in its build context"),
            where=f"{loaded.shown(dockerfile)}:{line}",
            hints=did_you_mean(path, there) or (f"its paths are those of {loaded.shown(folder)}",),
        )
        for path, line in lacking.items()
    ]
    raise DeployError(problems, ExitCode.INPUT)


def _check_size(loaded: LoadedSpec, name: str, files: tuple[build_context.ContextFile, ...], most: int) -> None:
    size = build_context.total_size(files)
    if size <= most * 2**20:
        return
    entries = [f"{number / 2**20:8.1f} MiB  {path}" for path, number in build_context.biggest(files, 5)]
    problem = Problem(
        "CONTEXT_TOO_LARGE",
        f"the build context of image `{name}` has {size / 2**20:.0f} MiB; at most {most} MiB are sent",
        detail="\n".join(["its biggest entries:", *entries]),
        where=str(loaded.origin("images", name, "context")),
        hints=("add them to its .dockerignore", "or raise rules.maxContextSize in the spec"),
    )
    raise DeployError(problem, ExitCode.INPUT)
