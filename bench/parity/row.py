"""One case lived both ways, and what is wrong with how it went."""

from __future__ import annotations

import difflib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.parity.case import Case, Edit, Expected
from bench.parity.hand import Machine, Object, Verdict, clear, deploy, read_spec, remove, sick_pods
from bench.parity.ours import Step, advice_of, images_of, left_of, named_objects, run_ours
from bench.parity.running import TIMED_OUT, Runner
from deployer.toolchain import Toolchain

COMMANDS = ("validate", "plan", "up", "again", "plan again", "status", "change", "rollback", "down")


@dataclass(slots=True)
class Row:
    """What was seen of a case: two verdicts by hand, the steps of ours, and all that is wrong."""

    case: Case
    hand: dict[str, Verdict] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    flaws: list[str] = field(default_factory=list)
    manifests: dict[str, str] = field(default_factory=dict)
    """What Helm installed by hand, by release."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where cases are run: the programs, the profile, the folder for copies and output, and the prefix of all names."""

    tools: Toolchain
    profile: str
    work: Path
    prefix: str
    kubeconfig: Path
    bases: frozenset[str] = frozenset()

    @property
    def hand_prefix(self) -> str:
        """The prefix of what is made by hand; no name of ours holds it."""
        return f"h{self.prefix}"

    def machine(self, folder: Path, logs: Path) -> Machine:
        """What runs the programs of one copy of a case, with a kubeconfig and a state folder of its own."""
        logs.mkdir(parents=True, exist_ok=True)
        own = logs / "kubeconfig"
        shutil.copyfile(self.kubeconfig, own)
        own.chmod(0o600)
        env = {
            "KUBECONFIG": str(own),
            "XDG_STATE_HOME": str(logs / "state"),
            "NO_COLOR": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        return Machine(Runner(logs, folder, env), self.tools, self.profile, self.bases)


def live(case: Case, place: Place) -> Row:
    """The case went its way by hand and by ours; nothing of it is left."""
    row, begun = Row(case), time.monotonic()
    if case.skip:
        return row
    work = place.work / case.number
    shutil.rmtree(work, ignore_errors=True)
    try:
        _by_hand(row, place, work / "hand")
        _by_ours(row, place, work / "ours")
        row.flaws += flaws_of(row)
    except (OSError, ValueError, KeyError, TypeError) as error:
        row.flaws.append(f"the case cannot be run: {type(error).__name__}: {error}")
    row.seconds = time.monotonic() - begun
    return row


def _by_hand(row: Row, place: Place, folder: Path) -> None:
    prefix = place.hand_prefix
    row.case.stage(folder / "case", prefix)
    machine = place.machine(folder / "case", folder / "logs")
    token = row.case.token(prefix)
    spec: Object = {}
    with_objects = row.case.renamed(row.case.objects, prefix)
    try:
        _apply(machine, with_objects)
        spec = read_spec(machine, folder / "case")
        row.hand["first"] = deploy(machine, folder / "case", spec, "1.0.0-hand1", row.case.settle)
        if row.hand["first"].works:
            row.manifests = manifests(machine, spec, token)
            _change(row.case, folder / "case", prefix, spec)
            spec = read_spec(machine, folder / "case")
            row.hand["change"] = deploy(machine, folder / "case", spec, "1.0.0-hand2", row.case.settle)
    finally:
        remove(machine, spec, token)
        _delete(machine, with_objects)


def _by_ours(row: Row, place: Place, folder: Path) -> None:
    case = row.case
    case.stage(folder / "case", place.prefix)
    machine = place.machine(folder / "case", folder / "logs")
    token, objects = case.token(place.prefix), case.renamed(case.objects, place.prefix)
    try:
        _apply(machine, objects)
        _journey(row, machine, place, folder / "case")
    finally:
        _delete(machine, objects)
        clear(machine, token, wait=False)


def _journey(row: Row, machine: Machine, place: Place, root: Path) -> None:
    case, steps = row.case, row.steps

    def take(name: str, command: str, *words: str) -> Step:
        steps[name] = run_ours(machine, case, command, *words)
        return steps[name]

    token = case.token(place.prefix)
    spec = read_spec(machine, root)
    before = named_objects(machine, token)
    take("validate", "validate")
    take("plan", "plan", "--exit-code")
    if take("up", "up").code == 0:
        take("again", "up")
        take("plan again", "plan", "--exit-code")
        first = take("status", "status")
        if row.manifests and not case.random:
            row.flaws += _differences(row.manifests, manifests(machine, spec, token))
        row.flaws += [f"called verified, but {words}" for words in sick_pods(machine, spec)]
        if case.tamper:
            _tamper(row, machine, token, take)
        _change(case, root, place.prefix, spec)
        take("plan change", "plan", "--exit-code")
        changed = take("change", "up")
        if changed.code == 5:
            row.flaws += [f"rolled back, but {words}" for words in sick_pods(machine, spec)]
            row.flaws += ["rolled back, but not to the images of before"] * (
                images_of(take("status back", "status")) != images_of(first)
            )
        if changed.code == 0:
            second = take("status change", "status")
            row.flaws += [f"the change is called verified, but {words}" for words in sick_pods(machine, spec)]
            if take("rollback", "rollback").code == 0 and images_of(second) != images_of(first):
                now = images_of(take("status back", "status"))
                row.flaws += ["after rollback the images are not those of before"] * (now != images_of(first))
    take("down", "down", "--volumes", "--yes")
    if left := _left(machine, token, before):
        row.flaws.append(f"left behind after down: {', '.join(left[:4])}")


def _tamper(row: Row, machine: Machine, token: str, take: Callable[..., Step]) -> None:
    for words in row.case.tamper:
        machine.kubectl("--namespace", token, *words)
    mended = take("mended", "up")
    if mended.code != 0 or not mended.data.get("changed"):
        row.flaws.append(f"up does not mend what kubectl did: {mended.verdict}, changed {mended.data.get('changed')}")


def manifests(machine: Machine, spec: Object, token: str) -> dict[str, str]:
    """What Helm installed, by release, without the names and tags that differ between the two ways."""
    found = dict[str, str]()
    for name, release in spec.get("releases", {}).items():
        space = release.get("namespace") or spec.get("namespace", "default")
        text = machine.helm("get", "manifest", name, "--namespace", space).out.replace(token, "case")
        text = re.sub(r"\b\d+\.\d+\.\d+-(?:hand\d|[0-9a-f]{12})\b", "TAG", text)
        for secret in spec.get("secrets", {}):
            text = re.sub(rf"\b{re.escape(secret)}-[0-9a-f]{{8}}\b", secret, text)
        found[name] = text
    return found


def _differences(hand: Mapping[str, str], ours: Mapping[str, str]) -> Iterator[str]:
    for name, text in hand.items():
        lines = difflib.unified_diff(text.splitlines(), ours.get(name, "").splitlines(), lineterm="", n=0)
        if changed := [line for line in lines if line[:1] in "+-" and line[:3] not in ("---", "+++")]:
            yield f"release {name} is not what helm installs by hand: {' / '.join(changed[:6])[:300]}"


def _left(machine: Machine, token: str, before: frozenset[str]) -> list[str]:
    # What the cluster removes by itself, such as a claim's volume, takes a moment.
    for _ in range(8):
        left = left_of(machine, token, before)
        if not left:
            break
        time.sleep(2)
    return left


def _change(case: Case, root: Path, prefix: str, spec: Object) -> None:
    for edit in case.change or _label(root, spec):
        Edit(edit.file, case.renamed(edit.put, prefix), case.renamed(edit.find, prefix)).apply(root)


def _label(root: Path, spec: Object) -> Iterator[Edit]:
    for image in list(spec.get("images", {}).values())[:1]:
        file = image.get("dockerfile") or f"{image['context']}/Dockerfile"
        # An unlike text each time: a layer that was built before would be taken again.
        yield Edit(file, f"\nLABEL changed=t{time.time_ns()}\n")


def _apply(machine: Machine, objects: str) -> None:
    if objects:
        ended = machine.kubectl("apply", "-f", "-", text=objects)
        if ended.code != 0:
            raise ValueError(f"objects before: {ended.last}")


def _delete(machine: Machine, objects: str) -> None:
    if objects:
        machine.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", text=objects, limit=90)


def flaws_of(row: Row) -> Iterator[str]:
    """What is wrong with a row, beside what was seen on the way."""
    steps, case = row.steps, row.case
    for name, step in steps.items():
        if step.code in (1, TIMED_OUT) or step.crashed:
            yield f"{name}: {step.verdict}"
    yield from _against(row.hand.get("first"), steps.get("up"), case.first, "up")
    if case.first.advice and case.first.advice not in advice_of(steps["validate"]):
        yield f"validate says nothing of {case.first.advice}"
    if case.first.hand and case.first.hand != ("works" if row.hand["first"].works else "fails"):
        yield f"by hand it {row.hand['first'].words}, and {case.first.hand} is expected"
    yield from _agreement(steps, alike=not case.arguments)
    if "change" in steps:
        yield from _against(row.hand.get("change"), steps["change"], case.then, "change")
        yield from _agree(steps["plan change"], steps["change"], "of the change")
    for name in ("status", "rollback", "down"):
        if name in steps and steps[name].code != 0:
            yield f"{name}: {steps[name].verdict}"


def _against(hand: Verdict | None, step: Step | None, expected: Expected, name: str) -> Iterator[str]:
    """Where the expectation says nothing, ours works if and only if it does by hand."""
    if step is None:
        return
    wanted = expected.up or ("works" if hand is None or hand.works else "")
    if wanted and step.kind != wanted:
        by = "is expected" if expected.up else "works by hand"
        yield f"{name}: {step.verdict}, {f'{wanted} ' if expected.up else ''}{by}: {'; '.join(step.titles)[:300]}"
    if expected.code and expected.code not in step.codes:
        yield f"{name}: {' '.join(step.codes) or 'no code'}, {expected.code} is expected"
    if step.kind == "refused" and any(one.get("built") for one in step.data.get("images", [])):
        yield f"{name}: refused after images were built"


def _agreement(steps: Mapping[str, Step], *, alike: bool) -> Iterator[str]:
    up = steps["up"]
    # What only `up` is told, such as `--adopt`, the others cannot know.
    if alike:
        yield from _agree(steps["plan"], up, "before")
    # A foreign object is wrong input to `validate` (2), and a refusal of `up` (7).
    if alike and (steps["validate"].kind == "refused") != (up.kind == "refused"):
        yield f"validate: {steps['validate'].verdict}, up: {up.verdict}"
    if "again" in steps:
        again, plan = steps["again"], steps["plan again"]
        if again.code != 0:
            yield f"up again: {again.verdict}: {'; '.join(again.titles)[:200]}"
        elif again.data.get("changed"):
            yield f"up again changed something: {_changes(again)}"
        if plan.code != 0:
            rows = [one for one in plan.data.get("steps", []) if one["action"] != "unchanged"]
            reasons = "; ".join(f"{one['kind']} {one['name']}: {one['action']} {one['reason']}" for one in rows)
            yield f"plan after up: {plan.code} {reasons[:200]}"


def _agree(plan: Step, up: Step, when: str) -> Iterator[str]:
    """A plan ends with 8 where `up` changed something, with 0 where it did not, and as `up` where that refused."""
    unchanged = up.code == 0 and not up.data.get("changed")
    wanted = up.code if up.kind == "refused" else 0 if unchanged else 8
    if plan.code != wanted:
        yield f"plan {when}: {plan.code}, {wanted} fits up ({up.verdict})"


def _changes(step: Step) -> str:
    parts = step.data.get("releases", []), step.data.get("images", [])
    return ", ".join(
        f"{one['name']} {one.get('reason', '')}".strip() for part in parts for one in part if one.get("changed")
    )
