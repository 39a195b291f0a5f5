"""What is known to be wrong before anything is built: the rules on a plan, and what the cluster would not accept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from deployer.cluster import ownership
from deployer.config.load import LoadedSpec, chart_folder, load_spec, profile_names
from deployer.config.releases import BUILTIN
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Warned
from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json
from deployer.core.steps import Steps
from deployer.core.values import overlaid
from deployer.plan import Plan
from deployer.preflight import changes
from deployer.preflight.changes import Choice
from deployer.preflight.gather import Target, gather, render
from deployer.preflight.rules import capacity
from deployer.preflight.rules.capacity import Share, capacity_plan
from deployer.preflight.rules.containers import without_tags
from deployer.preflight.rules.judging import advice, errors, judge, summary
from deployer.preflight.rules.model import Finding, Subject
from deployer.sources import load
from deployer.sources.charts import files_outside
from deployer.sources.env_files import is_env_file
from deployer.stages.releases import Preparation
from deployer.state.record import Record


@dataclass(frozen=True, slots=True)
class Passed:
    """The shapes that passed the rules the last time, together, and the advice that was reported for them."""

    shapes: Mapping[str, str] = field(default_factory=dict)
    warned: tuple[str, ...] = ()


def shapes_of(loaded: LoadedSpec, plan: Plan, env: Iterable[str]) -> dict[str, str]:
    """By release, a digest of everything that decides what rules find of it, but for the images' tags, which change
    with each build; an image of no release is by itself.

    What passed with all other releases passes without them, too.
    """
    refs = {image.name: image.tag for image in plan.images}
    parts: dict[str, list[Any]] = {
        one.name: [one.namespace, str(one.chart), without_tags(one, loaded.spec.releases[one.name], refs)]
        for one in plan.releases
    }
    contexts = {
        image.name: sorted(
            f"{path} {part}" if is_env_file(path) else path for path, part in image.source.manifest.items()
        )
        for image in plan.images
    }
    for one in plan.releases:
        parts[one.name].append({name: contexts.get(name) for name in one.images})
    used = {name for one in plan.releases for name in one.images}
    parts |= {f"image {name}": [found] for name, found in contexts.items() if name not in used}
    spec = _digest([loaded.spec.model_dump(mode="json"), sorted(env)])
    return {name: _digest([spec, part]) for name, part in parts.items()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Known:
    """The shapes of today beside those that passed before."""

    path: Path
    before: Passed
    shapes: Mapping[str, str]
    applied: bool
    """Whether each release was applied before."""

    @property
    def passed(self) -> bool:
        """Whether nothing but the content of sources has changed since the rules held."""
        return self.applied and self.shapes.items() <= self.before.shapes.items()

    def remember(self, warned: Iterable[str]) -> None:
        """The shapes are those that passed; an unwritable state folder costs a render."""
        with suppress(OSError):
            write_private(self.path, json.dumps(asdict(Passed(self.shapes, tuple(sorted(warned))))))


def recall(loaded: LoadedSpec, plan: Plan, state: Path, record: Record) -> Known:
    """What passed the last time, remembered in the folder `state`; nothing where that cannot be read."""
    path, before = state / "rules.json", Passed()
    with suppress(OSError, Malformed):
        before = read_json(path, Passed)
    applied = {one.name for one in plan.releases} <= record.releases.keys()
    return Known(path, before, shapes_of(loaded, plan, load.load_env(loaded)), applied)


def identity(warning: Problem) -> str:
    """By what a warning is known again: the figures in its detail change with every pod."""
    return f"{warning.code} {warning.title}"


@dataclass(frozen=True, slots=True)
class Examined:
    """What the rules found, and the capacity plan."""

    findings: tuple[Finding, ...]
    capacity: tuple[Share, ...] = ()


def examine(loaded: LoadedSpec, plan: Plan, target: Target) -> Examined:
    """What an `up` with this plan would find and take at this moment.

    A cluster that does not run is taken for a new one. Input error where a chart does not render.
    """
    subject = gather(loaded, plan, target, thorough=True)
    found = ruled(subject, target, whole=target.helm is not None)
    if target.running is not None:
        known = {one.problem.title for one in found}
        found += tuple(one for one in _not_accepted(subject, target) if one.problem.title not in known)
    found += _outside(loaded)
    if target.helm is None:
        return Examined((*found, _unrendered()))
    return Examined(found, capacity_plan(subject))


def ruled(subject: Subject, target: Target, *, whole: bool) -> tuple[Finding, ...]:
    """What the rules find, of what could be rendered; where the pods do not fit, the profile with which they do."""
    whole = whole and not subject.unrendered
    found = judge(subject if whole else _narrowed(subject), partly=not whole)
    too_much = [one for one in found if (one.rule, one.severity) == (capacity.fits.name, "error")]
    profile = _fitting_profile(subject, target) if too_much else None
    if profile is not None:
        hint = f"todo-deploy --profile {profile} up, with which they fit"
        better = {
            id(one): replace(one, problem=replace(one.problem, hints=(hint, *one.problem.hints))) for one in too_much
        }
        found = tuple(better.get(id(one), one) for one in found)
    return (*found, *(Finding(one.code, "note", one) for one in subject.unrendered))


def _fitting_profile(subject: Subject, target: Target) -> str | None:
    """The first profile of the spec with whose values the pods fit."""
    for name in profile_names(subject.loaded.path):
        with suppress(DeployError):
            other = load_spec(subject.loaded.path, name)
            values = {release: one.values for release, one in other.spec.releases.items()}
            releases = tuple(
                replace(one, values=overlaid(one.values, values.get(one.name, {}))) for one in subject.plan.releases
            )
            tried = render(other, replace(subject.plan, releases=releases), target)
            if all(one.severity for one in capacity.fits.check(replace(tried, cluster=subject.cluster))):
                return name
    return None


def refuse_broken(findings: tuple[Finding, ...]) -> None:
    """No rule is broken; input error with every one that is."""
    problems = errors(findings)
    if problems:
        raise DeployError(problems, ExitCode.INPUT)


def before_build(
    loaded: LoadedSpec, plan: Plan, target: Target, known: Known, choice: Choice, *, whole: bool
) -> Steps[Mapping[str, Preparation]]:
    """The rules hold for what is about to change and the API server takes it; input error or refused otherwise.
    Returns what is to be done before each release is upgraded.

    What is known to have passed the rules is not asked of them again. `whole`: no release was left out.
    """
    running = target.running
    assert running is not None, "builds are for a cluster that runs"
    passed = known.passed
    subject = render(loaded, plan, target) if passed else gather(loaded, plan, target, thorough=False)
    findings = () if passed else ruled(subject, target, whole=whole)
    refuse_broken(findings)
    assert target.helm is not None, "nothing is built before the tools are there"
    judged = changes.judge(subject, running.record, running.kube, target.helm, choice)
    judged.refuse()
    advised = advice(findings)
    warned = {identity(one) for one in advised}
    if not warned <= {*known.before.warned}:
        yield Warned(Problem("ADVICE", summary(advised)))
    for problem in (*subject.unrendered, *judged.advice):
        yield Warned(problem)
    if whole and not passed and not subject.unrendered:
        known.remember(warned)
    return judged.prepared


def _not_accepted(subject: Subject, target: Target) -> tuple[Finding, ...]:
    """Releases, Secrets and objects that are somebody else's, and what the API server would not do."""
    assert target.running is not None
    plan, kube = subject.plan, target.running.kube
    judged = changes.judge(subject, target.running.record, kube, target.helm) if target.helm else changes.Judged()
    foreign = _refusals(lambda: ownership.refuse_foreign(ownership.touched_by_plan(plan), kube))
    refused = tuple(Finding(one.code, "error", one) for one in (*judged.invalid, *judged.refused))
    return (*foreign, *refused, *(Finding(one.code, "warning", one) for one in judged.advice))


def _refusals(check: Callable[[], object]) -> tuple[Finding, ...]:
    try:
        check()
    except DeployError as error:
        if error.exit_code is not ExitCode.REFUSED:
            raise
        return tuple(Finding(one.code, "error", one) for one in error.problems)
    return ()


def _narrowed(subject: Subject) -> Subject:
    """The subject without the URLs of releases that were left out."""
    services = {one.name for one in subject.objects("Service")}
    urls = tuple(url for url in subject.plan.urls if url.service in services)
    cors = tuple(one for one in subject.plan.cors if one.service in services)
    return replace(subject, plan=replace(subject.plan, urls=urls, cors=cors))


def _outside(loaded: LoadedSpec) -> tuple[Finding, ...]:
    """A note for each path of the spec or chart that leaves the repository, as the spec or the command line allows."""
    notes = [(one.title(), one.location) for one in loaded.outside]
    for name, release in loaded.spec.releases.items() if loaded.spec.allow_outside else ():
        folder = chart_folder(loaded.root, release.chart)
        apart = release.chart == BUILTIN or release.is_remote
        files = () if apart else files_outside(folder, loaded.repository, loaded.readable)
        if files:
            title = f"the chart of release `{name}` takes {len(files)} files from outside the repository: {files[0]}, …"
            notes.append((title, ("releases", name, "chart")))
    hints = ("nothing to do if this is meant",)
    problems = [Problem("PATH_OUTSIDE", title, "", str(loaded.origin(*place)), hints) for title, place in notes]
    return tuple(Finding(one.code, "note", one) for one in problems)


def _unrendered() -> Finding:
    title = "the charts were not rendered: helm is not installed yet"
    hints = ("todo-deploy doctor --fix",)
    return Finding("CHARTS_UNRENDERED", "note", Problem("CHARTS_UNRENDERED", title, hints=hints))
