"""What an `up` would refuse to touch in a cluster that runs, as findings: told before anybody waits for a build."""

from __future__ import annotations

from collections.abc import Callable

from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import KubePort
from deployer.helm import ownership
from deployer.preflight import immutable_fields as immutable
from deployer.preflight.rules.model import Finding, Subject, name_of
from deployer.stages import secrets as secrets_stage
from deployer.state.record import Record


def findings(subject: Subject, kept: Record, kube: KubePort) -> tuple[Finding, ...]:
    """Releases and Secrets that are somebody else's, and fields of ours that cannot change."""
    plan = subject.plan
    objects = [(one.release.namespace, body) for one in subject.releases for body in one.objects if name_of(body)]
    ours = frozenset(
        ref for one in plan.releases if one.name in kept.releases for ref in kept.releases[one.name].objects
    )
    guards: tuple[Callable[[], None], ...] = (
        lambda: ownership.refuse_foreign_releases(plan.application, plan.releases, kept, kube, adopt=False),
        lambda: secrets_stage.refuse_foreign(plan.application, plan.secrets, kube, adopt=False),
        lambda: immutable.refuse(objects, ours, kube),
    )
    return tuple(found for guard in guards for found in _refusals(guard))


def _refusals(guard: Callable[[], None]) -> tuple[Finding, ...]:
    try:
        guard()
    except DeployError as error:
        if error.exit_code is not ExitCode.REFUSED:
            raise
        return tuple(Finding(one.code, "error", one) for one in error.problems)
    return ()
