"""What doctor says of versions."""

from __future__ import annotations

from deployer.commands import doctor


def test_a_version_that_gets_no_fixes_is_warned_of_with_the_way_to_a_newer_one() -> None:
    (check,) = doctor._past_fixes("Kubernetes", "v1.29.3", "todo-deploy up --recreate-cluster")
    assert (check.state, check.hint) == ("warn", "todo-deploy up --recreate-cluster")
    assert "v1.29.3" in check.detail
    assert list(doctor._past_fixes("Kubernetes", "v1.99.0", "")) == []
    assert list(doctor._past_fixes("Helm", "", "")) == []
