"""In-memory ports for unit tests. What they promise is held to the real thing by tests/contract."""

from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.helm import FakeHelm
from tests.fakes.images import FakeImages
from tests.fakes.kube import FakeKube

__all__ = ["FakeClock", "FakeCluster", "FakeHelm", "FakeImages", "FakeKube"]
