"""What a spec says about rules: bounds, layout, waivers.

Plain dataclasses, so that the spec can take them without knowing the rules; it validates them like its own parts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

_STRICT: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True, "hide_input_in_errors": True}


@dataclass(frozen=True)
class Replicas:
    """Bounds of the number of a workload's pods."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    min: int = 1
    """At least so many."""
    max: int | None = None
    """At most so many."""
    exactly: dict[str, int] = field(default_factory=dict)
    """Workloads, by name, that must have just so many."""

    def __post_init__(self) -> None:
        if self.min < 0 or (self.max is not None and self.max < max(self.min, 1)):
            raise ValueError('"min" is at least 0, and "max" at least 1 and not below "min"')


@dataclass(frozen=True)
class Layout:
    """Where objects are and what they are called."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    namespaces: Literal["any", "one"] = "any"
    """`one`: everything must be in the spec's namespace."""
    names: Literal["any", "component"] = "any"
    """`component`: an object's name must begin with the component that its label `app` names."""
    labels: tuple[str, ...] = ()
    """Labels that every workload must have."""


@dataclass(frozen=True)
class Waiver:
    """A rule that may be broken; `todo-deploy validate --rules` lists their names."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT
    rule: str
    """The rule's name."""
    reason: str
    """Why it may be broken."""
    objects: tuple[str, ...] = ()
    """Only where it concerns these objects (`deployment/backend`, `*` stands for anything); default: everywhere."""

    def __post_init__(self) -> None:
        if len(self.reason.strip()) < 3:
            raise ValueError('a waiver gives its "reason"')
