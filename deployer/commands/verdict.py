"""The verdict on what was applied: Available, answering and stable, or failed with a cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from deployer import evidence, forwarding
from deployer.composition import Connected
from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import LocalPorts
from deployer.core.steps import Outcome, Steps, within
from deployer.helm.storage import Applied
from deployer.plan import CorsPlan, UrlPlan
from deployer.rollout.observe import surrounding_kinds
from deployer.rollout.stage import Limits, Rollout, await_rollout, workloads_of
from deployer.stages import cors as cors_stage
from deployer.stages import releases as releases_stage
from deployer.stages import urls as urls_stage
from deployer.stages.urls import ProvenUrl
from deployer.state import history, record
from deployer.state.cluster_lock import LockLost
from deployer.state.record import Record
from deployer.status import WorkloadStatus

STABILITY = "stability"
"""The stage in which all stays Available for a while."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The releases as they are now, and the record that knows them."""

    application: str
    namespace: str
    releases: tuple[Applied, ...]
    record: Record = field(repr=False)

    @property
    def is_new(self) -> bool:
        """Whether any of it has yet to be verified."""
        return any(not one.verified for one in self.releases)


@dataclass(frozen=True, slots=True)
class Serving:
    """What runs and answers."""

    workloads: tuple[WorkloadStatus, ...]
    urls: tuple[ProvenUrl, ...]


class RolloutFailed(DeployError):
    """A failed verdict on releases that were applied."""


def rollout_of(run: Connected, deployed: Deployed, limits: Limits, since: float) -> Rollout:
    """What is to be watched of the releases; what was verified before is only looked at."""
    objects = [ref for one in deployed.releases for ref in one.objects]
    return Rollout(
        tuple(ref for one in deployed.releases for ref in workloads_of(one.objects)),
        run.kube, run.clock, limits, since,
        changed=deployed.is_new, look=run.look, kinds=surrounding_kinds(objects), releases=deployed.releases,
    )  # fmt: skip


def watch_rollout(rollout: Rollout) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """As `await_rollout`; the evidence of a failure is kept."""
    return evidence.recorded(await_rollout(rollout), rollout)


def check_urls(run: Connected, urls: Sequence[UrlPlan]) -> Steps[Outcome[tuple[ProvenUrl, ...]]]:
    """Every URL answers as the spec expects, through this machine's own ports where the node cannot be reached."""
    if run.forward is not None:
        yield from forwarding.ensure(run.forward, run.machine.env, run.clock)
    node = run.facts.node_ip or "127.0.0.1"
    return (yield from urls_stage.prove_urls(urls, node, run.kube, run.clock, _local_ports(run)))


def hold_steady(
    run: Connected, rollout: Rollout, seen: Serving, urls: Sequence[UrlPlan], cors: Sequence[CorsPlan] = ()
) -> Steps[Outcome[Serving]]:
    """What is new stayed Available for the hold, answers still, and lets browsers read it as the spec says."""
    if not rollout.changed:
        return Outcome(seen, False, "was verified before")
    text = "not held (--hold 0)"
    if rollout.limits.hold:
        workloads = yield from within(STABILITY, watch_rollout(rollout))
        proven = yield from within(STABILITY, check_urls(run, urls))
        seen = Serving(workloads.value, proven.value)
        text = f"{workloads.text}; {proven.text}" if urls else workloads.text
    origins = _origins(urls, seen.urls, _local_ports(run))
    yield from within(STABILITY, cors_stage.prove_cors(cors, origins, run.kube, run.clock))
    return Outcome(seen, rollout.limits.hold > 0, text)


@contextmanager
def verdict(run: Connected, deployed: Deployed, since: float) -> Iterator[None]:
    """What is done inside decides: the revisions are marked verified after it, or failed with `RolloutFailed` raised.

    A failure that says nothing of the releases (a lost lock, a cluster that does not answer) is raised on: the
    revision stays unfinished, and the next `up` goes on from there.
    """
    try:
        yield
    except DeployError as error:
        if isinstance(error, LockLost) or error.exit_code is not ExitCode.NOTHING_SERVES:
            raise
        if not deployed.is_new:
            raise _of_the_surroundings(error) from None
        raise failed(run, deployed, error, since) from None
    _mark(run, deployed, "verified")
    _remember(run, deployed, "verified", "", since)


def failed(run: Connected, deployed: Deployed, error: DeployError, since: float) -> RolloutFailed:
    """The failure as a verdict, which Helm and the history know by then."""
    first = error.problems[0]
    _mark(run, deployed, "failed", f"{first.code}: {first.title}")
    _remember(run, deployed, "failed", first.code, since)
    return RolloutFailed(error.problems, ExitCode.NOTHING_SERVES)


def _mark(run: Connected, deployed: Deployed, given: Literal["verified", "failed"], cause: str = "") -> None:
    """Helm's revisions carry the verdict: those that this run made, and those that an earlier one left without it."""
    for one in deployed.releases:
        if not one.verified:
            releases_stage.mark(one, given, cause, run.kube)


def _remember(run: Connected, deployed: Deployed, given: history.Verdict, cause: str, since: float) -> None:
    """The last revision has its verdict, unless it was given before."""
    kept = deployed.record
    if kept.history and kept.history[-1].verdict == "unfinished":
        judged = replace(kept, history=history.judged(kept.history, given, cause, run.clock.now() - since))
        record.save(run.kube, deployed.namespace, deployed.application, judged)


def _of_the_surroundings(error: DeployError) -> DeployError:
    """The failure of what was verified before: another version was not asked for and need not be better."""
    first, *rest = error.problems
    why = "this very revision was verified before: the cause lies around it"
    hints = (*first.hints, "todo-deploy restart", "todo-deploy rollback, if an earlier version may serve instead")
    detail = "\n".join(filter(None, (first.detail, why)))
    return DeployError((replace(first, detail=detail, hints=hints), *rest), error.exit_code)


def _local_ports(run: Connected) -> LocalPorts:
    return run.forward.local if run.forward is not None else urls_stage.NOT_FORWARDED


def _origins(urls: Sequence[UrlPlan], proven: Sequence[ProvenUrl], local: LocalPorts) -> dict[str, str]:
    """Where a browser goes for each URL."""
    port = f":{local[urls_stage.INGRESS]}" if urls_stage.INGRESS in local else ""
    hosts = {url.name: url.ingress_host + port if url.ingress_host else None for url in urls}
    return {one.name: f"http://{hosts[one.name]}" if hosts[one.name] else one.url for one in proven}
