"""One fault of the table of `make faults`, against the application as it is documented."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.faults.bench import OVERLAY, Bench
from bench.faults.measuring import measured
from bench.faults.table import FAULTS
from bench.faults.watching import Watch
from tests.cluster import PROFILE
from tests.e2e.project import Project, tell


@pytest.fixture
def bench(app: Project) -> Iterator[Bench]:
    """The application, which is put right afterwards."""
    made = Bench(app, base={})
    yield made
    made.heal()
    (app.root / OVERLAY).unlink()


def test_a_missing_secret_is_named_as_soon_as_the_api_shows_it(bench: Bench) -> None:
    fault = next(one for one in FAULTS if one.name == "Secret missing")
    pods = bench.project.pods()
    with Watch(bench.project.kubeconfig, PROFILE, "default") as watch:
        row = measured(bench, fault, watch)
    assert row.wrong == ()
    assert pods.items() <= bench.project.pods().items(), "what ran before still runs"
    assert row.named is not None and row.verdict is not None
    tell("a missing Secret named after", f"{row.named:.2f} s (verdict {row.verdict:.2f} s)")
