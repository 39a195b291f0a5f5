"""The addons of one cluster: what the spec asks for, tied to the toolchain, the daemons and the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from deployer import composition, diagnosis
from deployer.cluster.addons import images as addon_images
from deployer.cluster.addons.images import address_range, ensure_certificate, templates, waves
from deployer.cluster.addons.table import ADDONS, Addon
from deployer.composition import Machine
from deployer.config.spec import Cluster
from deployer.core.errors import DeployError, Problem, input_error, machine_error
from deployer.core.events import Warned
from deployer.core.ports import ClusterFacts, KubePort, ObjectRef, ref_of
from deployer.core.steps import Outcome, Steps, within
from deployer.core.text import did_you_mean
from deployer.rollout import stage as rollout_stage
from deployer.rollout.watch import take_logs
from deployer.stages import addons as addons_stage
from deployer.stages.addons import AddonState, WantedAddon, Waves
from deployer.status import WORKLOAD_KINDS, WorkloadRef
from deployer.toolchain import Toolchain
from deployer.toolchain.files import digest

_EVENTS_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster that addons are for, and the machine that their images come from."""

    wanted: Cluster
    toolchain: Toolchain
    facts: ClusterFacts
    kube: KubePort
    machine: Machine


def ensure(target: Target) -> Steps[Outcome[tuple[AddonState, ...]]]:
    """Every addon of the spec is in the cluster and ready; input error for one that cannot be had here."""
    if target.wanted.provider != "minikube":
        yield Warned(_foreign(target.wanted))
        return Outcome((), False, "not ours to add")
    wanted = [_wanted(name, target) for name in target.wanted.addons]

    def supply(names: Sequence[str]) -> Steps[None]:
        if target.toolchain.offline_images:
            yield from _images([ADDONS[name] for name in names], target)

    explain = partial(_cause, target=target)
    return (yield from addons_stage.ensure_addons(wanted, target.kube, target.machine.clock, supply, explain))


def look(target: Target) -> tuple[AddonState, ...]:
    """How the addons of the spec stand in a cluster that runs; nothing is changed."""
    if target.wanted.provider != "minikube":
        return ()
    return tuple(_state(name, target) for name in target.wanted.addons)


def _state(name: str, target: Target) -> AddonState:
    try:
        wanted = _wanted(name, target)
    except DeployError as error:
        return AddonState(name, False, error.problems[0].title)
    return addons_stage.look(wanted, target.kube)


def _wanted(name: str, target: Target) -> WantedAddon:
    if target.toolchain.offline_images:
        addon = ADDONS.get(name)
        if addon is None:
            raise _unknown(name)
        images = addon_images.image_values(addon, target.machine.cache_dir, target.machine.env)
        return _ours(addon, images, "Never", target)
    addon = ADDONS.get(name) or Addon(name, "", "", ())
    if addon.upstream:
        return _ours(addon, addon_images.upstream_values(addon), "IfNotPresent", target)
    return _minikubes(addon, target)


def _ours(addon: Addon, images: Mapping[str, str], pull: str, target: Target) -> WantedAddon:
    texts = templates(addon.name)
    values = {**_values(texts, target.facts), **images}
    if addon.upstream:
        values["PULL"] = pull
    # Everything but the certificate, which is made once and then kept.
    drafts = waves(addon.name, texts, {**values, "CERTIFICATE": ""})

    def make() -> Steps[Waves]:
        known = dict(values)
        if addon.certificate is not None:
            known["CERTIFICATE"] = yield from ensure_certificate(
                addon.name, addon.certificate, target.kube, target.machine.env
            )
        return waves(addon.name, texts, known)

    watched = tuple(ref_of(body) for wave in drafts for body in wave if body["kind"] in addons_stage.WATCHED)
    return WantedAddon(addon.name, addon.version, digest(*texts, *_flat(values)), watched, make)


def _minikubes(addon: Addon, target: Target) -> WantedAddon:
    texts = templates(addon.minikube_manifests)
    values = _values(texts, target.facts)

    def make() -> Steps[Waves]:
        cluster = composition.open_cluster(target.machine, target.wanted, target.toolchain)
        yield from within(addons_stage.STAGE, cluster.enable_addon(addon.name))
        return waves(addon.name, texts, values)

    inputs = digest("minikube", target.toolchain.versions.get("minikube", ""), *texts, *_flat(values))
    return WantedAddon(addon.name, "Minikube's own", inputs, addon.minikube_objects, make)


def _values(texts: Sequence[str], facts: ClusterFacts) -> dict[str, str]:
    """What the manifests need to know of the node; the range is asked for only where one of them uses it."""
    values = {"NODE_IP": facts.node_ip or ""}
    if any("${ADDRESSES}" in text for text in texts):
        values["ADDRESSES"] = address_range(facts.node_network, facts.node_ip)
    return values


def _flat(values: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(values.items())]


def _images(addons: Sequence[Addon], target: Target) -> Steps[None]:
    machine = target.machine
    # Builds run beside this, and a node may stop meanwhile.
    endpoints = composition.open_cluster(machine, target.wanted, target.toolchain).facts().daemons.values()
    if not endpoints:
        raise machine_error(
            "ADDON_DAEMON",
            "the images of addons cannot be loaded: the cluster has no Docker daemon",
            hints=("leave cluster.addons out of the spec", "todo-deploy doctor"),
        )
    nodes = {one: composition.open_images(one) for one in endpoints}
    daemons = addon_images.Daemons(composition.open_images(machine.host_docker), nodes)
    steps = addon_images.ensure_images(addons, target.toolchain.docker, daemons, machine.cache_dir, machine.env)
    yield from within(addons_stage.STAGE, steps)


def _cause(ref: ObjectRef, target: Target) -> str:
    """What diagnosis says of a workload that does not become ready."""
    if ref.kind not in WORKLOAD_KINDS:
        return ""
    refs = (WorkloadRef(ref.namespace, ref.kind, ref.name),)
    snapshot, now = rollout_stage.take_snapshot(refs, target.kube), target.machine.clock.now()
    logs = take_logs(snapshot, refs, target.kube)
    findings = diagnosis.diagnose(snapshot, refs, logs, now=now, since=now - _EVENTS_SECONDS)
    return "\n".join(f"{one.code}: {one.title}" for one in findings)


def _unknown(name: str) -> DeployError:
    return input_error(
        "ADDON_UNKNOWN",
        f"the addon `{name}` cannot be made on a machine that reaches no container registry",
        detail="these can: " + "; ".join(f"{one.name}: {one.about}" for one in ADDONS.values()),
        hints=did_you_mean(name, ADDONS) or (f"cluster.addons: [{', '.join(ADDONS)}]",),
    )


def _foreign(cluster: Cluster) -> Problem:
    return Problem(
        "ADDONS_FOREIGN",
        f"addons are not installed in the cluster of context `{cluster.context}`: it was not made by todo-deploy",
        detail="cluster.addons: " + ", ".join(cluster.addons),
        hints=("install them yourself, or leave cluster.addons out of the spec",),
    )
