"""`todo-deploy explain`: a run's verdict, shown again from its record alone, without a cluster."""

from deployer.evidence.explain.lines import Line, list_lines, rule_lines, timeline_lines, verdict_lines
from deployer.evidence.explain.page import html
from deployer.evidence.explain.run import Run, find_run, list_runs, read_run

__all__ = [
    "Line",
    "Run",
    "find_run",
    "html",
    "list_lines",
    "list_runs",
    "read_run",
    "rule_lines",
    "timeline_lines",
    "verdict_lines",
]
