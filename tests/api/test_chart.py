"""The Helm chart: what it renders, that an apiserver takes it, and that its rights are those that the docs explain."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.operator_process import CHART, KUBERNETES, NAMESPACE, rendered
from tests.cluster.binaries import Finder
from tests.cluster.kubectl import Api

ROW = r"^\| ((?:`[^`]+`(?:, )?)+) \| ([a-z, ]+) \|"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def helm() -> Path:
    return Finder(os.environ, print).find("helm")


def only(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def test_an_apiserver_takes_all_of_it(helm: Path, api: Api, crd: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "chart"}}
    api.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(namespace))
    for manifest in rendered(helm, "--namespace=chart"):
        api.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", input=json.dumps(manifest)
        )


def test_the_crd_is_kept_with_all_jobs_unless_told_otherwise(helm: Path) -> None:
    name = "finetunejobs.thaw.dev"
    kept = only(rendered(helm), "CustomResourceDefinition", name)
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    plain = only(rendered(helm, "--set=crds.keep=false"), "CustomResourceDefinition", name)
    assert "annotations" not in plain["metadata"]
    kinds = {each["kind"] for each in rendered(helm, "--set=crds.enabled=false")}
    assert "CustomResourceDefinition" not in kinds


def test_the_operator_is_one_without_root_and_cannot_write_its_file_system(helm: Path) -> None:
    spec = only(rendered(helm), "Deployment", "thaw-operator")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def rights(rules: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Verbs by resource, written as `kubectl auth can-i --list` writes them."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                plural, slash, sub = resource.partition("/")
                name = (f"{plural}.{group}" if group else plural) + slash + sub
                names = f" [{' '.join(rule['resourceNames'])}]" if "resourceNames" in rule else ""
                found[name + names] = set(rule["verbs"])
    return found


def test_the_docs_explain_each_right_of_the_operator_and_no_other(helm: Path) -> None:
    manifests = rendered(helm)
    roles = ("thaw-operator", "thaw-operator-discovery")
    given = {
        key: verbs for role in roles for key, verbs in rights(only(manifests, "ClusterRole", role)["rules"]).items()
    }
    text = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    told: dict[str, set[str]] = {}
    for names, verbs in re.findall(
        r"^\| ((?:`[^`]+`(?:, )?)+) \| ([a-z, ]+) \|", text.partition("can-i --list")[2], re.M
    ):
        told |= {name: set(verbs.split(", ")) for name in re.findall(r"`([^`]+)`", names)}
    assert told == given


def test_the_operator_may_read_no_secret_and_write_no_job(helm: Path) -> None:
    manifests = rendered(helm)
    for role in ("thaw-operator", "thaw-operator-discovery", "thaw-trainer"):
        for name, verbs in rights(only(manifests, "ClusterRole", role)["rules"]).items():
            assert "secrets" not in name
            assert "*" not in name
            assert "*" not in verbs
            if name == "finetunejobs.thaw.dev":
                assert verbs <= {"get", "list", "watch"}


def test_people_who_may_edit_or_view_a_namespace_may_do_so_with_its_jobs(helm: Path) -> None:
    manifests = rendered(helm)
    editor, viewer = (only(manifests, "ClusterRole", f"thaw-{name}") for name in ("editor", "viewer"))
    assert editor["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert viewer["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert rights(viewer["rules"])["finetunejobs.thaw.dev"] == {"get", "list", "watch"}


def test_some_namespaces_only_means_rights_there_only(helm: Path) -> None:
    manifests = rendered(helm, "--set=operator.namespaces={a,b}")
    bound = [each["metadata"]["namespace"] for each in manifests if each["kind"] == "RoleBinding"]
    assert bound == ["a", "b"]
    clusterwide = [each["metadata"]["name"] for each in manifests if each["kind"] == "ClusterRoleBinding"]
    assert clusterwide == ["thaw-operator-discovery"]
    (container,) = only(manifests, "Deployment", "thaw-operator")["spec"]["template"]["spec"]["containers"]
    assert {"name": "THAW_NAMESPACES", "value": "a,b"} in container["env"]


def test_a_service_monitor_is_made_on_request_only(helm: Path) -> None:
    assert "ServiceMonitor" not in {each["kind"] for each in rendered(helm)}
    kinds = {each["kind"] for each in rendered(helm, "--set=metrics.serviceMonitor.enabled=true")}
    assert "ServiceMonitor" in kinds


@pytest.mark.parametrize("value", ["operator.replicas=2", "image.pullPolicy=Often", "trainer.rayVersion=newest"])
def test_a_value_that_means_nothing_is_refused(helm: Path, value: str) -> None:
    command = [str(helm), "template", "thaw", str(CHART), f"--namespace={NAMESPACE}", f"--kube-version={KUBERNETES}"]
    done = subprocess.run([*command, f"--set={value}"], capture_output=True, text=True)
    assert done.returncode != 0
    assert value.rpartition(".")[2].partition("=")[0] in done.stderr


def test_every_value_is_in_the_schema() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(values) <= set(schema["properties"])
