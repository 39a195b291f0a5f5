"""The spec's JSON Schema (draft 2020-12), as editors and `todo-deploy schema` want it."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import CoreSchema

from deployer.spec import Spec


class _Quiet(GenerateJsonSchema):
    """Leaves out the titles made from attribute names: the descriptions say more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> JsonSchemaValue:
        document = super().generate(schema, mode=mode)
        properties = document["properties"]
        properties["profiles"] = {
            "description": "Named overlays, chosen with --profile: maps merge, lists replace, null deletes.",
            "type": "object",
            "additionalProperties": {"type": ["object", "null"]},
        }
        return {"$schema": self.schema_dialect, "$id": "https://todo-deploy.dev/schema/v1.json", **document}


def spec_schema() -> str:
    """The schema as indented JSON text with a final newline."""
    schema = Spec.model_json_schema(by_alias=True, schema_generator=_Quiet)
    return json.dumps(schema, indent=2) + "\n"
