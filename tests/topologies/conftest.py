"""Helm, for rendering."""

from __future__ import annotations

from tests.charts.conftest import helm as helm
