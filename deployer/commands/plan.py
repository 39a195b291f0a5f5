"""What `up` would do and why, observed and decided but not done; secret values are never among it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from deployer import composition, forwarding
from deployer.cluster import ownership
from deployer.commands import addons, charts, clones
from deployer.commands.charts import unseen
from deployer.commands.connection import Opened, Seen, see_cluster, way_to
from deployer.commands.planning import plan_for
from deployer.commands.toolchain import replacements_for
from deployer.commands.validate import offline_plan, running_with
from deployer.composition import Machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Event
from deployer.core.ports import DeliveryPort, KubePort
from deployer.forwarding import NOTHING, Known
from deployer.plan import ImagePlan, Plan, ReleasePlan, SecretPlan
from deployer.preflight import changes
from deployer.preflight.gather import Target, gather, render
from deployer.preflight.rules.judging import advice, errors, summary
from deployer.preflight.rules.model import Subject
from deployer.preflight.validate import ruled
from deployer.sources import git
from deployer.sources import load as inputs
from deployer.stages import releases as releases_stage
from deployer.stages.addons import AddonState
from deployer.stages.cluster import decide
from deployer.stages.images import reason_to_build
from deployer.state import build_cache
from deployer.state.build_cache import Previous
from deployer.state.record import Record, load
from deployer.status import ClusterPhase

Action = Literal["create", "build", "update", "unchanged"]
_ASKED = ("clone", "owner", "rules", "release")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that `up` would do or leave alone; `refused` is the exit code with which it would refuse to."""

    kind: str
    name: str
    action: Action
    reason: str = ""
    refused: int = 0


def refusal(steps: Sequence[Step]) -> int:
    """The exit code with which `up` would refuse the plan, in the order in which it asks; 0 where it would not."""
    return next((one.refused for kind in _ASKED for one in steps if one.kind == kind and one.refused), 0)


def planned_steps(
    loaded: LoadedSpec, env: Mapping[str, str], here: Machine, report: Callable[[Event], None] = unseen
) -> tuple[Step, ...]:
    """Every step of an `up` at this moment; a cluster that does not run is taken for one that has nothing yet."""
    loaded = charts.ready(loaded, here, report)
    seen = see_cluster(loaded, here)
    complete = inputs.complete_values(loaded.spec, env)
    first = tuple(_env_steps(loaded))
    if seen.facts.phase is ClusterPhase.RUNNING:
        kube = composition.open_kube(here, loaded.spec.cluster)
        if kube.ready():
            return (*first, *_running(seen, kube, complete, here))
    replacements = replacements_for(seen.toolchain, inputs.wanted_bases(loaded, complete))
    return (*first, *_not_running(seen, offline_plan(loaded, complete, replacements, here)))


def _env_steps(loaded: LoadedSpec) -> Iterator[Step]:
    change = inputs.env_change(loaded)
    if change is not None:
        keys = f"generated: {', '.join(change.generated)}" if change.generated else ""
        source = (f"from {change.example}" if change.example else "new") if change.creates else ""
        action: Action = "create" if change.creates else "update"
        yield Step("env", loaded.spec.env.files[0], action, "; ".join(filter(None, [source, keys])))


def _not_running(seen: Seen, plan: Plan) -> Iterator[Step]:
    decision = decide(seen.facts, answers=False)
    missing = seen.facts.phase is ClusterPhase.MISSING
    yield Step("cluster", seen.loaded.spec.cluster.name, "create" if missing else "update", f"start: {decision.reason}")
    unknown = "" if missing else "as far as is known without the cluster"
    yield from (Step("addon", name, "create", unknown) for name in seen.loaded.spec.cluster.addons)
    yield from (Step("image", image.name, "build", image.ref) for image in plan.images)
    yield from (Step("secret", secret.name, "create", _keys(secret)) for secret in plan.secrets)
    yield from (Step("release", release.name, "create", unknown) for release in plan.releases)


def _running(seen: Seen, kube: KubePort, env: Mapping[str, str], here: Machine) -> Iterator[Step]:
    loaded = seen.loaded
    way = way_to(loaded.spec, seen.facts, kube)
    images = f"images are {way.text}" if loaded.spec.images else ""
    wanted = loaded.spec.cluster
    stopped = [one.name for one in seen.facts.nodes if not one.running] if wanted.provider == "minikube" else []
    reason = f"start of a stopped node: {', '.join(stopped)}" if stopped else "running"
    action: Action = "update" if stopped else "unchanged"
    yield Step("cluster", wanted.context_name, action, "\n".join(filter(None, (reason, images))))
    if loaded.spec.cluster.addons and seen.toolchain is not None:
        states = addons.look(addons.Target(loaded.spec.cluster, seen.toolchain, seen.facts, kube, here))
        yield from (Step("addon", one.name, _needed(one), one.text) for one in states)
    kept = load(kube, loaded.spec.namespace, loaded.spec.application)
    folder = here.folder(loaded.spec)
    forward = forwarding.wanted(loaded.spec, seen.facts.node_ip, folder, here.kubeconfig)
    known = Known(forward.mappings) if forward is not None else NOTHING
    opened = Opened(loaded, seen.facts, seen.toolchain, kube, kept, way, known)
    plan = plan_for(opened, env, git.read_commit(loaded.root), here)
    has_way = way.kind != "none"
    delivery = composition.open_delivery(here, loaded.spec.cluster, None, (way, seen.facts)) if has_way else None
    path = build_cache.memory_path(here.folder(loaded.spec))
    before = build_cache.recall(path)
    yield from (_image(image, delivery, before) for image in plan.images)
    yield from (_secret(secret, kube) for secret in plan.secrets)
    yield from _other_values(clones.refusal_of(loaded, plan, kept, kube, folder))
    yield from _foreign(plan, kube)
    helm = composition.open_helm(here, loaded.spec.cluster, seen.toolchain, seen.facts) if seen.toolchain else None
    offline = bool(seen.toolchain and seen.toolchain.offline_images)
    running = running_with(kube, kept, seen.facts)
    target = Target(composition.host(), here.cache_dir, helm, running, offline=offline)
    steps = [_release(release, kept, kube) for release in plan.releases]
    is_new = any(step.action != "unchanged" for step in steps)
    subject = _subject(loaded, plan, target) if is_new else None
    for release, step in zip(plan.releases, steps, strict=True):
        said, code = _foreseen(loaded, replace(plan, releases=(release,)), target, step, subject)
        yield replace(step, reason="\n".join((step.reason, *said)), refused=code)
    if subject is not None:
        yield from _ruled(subject, target)


def _subject(loaded: LoadedSpec, plan: Plan, target: Target) -> Subject | None:
    """The whole plan as rules see it, each chart rendered once; None where one does not render."""
    with suppress(DeployError):
        return gather(loaded, plan, target, thorough=False) if target.helm is not None else None
    return None


def _ruled(subject: Subject, target: Target) -> Iterator[Step]:
    """What the rules say to the plan, if anything; why a chart does not render is said of its release."""
    with suppress(DeployError):
        findings = ruled(subject, target, whole=True)
        broken = errors(findings)
        said = [*_refused(broken), summary(advice(findings))]
        if any(said):
            code = ExitCode.INPUT if broken else 0
            yield Step("rules", subject.loaded.path.name, "unchanged", "\n".join(filter(None, said)), code)


def _other_values(refusal: DeployError | None) -> Iterator[Step]:
    """That a new clone has other secret values than those that serve."""
    if refusal is not None:
        where = refusal.problems[0].where
        yield Step("clone", where, "unchanged", "\n".join(_refused(refusal.problems)), refusal.exit_code)


def _foreign(plan: Plan, kube: KubePort) -> Iterator[Step]:
    """What the plan names and is somebody else's, if anything."""
    try:
        ownership.refuse_foreign(ownership.touched_by_plan(plan), kube)
    except DeployError as error:
        yield Step("owner", plan.application, "unchanged", "\n".join(_refused(error.problems)), error.exit_code)


def _foreseen(
    loaded: LoadedSpec, plan: Plan, target: Target, step: Step, whole: Subject | None
) -> tuple[tuple[str, ...], int]:
    """What the API server says to the plan's release that changes, and what its chart does that nobody asked for; and
    the exit code with which `up` would refuse it, or 0.

    `whole`: the subject of all releases, where every one could be rendered.
    """
    assert target.running is not None
    if target.helm is None or step.action == "unchanged":
        return (), 0
    try:
        if whole is not None and not whole.unrendered:
            own = tuple(one for one in whole.releases if one.release in plan.releases)
            subject = replace(whole, plan=plan, releases=own)
        else:
            subject = render(loaded, plan, target)
        judged = changes.judge(subject, target.running.record, target.running.kube, target.helm)
    except DeployError as error:
        return _refused(error.problems), error.exit_code
    said = tuple(one.title for one in (*subject.unrendered, *judged.advice))
    refused = judged.refusal
    return (said, 0) if refused is None else ((*_refused(refused.problems), *said), refused.exit_code)


def _refused(problems: Sequence[Problem]) -> tuple[str, ...]:
    return tuple(f"up refuses it: {one.title}" for one in problems)


def _needed(addon: AddonState) -> Action:
    return "unchanged" if addon.ready else "update" if addon.present else "create"


def _image(image: ImagePlan, delivery: DeliveryPort | None, before: Mapping[str, Previous]) -> Step:
    if delivery is not None and delivery.found(image.ref) is not None:
        return Step("image", image.name, "unchanged", image.ref)
    return Step("image", image.name, "build", f"{reason_to_build(image, before.get(image.name))}\n{image.ref}")


def _secret(secret: SecretPlan, kube: KubePort) -> Step:
    found = kube.get("Secret", secret.namespace, secret.served)
    if found is None:
        return Step("secret", secret.name, "create", _keys(secret))
    data = found.get("data") or {}
    wanted = {key: base64.b64encode(value.encode()).decode() for key, value in secret.data.items()}
    changes = [f"{key}: ••• → •••" for key, value in wanted.items() if key in data and data[key] != value]
    changes += [f"{key}: added" for key in wanted if key not in data]
    changes += [f"{key}: removed" for key in data if key not in wanted]
    return Step("secret", secret.name, "update" if changes else "unchanged", "\n".join(changes) or _keys(secret))


def _release(release: ReleasePlan, kept: Record, kube: KubePort) -> Step:
    latest, decision = releases_stage.observe(release, kept.releases.get(release.name), kube)
    if decision.action == "keep":
        return Step("release", release.name, "unchanged", f"revision {latest.revision if latest is not None else 0}")
    return Step("release", release.name, "update" if latest is not None else "create", decision.reason)


def _keys(secret: SecretPlan) -> str:
    return f"keys {', '.join(secret.data)}"
