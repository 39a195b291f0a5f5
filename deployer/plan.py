"""What `up` leads to, complete before anything is touched: tags, Secret names and Helm values are final here.

Pure: the spec, the env values, the digests of the sources and a few facts go in; a `Plan` comes out. Images and Secrets
are named by their content, so that "nothing changed" is an equality and a rollback restores the exact image and Secret.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer import tags
from deployer.errors import DeployError, ExitCode, Problem, input_error
from deployer.spec import Image, Release, Secret, Spec, seconds

BASE_LABEL = "org.opencontainers.image.base.name"
"""Image label with the name of the base image (OCI annotations)."""

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(\|url)?\}")
_URL_REFERENCE = re.compile(r"\$\{url:([a-z0-9-]+)\}")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The digest of everything an image is built from, and the short digest of each file for telling what changed."""

    digest: str
    manifest: Mapping[str, str]
    bases: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Images that the Dockerfile names itself → what stands in for them; part of the digest already."""


@dataclass(frozen=True, slots=True)
class ChartSource:
    """A chart with its dependencies in one folder, named by its digest."""

    digest: str
    folder: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    """What the release's values files say, later ones over earlier ones."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What planning needs to know beyond the spec; all of it was only read."""

    env: Mapping[str, str] = field(repr=False)
    salt: str = field(repr=False)
    images: Mapping[str, ImageSource]
    charts: Mapping[str, ChartSource]
    stand_ins: Mapping[str, str]
    used_tags: Mapping[str, Mapping[str, str]]
    addresses: Mapping[str, str]
    commit: tags.Commit | None


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One image: its final reference and how it is built."""

    name: str
    repository: str
    tag: str
    context: Path
    dockerfile: Path
    args: Mapping[str, str]
    bases: tuple[str, ...]
    target: str | None
    labels: Mapping[str, str]
    max_size: str
    source: ImageSource
    tag_note: str = ""
    """Why the tag has a content digest where its policy would have a commit."""
    migrations: str | None = None

    @property
    def ref(self) -> str:
        """Repository and tag."""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class SecretPlan:
    """One Secret: `copy` is the immutable object named by content, `stable` the documented name that follows it."""

    name: str
    namespace: str
    copy: str
    stable: str | None
    type: str
    labels: Mapping[str, str]
    checksum: str
    checksums: Mapping[str, str]
    data: Mapping[str, str] = field(repr=False)

    @property
    def served(self) -> str:
        """The name that pods refer to."""
        return self.stable or self.copy


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """One release: staged chart, final values, and the digest of both."""

    name: str
    namespace: str
    chart: Path
    values: Mapping[str, Any]
    inputs: str
    images: tuple[str, ...]
    secrets: tuple[str, ...]
    needs: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class UrlPlan:
    """One address to prove."""

    name: str
    namespace: str
    service: str | None
    ingress_host: str | None
    port: int | str | None
    path: str
    expect: int
    show: bool
    external: bool = False


@dataclass(frozen=True, slots=True)
class CorsPlan:
    """One Service whose answers browsers at these origins, and at those of these URLs, may read."""

    name: str
    namespace: str
    service: str
    port: int | str | None
    path: str
    origins: tuple[str, ...]
    urls: tuple[str, ...]
    setting: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything `up` makes true."""

    application: str
    namespace: str
    images: tuple[ImagePlan, ...]
    secrets: tuple[SecretPlan, ...]
    releases: tuple[ReleasePlan, ...]
    urls: tuple[UrlPlan, ...]
    cors: tuple[CorsPlan, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that something of the plan lives in."""
        used = [secret.namespace for secret in self.secrets] + [release.namespace for release in self.releases]
        return tuple(dict.fromkeys([self.namespace, *used]))


def make_plan(spec: Spec, root: Path, facts: Facts) -> Plan:
    """The plan; input error where a value cannot be made or a value path runs into something that is no map."""
    on = switch_states(spec, facts.env)
    images = {name: _image(spec, root, name, facts) for name, image in spec.images.items() if is_on(image.when, on)}
    secrets = {
        name: _secret(spec, name, secret, facts) for name, secret in spec.secrets.items() if is_on(secret.when, on)
    }
    releases = tuple(
        _release(spec, name, release, facts, images, secrets, on)
        for name, release in spec.releases.items()
        if is_on(release.when, on)
    )
    urls = url_plans(spec, facts.env)
    return Plan(
        spec.application, spec.namespace, tuple(images.values()), tuple(secrets.values()), releases, urls,
        cors_plans(spec, urls),
    )  # fmt: skip


def url_plans(spec: Spec, env: Mapping[str, str]) -> tuple[UrlPlan, ...]:
    """The addresses to prove under these env values."""
    on = switch_states(spec, env)
    return tuple(
        UrlPlan(
            name=name,
            namespace=url.namespace or spec.namespace,
            service=url.service,
            ingress_host=url.ingress_host,
            port=url.port,
            path=url.path,
            expect=url.expect,
            show=url.show,
            external=url.external,
        )
        for name, url in spec.urls.items()
        if is_on(url.when, on)
    )


def cors_plans(spec: Spec, urls: tuple[UrlPlan, ...]) -> tuple[CorsPlan, ...]:
    """The Services whose CORS answers are to be proven, for the URLs that take part."""
    proven = {url.name for url in urls}
    return tuple(
        CorsPlan(
            name=name,
            namespace=one.namespace or spec.namespace,
            service=one.service,
            port=one.port,
            path=one.path,
            origins=one.origins,
            urls=tuple(url for url in one.urls if url in proven),
            setting=one.setting or "",
        )
        for name, one in spec.cors.items()
    )


def switch_states(spec: Spec, env: Mapping[str, str]) -> dict[str, bool]:
    """Each switch's state under these env values."""
    return {
        name: not env.get(switch.when_unset) if switch.when_unset else bool(env.get(switch.when_set or ""))
        for name, switch in spec.switches.items()
    }


def is_on(switch: str | None, states: Mapping[str, bool]) -> bool:
    """Whether a part that names this switch (or none) takes part."""
    return switch is None or states[switch]


def build_args(spec: Spec, image: str, stand_ins: Mapping[str, str]) -> dict[str, str]:
    """The image's build arguments with its base images, or their stand-ins, handed over."""
    wanted = spec.images[image]
    bases = {name: stand_ins.get(base, base) for name, base in wanted.bases.items()}
    return {**wanted.args, **bases}


def missing_keys(spec: Spec, env: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The env names that are required and absent, each with the secret and key that want it."""
    on = switch_states(spec, env)
    missing: dict[str, tuple[str, str]] = {}
    for name, secret in spec.secrets.items():
        for key, wanted in secret.keys.items():
            source = wanted.source or key
            if is_on(secret.when, on) and wanted.kind == "required" and not env.get(source) and wanted.default is None:
                missing[source] = (name, key)
    return missing


def generated_keys(spec: Spec, env: Mapping[str, str]) -> dict[str, int]:
    """The env names that are to be generated because they are absent or empty, with their lengths."""
    on = switch_states(spec, env)
    return {
        wanted.source or key: wanted.length
        for secret in spec.secrets.values()
        if is_on(secret.when, on)
        for key, wanted in secret.keys.items()
        if wanted.kind == "generated" and not env.get(wanted.source or key)
    }


def expand(template: str, env: Mapping[str, str]) -> str:
    """`${KEY}` and `${KEY|url}` replaced by env values; input error where one is absent."""

    def value(match: re.Match[str]) -> str:
        found = env.get(match[1])
        if not found:
            raise input_error("ENV_REFERENCE", f"a default in the spec needs `{match[1]}`, which no env file gives")
        return urllib.parse.quote(found, safe="") if match[2] else found

    return _REFERENCE.sub(value, template)


def _image(spec: Spec, root: Path, name: str, facts: Facts) -> ImagePlan:
    image = spec.images[name]
    source = facts.images[name]
    tag = _tag(image, source.digest, facts)
    args = build_args(spec, name, facts.stand_ins)
    labels = {
        **image.labels,
        "org.opencontainers.image.version": image.version,
        "todo-deploy.dev/application": spec.application,
        "todo-deploy.dev/digest": source.digest,
    }
    if facts.commit is not None:
        labels["org.opencontainers.image.revision"] = facts.commit.sha + ("" if facts.commit.clean else "-dirty")
    bases = tuple(dict.fromkeys([*(args[argument] for argument in image.bases), *source.bases.values()]))
    if bases:
        labels[BASE_LABEL] = ", ".join(bases)
    context = root / image.context
    return ImagePlan(
        name=name,
        repository=image.repository,
        tag=tag.text,
        context=context,
        dockerfile=root / image.dockerfile if image.dockerfile else context / "Dockerfile",
        args=args,
        bases=bases,
        target=image.target,
        labels=labels,
        max_size=image.max_size or spec.rules.max_image_size,
        source=source,
        migrations=image.migrations.folder if image.migrations is not None else None,
        tag_note=tag.reason,
    )


def _tag(image: Image, digest: str, facts: Facts) -> tags.Tag:
    used = facts.used_tags.get(image.repository, {})
    if image.tag_policy == "semver":
        return tags.semver_tag(image.version, digest, used)
    if image.tag_policy == "semver-commit":
        return tags.semver_commit_tag(image.version, digest, facts.commit, used)
    return tags.digest_tag(image.version, digest)


def _secret(spec: Spec, name: str, secret: Secret, facts: Facts) -> SecretPlan:
    namespace = secret.namespace or spec.namespace
    data = {key: _secret_value(facts.env, key, source.source, source.default) for key, source in secret.keys.items()}
    checksums = {key: _keyed_hash(facts.salt, namespace, name, key, value) for key, value in data.items()}
    checksum = _keyed_hash(
        facts.salt, namespace, name, secret.type, *(f"{k}={v}" for k, v in sorted(checksums.items()))
    )
    return SecretPlan(
        name=name,
        namespace=namespace,
        copy=f"{name}-{checksum[:8]}",
        stable=name if secret.naming == "stable" else None,
        type=secret.type,
        labels=secret.labels,
        checksum=checksum,
        checksums=checksums,
        data=data,
    )


def _secret_value(env: Mapping[str, str], key: str, source: str | None, default: str | None) -> str:
    given = env.get(source or key, "")
    return given if given or default is None else expand(default, env)


def _keyed_hash(salt: str, *parts: str) -> str:
    """A keyed hash: a plain one in a name or annotation would let its readers try likely values."""
    message = json.dumps(parts).encode()
    return hmac.new(salt.encode(), message, hashlib.sha256).hexdigest()[:16]


def _release(
    spec: Spec,
    name: str,
    release: Release,
    facts: Facts,
    images: Mapping[str, ImagePlan],
    secrets: Mapping[str, SecretPlan],
    on: Mapping[str, bool],
) -> ReleasePlan:
    values: dict[str, Any] = _with_urls(overlaid(facts.charts[name].values, release.values), facts.addresses)
    for image_name, mapping in release.images.items():
        image = images.get(image_name)
        if image is None:
            continue
        known = {"registry": "", "repository": image.repository, "name": image.repository, "tag": image.tag,
                 "ref": image.ref}  # fmt: skip
        for path, template in mapping.items():
            _set(values, name, path, _filled(template, known, name, path))
    for secret_name, mapping in release.secrets.items():
        secret = secrets.get(secret_name)
        if secret is None:
            continue
        for path, template in mapping.items():
            exact = template == "{checksums}"
            known = {"name": secret.served, "checksum": secret.checksum}
            _set(values, name, path, dict(secret.checksums) if exact else _filled(template, known, name, path))
    for switch, paths in release.switches.items():
        for path in paths:
            _set(values, name, path, on[switch])
    chart = facts.charts[name]
    canonical = json.dumps([chart.digest, values], sort_keys=True, ensure_ascii=False)
    return ReleasePlan(
        name=name,
        namespace=release.namespace or spec.namespace,
        chart=chart.folder,
        values=values,
        inputs=hashlib.sha256(canonical.encode()).hexdigest()[:40],
        images=tuple(image for image in release.images if image in images),
        secrets=tuple(secret for secret in release.secrets if secret in secrets),
        needs=tuple(need for need in release.needs if is_on(spec.releases[need].when, on)),
        timeout=seconds(release.timeout or spec.rollout.timeout),
    )


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `under` with `over` laid over it: maps merge, all else replaces, as Helm does it with values."""
    result = copy.deepcopy(dict(under))
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = overlaid(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _with_urls(value: Any, addresses: Mapping[str, str]) -> Any:
    """`${url:NAME}` replaced by the address the URL is served at."""
    if isinstance(value, dict):
        return {key: _with_urls(item, addresses) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_urls(item, addresses) for item in value]
    if isinstance(value, str):
        return _URL_REFERENCE.sub(lambda match: _address(match[1], addresses), value)
    return value


def _address(url: str, addresses: Mapping[str, str]) -> str:
    if url not in addresses:
        known = ", ".join(sorted(addresses)) or "none"
        raise input_error(
            "URL_REFERENCE", f"a value needs the address of url `{url}`, which has no nodePort", detail=f"with: {known}"
        )
    return addresses[url]


def _filled(template: str, known: Mapping[str, str], release: str, path: str) -> str:
    try:
        return template.format_map(known)
    except (KeyError, ValueError, IndexError, AttributeError):
        names = ", ".join(f"{{{name}}}" for name in known)
        raise input_error(
            "VALUE_TEMPLATE", f"releases.{release}: `{template}` for `{path}` is not a template of {names}"
        ) from None


def _set(values: dict[str, Any], release: str, path: str, value: Any) -> None:
    """The value stands at a dotted path; `\\.` is a dot within a key, as in `helm --set`."""
    keys = [key.replace("\0", ".") for key in path.replace("\\.", "\0").split(".")]
    place = values
    for key in keys[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            problem = Problem("VALUE_PATH", f"releases.{release}: `{path}` runs through `{key}`, which is no map")
            raise DeployError(problem, ExitCode.INPUT)
    place[keys[-1]] = value
