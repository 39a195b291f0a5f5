"""A clone whose secret values are not those that serve: refused before anything changes, and `secrets pull`.

A clone that has deployed before may change its values; one that has not would replace passwords and signing keys that
serve by those that it has just generated.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deployer.commands.connection import Opened
from deployer.commands.planning import Planned
from deployer.composition import Connected
from deployer.config.load import LoadedSpec
from deployer.config.spec import Spec
from deployer.core.errors import DeployError, refused
from deployer.core.files import write_private
from deployer.core.ports import KubePort
from deployer.core.reading import Malformed, read_json
from deployer.core.text import count
from deployer.plan import Plan, expand, is_on, switch_states
from deployer.state import build_cache
from deployer.state.record import Record


@dataclass(frozen=True, slots=True)
class ServedKey:
    """A key of a Secret of the newest revision, with its value in the cluster."""

    secret: str
    key: str
    value: str = field(repr=False)


def refuse_other_values(run: Connected, planned: Planned, *, replace_secrets: bool) -> None:
    """This clone is known to the deployment; refused (SECRETS_DIFFER) where it is new and its secret values differ.

    A clone is known by its folder, in this machine's memory of the deployment.
    """
    known, root = _known(run.folder), str(run.loaded.root.resolve())
    if root in known:
        return
    is_new = _is_new(root, known, run.folder)
    refusal = _differing(run.loaded, planned.plan, planned.record, run.kube) if is_new else None
    if refusal is not None and not replace_secrets:
        raise refusal
    with suppress(OSError):
        write_private(_path(run.folder), json.dumps(sorted({*known, root})))


def refusal_of(loaded: LoadedSpec, plan: Plan, record: Record, kube: KubePort, folder: Path) -> DeployError | None:
    """Why `up` would not replace the values that serve by those of the plan; None where it would."""
    is_new = _is_new(str(loaded.root.resolve()), _known(folder), folder)
    return _differing(loaded, plan, record, kube) if is_new else None


def _is_new(root: str, known: Sequence[str], folder: Path) -> bool:
    """Whether no clone in this folder has deployed before."""
    # An older version kept no clones, but the memory of its builds.
    return root not in known and bool(known or not build_cache.memory_path(folder).exists())


def _differing(loaded: LoadedSpec, plan: Plan, record: Record, kube: KubePort) -> DeployError | None:
    """The refusal of a new clone whose secret values are not those that serve; None where they are."""
    mine = {one.name: one.data for one in plan.secrets}
    differ = [
        f"{one.secret}: {one.key}"
        for one in served_keys(loaded.spec, record, kube)
        if mine.get(one.secret, {}).get(one.key, one.value) != one.value
    ]
    return _refusal(loaded.spec, differ) if differ else None


def _refusal(spec: Spec, differ: list[str]) -> DeployError:
    other, ports = f"{spec.application}-2", [str(url.node_port) for url in spec.urls.values() if url.node_port]
    free = f" (and other nodePorts than {', '.join(ports)}, here and in the chart)" if ports else ""
    return refused(
        "SECRETS_DIFFER",
        f"this clone has other values than the deployment that serves: {count(len(differ), 'secret key')}",
        detail="\n".join([*differ, "nothing was changed: no value of this clone has reached the cluster"]),
        where=spec.env.files[0],
        hints=(
            "todo-deploy secrets pull, to take the values that serve into the env file",
            f"todo-deploy up --set application={other} --set namespace={other}, for a deployment of its own{free}",
            "todo-deploy up --replace-secrets, to put the values of this clone in place of those that serve",
        ),
    )


def served_keys(spec: Spec, record: Record, kube: KubePort) -> Iterator[ServedKey]:
    """The keys of the spec's Secrets as the newest revision has them; none where it was removed."""
    newest = record.history[-1].secrets if record.history else ()
    for name, secret in spec.secrets.items():
        namespace = secret.namespace or spec.namespace
        copies = (one.copy for one in newest if one.namespace == namespace and one.copy.rpartition("-")[0] == name)
        copy = next(copies, None)
        found = kube.get("Secret", namespace, copy) if copy is not None else None
        data = (found or {}).get("data") or {}
        for key in secret.keys:
            if key in data:
                yield ServedKey(name, key, base64.b64decode(data[key]).decode("utf-8", "replace"))


def values_to_pull(opened: Opened, env: Mapping[str, str]) -> dict[str, str]:
    """The env values that make this clone's Secrets those that serve, where its own differ; by env name."""
    spec = opened.loaded.spec
    on = switch_states(spec, env)
    served = [
        (spec.secrets[one.secret].keys[one.key], one)
        for one in served_keys(spec, opened.record, opened.kube)
        if is_on(spec.secrets[one.secret].when, on)
    ]
    pulled: dict[str, str] = {}
    # Those with a default last: most are made of the others.
    for source, one in sorted(served, key=lambda pair: pair[0].default is not None):
        name, own = source.source or one.key, {**env, **pulled}
        value = own.get(name, "")
        if not value and source.default is not None:
            with suppress(DeployError):
                value = expand(source.default, own)
        if value != one.value:
            pulled[name] = one.value
    return pulled


def _path(folder: Path) -> Path:
    return folder / "clones.json"


def _known(folder: Path) -> list[str]:
    try:
        return read_json(_path(folder), list[str])
    except (OSError, Malformed):
        return []
