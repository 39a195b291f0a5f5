"""The points at which `make chaos` kills."""

from __future__ import annotations

from bench.chaos.points import make_points
from deployer.commands import rollback, up


def test_every_stage_is_hit_and_half_of_the_kills_take_the_children() -> None:
    points = make_points(seed=1, ups=41, rollbacks=10)
    ups = [one for one in points if one.command == "up"]
    backs = [one for one in points if one.command == "rollback"]
    assert (len(ups), len(backs)) == (41, 10)
    assert {one.stage for one in ups} == set(up.STAGES)
    assert {one.stage for one in backs} == set(rollback.STAGES)
    assert abs(2 * sum(one.children for one in points) - len(points)) <= 1
    assert len({one.change for one in ups}) == 4
    assert sum(one.before == "stopped" for one in ups) >= 3
    assert all(0 <= one.part < 1 for one in points)


def test_the_seed_alone_decides() -> None:
    assert make_points(7, 41, 10) == make_points(7, 41, 10)
    assert make_points(7, 41, 10) != make_points(8, 41, 10)


def test_a_smaller_table_keeps_the_shares() -> None:
    points = make_points(seed=3, ups=8, rollbacks=0)
    assert len(points) == 8
    assert len({one.stage for one in points}) >= 5
