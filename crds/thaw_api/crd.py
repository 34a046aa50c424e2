"""The CustomResourceDefinition of FineTuneJob, generated from the models."""

import json
from typing import Any, TypeAlias

import yaml

from thaw_api.job import (
    GROUP,
    KIND,
    NAME_MAX_LENGTH,
    NAME_PATTERN,
    PLURAL,
    SHORT_NAME,
    VERSION,
    FineTuneJob,
    FineTuneJobSpec,
)
from thaw_api.status import FineTuneJobStatus
from thaw_api.structural_schema import Schema, structural_schema

FILE_NAME = f"{GROUP}_{PLURAL}.yaml"
_HEADER = "# Generated from crds/thaw_api by `make generate`; change the models, not this file.\n"
_LINE_WIDTH = 120

Document: TypeAlias = dict[str, Any]

_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Progress", "integer", ".status.training.progressPercentage", 0),
    ("Trials", "string", ".status.training.summary.trials", 0),
    ("Best", "string", ".status.training.summary.best", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("ETA", "integer", ".status.training.estimatedRemainingSeconds", 1),
    ("Queue", "string", ".status.queue", 1),
    ("RayJob", "string", ".status.rayJobName", 1),
    ("Message", "string", ".status.message", 1),
)
"""Title, type, JSONPath and priority of what `kubectl get` shows; priority 1 is shown by `-o wide` only."""


def crd() -> Document:
    """The CustomResourceDefinition."""
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": [SHORT_NAME],
        "categories": ["all", "thaw"],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
            for name, kind, path, priority in _COLUMNS
        ],
        "schema": {"openAPIV3Schema": object_schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def object_schema() -> Schema:
    """The structural schema of the whole object; of `metadata`, a CRD may say no more than what names look like."""
    name = {
        "description": f"The job's name: lower case letters, digits and -, at most {NAME_MAX_LENGTH} characters.",
        "type": "string",
        "pattern": NAME_PATTERN,
        "maxLength": NAME_MAX_LENGTH,
    }
    return {
        "description": FineTuneJob.__doc__,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"{GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"{KIND}.", "type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": structural_schema(FineTuneJobSpec) | {"description": "What is wanted."},
            "status": structural_schema(FineTuneJobStatus) | {"description": "What is."},
        },
    }


def crd_text() -> str:
    """The file's content: the same bytes from the same models."""
    return yaml_text([crd()])


def yaml_text(documents: list[Document]) -> str:
    """Documents as a generated file holds them."""
    # Through JSON, which has no shared objects: YAML would write each as an anchor.
    plain = json.loads(json.dumps(documents))
    return _HEADER + yaml.safe_dump_all(plain, sort_keys=False, allow_unicode=True, width=_LINE_WIDTH)
