"""What a manifest leaves out is the same on a cluster, where the CRD fills it in, as on one machine, where the
models do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api.random_specs import specs
from tests.cluster.kubectl import Api
from tests.manifests import MINIMAL, job
from thaw_api import FineTuneJobSpec

SPECS_A_REQUEST = 12
REQUESTS = 10
ASKED = settings(
    max_examples=REQUESTS,
    deadline=None,
    # A spec costs little, a request much: the first that fails is shown as it is.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def admitted_specs(api: Api, wanted: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What the apiserver makes of each spec, all in one call of kubectl."""
    items = [{**MINIMAL, "metadata": {"name": f"defaults-{index}"}, "spec": spec} for index, spec in enumerate(wanted)]
    batch = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    text = api.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=batch).stdout
    while text.strip():
        # kubectl writes one object after the other.
        document, end = json.JSONDecoder().raw_decode(text.lstrip())
        text = text.lstrip()[end:]
        yield document["spec"]


def as_the_models_read_it(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with the models' defaults, but below lists as it was written: the CRD has no defaults there."""

    def without_defaults_in_lists(filled: Any, written: Any) -> Any:
        if isinstance(filled, dict):
            given = written if isinstance(written, dict) else {}
            return {key: without_defaults_in_lists(value, given.get(key)) for key, value in filled.items()}
        return written if isinstance(filled, list) else filled

    filled = FineTuneJobSpec.model_validate_json(json.dumps(spec)).manifest()
    found: dict[str, Any] = without_defaults_in_lists(filled, spec)
    return found


def test_the_defaults_of_the_minimal_job_are_the_models(api: Api, crd: str) -> None:
    minimal = job()
    admitted = api.dry_run(minimal)["spec"]
    assert admitted == as_the_models_read_it(minimal["spec"])
    assert admitted["training"]["optimizer"]["lr"] == 3e-5


@ASKED
@given(st.lists(specs(), min_size=SPECS_A_REQUEST, max_size=SPECS_A_REQUEST))
def test_the_defaults_of_the_crd_are_the_models(api: Api, crd: str, wanted: list[dict[str, Any]]) -> None:
    admitted = list(admitted_specs(api, wanted))
    assert admitted == [as_the_models_read_it(spec) for spec in wanted]


@ASKED
@given(st.lists(specs(), min_size=SPECS_A_REQUEST, max_size=SPECS_A_REQUEST))
def test_what_the_models_write_out_is_admitted_unchanged(api: Api, crd: str, wanted: list[dict[str, Any]]) -> None:
    written = [FineTuneJobSpec.model_validate_json(json.dumps(spec)).manifest() for spec in wanted]
    assert list(admitted_specs(api, written)) == written
