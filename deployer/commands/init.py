"""From the files of a repository to the text of its spec, which is then known to load and to be judged by the rules."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployer import composition
from deployer.commands import connection
from deployer.commands.charts import fetched, unseen
from deployer.commands.validate import examine
from deployer.composition import Machine
from deployer.config.load import LoadedSpec, load_spec, work_tree
from deployer.config.spec import Cluster
from deployer.core.errors import DeployError, Problem, machine_error
from deployer.core.events import Event
from deployer.core.files import write_within
from deployer.core.ports import ClusterFacts, HelmPort, UpgradeRequest
from deployer.core.steps import drive
from deployer.init.compose import compose, questions
from deployer.init.find import find, nothing_found
from deployer.init.model import Draft, FoundChart, Question, Reading, Rendered, Repository
from deployer.init.read import read, release_names
from deployer.init.write import as_yaml
from deployer.plan import wanted_keys
from deployer.preflight.rules.model import Finding
from deployer.sources import charts, dotenv, load
from deployer.status import ClusterPhase
from deployer.toolchain import Toolchain

HEAD = """\
Drafted by `todo-deploy init` from the Dockerfiles, charts and env file of this folder.
Look at each line that says "guessed", then: todo-deploy validate, todo-deploy up
(`todo-deploy validate --rules` lists what is checked, `todo-deploy schema` is for editors.)"""
_RENDER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Drafted:
    """The text of a spec, what its charts could not be asked, and the errors that the rules still find."""

    text: str
    draft: Draft
    unread: tuple[Reading, ...]
    findings: tuple[Finding, ...]


def draft_spec(
    target: Path,
    here: Machine,
    ask: Callable[[Question], str] | None,
    overrides: Sequence[str] = (),
    report: Callable[[Event], None] = unseen,
    *,
    written: bool = True,
) -> Drafted:
    """The draft for the folder of `target`, `written` there; `ask` answers questions, None takes every default.

    It is judged with the overrides over it, as an `up` with them would be. What images copy of the folder is judged
    only of what is written.

    Input error where the folder has neither a chart nor a Dockerfile or Compose file.
    """
    root = target.parent
    repo = find(root)
    if not repo.charts and not repo.services:
        raise nothing_found(root)
    readings = read_charts(repo, here, report) if repo.charts else ()
    answers: dict[str, str] = {}
    while ask is not None and (left := questions(repo, readings, answers)):
        answers[left[0].key] = ask(left[0])
    draft = compose(repo, readings, answers)
    text = as_yaml(draft, HEAD)
    with _standing(target, text) as path:
        load_spec(path)
        findings = () if written else _judged(path, target.name, repo, here, overrides)
    if written:
        write_within(root, target.name, text, 0o644)
        for context, lines in draft.ignore.items():
            write_within(root / context, ".dockerignore", "".join(f"{line}\n" for line in lines), 0o644)
        findings = _judged(target, target.name, repo, here, overrides)
    shipped = "CONTEXT_SHIPS" if written else ""
    wrong = tuple(one for one in findings if one.severity == "error" or one.rule == shipped)
    return Drafted(text, draft, tuple(one for one in readings if one.problem), wrong)


def read_charts(repo: Repository, here: Machine, report: Callable[[Event], None] = unseen) -> tuple[Reading, ...]:
    """Each chart under the name of its release, rendered; machine error where there is no helm yet."""
    tools = connection.known_tools(here)
    helm = _helm(here, tools)
    staged: dict[str, Path | DeployError] = {}
    found: list[FoundChart] = []
    for chart in repo.charts:
        try:
            folder, within = repo.root / chart.path, (work_tree(repo.root),)
            pins = drive(fetched(charts.missing_parts(folder, within), {}, here, tools), report)
            made = charts.stage_chart(folder, here.cache_dir / "charts", within=within, pins=pins)
            staged[chart.path] = made.path
            chart = replace(chart, values=charts.own_values(made.path)) if pins else chart
        except DeployError as error:
            staged[chart.path] = error
        found.append(chart)

    def render(chart: FoundChart, release: str, values: Mapping[str, Any]) -> Rendered:
        folder = staged[chart.path]
        if isinstance(folder, DeployError):
            raise folder
        return helm.template(UpgradeRequest(release, release, folder, values, {}, "", _RENDER_SECONDS))

    plain: dict[tuple[str, str], Rendered | DeployError] = {}

    def render_plain(chart: FoundChart, release: str) -> Rendered:
        key = chart.path, release
        if key not in plain:
            try:
                plain[key] = render(chart, release, {})
            except DeployError as error:
                plain[key] = error
        known = plain[key]
        if isinstance(known, DeployError):
            raise known
        return known

    def reading(release: str, chart: FoundChart) -> Reading:
        def with_values(values: Mapping[str, Any]) -> Rendered:
            return render(chart, release, values) if values else render_plain(chart, release)

        return read(chart, release, release, with_values)

    return tuple(reading(release, chart) for release, chart in release_names(found, render_plain).items())


def _helm(here: Machine, toolchain: Toolchain | None) -> HelmPort:
    """The tool's own helm, or the one of PATH before there is any; machine error without one."""
    if toolchain is None:
        raise machine_error(
            "INIT_NO_HELM", "`init` renders the charts, and there is no helm on this machine yet",
            hints=("todo-deploy doctor --fix, which gets the toolchain, then: todo-deploy init",),
        )  # fmt: skip
    facts = ClusterFacts(ClusterPhase.MISSING, kubernetes_version=Cluster().kubernetes_version)
    return composition.open_helm(here, Cluster(), toolchain, facts)


def _judged(path: Path, name: str, repo: Repository, here: Machine, overrides: Sequence[str]) -> tuple[Finding, ...]:
    """What the rules find of the draft, as of a file of that name."""
    try:
        loaded = load_spec(path, None, overrides)
        found = (*_env_findings(loaded, repo), *examine(loaded, here).findings)
    except DeployError as error:  # what cannot be read or rendered stands for what rules would have said of it
        found = tuple(Finding(one.code, "error", one) for one in error.problems)
    return tuple(replace(one, problem=_renamed(one.problem, path.name, name)) for one in found)


def _renamed(problem: Problem, draft: str, name: str) -> Problem:
    hints = tuple(hint.replace(draft, name) for hint in problem.hints)
    return replace(
        problem, title=problem.title.replace(draft, name), where=problem.where.replace(draft, name), hints=hints
    )


def _env_findings(loaded: LoadedSpec, repo: Repository) -> Iterator[Finding]:
    """What the env file lacks, or will lack when `up` has made it from its example."""
    env = load.load_env(loaded)
    if not repo.has_env and repo.env_example is not None:
        env = dotenv.read_env(repo.root / repo.env_example, repo.env_example, wanted_keys(loaded.spec))
    for problem in load.env_problems(loaded, env):
        yield Finding(problem.code, "error", problem)


@contextlib.contextmanager
def _standing(target: Path, text: str) -> Iterator[Path]:
    """The draft stands beside the target, which may be another spec, under a name of its own."""
    path = write_within(target.parent, f".{target.name}.draft", text)
    try:
        yield path
    finally:
        path.unlink()
