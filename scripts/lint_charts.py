"""Every chart of the family, staged as the tool stages it, passes `helm lint --strict` without a warning."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from deployer.commands.toolchain import ensure_tools
from deployer.composition import this_machine
from deployer.config.load import load_spec
from deployer.core.steps import drive
from deployer.sources.charts import stage_chart
from deployer.ui.sinks import PlainSink

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """The number of charts that are not clean."""
    here = this_machine()
    with PlainSink(sys.stderr, here.clock) as sink:
        helm = drive(ensure_tools(load_spec(ROOT / "todo-deploy.yaml").spec, here), sink).value.helm
    charts = sorted(path.parent for path in (ROOT / "charts").glob("*/Chart.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        return sum(
            not is_clean(helm, stage_chart(chart, Path(folder), within=(ROOT,)).path, chart.name) for chart in charts
        )


def is_clean(helm: Path, staged: Path, name: str) -> bool:
    """Whether lint finds nothing; what it finds is printed."""
    words = [str(helm), "lint", "--strict", str(staged)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    clean = done.returncode == 0 and "[WARNING]" not in done.stdout
    print(f"{'ok  ' if clean else 'FAIL'} charts/{name}")
    if not clean:
        print(done.stdout, done.stderr)
    return clean


if __name__ == "__main__":
    sys.exit(main())
