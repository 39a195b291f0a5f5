"""Objects of a stored revision whose kind the cluster serves no more, which keep helm from all it could do with it.

Helm builds every object of a revision before it upgrades, rolls back or uninstalls it, by the API version of its time.
With a definition went all objects of its kind, so that the revision can do without them; a kind that the cluster has
in another version by now is named by that one. This is what the plugin `mapkubeapis` does to the stored revision.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from deployer.core.errors import DeployError, Problem
from deployer.core.objects import identified
from deployer.core.ports import KINDS, Kind, KubePort, Object, ObjectRef, ref_of
from deployer.core.reading import Malformed
from deployer.core.yaml import parse_manifest
from deployer.helm import storage
from deployer.helm.dry_run import stored_objects
from deployer.status.objects import dig

# Its kinds went into groups of their own: apps, networking.k8s.io, policy.
_DISSOLVED = "extensions"


@dataclass(frozen=True, slots=True)
class Gone:
    """An object whose kind is not served in its API version; `now`: the version in which it is, empty for none."""

    ref: ObjectRef
    kind: str
    api: str
    now: str = ""


def gone_kinds(objects: Sequence[Object], namespace: str, kube: KubePort) -> tuple[Gone, ...]:
    """The objects that helm cannot build; those of a server behind the API server are left out, which may come back."""
    served, found = kube.kinds(), []
    for one in objects if served else ():
        api, kind = str(one.get("apiVersion") or ""), str(one.get("kind") or "")
        if (api, kind) in served or not api.partition("/")[2] or not kind:
            continue
        now = _served_as(api, kind, served)
        if now or not (_comes_from_elsewhere(api, kube) or _is_defined(api, kind, kube)):
            found.append(Gone(ref_of(one, namespace), kind, api, now))
    return tuple(found)


def _served_as(api: str, kind: str, served: Mapping[tuple[str, str], Kind]) -> str:
    group = api.rpartition("/")[0]
    known = KINDS[kind].group if kind in KINDS else ""
    found = sorted(other for other, name in served if name == kind and other.rpartition("/")[0] == group)
    found += sorted(other for other, name in served if name == kind and group == _DISSOLVED and known
                    and other.rpartition("/")[0] == known)  # fmt: skip
    own = KINDS[kind].api.removeprefix("apis/") if kind in KINDS else ""
    return own if own in found else found[0] if found else ""


def _comes_from_elsewhere(api: str, kube: KubePort) -> bool:
    """Whether another server answers for the API version, or that cannot be asked."""
    group, _, version = api.rpartition("/")
    with suppress(DeployError):
        found = kube.get("APIService", "", f"{version}.{group}")
        return found is not None and bool(dig(found, "spec", "service"))
    return True


def _is_defined(api: str, kind: str, kube: KubePort) -> bool:
    """Whether a definition has the kind, or that cannot be asked: its objects are there, served or not."""
    wanted = api.rpartition("/")[0], kind
    with suppress(DeployError):
        definitions = kube.list("CustomResourceDefinition")
        return wanted in {(dig(one, "spec", "group"), dig(one, "spec", "names", "kind")) for one in definitions}
    return True


def forget(release: str, namespace: str, kube: KubePort) -> tuple[Gone, ...]:
    """Helm can build the release's last revision and its deployed one; what was taken out of them, or renamed."""
    made = storage.revisions_of(release, namespace, kube)
    wanted = {one.revision for one in (*made[-1:], *[one for one in made if one.status == "deployed"])}
    found: dict[Gone, None] = {}
    for number in sorted(wanted):
        secret = storage.stored_revision(release, namespace, number, kube)
        with suppress(storage.Damaged, Malformed):
            gone = gone_kinds(stored_objects(secret), namespace, kube) if secret is not None else ()
            if secret is not None and gone:
                changes = {(one.api, one.kind): one.now for one in gone}
                changed = storage.with_parts(secret, partial(_rewritten, changes=changes))
                if changed is not None:
                    kube.replace(changed)
                    found |= dict.fromkeys(gone)
    return tuple(found)


def _rewritten(part: str, changes: Mapping[tuple[str, str], str]) -> str:
    """The document of a manifest by the present API version of its kind; empty where that has none."""
    objects = [identified(one) for one in parse_manifest(part)]
    keys = [(str(one.get("apiVersion")), str(one.get("kind"))) for one in objects]
    if not any(key in changes for key in keys):
        return part
    left = [{**one, "apiVersion": changes.get(key, key[0])} for key, one in zip(keys, objects, strict=True)]
    source = "".join(re.findall(r"^# Source: .*\n", part, re.MULTILINE)[:1])
    return "---\n".join(f"{source}{json.dumps(one)}\n" for one in left if one["apiVersion"])


def described(release: str, gone: Sequence[Gone]) -> Iterator[Problem]:
    """What becomes of the objects, one warning for each."""
    for one in gone:
        label = f"{one.kind.lower()}/{one.ref.name}"
        if one.now:
            title = f"{label} of release `{release}` was applied as `{one.api}`, which the cluster serves no more"
            hint = f"nothing: Helm's record of it now says `{one.now}`"
        else:
            title = f"{label} of release `{release}` is gone: the cluster serves no kind `{one.kind}` in `{one.api}`"
            hint = "nothing: it went with its definition, and Helm's record of it goes too"
        detail = "helm cannot upgrade, roll back or uninstall a release while its record has such an object"
        yield Problem("KIND_GONE", title, detail, label, (hint,))
