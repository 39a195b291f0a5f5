"""What a helm that did not come to its end has left: revisions of this run, and the objects that they consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployer.core.ports import KubePort
from deployer.helm import storage as helmstorage
from deployer.helm.history import revisions_of
from deployer.helm.manifests import objects_of
from deployer.helm.result import Applied
from deployer.plan import ReleasePlan
from deployer.stages import releases as releases_stage
from deployer.state.record import Record

NOT_FINISHED = "helm did not come to its end"


def left_by(wanted: Sequence[ReleasePlan], kept: Record, kube: KubePort) -> tuple[Applied, ...]:
    """The revisions that this run made of the releases, whatever became of them; of those that it did not reach, none.

    Helm stores a revision before it touches an object: without one nothing was changed.
    """
    found = []
    for one in wanted:
        secret = releases_stage.made_here(one.name, one.namespace, kube)
        before = kept.releases[one.name].revision if one.name in kept.releases else 0
        if secret is None:
            continue
        (made,) = helmstorage.revisions([secret], one.name)
        if made.revision <= before:
            continue
        objects = tuple(objects_of(helmstorage.manifest_of(secret), one.namespace))
        found.append(
            Applied(one.name, one.namespace, made.revision, True, NOT_FINISHED, made.inputs, objects, verified=False)
        )
    return tuple(found)


def cut_short(kept: Record, kube: KubePort) -> Mapping[str, str] | None:
    """The inputs of every release as Helm has it, where a killed run has made a revision that the record does not know.

    None where the record knows the newest of each.
    """
    inputs, unknown = {}, False
    for name, known in kept.releases.items():
        revisions = revisions_of(name, known.namespace, kube)
        inputs[name] = revisions[-1].inputs if revisions else known.inputs
        unknown |= bool(revisions) and revisions[-1].revision > known.revision
    return inputs if unknown else None
