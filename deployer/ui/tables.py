"""The tables of commands and their rows: `status`, `doctor`, `plan` and `history`; every meaning is also a word."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from deployer.core.text import UNICODE, Glyphs, clean, clean_lines, count
from deployer.status import Phase
from deployer.ui.console import BUSY, CARE, CAUSE, GOOD, PHASE_STYLES, QUIET, STRONG

if TYPE_CHECKING:
    from deployer.commands.doctor import Check
    from deployer.commands.plan import Step
    from deployer.state.history import Entry


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One workload as `status` shows it; `cause` says what is wrong, if anything."""

    workload: str
    phase: Phase
    ready: int
    desired: int
    restarts: int
    age: str = ""
    image: str = ""
    url: str = ""
    cause: str = ""


# Below so many columns a row that must be broken is not readable any more: of `status`, and of `history`.
_NARROW, _NARROW_HISTORY = 100, 160
_CHECK_STYLES = {"pass": GOOD, "warn": CARE, "fail": CAUSE, "skip": QUIET}
_ACTION_SIGNS = {"create": "+", "build": "+", "update": "~", "unchanged": "="}
_ACTION_STYLES = {"create": GOOD, "build": GOOD, "update": CARE, "unchanged": QUIET}


@dataclass(frozen=True, slots=True)
class _Fitting:
    """The table, or on a narrow terminal the lines in its place."""

    table: Table
    lines: Group
    narrow: int = _NARROW

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unbroken = console.measure(self.table, options=options.update(max_width=10_000)).maximum
        yield self.table if options.max_width >= min(unbroken, self.narrow) else self.lines


def status_table(rows: Sequence[StatusRow], glyphs: Glyphs = UNICODE) -> Group:
    """One row a workload (some lines on a narrow terminal), then one line a cause; what nobody filled is left out."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style=QUIET, pad_edge=False)
    extras = [name for name in ("age", "image", "url") if any(getattr(row, name) for row in rows)]
    for title in ("WORKLOAD", "STATE"):
        table.add_column(title, no_wrap=True)
    for title in ("READY", "RESTARTS"):
        table.add_column(title, justify="right")
    for title in extras:
        table.add_column(title.upper(), overflow="fold")
    for row in rows:
        cells = {"age": Text(clean(row.age)), "image": Text(clean(row.image)), "url": _link(row.url)}
        table.add_row(
            Text(clean(row.workload)),
            Text(row.phase.value, PHASE_STYLES[row.phase]),
            f"{row.ready}/{row.desired}",
            Text(str(row.restarts), CARE if row.restarts else QUIET),
            *(cells[name] for name in extras),
        )
    causes = [
        Text.assemble((f"{glyphs.failed} ", CAUSE), "" if row.workload in row.cause else f"{clean(row.workload)}: ",
                      clean(row.cause))
        for row in rows
        if row.cause
    ]  # fmt: skip
    lines = Group(*(line for row in rows for line in _narrow(row)))
    return Group(_Fitting(table, lines), *([Text()] if causes else []), *causes)


def _narrow(row: StatusRow) -> list[Text]:
    """A workload in lines that may be broken anywhere."""
    restarts = f", {count(row.restarts, 'restart')}" if row.restarts else ""
    state = Text.assemble("  ", (row.phase.value, PHASE_STYLES[row.phase]), f" {row.ready}/{row.desired}{restarts}")
    if row.age:
        state.append(f", {clean(row.age)}")
    more = [Text.assemble("  ", part) for part in (_link(row.url), Text(clean(row.image))) if part.plain]
    return [Text(clean(row.workload), overflow="fold"), state, *more]


def history_table(revisions: Sequence[Entry]) -> Group:
    """One row a revision (on a narrow terminal lines, without the images), the newest last."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style=QUIET, pad_edge=False)
    for title in ("REV", "WHEN", "WHO", "COMMIT", "VERDICT", "SECONDS"):
        table.add_column(title, no_wrap=True)
    table.add_column("WHY", overflow="fold")
    table.add_column("IMAGES", overflow="fold")
    lines: list[Text] = []
    for one in revisions:
        style = {"verified": GOOD, "failed": CAUSE}.get(one.verdict_text.partition(":")[0], CARE)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at))
        words = (str(one.number), when, one.who, one.commit[:7] + ("+" if one.dirty else ""))
        took = f"{one.seconds:.0f}" if one.seconds else ""
        cells = (*(Text(clean(word)) for word in words), Text(clean(one.verdict_text), style), Text(took, QUIET))
        table.add_row(*cells, Text(clean(one.why)), Text(clean("\n".join(one.images.values())), QUIET))
        state = (f"{clean(one.verdict_text)}{f' after {took} s' if took else ''}", style)
        rest = clean(" ".join(words[2:]))
        lines.append(Text.assemble((words[0], STRONG), f"  {when}  ", state, (f"  {rest}", QUIET)))
        lines += [Text(f"  {line}") for line in clean_lines(one.why)]
    return Group(_Fitting(table, Group(*lines), _NARROW_HISTORY))


def checks_table(rows: Sequence[Check], glyphs: Glyphs = UNICODE) -> Group:
    """One row a check, the mending command beneath each that did not pass, and the counts."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    marks = {"pass": glyphs.done, "warn": glyphs.warning, "fail": glyphs.failed, "skip": glyphs.unchanged}
    for row in rows:
        details = clean_lines(row.detail) or [""]
        state = Text(f"{marks[row.state]} {row.state}", _CHECK_STYLES[row.state])
        table.add_row(state, Text(clean(row.name)), Text("\n".join(details)))
        if row.hint:
            table.add_row("", "", Text.assemble((f"{glyphs.arrow} ", BUSY), (clean(row.hint), STRONG)))
    found = Counter(row.state for row in rows)
    words = [f"{found['pass']} passed", count(found["warn"], "warning"), f"{found['fail']} failed"]
    if found["skip"]:
        words.append(f"{found['skip']} skipped")
    return Group(table, Text(), Text(", ".join(words), STRONG))


def plan_view(rows: Sequence[Step]) -> Group:
    """What would be done by kind, each with its reasons beneath, and the counts."""
    lines: list[Text] = []
    width = max((len(clean(row.name)) for row in rows), default=0)
    for kind in dict.fromkeys(row.kind for row in rows):
        lines.append(Text(clean(kind), STRONG))
        for row in (row for row in rows if row.kind == kind):
            style = _ACTION_STYLES[row.action]
            first, *more = clean_lines(row.reason) or [""]
            head = Text.assemble(
                (f"  {_ACTION_SIGNS[row.action]} ", style),
                f"{clean(row.name):<{width}}  ",
                (f"{row.action:<9}", style),
                (f"  {first}" if first else "", QUIET),
            )
            head.rstrip()
            lines.append(head)
            lines += [Text(f"{'':{width + 17}}{line}", QUIET) for line in more]
    found: Counter[str] = Counter(row.action for row in rows)
    words = [f"{found[action]} to {action}" for action in _ACTION_SIGNS if found[action] and action != "unchanged"]
    whole = ", ".join([*words, f"{found['unchanged']} unchanged"]) if words else "nothing to change"
    return Group(*lines, *([Text()] if lines else []), Text(whole, STRONG))


def _link(url: str) -> Text:
    target = clean(url)
    return Text(target, Style(link=target) if target.startswith(("http://", "https://")) else "")
