"""The spec's JSON Schema (draft 2020-12), as editors and `todo-deploy schema` want it."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema

from deployer.config.spec import Spec
from deployer.config.types import Part


class _Quiet(GenerateJsonSchema):
    """Leaves out the titles made from attribute names: the descriptions say more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        document = super().generate(schema, mode=mode)
        parts = {Spec.__name__: document, **document["$defs"]}
        for model in _models(Part):
            for attribute, text in _texts_below(model):
                name = model.model_fields[attribute].alias or attribute
                parts[model.__name__]["properties"][name]["description"] = text
        properties = document["properties"]
        properties["profiles"] = {
            "description": "Named overlays, chosen with --profile: maps merge, lists replace, null deletes.",
            "type": "object",
            "additionalProperties": {"type": ["object", "null"]},
        }
        return {"$schema": self.schema_dialect, "$id": "https://todo-deploy.dev/schema/v1.json", **document}


def _models(base: type[Part]) -> Iterator[type[Part]]:
    """Every model that a spec is made of."""
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _texts_below(model: type[Part]) -> Iterator[tuple[str, str]]:
    """The model's attributes with the text below each: pydantic would read them from the source at every start."""
    (node,) = ast.parse(inspect.getsource(model)).body
    assert isinstance(node, ast.ClassDef)
    for attribute, below in pairwise(node.body):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)


def spec_schema() -> str:
    """The schema as indented JSON text with a final newline."""
    schema = Spec.model_json_schema(by_alias=True, schema_generator=_Quiet)
    return json.dumps(schema, indent=2) + "\n"
