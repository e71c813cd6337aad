"""`smsfilter schema`: JSON Schema of the files, for editors that complete and check YAML.

The models want text where YAML editors see numbers (`version: 1`, `country_code: 86`), so
what the models call a string may be a number here. Only an aid: `smsfilter check`
is what decides.
"""

import argparse
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic.json_schema import GenerateJsonSchema

_MODELS = {
    "config": ("smsfilter.config", "Config"),
    "policy": ("smsfilter.rules.policy", "Policy"),
    "registry": ("smsfilter.rules.senders", "RegistryFile"),
    "replies": ("smsfilter.reports.replies", "Replies"),
}


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "schema",
        help="print the JSON Schema of a file, for editors",
        description="Print the JSON Schema of smsfilter.yaml, policy.yaml, registry.yaml or "
        "replies.yaml. Editors with a YAML language server use it after a first line such as "
        "`# yaml-language-server: $schema=policy.schema.json`.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        default="config",
        choices=tuple(_MODELS),
        help="which file (default: config)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    import json  # noqa: PLC0415 - start-up stays light

    print(json.dumps(schema(args.file), indent=2, ensure_ascii=False))
    return 0


def schema(file: str) -> dict[str, Any]:
    """Return the JSON Schema of `config`, `policy`, `registry` or `replies`."""
    module, name = _MODELS[file]
    model = getattr(import_module(module), name)
    found = _widened(model.model_json_schema(schema_generator=_generator()))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _generator() -> "type[GenerateJsonSchema]":
    from pydantic import TypeAdapter  # noqa: PLC0415
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415

    from smsfilter.rules.policy import Duration  # noqa: PLC0415

    duration = TypeAdapter(Duration)

    class Generator(GenerateJsonSchema):
        """Says durations as the files do."""

        def encode_default(self, dft: Any) -> Any:
            """Return a default as JSON."""
            if isinstance(dft, timedelta):
                return duration.dump_python(dft)
            return super().encode_default(dft)

    return Generator


def _widened(node: Any) -> Any:
    if isinstance(node, list):
        return [_widened(item) for item in node]
    if not isinstance(node, dict):
        return node
    wide = {key: _widened(value) for key, value in node.items()}
    if node.get("type") == "string":
        if "const" in node:
            wide = {"enum": [node["const"], *_as_number(node["const"])]}
        elif "enum" in node:
            del wide["type"]
        else:
            wide["type"] = ["string", "number"]
    return wide


def _as_number(text: str) -> list[int]:
    return [int(text)] if text.isdigit() else []
