"""What can be known to be wrong before anything is built: the charts rendered with the plan's own values."""

from __future__ import annotations

from collections.abc import Mapping

from deployer import inputs, record, world
from deployer.errors import DeployError, Problem
from deployer.plan import Facts, Plan, ReleasePlan, make_plan, wanted_bases
from deployer.ports import ClusterFacts, HelmPort, UpgradeRequest
from deployer.specfile import LoadedSpec
from deployer.status import ClusterPhase
from deployer.toolchain import locate_toolchain
from deployer.tooling import stand_ins_for
from deployer.world import World


def render_problems(loaded: LoadedSpec, env: Mapping[str, str], here: World) -> list[Problem]:
    """Why a chart does not render, or its values do not meet its schema; sources alone where there is no helm yet."""
    toolchain = locate_toolchain(loaded.spec.toolchain, here.cache_dir)
    stand_ins = stand_ins_for(toolchain, wanted_bases(loaded.spec, env)) if toolchain is not None else {}
    plan = offline_plan(loaded, env, stand_ins, here)
    if toolchain is None:
        return []
    version = loaded.spec.cluster.kubernetes_version
    helm = world.open_helm(
        here, loaded.spec.cluster, toolchain, ClusterFacts(ClusterPhase.MISSING, kubernetes_version=version)
    )
    return [problem for release in plan.releases for problem in _render_problems(release, helm)]


def offline_plan(loaded: LoadedSpec, env: Mapping[str, str], stand_ins: Mapping[str, str], here: World) -> Plan:
    """The plan as it would be for a cluster where the application was never deployed."""
    sources = inputs.read_sources(loaded, env, stand_ins, here.cache_dir)
    addresses = {name: f"http://node:{url.node_port}" for name, url in loaded.spec.urls.items() if url.node_port}
    facts = Facts(
        env=env,
        salt=record.new_record().salt,
        images=sources.images,
        charts=sources.charts,
        stand_ins=stand_ins,
        used_tags={},
        addresses=addresses,
        commit=inputs.read_commit(loaded.root),
    )
    return make_plan(loaded.spec, loaded.root, facts)


def upgrade_request(
    release: ReleasePlan, description: str = "", labels: Mapping[str, str] | None = None
) -> UpgradeRequest:
    """What helm is asked for a release of the plan."""
    return UpgradeRequest(
        release.name, release.namespace, release.chart, release.values, labels or {}, description, release.timeout
    )


def _render_problems(release: ReleasePlan, helm: HelmPort) -> list[Problem]:
    try:
        helm.template(upgrade_request(release))
    except DeployError as error:
        return list(error.problems)
    return []
