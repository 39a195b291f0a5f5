"""Kubernetes quantities: `250m`, `512Mi`, `1e3`, `2` as exact numbers, and numbers as the shortest quantity.

Source: Kubernetes API documentation, `resource.Quantity`.
"""

from __future__ import annotations

import re
from fractions import Fraction

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|[KMGTPE]i))?", re.ASCII)
_UNITS: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", 1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def quantity(value: object) -> Fraction:
    """The quantity as an exact number (cores, bytes, pieces); ValueError for what Kubernetes would refuse."""
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
    if match is None or isinstance(value, bool):
        raise ValueError(f"`{value}` is not a quantity such as 250m, 0.5, 512Mi or 1Gi")
    number = Fraction(match[1])
    if match[2]:
        return number * Fraction(10) ** int(match[2][1:])
    return number * _UNITS[match[3]] if match[3] else number


def shown(amount: Fraction, resource: str) -> str:
    """The amount as a person writes it: CPUs in thousandths, memory in the largest unit that divides it well."""
    if resource == "cpu":
        return f"{_up(amount * 1000)}m"
    if resource == "pods":
        return str(_up(amount))
    size = abs(amount)
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if size >= _UNITS[unit] and ((size / _UNITS[unit]).denominator == 1 or size >= 10 * _UNITS[unit]):
            return f"{float(amount / _UNITS[unit]):.4g}{unit}"
    return f"{float(amount / _UNITS['Mi']):.4g}Mi" if size >= _UNITS["Mi"] else str(_up(amount))


def _up(amount: Fraction) -> int:
    """Rounded away from zero, as Kubernetes rounds what it cannot express."""
    return -(-amount.numerator // amount.denominator)
