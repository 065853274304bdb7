"""Print Kubernetes' schema as nslab ships it: a line of JSON that describes it, then a line for each definition.

A definition keeps its fields, their types and the required ones, without descriptions and the data for `kubectl
explain` and strategic merge patches. The kinds are all that the API server stores, without alpha versions.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-not-found]

REF = "#/$defs/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
PASSING = ("authentication.k8s.io", "authorization.k8s.io", "internal.apiserver.k8s.io", "storagemigration.k8s.io")
"""Groups whose objects are only requests, or internal."""


def main(version: str) -> None:
    """Print the schema."""
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}-local"
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    kinds = {api_version(gvk): name for name, one in definitions.items() for gvk in stored(one)}
    head = {
        "kubernetes": version,
        "source": "kubernetes-validate (PyPI), from Kubernetes' OpenAPI definitions",
        "license": "Apache-2.0, The Kubernetes Authors",
        "kinds": dict(sorted(kinds.items())),
    }
    print(compact(head))
    for name in sorted(reached(definitions, kinds.values())):
        print(name, compact(trimmed(definitions[name])))


def stored(definition: dict[str, Any]) -> list[dict[str, str]]:
    """The kinds of a definition, if the API server stores its objects."""
    if definition.get("properties", {}).get("metadata", {}).get("$ref") != REF + META:
        return []
    gvks = definition.get("x-kubernetes-group-version-kind", [])
    found = [gvk for gvk in gvks if "alpha" not in gvk["version"] and gvk["group"] not in PASSING]
    return [gvk for gvk in found if gvk["kind"] not in ("Binding", "ComponentStatus", "Eviction", "Scale")]


def api_version(gvk: dict[str, str]) -> str:
    """apiVersion and kind of a document: apps/v1/Deployment, v1/Pod."""
    return "/".join(filter(None, (gvk["group"], gvk["version"], gvk["kind"])))


def reached(definitions: dict[str, Any], names: Any) -> set[str]:
    """These definitions, and all that they refer to."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [ref.removeprefix(REF) for ref in refs(definitions[name])]
    return found


def refs(schema: Any) -> list[str]:
    """The references of a schema."""
    if isinstance(schema, list):
        return [ref for each in schema for ref in refs(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return [*own, *(ref for each in schema.values() for ref in refs(each))]


def trimmed(schema: Any) -> Any:
    """A schema without the keywords that nslab ignores. (In Kubernetes any field may be null.)"""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    kept: dict[str, Any] = {}
    for word, setting in schema.items():
        if word == "properties":
            kept[word] = {name: trimmed(one) for name, one in setting.items()}
        elif word in ("items", "additionalProperties"):
            kept[word] = trimmed(setting)
        elif word in ("oneOf", "anyOf"):
            kept["anyOf"] = [trimmed(one) for one in setting]
        elif word == "type":
            kept[word] = setting if isinstance(setting, str) else next(one for one in setting if one != "null")
        elif word in ("required", "format"):
            kept[word] = setting
    return kept


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), sort_keys=False)


if __name__ == "__main__":
    main(sys.argv[1])
