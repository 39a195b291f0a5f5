"""From what the API showed and what the program reported to a row of the table and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from bench.faults.bench import Run
from bench.faults.model import Ends, Fault
from bench.faults.watching import Watch
from deployer.diagnosis.causes import CAUSES
from tests.e2e.project import Object

NAMED_SECONDS = 2.0
"""A cause is on screen so soon after the API showed it."""
_VERDICT_SECONDS = 5.0
"""Evidence is gathered for at most so long between the last sign and the verdict."""


@dataclass(frozen=True)
class Row:
    """One fault as it went; times in seconds after the API's first sign, but `took`, which is all of the run."""

    fault: Fault
    code: str
    named: float | None
    verdict: float | None
    took: float
    line: str
    exit_code: int
    others: tuple[str, ...]
    wrong: tuple[str, ...]


def row_of(fault: Fault, run: Run, watch: Watch) -> Row:
    """The fault's row."""
    shown = watch.first(fault.shown)
    warned = [timed for timed in run.of("warned") if timed.event["problem"]["code"] in CAUSES]
    findings = [(timed.at, timed.event["problem"]) for timed in warned if not timed.event["further"]]
    notes = [
        (timed.at, {"code": code, "title": timed.event["text"]})
        for timed in run.of("item")
        if timed.event["stage"] in ("rollout", "stability") and (code := code_of(timed.event["text"]))
    ]
    failed = next(iter(run.of("stage_failed")), None)
    problem = failed.event["problems"][0] if failed is not None and failed.event["problems"] else None
    named = [*findings, *notes, *([(failed.at, problem)] if failed is not None and problem is not None else [])]
    mine = sorted((one for one in named if one[1]["code"] == fault.code), key=lambda one: one[0])
    said = [one for one in mine if re.search(fault.says, _text(one[1]))]
    verdict = failed.at if failed is not None else None
    code = problem["code"] if problem is not None else (mine[0][1]["code"] if mine else "none")
    others = tuple(sorted({timed.event["problem"]["code"] for timed in warned} - {fault.code}))
    row = Row(
        fault,
        code,
        mine[0][0] - shown if mine and shown is not None else None,
        verdict - shown if verdict is not None and shown is not None else None,
        run.ended - run.began,
        str((said or mine or named or [(0, {"title": ""})])[0][1]["title"]),
        run.exit_code,
        others,
        (),
    )
    wrong = (*_wrong(row, shown, said, run), *_ends_wrong(row, shown, verdict, run, watch))
    return replace(row, wrong=wrong)


def names(fault: Fault, event: Object) -> bool:
    """Whether the event names the fault's cause, as an alarm or as a note."""
    if event["type"] == "warned":
        return bool(event["problem"]["code"] == fault.code)
    return bool(event["type"] == "item" and code_of(event["text"]) == fault.code)


def _text(problem: Object) -> str:
    return "\n".join((problem["title"], problem.get("detail", ""), *problem.get("hints", ())))


def code_of(text: str) -> str | None:
    """The cause whose title the words are, if they are one's."""
    for code, cause in CAUSES.items():
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(cause.title))
        if re.match(rf"{pattern}(?: \(|$)", text):
            return code
    return None


def _wrong(row: Row, shown: float | None, said: list[tuple[float, Object]], run: Run) -> list[str]:
    fault, wrong = row.fault, []
    if shown is None:
        wrong.append(f"the API never showed `{fault.shown}`")
    if row.named is None:
        wrong.append(f"{fault.code} was never named")
    elif row.named > NAMED_SECONDS:
        wrong.append(f"named {row.named:.1f} s after the API showed it")
    elif row.named < -1:
        wrong.append(f"named {-row.named:.1f} s before the API showed it: the sign is not the first one")
    if not said:
        wrong.append(f"no line says `{fault.says}`")
    if row.code != fault.code:
        wrong.append(f"misnamed {row.code}")
    if more := [one for one in row.others if one not in fault.also]:
        wrong.append(f"also named {', '.join(more)}")
    if row.exit_code != fault.exit_code:
        errors = [f"{one['code']}: {one['title']}" for one in run.document.get("errors") or ()]
        wrong.append(f"exit code {row.exit_code}, expected {fault.exit_code}; {'; '.join(errors)}")
    if run.noise:
        wrong.append(f"on standard error beside the events: {run.noise[0][:80]}")
    return wrong


def _ends_wrong(row: Row, shown: float | None, verdict: float | None, run: Run, watch: Watch) -> list[str]:
    """What is wrong with the time of the verdict, by the table of causes and by what must hold of this fault."""
    fault, policy = row.fault, row.fault.policy
    class_of_table = (
        Ends.NOW if policy.now
        else Ends.DEADLINE if policy.seconds is None and policy.count is None and policy.alike is None
        else Ends.CONFIRMED
    )  # fmt: skip
    if fault.ends is Ends.GOES_ON:
        return [f"the run failed: {row.code}"] if verdict is not None else []
    if verdict is None:
        return ["no verdict"]
    if shown is None:
        return []
    after, late = verdict - shown, verdict - _begin_of_rollout(run)
    if fault.ends is Ends.DEADLINE:
        return (
            [] if fault.timeout - 1 <= late <= fault.timeout + _VERDICT_SECONDS + 1 else [f"verdict after {late:.0f} s"]
        )
    wrong = [] if fault.ends in (class_of_table, Ends.HELD) else [f"the table says {policy}"]
    if late >= fault.timeout:
        wrong.append("waited for the deadline")
    if fault.ends in (Ends.NOW, Ends.HELD) and after > _VERDICT_SECONDS:
        wrong.append(f"verdict {after:.1f} s after the sign, and it is certain at once")
    if fault.ends is Ends.CONFIRMED and policy.seconds is not None:
        if not policy.seconds - 2 <= after <= policy.seconds + _VERDICT_SECONDS:
            wrong.append(f"verdict after {after:.1f} s, and the table says {policy}")
    elif fault.ends is Ends.CONFIRMED:
        needed = min(one for one in (policy.count, policy.alike) if one is not None)
        seen = [at for at in watch.times(fault.shown) if at <= verdict]
        if len(seen) < needed:
            wrong.append(f"verdict after {len(seen)} signs, and the table says {policy}")
        elif verdict - seen[-1] > _VERDICT_SECONDS:
            wrong.append(f"verdict {verdict - seen[-1]:.1f} s after the last sign")
    return wrong


def _begin_of_rollout(run: Run) -> float:
    begun = [timed.at for timed in run.of("stage_started") if timed.event["stage"] == "rollout"]
    return begun[0] if begun else run.began
