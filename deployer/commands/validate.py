"""What `validate` and a first `up` examine: the plan for the cluster as it is at this moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from deployer import composition
from deployer.commands import charts, connection
from deployer.commands.charts import unseen
from deployer.commands.toolchain import replacements_for
from deployer.composition import Machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, Problem
from deployer.core.events import Event
from deployer.core.ports import ClusterFacts, KubePort
from deployer.plan import Facts, Plan, make_plan
from deployer.preflight import validate
from deployer.preflight.gather import Running, Target, tracked
from deployer.preflight.validate import Examined
from deployer.sources import git, load
from deployer.sources.env_files import unprotected, unreadable
from deployer.state import record
from deployer.state.record import Record
from deployer.status import ClusterPhase
from deployer.toolchain import locate_toolchain


def examine(loaded: LoadedSpec, here: Machine, report: Callable[[Event], None] = unseen) -> Examined:
    """What an `up` would find and take at this moment; a cluster that does not run is taken for a new one.

    Input error, all problems together, where the sources cannot be read or a chart does not render.
    """
    values = load.complete_values(loaded.spec, load.values_of(load.env_or_example(loaded)))
    loaded = charts.ready(loaded, here, report)
    try:
        seen = connection.see_cluster(loaded, here)
    except DeployError:  # no Docker: what does not need it is checked all the same
        toolchain = locate_toolchain(loaded.spec.toolchain, here.cache_dir)
        seen = connection.Seen(loaded, ClusterFacts(ClusterPhase.MISSING), toolchain)
    replacements = replacements_for(seen.toolchain, load.wanted_bases(loaded, values))
    running = _running(loaded, seen.facts, here)
    salt = running.record.salt if running is not None else ""
    plan = offline_plan(loaded, values, replacements, here, seen.facts.node_ip or "node", salt)
    version = seen.facts.kubernetes_version or loaded.spec.cluster.kubernetes_version
    tools = seen.toolchain or connection.known_tools(here)
    facts = replace(seen.facts, kubernetes_version=version)
    helm = composition.open_helm(here, loaded.spec.cluster, tools, facts) if tools else None
    stopped = running is None and seen.facts.phase is not ClusterPhase.MISSING
    offline = bool(seen.toolchain and seen.toolchain.offline_images)
    target = Target(composition.host(), here.cache_dir, helm, running, stopped, offline)
    return validate.examine(loaded, plan, target)


def offline_plan(
    loaded: LoadedSpec, env: Mapping[str, str], replacements: Mapping[str, str], here: Machine,
    node: str = "node", salt: str = "",
) -> Plan:  # fmt: skip
    """The plan as it would be for a cluster where the application was never deployed."""
    sources = load.read_sources(loaded, env, replacements, here.cache_dir)
    urls = loaded.spec.urls.items()
    addresses = {name: f"{url.scheme or 'http'}://{node}:{url.node_port}" for name, url in urls if url.node_port}
    facts = Facts(
        env=env,
        salt=salt or record.new_record().salt,
        images=sources.images,
        charts=sources.charts,
        replacements=replacements,
        used_tags={},
        addresses=addresses,
        commit=git.read_commit(loaded.root),
        registry=loaded.spec.registry.address or "" if loaded.spec.delivery in ("auto", "registry") else "",
        origin=loaded.origin,
    )
    return make_plan(loaded.spec, loaded.root, facts)


def _running(loaded: LoadedSpec, facts: ClusterFacts, here: Machine) -> Running | None:
    """The cluster if it runs and answers; what we have there is known by its record."""
    if facts.phase is not ClusterPhase.RUNNING:
        return None
    try:
        kube = composition.open_kube(here, loaded.spec.cluster)
        kept = record.load(kube, loaded.spec.namespace, loaded.spec.application)
    except DeployError:
        return None
    return running_with(kube, kept, facts)


def running_with(kube: KubePort, kept: Record, facts: ClusterFacts) -> Running:
    """The cluster that runs, as rules ask it; by its own Docker daemon too, where it has one."""
    docker = facts.docker
    return Running(kube, kept, (lambda: composition.open_images(docker)) if docker is not None else None, facts)


def env_file_problems(loaded: LoadedSpec) -> tuple[list[Problem], list[Problem]]:
    """Why files cannot be read, and how they are not protected; one that is missing counts only where all are."""
    names = loaded.spec.env.files
    if not any(secret.keys for secret in loaded.spec.secrets.values()):
        return [], []
    present = [name for name in names if (loaded.root / name).exists()]
    unread: list[Problem] = []
    exposed: list[Problem] = []
    for name in present or names[:1]:
        path = loaded.root / name
        unread += [one] if (one := unreadable(path, loaded.root)) is not None else []
        exposed += unprotected(path, loaded.root)
        if path.is_file():
            exposed += tracked(path) or _not_ignored(loaded, name)
    return unread, exposed


def _not_ignored(loaded: LoadedSpec, name: str) -> list[Problem]:
    """The problem that the next `git add` would take the env file in, if it would."""
    if not git.would_add(loaded.root / name):
        return []
    hint = f"echo {name} >> .gitignore"
    return [Problem("ENV_NOT_IGNORED", f"git does not ignore `{name}`", where=name, hints=(hint,))]
