"""Charts as Helm wants them: every `file://` dependency copied into its parent's `charts/`.

For the tests of the charts alone, which must not depend on the tool they are shipped with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ruamel.yaml import YAML

CHARTS = Path(__file__).parents[2] / "charts"


def stage(chart: Path, into: Path) -> Path:
    """Copy `chart` to `into/<its name>`, its local dependencies with it, and return the copy."""
    staged = into / chart.name
    if not staged.exists():  # an alias asks for the same chart again
        # Its own `charts/` are dependencies too, which the loop below puts in.
        shutil.copytree(chart, staged, ignore=lambda folder, _: ["charts"] if Path(folder) == chart else [])
        metadata = YAML(typ="safe").load(staged / "Chart.yaml")
        for dependency in metadata.get("dependencies", []):
            source = chart / dependency["repository"].removeprefix("file://")
            stage(source.resolve(), staged / "charts")
    return staged
