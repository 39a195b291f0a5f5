"""The plan, made: every tag, name and value from the spec, the env values and the facts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.config.load import dockerfile_of
from deployer.config.releases import BUILTIN
from deployer.config.spec import Image, Spec, seconds
from deployer.core.errors import DeployError, input_error
from deployer.core.image_ref import DEFAULT_REGISTRY, parse_ref
from deployer.core.values import mapped, overlaid, set_over
from deployer.core.yaml import Location
from deployer.plan import tags
from deployer.plan.model import CorsPlan, Facts, ImagePlan, Plan, ReleasePlan, SecretPlan, UrlPlan
from deployer.plan.secrets import images_on, is_on, plan_pull_secret, plan_secret, switch_states

BASE_LABEL = "org.opencontainers.image.base.name"
"""Image label with the name of the base image (OCI annotations)."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PART = re.compile(r"{(\w+)}")
_URL_REFERENCE = re.compile(r"\$\{url:([a-z0-9-]+)\}")


def make_plan(spec: Spec, root: Path, facts: Facts) -> Plan:
    """The plan; input error where a value cannot be made or a value path meets a value that is not a mapping."""
    on = switch_states(spec, facts.env)
    # In the order of the sources: an image comes after those that it is built on.
    images = {name: _image(spec, root, name, facts) for name in facts.images if name in images_on(spec, facts.env)}
    secrets = {
        name: plan_secret(spec, name, secret, facts) for name, secret in spec.secrets.items() if is_on(secret.when, on)
    }
    releases = tuple(
        _release(spec, name, facts, images, secrets)
        for name, release in spec.releases.items()
        if is_on(release.when, on)
    )
    urls = url_plans(spec, facts.env)
    pull, namespaces = spec.registry.pull_secret, dict.fromkeys(one.namespace for one in releases)
    for_pulls = [plan_pull_secret(pull, one, facts) for one in namespaces] if pull and facts.pushed else []
    return Plan(
        spec.application, spec.namespace, tuple(images.values()), (*secrets.values(), *for_pulls), releases, urls,
        cors_plans(spec, urls),
    )  # fmt: skip


def with_digests(plan: Plan, digests: Mapping[str, str]) -> Plan:
    """The plan whose values name images by the digests (image → digest) that the registry has given them.

    What a release is made from, its `inputs`, stays: the same tag has the same digest.
    """
    known = {image.unknown_digest: digests[image.name] for image in plan.images if digests.get(image.name)}
    if not known:
        return plan

    def fill(text: str, _: Location) -> str:
        return _DIGEST.sub(lambda found: known.get(found[0], found[0]), text)

    return replace(plan, releases=tuple(replace(one, values=mapped(one.values, fill)) for one in plan.releases))


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
            scheme=url.scheme,
            contains=url.contains,
            matches=url.matches,
            headers=url.headers,
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


def build_args(spec: Spec, image: str, replacements: Mapping[str, str]) -> dict[str, str]:
    """The image's build arguments with its base images, or what replaces them."""
    wanted = spec.images[image]
    bases = {name: replacements.get(base, base) for name, base in wanted.bases.items()}
    return {**wanted.args, **bases}


def _image(spec: Spec, root: Path, name: str, facts: Facts) -> ImagePlan:
    image = spec.images[name]
    source = facts.images[name]
    if source.on:
        others = {base: ":".join(_named(spec, other, facts)[:2]) for base, other in source.on.items()}
        source = replace(source, bases={**source.bases, **others})
    shared = _shared(spec, name, facts)
    repository, tag, content, tag_note = _named(spec, name, facts)
    args = build_args(spec, name, facts.replacements)
    labels = {
        **image.labels,
        "org.opencontainers.image.version": image.version,
        "todo-deploy.dev/application": spec.application,
        "todo-deploy.dev/digest": content,
    }
    if facts.commit is not None:
        labels["org.opencontainers.image.revision"] = facts.commit.sha + ("" if facts.commit.clean else "-dirty")
    bases = tuple(dict.fromkeys([*(args[argument] for argument in image.bases), *source.bases.values()]))
    if bases:
        labels[BASE_LABEL] = ", ".join(bases)
    context = root / image.context
    return ImagePlan(
        name=name,
        repository=repository,
        tag=tag,
        context=context,
        dockerfile=dockerfile_of(root, image),
        args=args,
        bases=bases,
        target=image.target,
        labels=labels,
        max_size=image.max_size or spec.rules.max_image_size,
        source=source,
        migrations=image.migrations.folder if image.migrations is not None else None,
        tag_note=tag_note,
        shared=shared,
        secrets=image.secrets,
        platforms=image.platforms,
    )


def _named(spec: Spec, name: str, facts: Facts) -> tuple[str, str, str, str]:
    """The image's repository and tag, the digest that the tag stands for, and why it is not what its policy says."""
    image, content = spec.images[name], _shared(spec, name, facts) or facts.images[name].digest
    repository = in_registry(image.repository, facts.registry)
    tag = _tag(image, content, facts.used_tags.get(repository, {}), facts)
    return repository, tag.text, content, tag.reason


def _shared(spec: Spec, name: str, facts: Facts) -> str:
    """The digest of all images whose tag is one value with this one's; empty where the tag is its alone."""
    together, wider = set[str](), {name}
    while wider != together:
        together = wider
        wider = together.union(*(same for same in _same_tags(spec) if same & together))
    digests = sorted(facts.images[one].digest for one in together if one in facts.images)
    return hashlib.sha256("".join(digests).encode()).hexdigest() if len(digests) > 1 else ""


def _same_tags(spec: Spec) -> Iterator[set[str]]:
    """The images whose tag is handed over by one value of a release, for each such value."""
    for release in spec.releases.values():
        named: dict[str, set[str]] = {}
        for image, mapping in release.images.items():
            for path, template in mapping.items():
                if set(_PART.findall(template)) == {"tag"}:
                    named.setdefault(path, set()).add(image)
        yield from named.values()


def in_registry(repository: str, registry: str) -> str:
    """The repository within the registry, unless it names one itself."""
    return f"{registry}/{repository}" if registry and not parse_ref(repository).registry else repository


def _tag(image: Image, digest: str, used: Mapping[str, str], facts: Facts) -> tags.Tag:
    if image.tag_policy == "semver":
        return tags.semver_tag(image.version, digest, used)
    if image.tag_policy == "semver-commit":
        return tags.semver_commit_tag(image.version, digest, facts.commit, used)
    return tags.digest_tag(image.version, digest)


def _release(
    spec: Spec, name: str, facts: Facts, images: Mapping[str, ImagePlan], secrets: Mapping[str, SecretPlan]
) -> ReleasePlan:
    release, chart, on = spec.releases[name], facts.charts[name], switch_states(spec, facts.env)
    values = _values(spec, name, facts, images, secrets)
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
        server_side=release.server_side,
    )


def _values(
    spec: Spec, name: str, facts: Facts, images: Mapping[str, ImagePlan], secrets: Mapping[str, SecretPlan]
) -> dict[str, Any]:
    """The release's values: its files', the spec's over them, and what images, Secrets and switches map to."""
    release, on = spec.releases[name], switch_states(spec, facts.env)
    # The objects of our own chart are called like the release: several components stand in one namespace.
    under = {"name": name, "service": {"name": name}} if release.chart == BUILTIN else {}
    values: dict[str, Any] = mapped(
        overlaid(overlaid(under, facts.charts[name].values), release.values),
        lambda text, _: _URL_REFERENCE.sub(lambda match: _address(match[1], facts.addresses), text),
    )
    given: dict[str, tuple[str, str]] = {}
    for image, mapping in release.images.items():
        if image in images:
            known = _image_texts(images[image], pushed=facts.pushed)
            for path, template in mapping.items():
                at = ("releases", name, "images", image, path)
                registry = template == "{registry}" and not known["registry"]
                text = DEFAULT_REGISTRY if registry else _filled(template, known, at, facts)
                first, before = given.setdefault(path, (image, text))
                if before != text:
                    raise _two_texts(at, (first, before), (image, text), facts)
                _set_value(values, at, text, facts)
    for secret, mapping in release.secrets.items():
        if secret in secrets:
            known = {"name": secrets[secret].served, "checksum": secrets[secret].checksum}
            for path, template in mapping.items():
                at = ("releases", name, "secrets", secret, path)
                every = template == "{checksums}"
                value = dict(secrets[secret].checksums) if every else _filled(template, known, at, facts)
                _set_value(values, at, value, facts)
    for switch, paths in release.switches.items():
        for path in paths:
            _set_value(values, ("releases", name, "switches", switch, path), on[switch], facts)
    return values


def _image_texts(image: ImagePlan, *, pushed: bool) -> dict[str, str]:
    """What a template can contain; registry and digest are empty where the image has none."""
    repository = parse_ref(image.repository)
    registry = repository.registry
    name = image.repository.removeprefix(f"{registry}/") if registry else image.repository
    return {"registry": registry, "repository": image.repository, "name": name, "tag": image.tag, "ref": image.ref,
            "digest": image.unknown_digest if pushed else ""}  # fmt: skip


def _two_texts(at: Location, first: tuple[str, str], second: tuple[str, str], facts: Facts) -> DeployError:
    path = at[-1]
    return input_error(
        "VALUE_TWICE",
        f"releases.{at[1]}: images `{first[0]}` and `{second[0]}` set `{path}` to different texts",
        detail=f"`{first[1]}` and `{second[1]}`",
        where=str(facts.origin(*at)),
        hints=("use one value for each, or the same version and tagPolicy where it is the tag of both",),
    )


def _address(url: str, addresses: Mapping[str, str]) -> str:
    if url not in addresses:
        known = ", ".join(sorted(addresses)) or "none"
        raise input_error(
            "URL_REFERENCE",
            f"a value needs the address of url `{url}`, which has no nodePort",
            detail=f"URLs with one: {known}",
            hints=(f"set urls.{url}.nodePort in the spec",),
        )
    return addresses[url]


def filled(template: str, known: Mapping[str, str]) -> str:
    """The template with what is known; `@{digest}` is left out where there is no digest."""
    return (template if known.get("digest") else template.replace("@{digest}", "")).format_map(known)


def _filled(template: str, known: Mapping[str, str], at: Location, facts: Facts) -> str:
    try:
        return filled(template, known)
    except (KeyError, ValueError, IndexError, AttributeError):
        names = ", ".join(f"{{{name}}}" for name in known)
        raise input_error(
            "VALUE_TEMPLATE",
            f"releases.{at[1]}: `{template}` for `{at[-1]}` is not a template",
            where=str(facts.origin(*at)),
            hints=(f"it can contain {names}",),
        ) from None


def _set_value(values: dict[str, Any], at: Location, value: Any, facts: Facts) -> None:
    release, path = str(at[1]), str(at[-1])
    try:
        set_over(values, path, value, facts.charts[release].defaults)
    except ValueError as error:
        where, hints = str(facts.origin(*at)), ("correct the path in the spec",)
        raise input_error("VALUE_PATH", f"releases.{release}: {error}", where=where, hints=hints) from None
