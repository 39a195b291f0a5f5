"""Diagnosis: a pure function from plain objects and log tails to findings, and the verdict on them."""

from deployer.diagnosis.diagnose import Observed, Verdict, diagnose, judge, scene_of
from deployer.diagnosis.finding import Finding, Known, LogRequest, Measured, problem, warned
from deployer.diagnosis.logs import exit_meaning, logs_wanted
from deployer.diagnosis.scheduling import AROUND

__all__ = [
    "AROUND",
    "Finding",
    "Known",
    "LogRequest",
    "Measured",
    "Observed",
    "Verdict",
    "diagnose",
    "exit_meaning",
    "judge",
    "logs_wanted",
    "problem",
    "scene_of",
    "warned",
]
