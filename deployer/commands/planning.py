"""The plan of an `up`, made against what the cluster and this machine remember."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deployer import composition
from deployer.commands.connection import Opened, opened_with
from deployer.commands.toolchain import replacements_for
from deployer.composition import Connected, Machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import input_error
from deployer.core.image_ref import DEFAULT_REGISTRY, parse_ref
from deployer.core.ports import LABEL_PREFIX, KubePort
from deployer.core.redact import KNOWN
from deployer.core.steps import Steps
from deployer.core.text import did_you_mean
from deployer.images.delivery import ThroughRegistry
from deployer.images.registry import host_of
from deployer.kube.masking import learn_secrets
from deployer.plan import Facts, ImageSource, Plan, in_registry, make_plan
from deployer.plan.tags import Commit
from deployer.sources import git, load
from deployer.stages import secrets as secrets_stage
from deployer.stages.releases import Preparation
from deployer.stages.urls import forwarded_origin
from deployer.state import build_cache, record
from deployer.state.record import Record
from deployer.toolchain import Toolchain

DOCKER_HUB = "https://index.docker.io/v1/"
"""What Docker's configuration calls the registry that is not named."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the record it was made with, and the commit of its sources."""

    plan: Plan
    record: Record = field(repr=False)
    commit: Commit | None
    prepared: Mapping[str, Preparation] = field(default_factory=dict)
    """What is to be done before each release is upgraded."""
    partial: bool = False
    """Whether only some services were asked for: what the others run stays part of the revision."""

    @property
    def has_changes(self) -> bool:
        """Whether a release of the plan was never applied, or not with these inputs."""
        known = self.record.releases
        return any(one.name not in known or known[one.name].inputs != one.inputs for one in self.plan.releases)


def plan_up(run: Connected, services: Sequence[str], timeout: float | None) -> Planned:
    """The plan against what the cluster remembers, narrowed to the services that were asked for.

    `timeout`: the seconds that each release, and so its hooks, has; None leaves those of the spec.
    """
    kept = record.load(run.kube, run.spec.namespace, run.spec.application)
    # Pods of earlier revisions may print earlier values.
    learn_secrets(run.kube, run.spec.application, run.spec.namespaces)
    commit = git.read_commit(run.loaded.root)
    plan = select_services(plan_for(opened_with(kept, run), run.values, commit, run.machine, services), services)
    if timeout is not None:
        plan = replace(plan, releases=tuple(replace(one, timeout=timeout) for one in plan.releases))
    return Planned(plan, kept, commit, partial=bool(services))


def plan_for(
    opened: Opened, env: Mapping[str, str], commit: Commit | None, here: Machine, services: Sequence[str] = ()
) -> Plan:
    """The plan against what an opened cluster remembers; images that were not asked for stay as last built here."""
    loaded, spec = opened.loaded, opened.loaded.spec
    replacements, sources = read_sources(loaded, env, opened.toolchain, here)
    facts = Facts(
        env=env,
        salt=opened.record.salt,
        images={**sources.images, **_kept_sources(opened, services, sources.images, here)},
        charts=sources.charts,
        replacements=replacements,
        used_tags=_used_tags(opened),
        addresses={
            name: forwarded_origin(
                f"{url.scheme or 'http'}://{opened.facts.address}:{url.node_port}",
                url.namespace or spec.namespace,
                url.service or "",
                url.port,
                opened.local,
            )
            for name, url in spec.urls.items()
            if url.node_port is not None
        },
        commit=commit,
        registry=opened.way.pull,
        pushed=opened.way.kind == "registry",
        pull_config=_pull_config(opened),
        origin=loaded.origin,
    )
    if opened.way.kind != "registry" or all(one.tag_policy == "digest" for one in spec.images.values()):
        return make_plan(spec, loaded.root, facts)
    delivery = composition.open_delivery(here, spec.cluster, None, (opened.way, opened.facts))
    assert isinstance(delivery, ThroughRegistry)
    return _with_free_tags(loaded, facts, delivery)


def _with_free_tags(loaded: LoadedSpec, facts: Facts, registry: ThroughRegistry) -> Plan:
    """The plan in which no version names other content than the registry has of it, from whatever cluster."""
    used = {repository: dict(known) for repository, known in facts.used_tags.items()}
    while True:
        plan = make_plan(loaded.spec, loaded.root, replace(facts, used_tags=used))
        asked = [one for one in plan.images if loaded.spec.images[one.name].tag_policy != "digest"
                 and one.tag not in used.get(one.repository, {})]  # fmt: skip
        taken = [(one, found) for one in asked if (found := registry.content(one.ref)) is not None]
        if not taken:
            return plan
        for one, found in taken:
            used.setdefault(one.repository, {})[one.tag] = found


def read_sources(
    loaded: LoadedSpec, env: Mapping[str, str], toolchain: Toolchain | None, here: Machine
) -> tuple[Mapping[str, str], load.Sources]:
    """The images that stand in for base images on this machine, and the digests of all sources."""
    replacements = replacements_for(toolchain, load.wanted_bases(loaded, env))
    return replacements, load.read_sources(loaded, env, replacements, here.cache_dir)


def _used_tags(opened: Opened) -> dict[str, dict[str, str]]:
    """The tags that name a content (repository → tag → digest): those remembered, and those the daemon has.

    The record goes with `down --volumes`, the images stay: a version that one of them has is no other content's.
    """
    used = {repository: dict(known) for repository, known in opened.record.tags.items()}
    images = opened.loaded.spec.images.values()
    by_version = {in_registry(one.repository, opened.way.pull) for one in images if one.tag_policy != "digest"}
    if not by_version or opened.facts.docker is None or opened.way.kind != "daemon":
        return used
    daemon = composition.open_images(opened.facts.docker)
    for ref in daemon.refs():
        named = parse_ref(ref)
        image = daemon.image(ref) if named.name in by_version else None
        if image is not None:
            used.setdefault(named.name, {})[named.tag] = image.labels.get(f"{LABEL_PREFIX}/digest", image.id)
    return used


def _pull_config(opened: Opened) -> str:
    """What the pull Secret of the spec holds: this user's credentials for the registry, as the nodes name it."""
    way, wanted = opened.way, opened.loaded.spec.registry.pull_secret
    if wanted is None or way.kind != "registry":
        return ""
    names = [one.repository for one in opened.loaded.spec.images.values()]
    hosts = sorted({host_of(in_registry(name, way.pull)) for name in names})
    auths = {}
    for host in hosts:
        pushed = host_of(f"{way.push}/") if way.push and host == host_of(f"{way.pull}/") else host
        name = DOCKER_HUB if host == DEFAULT_REGISTRY else host
        auths[name] = composition.pull_credentials(host, pushed)
    KNOWN.learn(text for one in auths.values() for text in (one["password"], one["auth"]))
    return json.dumps({"auths": auths}, sort_keys=True)


def _kept_sources(
    opened: Opened, services: Sequence[str], known: Mapping[str, ImageSource], here: Machine
) -> dict[str, ImageSource]:
    if not services:
        return {}
    spec = opened.loaded.spec
    before = build_cache.recall(build_cache.memory_path(here.folder(spec)))
    under = {name for one in known.values() for name in one.on.values()}
    return {name: before[name].source for name in known if name not in (*services, *under) and name in before}


def select_services(plan: Plan, services: Sequence[str]) -> Plan:
    """The plan with only the releases that were asked for or use an image that was; whole where none was named.

    Input error for an unknown name.
    """
    if not services:
        return plan
    refuse_unknown(services, {one.name for one in plan.images} | {one.name for one in plan.releases})
    releases = tuple(one for one in plan.releases if one.name in services or set(one.images) & set(services))
    needed = {image for release in releases for image in release.images} | set(services)
    for image in reversed(plan.images):  # each comes after those that it is built on
        needed |= set(image.source.on.values()) if image.name in needed else set()
    return replace(plan, releases=releases, images=tuple(one for one in plan.images if one.name in needed))


def refuse_unknown(services: Sequence[str], known: Collection[str]) -> None:
    """Every service is one of those that are known; input error for another name."""
    for name in services:
        if name not in known:
            raise input_error(
                "SERVICE_UNKNOWN", f"no service `{name}` in the spec", detail="it has: " + ", ".join(sorted(known)),
                hints=did_you_mean(name, known),
            )  # fmt: skip


def ensure_record(planned: Planned, kube: KubePort) -> Steps[Planned]:
    """The cluster has a record of the application before anything is named by its salt."""
    if planned.record.version:
        return planned
    plan = planned.plan
    yield from secrets_stage.ensure_namespaces(plan.namespaces, kube)
    return replace(planned, record=record.save(kube, plan.namespace, plan.application, planned.record))
