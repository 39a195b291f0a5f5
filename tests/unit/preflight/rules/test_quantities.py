"""Kubernetes quantities, read and written."""

from __future__ import annotations

from fractions import Fraction

import pytest

from deployer.preflight.rules.capacity import quantity, shown


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250m", Fraction(1, 4)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("2", 2),
        (2, 2),
        (0.5, Fraction(1, 2)),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("12e-1", Fraction(6, 5)),
        ("512Mi", 512 * 2**20),
        ("1.5Gi", 1536 * 2**20),
        ("1G", 10**9),
        ("100k", 10**5),
        ("10u", Fraction(1, 10**5)),
        ("1n", Fraction(1, 10**9)),
        ("-1", -1),
        ("0", 0),
        ("264212084Ki", 264212084 * 1024),
        (" 10m ", Fraction(1, 100)),
    ],
)
def test_a_quantity_is_an_exact_number(text: object, number: object) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1gb", "1K", "one", "1.2.3", None, True, [], "1mm", "0x10", "1e"])
def test_what_kubernetes_refuses_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("amount", "resource", "text"),
    [
        (Fraction(1, 4), "cpu", "250m"),
        (Fraction(2), "cpu", "2000m"),
        (Fraction(1, 3), "cpu", "334m"),
        (Fraction(512 * 2**20), "memory", "512Mi"),
        (Fraction(2**30), "memory", "1Gi"),
        (Fraction(1536 * 2**20), "memory", "1536Mi"),
        (Fraction(25 * 10**9), "memory", "23.28Gi"),
        (Fraction(3), "pods", "3"),
        (Fraction(0), "memory", "0"),
    ],
)
def test_an_amount_is_written_as_a_person_does(amount: Fraction, resource: str, text: str) -> None:
    assert shown(amount, resource) == text


def test_writing_and_reading_agree() -> None:
    for text in ("1Mi", "64Mi", "1Gi", "10Gi", "3Ti"):
        assert shown(quantity(text), "memory") == text
