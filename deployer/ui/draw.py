"""A view as lines of styled text: `frame` while a run goes on, `summary` once it has ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rich.style import Style
from rich.text import Text

from deployer.core.errors import Problem
from deployer.core.events import ItemState, RunFinished
from deployer.core.text import clean, clean_lines, duration, elapsed, progress
from deployer.status import Phase
from deployer.ui.console import BUSY, CARE, CAUSE, GOOD, PHASE_STYLES, QUIET, STRONG, Page
from deployer.ui.view import ItemView, StageState, StageView, View, evidence, not_shown, running
from deployer.ui.words import Severity, further_words, kind_of, run_words, why_not

BAR_CELLS = 10
_INDENT = "    "


def frame(view: View, now: float, page: Page, height: int, verbosity: int = 0) -> list[Text]:
    """The picture of a run that goes on, in fewer lines than `height`: what is finished gives way first."""
    for items in (99, 12, 6, 3, 1, 0):
        logs = (5 if verbosity else 1) if items >= 6 else 0
        lines = _frame(view, now, page, items, logs)
        if len(lines) < height:
            return lines
    return lines[: max(height - 1, 1)]


def summary(view: View, page: Page) -> list[Text]:
    """What stays on the screen: stages with their times, then URLs, or the cause and the next command."""
    lines = [_header(view, page, view.seconds), Text(), *_stages(view, page)]
    late = [status for status in view.workloads if status.phase is not Phase.AVAILABLE]
    if view.problems and late:
        lines += [Text(), *_workloads(view, page, only_late=True)]
    causes = {(problem.code, problem.where) for problem in view.problems}
    for warning in view.warnings:
        if (warning.code, warning.where) not in causes:
            lines += [Text(), *problem_text(warning, page, "warning")]
    if view.urls:
        lines += [Text(), *_urls(view, page)]
    if view.outcome is not None:
        lines += [Text(), _ending(view, page)]
    tails = [line for item in evidence(view) for line in _tail(item, page)]
    for number, problem in enumerate(view.problems):
        lines += [Text(), *problem_text(problem, page, "error", tails if number == 0 else [])]
    if view.problems and (more := further_words(not_shown(view))):
        lines += [Text(), Text(f"  {more}", style=QUIET)]
    return lines


def problem_text(
    problem: Problem, page: Page, severity: Severity = "error", tails: list[Text] | None = None
) -> list[Text]:
    """The cause, where it is, the evidence, and the next command, in this order; wrapped, never cropped."""
    kind = kind_of(problem, severity)
    style = {"error": CAUSE, "warning": CARE}.get(kind, GOOD)
    code = (clean(problem.code), Style(link=page.address(problem.code) or None))
    head = Text.assemble(f"{kind}[", code, "]", style=style)
    head = Text.assemble(head, (f": {clean(problem.title)}", STRONG))
    lines = [head]
    if problem.where:
        lines.append(Text.assemble(("  --> ", QUIET), clean(problem.where)))
    lines += [Text(f"  {line}") for line in clean_lines(problem.detail)]
    lines += tails or []
    lines += [Text.assemble((f"  {page.glyphs.arrow} ", BUSY), (clean(hint), STRONG)) for hint in problem.hints]
    if kind == "error":
        lines.append(Text.assemble("  more: todo-deploy help ", code, style=QUIET))
    return lines


def _frame(view: View, now: float, page: Page, items: int, logs: int) -> list[Text]:
    lines = [_header(view, page, None if not view.command else now - view.began), Text()]
    for stage, line in zip(view.stages, _stages(view, page, now), strict=True):
        lines.append(line)
        if stage.state is StageState.RUNNING:
            lines += _items(stage, now, page, items, logs)
    if view.workloads:
        lines += [Text(), *_workloads(view, page)]
    if view.urls and items:
        lines += [Text(), *_urls(view, page)]
    if view.warnings and items:
        lines.append(Text())
        lines += [
            page.line((f"  {page.glyphs.warning} ", CARE), (f"warning: {warning.title}", ""))
            for warning in view.warnings[-3:]
        ]
    return lines


def stage_lines(view: View, now: float, page: Page) -> Iterator[Text]:
    """The stages at work, each with its items."""
    for stage, line in zip(view.stages, _stages(view, page, now), strict=True):
        if stage.state is StageState.RUNNING:
            yield line
            yield from _items(stage, now, page, 4, 1)


def _header(view: View, page: Page, seconds: float | None) -> Text:
    title = [(view.application or "todo-deploy", STRONG)]
    if view.command:
        title += [(f" {page.glyphs.dot} ", QUIET), (view.command, "")]
    if seconds is not None:
        words = elapsed(seconds) if view.seconds is None else duration(seconds)
        title += [(f" {page.glyphs.dot} {words}", QUIET)]
    return page.line(*title)


def _stages(view: View, page: Page, now: float | None = None) -> Iterator[Text]:
    width = page.column([stage.name for stage in view.stages], 16)
    for stage in view.stages:
        mark, style = _stage_mark(stage.state, page, now)
        time, text = "", stage.text
        if stage.seconds is not None:
            time = duration(stage.seconds)
        elif stage.state is StageState.RUNNING and now is not None:
            time = elapsed(now - stage.began)
            left = view.usual.get(stage.name, 0.0) - (now - stage.began)
            text = f"about {elapsed(left)} left" if left >= 1 else text
        if stage.state is StageState.RUNNING and now is None:
            text = "not finished"
        elif stage.state is StageState.INTERRUPTED:
            text = "interrupted"
        elif stage.state is StageState.FAILED:
            text = "failed"
        elif stage.state is StageState.UNCHANGED:
            text = text or "unchanged"
        quiet = stage.state in (StageState.WAITING, StageState.UNCHANGED)
        name_style = QUIET if stage.state is StageState.WAITING else STRONG if stage in running(view) else ""
        yield page.line(
            (f"  {mark} ", style),
            (page.fit(stage.name, width), name_style),
            (f"  {time:>8}  ", QUIET),
            (text, QUIET if quiet else ""),
        )


def _stage_mark(state: StageState, page: Page, now: float | None) -> tuple[str, str]:
    glyphs = page.glyphs
    match state:
        case StageState.DONE:
            return glyphs.done, GOOD
        case StageState.UNCHANGED:
            return glyphs.unchanged, QUIET
        case StageState.FAILED:
            return glyphs.failed, CAUSE
        case StageState.INTERRUPTED:
            return glyphs.warning, CARE
        case StageState.RUNNING:
            return (glyphs.waiting, QUIET) if now is None else (_spin(page, now), BUSY)
        case StageState.WAITING:
            return glyphs.waiting, QUIET


def _spin(page: Page, now: float) -> str:
    return page.glyphs.spinner[int(now * 5) % len(page.glyphs.spinner)]


_RANK = {ItemState.FAILED: 0, ItemState.RUNNING: 1, ItemState.DONE: 2, ItemState.UNCHANGED: 3}


def _items(stage: StageView, now: float, page: Page, limit: int, logs: int) -> Iterator[Text]:
    kept = sorted(stage.items, key=lambda item: _RANK[item.state])[:limit]
    width = page.column([item.name for item in stage.items], max(page.width // 3, 12))
    for item in (item for item in stage.items if item in kept):
        yield _item(item, now, page, width)
        if item.state in (ItemState.RUNNING, ItemState.FAILED):
            for line in item.log[len(item.log) - logs :] if logs else ():
                yield page.line((f"{_INDENT}  {' ' * width}  {'':>8}  {line.rstrip()}", QUIET))
    if limit and len(kept) < len(stage.items):
        left = f"and {len(stage.items) - len(kept)} more"
        yield page.line((f"{_INDENT}{page.glyphs.ellipsis} {left}", QUIET))


def _item(item: ItemView, now: float, page: Page, width: int) -> Text:
    glyphs = page.glyphs
    mark, style, quiet = {
        ItemState.RUNNING: (_spin(page, now), BUSY, ""),
        ItemState.DONE: (glyphs.done, GOOD, ""),
        ItemState.UNCHANGED: (glyphs.unchanged, QUIET, QUIET),
        ItemState.FAILED: (glyphs.failed, CAUSE, ""),
    }[item.state]
    time = elapsed(now - item.began) if item.seconds is None else duration(item.seconds)
    if item.state is ItemState.UNCHANGED:
        time = ""
    parts = [(f"{_INDENT}{mark} ", style), (page.fit(item.name, width), quiet), (f"  {time:>8}  ", QUIET)]
    text = item.text
    if item.state is ItemState.RUNNING and item.total and item.done is not None:
        amount = progress(item.done, item.total)
        full = round(BAR_CELLS * min(max(item.done / item.total, 0), 1))
        if page.width >= 80:
            parts += [(glyphs.bar * full, BUSY), (glyphs.bar_rest * (BAR_CELLS - full) + " ", QUIET)]
        if amount not in text:
            parts.append((f"{amount:>4} ", ""))
    elif item.state is not ItemState.RUNNING:
        text = text or item.state.value
    return page.line(*parts, (text, quiet))


def _workloads(view: View, page: Page, *, only_late: bool = False) -> Iterator[Text]:
    shown = [s for s in view.workloads if not (only_late and s.phase is Phase.AVAILABLE)]
    width = max(page.column([str(status.ref) for status in shown], max(page.width * 2 // 5, 16)), 8)
    restarted = any(status.restarts for status in shown)
    beside = page.width >= 80
    title = f"  {'WORKLOAD':<{width}}  {'STATE':<12}  {'READY':>5}"
    yield page.line((title + ("  RESTARTS" if restarted else ""), QUIET))
    for status in shown:
        why = why_not(status)
        parts = [
            (f"  {page.fit(str(status.ref), width)}", ""),
            (f"  {status.phase.value:<12}", PHASE_STYLES[status.phase]),
            (f"  {f'{status.ready}/{status.desired}':>5}", ""),
            (f"  {status.restarts:>8}" if restarted else "", CARE if status.restarts else QUIET),
        ]
        yield page.line(*parts, (f"  {why}" if beside else "", QUIET))
        if why and not beside:
            yield page.line((f"{_INDENT}{why}", QUIET))


def _urls(view: View, page: Page) -> Iterator[Text]:
    width = page.column([url.name for url in view.urls], max(page.width // 4, 12))
    for url in view.urls:
        target = clean(url.url)
        line = Text(f"  {page.fit(url.name, width)}  ")
        line.append(target, Style(color="cyan", underline=True, link=target))  # never cropped: it is to be copied
        line.append(f"  {url.status}", QUIET)
        yield line


def _ending(view: View, page: Page) -> Text:
    assert view.outcome is not None
    glyphs = page.glyphs
    unchanged = (glyphs.unchanged, QUIET) if not view.changed else (glyphs.done, GOOD)
    marks = {"ok": unchanged, "failed": (glyphs.failed, CAUSE), "interrupted": (glyphs.warning, CARE)}
    mark, style = marks[view.outcome]
    event = RunFinished(view.exit_code or 0, view.changed, view.seconds or 0.0, view.outcome)
    return Text.assemble((f"{mark} ", style), (clean(run_words(view.command, event)), STRONG))


def _tail(item: ItemView, page: Page) -> Iterator[Text]:
    number = len(item.log)
    yield page.line((f"  last {number} lines of {item.name}:" if number > 1 else f"  last line of {item.name}:", QUIET))
    yield from (page.line(("  | ", QUIET), (line.rstrip(), "")) for line in item.log)
