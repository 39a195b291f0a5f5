"""What the API server will not change, whose the objects are that exist already, and what is done about both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployer.cluster.ownership import whose
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import MANAGED_BY, OWNER, HelmPort, KubePort, Object
from deployer.core.redact import SECRET_NAME
from deployer.core.yaml import text_of
from deployer.helm import dry_run
from deployer.helm.dry_run import Verdict
from deployer.helm.gone_kinds import described, gone_kinds
from deployer.helm.storage import changed_paths
from deployer.plan import ReleasePlan
from deployer.preflight.rules.capacity import quantity
from deployer.preflight.rules.configuration import references, renewed
from deployer.preflight.rules.model import Rendered, Subject, Workload, as_taken, is_for_later, workload_of
from deployer.stages.releases import Existing, Preparation, ordered
from deployer.state.record import Record
from deployer.status.objects import annotations_of, labels_of

_DATA_PATH = re.compile(r"(data|stringData|binaryData)\b")
_QUOTED = re.compile(r"'(\w+)'")
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line allows: to replace objects (`job/seed`), and to take over others' objects and fields."""

    replace: frozenset[str] = frozenset()
    adopt: bool = False
    force_conflicts: bool = False


NOTHING = Choice()


@dataclass(frozen=True, slots=True)
class Judged:
    """What the API server refuses of the plan's releases, what is worth knowing, and what `up` does beforehand.

    `invalid` is what it would never take, `refused` what cannot be done to what is there.
    """

    invalid: tuple[Problem, ...] = ()
    refused: tuple[Problem, ...] = ()
    advice: tuple[Problem, ...] = ()
    prepared: Mapping[str, Preparation] = field(default_factory=dict)

    def refuse(self) -> None:
        """Returns when nothing is refused; input error where something is invalid, else refused."""
        if (refusal := self.refusal) is not None:
            raise refusal

    @property
    def refusal(self) -> DeployError | None:
        """What `refuse` raises; None where nothing is refused."""
        problems = (*self.invalid, *self.refused)
        return DeployError(problems, ExitCode.INPUT if self.invalid else ExitCode.REFUSED) if problems else None


def judge(subject: Subject, kept: Record, kube: KubePort, helm: HelmPort, choice: Choice = NOTHING) -> Judged:
    """The API server's verdicts on every release that will be upgraded, and what `up` does about them."""
    invalid: list[Problem] = []
    refused: list[Problem] = []
    advice: list[Problem] = []
    prepared = {}
    for one in subject.releases:
        name, known = one.release.name, kept.releases.get(one.release.name)
        if known is not None and known.inputs == one.release.inputs:
            continue
        release = dry_run.current_release(name, one.release.namespace, kube, helm, asked=one.release.server_side)
        verdicts = dry_run.ask(release, one.objects, kube)
        allowed = choice.replace | {each.lower() for each in subject.loaded.spec.releases[name].replace}
        fixed = [verdict for verdict in verdicts if verdict.standing == "fixed"]
        replaced = [verdict for verdict in fixed if _is_replaced(verdict, allowed)]
        exist = [verdict for verdict in verdicts if verdict.standing == "exists" and not _hand_over(verdict, subject)]
        foreign = [
            (verdict, problem) for verdict in exist if (problem := _foreign(verdict, one, subject, kube, choice))
        ]
        refused += [_fixed(verdict, allowed) for verdict in fixed if verdict not in replaced]
        refused += [problem for _, problem in foreign]
        conflicts = [verdict for verdict in verdicts if verdict.standing == "conflict"]
        if choice.force_conflicts:
            advice += [verdict.taken_over for verdict in conflicts]
        else:
            refused += [_conflict(verdict, name) for verdict in conflicts]
        for verdict in verdicts:
            if verdict.standing == "invalid":
                (advice if is_for_later(verdict.wanted) else invalid).append(_invalid(verdict, one))
        advice += [problem for verdict in verdicts for problem in _remarks(verdict)]
        advice += [_replaced(verdict) for verdict in replaced]
        gone = gone_kinds(tuple(release.before.values()), one.release.namespace, kube)
        advice += described(name, gone)
        if release.before:
            advice += [*_unnoticed(one, verdicts), *_renewed(replace(subject, releases=(one,)))]
        taken = [verdict for verdict in verdicts if verdict.standing == "exists" or _hand_over(verdict, subject)]
        # Who adopts an object, adopts its fields; all other conflicts are refused unless they are to be forced.
        forced = choice.force_conflicts or any(verdict.answer.is_conflict for verdict in taken)
        prepared[name] = Preparation(
            tuple(_existing(verdict) for verdict in replaced),
            tuple(_existing(verdict) for verdict in taken),
            release.server_side and forced,
            buildable=release.whole and not gone,
            accepted=len(verdicts) == len(one.objects) and all(verdict.standing == "accepted" for verdict in verdicts),
        )
    return Judged(tuple(invalid), tuple(refused), tuple(advice), prepared)


def _hand_over(verdict: Verdict, subject: Subject) -> bool:
    """Whether it is a namespace that this tool has made, or will make, and the chart has among its objects."""
    if verdict.ref.kind != "Namespace" or verdict.ref.name not in subject.plan.namespaces:
        return False
    return verdict.live is None or labels_of(verdict.live).get(MANAGED_BY) == OWNER


def _existing(verdict: Verdict) -> Existing:
    return Existing(verdict.ref, verdict.keeps_pods)


def _is_replaced(verdict: Verdict, allowed: Iterable[str]) -> bool:
    """A Job that is done has nothing more to do; anything else only where somebody has said so."""
    return not verdict.holds_data and (verdict.is_done or verdict.label in allowed)


def _replaced(verdict: Verdict) -> Problem:
    paths = [path for path, *_ in changed_fields(verdict)]
    why = "it is done" if verdict.is_done else "as was asked for"
    title = f"{verdict.label} is replaced, {why}: Kubernetes does not let `{paths[0]}` change"
    hint = "nothing; where it must not run again, make it a hook or put the revision into its name"
    return Problem("OBJECT_REPLACED", title, "", verdict.label, (hint,))


def _fixed(verdict: Verdict, allowed: Iterable[str]) -> Problem:
    changes = changed_fields(verdict)
    lines = [_line(verdict, *one) for one in changes if one[2] is not None]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    said = _reason(verdict)
    title = f"{verdict.label}: Kubernetes does not let `{changes[0][0]}` change"
    detail = "\n".join([*lines[:_SHOWN], *more, said])
    return Problem("FIELD_IMMUTABLE", title, detail, verdict.label, tuple(_ways(verdict, allowed)))


def _conflict(verdict: Verdict, release: str) -> Problem:
    """Whose fields Helm would have to take over: it fails at the first of them."""
    fields = verdict.conflicts
    lines = [
        f"{_line(verdict, field, _at(verdict.live, field), _at(verdict.wanted, field))} (set by {manager})"
        for field, manager in fields
    ]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    field, manager = fields[0]
    title = f"{verdict.label}: the chart would override `{field}`, which was set by {manager}"
    ways = (
        f"leave `{field}` out of the chart, or give it the value that was set",
        "todo-deploy up --force-conflicts, with which the chart's values override it",
        f"or `releases.{release}.serverSide: false` in the spec: Helm overrides it each time, as Helm 3 does",
    )
    return Problem("FIELD_CONFLICT", title, "\n".join([*lines[:_SHOWN], *more]), verdict.label, ways)


def _line(verdict: Verdict, path: str, now: Any, new: Any) -> str:
    if verdict.ref.kind == "Secret" or SECRET_NAME.search(path) or ".env[" in path:
        return f"`{path}` would become another"
    return f"`{path}` is {_short(now)} and would become {_short(new)}"


def _short(value: Any) -> str:
    text = "not set" if value is None else text_of(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _reason(verdict: Verdict) -> str:
    """Why, in the server's words, without the object that it repeats."""
    texts = [message for _, message in verdict.answer.causes] or [verdict.answer.message]
    text = texts[0]
    return f"{text.split(': ')[0]}: …: {text.rpartition(': ')[2]}" if len(text) > 300 else text


def _ways(verdict: Verdict, allowed: Iterable[str]) -> Iterator[str]:
    kind, name, namespace = verdict.ref.kind, verdict.ref.name, verdict.ref.namespace
    inside = f"-n {namespace} " if namespace else ""
    delete = f"kubectl {inside}delete {kind.lower()} {name}"
    if kind == "PersistentVolumeClaim":
        yield "set it back to what it is; a claim grows only where its storage class has allowVolumeExpansion"
        yield f"or copy its data, then: {delete} && todo-deploy up (the claim made anew is empty)"
        return
    if verdict.holds_data and kind != "StatefulSet":
        yield f"save what is in it, then: {delete} && todo-deploy up"
        return
    if verdict.holds_data:
        keep = '{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain"}}}'
        yield f"kubectl {inside}patch {kind.lower()} {name} --patch '{keep}' first, or its volumes go with it"
    elif verdict.label not in allowed:
        yield f"todo-deploy up --replace {verdict.label} ({_consequence(verdict)})"
    orphan = " --cascade=orphan" if verdict.keeps_pods else ""
    yield f"{delete}{orphan}, then: todo-deploy up"
    if kind == "Job":
        yield "or wait until it is done: then it is replaced by itself"


def _consequence(verdict: Verdict) -> str:
    if verdict.ref.kind == "StatefulSet":
        return "its pods and volumes stay" if verdict.keeps_pods else "its pods start anew, its volumes stay"
    if verdict.ref.kind == "Job":
        return "it is ended and begins anew"
    return "it is gone for that moment"


def _foreign(verdict: Verdict, one: Rendered, subject: Subject, kube: KubePort, choice: Choice) -> Problem | None:
    """Why the object is not the release's to write; None where it will be free by then, or may be adopted."""
    assert verdict.live is not None
    owner = whose(verdict.live, subject.plan.application, kube)
    if owner.release is not None and _is_given_up(verdict, owner.release, one.release, subject):
        return None
    if choice.adopt and owner.is_nobody:
        return None
    place = f" in namespace `{verdict.ref.namespace}`" if verdict.ref.namespace else ""
    title = f"{verdict.label}{place} exists already, and {owner.words}"
    inside = f"-n {verdict.ref.namespace} " if verdict.ref.namespace else ""
    ways = ["todo-deploy up --adopt"] if owner.is_nobody else [owner.way] if owner.way else []
    ways.append(f"kubectl {inside}delete {verdict.ref.kind.lower()} {verdict.ref.name}, if nobody needs it"
                if owner.is_nobody else "or give it another name in the chart")  # fmt: skip
    where = str(subject.loaded.origin("releases", one.release.name, "chart"))
    return Problem("OBJECT_FOREIGN", title, f"release `{one.release.name}` makes one of that name", where, tuple(ways))


def _is_given_up(verdict: Verdict, owner: tuple[str, str], by: ReleasePlan, subject: Subject) -> bool:
    """Whether a release of an earlier wave has the object no more, so that it is gone when it is made."""
    waves = [[(one.namespace, one.name) for one in wave] for wave in ordered(subject.plan.releases)]
    at = {place: number for number, wave in enumerate(waves) for place in wave}
    if owner not in at or at[owner] >= at[by.namespace, by.name]:
        return False
    return not any(
        one.ref == verdict.ref for one in subject.objects() if (one.release.namespace, one.release.name) == owner
    )


def _invalid(verdict: Verdict, one: Rendered) -> Problem:
    fields = ", ".join(f"`{path}`" for path in dict.fromkeys(path for path, _ in verdict.answer.causes) if path)
    title = f"{verdict.label}: Kubernetes rejects " + (fields or "it")
    lines = [message for _, message in verdict.answer.causes] or [verdict.answer.message]
    hints = [f"helm template {one.release.name} CHART shows what the chart makes of its values"]
    if any(line.startswith(("field not declared", "duplicate entries", "is empty")) for line in lines):
        hints.append(f"or `releases.{one.release.name}.serverSide: false` in the spec: patches as of Helm 3 take that")
    return Problem("OBJECT_INVALID", title, "\n".join(lines[:_SHOWN]), verdict.label, tuple(hints))


def _remarks(verdict: Verdict) -> Iterator[Problem]:
    if verdict.standing == "denied":
        title = f"{verdict.label}: the API server would refuse it now"
        hint = "nothing, if what comes before it in the upgrade makes room for it"
        yield Problem("OBJECT_DENIED", title, verdict.answer.message, verdict.label, (hint,))
    for text in verdict.answer.warnings:
        if text.startswith("unknown field"):
            title = f"{verdict.label}: {text}, which Kubernetes ignores"
            yield Problem("FIELD_UNKNOWN", title, "", verdict.label, ("look for a misspelt name in the template",))
        else:
            hint = "nothing now; the next version of Kubernetes may refuse it"
            yield Problem("API_WARNING", f"{verdict.label}: {text}", "", verdict.label, (hint,))


def _renewed(subject: Subject) -> Iterator[Problem]:
    """What a chart makes anew, now that it does: `validate` reports the same as a rule."""
    if renewed.name not in [one.rule for one in subject.loaded.spec.rules.waive]:
        for one in renewed.check(subject):
            yield Problem(renewed.name, one.title, one.detail, one.place.object, (renewed.hint,))


def _unnoticed(one: Rendered, verdicts: Sequence[Verdict]) -> list[Problem]:
    """ConfigMaps and Secrets that change while pods that use them do not restart."""
    known = {verdict.ref: verdict for verdict in verdicts if verdict.before is not None}
    changed = {
        ref: [path for path in changed_paths(as_taken(verdict.before), verdict.wanted) if _DATA_PATH.match(path)]
        for ref, verdict in known.items() if ref.kind in ("ConfigMap", "Secret") and verdict.before is not None
    }  # fmt: skip
    found = []
    for body in one.objects:
        work = workload_of(one.release, body)
        before = known.get(work.ref) if work is not None and work.runs_on else None
        if work is None or before is None or before.standing != "accepted" or _restarts(work, before.before or {}):
            continue
        for ref in sorted({each.target for each in references(work) if changed.get(each.target)}):
            label = f"{ref.kind.lower()}/{ref.name}"
            what = ", ".join(path.partition(".")[2] for path in changed[ref][:_SHOWN])
            title = f"{label} changes ({what}) and {work.label} does not restart: its pods keep the old values"
            hints = (
                f"todo-deploy restart {work.name}, after the up",
                "or put a checksum of it into the pods' annotations",
            )
            found.append(Problem("CONFIG_UNNOTICED", title, "", label, hints))
    return found


def _restarts(work: Workload, before: Object) -> bool:
    """Whether the upgrade makes new pods, or something else watches what they use."""
    notes = annotations_of(work.body).keys()
    return bool(changed_paths(_at(before, "spec.template"), work.template)) or any("reloader" in one for one in notes)


def changed_fields(verdict: Verdict) -> tuple[tuple[str, Any, Any], ...]:
    """The innermost fields that the server will not change, each with what is there and what is asked for.

    The field itself, without values, where the chart's own change is not to be seen below it.
    """
    places = [_named(field) for field, _ in verdict.answer.causes if field] or ["spec"]
    may_change = set(_QUOTED.findall(verdict.answer.message)) if places == ["spec"] else set()
    found = []
    for place in dict.fromkeys(places):
        wanted = _at(verdict.wanted, place)
        for base in (verdict.before, verdict.live):
            changes = [
                one for one in _differing(wanted, _at(base, place), place) if one[0].split(".")[1:2] != ["replicas"]
                and not may_change & set(re.split(r"[.\[]", one[0])[1:2])
            ] if base is not None and wanted is not None else []  # fmt: skip
            if changes:
                found += [(path, _at(verdict.live, path) if now is None else now, new) for path, now, new in changes]
                break
        else:
            gone = changed_paths(_at(verdict.before, place), wanted, place) if verdict.before is not None else ()
            found += [(path, None, None) for path in gone or (place,)]
    return tuple(found)


def _named(path: str) -> str:
    """The field as a chart writes it: the API server names the list that it keeps beside `clusterIP`."""
    return "spec.clusterIP" if path.startswith("spec.clusterIPs[") else path


def _differing(asked: Any, has: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The innermost paths at which the two differ, with what is there and what is asked for."""
    if _agrees(asked, has):
        return
    if isinstance(asked, Mapping) and isinstance(has, Mapping):
        pairs = [(f"{path}.{key}", value, has.get(key)) for key, value in asked.items()]
    elif isinstance(asked, list) and isinstance(has, list) and len(asked) == len(has):
        pairs = [(f"{path}[{at}]", one, other) for at, (one, other) in enumerate(zip(asked, has, strict=True))]
    else:
        yield path, has, asked
        return
    for place, one, other in pairs:
        yield from _differing(one, other, place)


def _agrees(asked: Any, has: Any) -> bool:
    """Whether what is asked for is there; what only the server filled in does not count."""
    if isinstance(asked, Mapping):
        return isinstance(has, Mapping) and all(_agrees(value, has.get(key)) for key, value in asked.items())
    if isinstance(asked, list):
        same = isinstance(has, list) and len(asked) == len(has)
        return same and all(_agrees(one, other) for one, other in zip(asked, has, strict=True))
    return asked in (None, "", has) or (isinstance(asked, str | int) and _same_amount(asked, has))


def _same_amount(asked: Any, has: Any) -> bool:
    try:
        return quantity(asked) == quantity(has)
    except ValueError:
        return False


def _at(obj: Any, path: str) -> Any:
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(obj, Mapping):
            obj = obj.get(key)
        elif isinstance(obj, list) and "=" in key:  # as a server-side apply names the item of a list
            name, _, value = key.split(",")[0].partition("=")
            obj = next(
                (one for one in obj if isinstance(one, Mapping) and str(one.get(name)) == value.strip('"')), None
            )
        else:
            obj = obj[int(key)] if isinstance(obj, list) and key.isdigit() and int(key) < len(obj) else None
    return obj
