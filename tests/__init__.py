"""Tests of the product; `ROOT` is the repository, `DATA` the recorded objects and reports."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"
