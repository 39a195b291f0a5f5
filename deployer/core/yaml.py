"""YAML 1.1 as helm and kubectl write it, by the C loader: seven times as fast as the pure one."""

from __future__ import annotations

from typing import Any

import yaml

YamlError = yaml.YAMLError
"""What a text that is no YAML raises."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def compose(text: str) -> Any:
    """The text's one document as nodes with tags and marks (lines from 0); None for none. Raises YamlError."""
    return yaml.compose(text, Loader=_LOADER)


def load_documents(text: str) -> list[dict[str, Any]]:
    """The maps among the text's documents. Raises YamlError."""
    return [one for one in yaml.load_all(text, Loader=_LOADER) if isinstance(one, dict)]
