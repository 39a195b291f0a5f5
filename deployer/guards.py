"""What `up` must not take over unasked: releases that somebody else, or another application, has made."""

from __future__ import annotations

from deployer import helmstorage
from deployer.errors import DeployError, ExitCode, Problem
from deployer.plan import Plan, ReleasePlan
from deployer.ports import APPLICATION_LABEL, INPUTS_LABEL, KubePort
from deployer.record import Record


def refuse_foreign_releases(plan: Plan, kept: Record, kube: KubePort) -> None:
    """Returns when no release that the application's record does not know is somebody else's; refused otherwise."""
    problems = [
        found for one in plan.releases if one.name not in kept.releases and (found := _foreign(one, plan, kube))
    ]
    if problems:
        raise DeployError(problems, ExitCode.REFUSED)


def _foreign(wanted: ReleasePlan, plan: Plan, kube: KubePort) -> Problem | None:
    labels = f"{helmstorage.SELECTOR},name={wanted.name}"
    stored = kube.list("Secret", wanted.namespace, labels=labels, metadata_only=True)
    made = helmstorage.revisions(stored, wanted.name)
    if not made or made[-1].status == "uninstalled":
        return None
    name = helmstorage.secret_name(wanted.name, made[-1].revision)
    latest = next(one for one in stored if one["metadata"]["name"] == name)
    marks = latest["metadata"].get("labels") or {}
    # A run that was killed in its first install has left our mark, and no record yet.
    if marks.get(APPLICATION_LABEL, plan.application) == plan.application and INPUTS_LABEL in marks:
        return None
    whose = f"application `{marks[APPLICATION_LABEL]}`" if APPLICATION_LABEL in marks else "somebody else"
    return Problem(
        "RELEASE_FOREIGN",
        f"release `{wanted.name}` in namespace `{wanted.namespace}` was made by {whose}",
        f"it is at revision {made[-1].revision}, {made[-1].status}; an upgrade would replace what it runs",
        hints=(
            "give the release or its namespace another name in the spec",
            "todo-deploy up --adopt, to take it over",
            f"helm uninstall {wanted.name} --namespace {wanted.namespace}, if nobody needs it",
        ),
    )
