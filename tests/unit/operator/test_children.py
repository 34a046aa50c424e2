"""The objects that a job consists of."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.operator.world import SETTINGS, UID, World, spec_of
from thaw_api.contract import CACHE_FOLDER, CACHE_VARIABLE
from thaw_operator.children.account import role_binding, service_account
from thaw_operator.children.claims import claims_of, on_one_node
from thaw_operator.children.ray_job import ray_job
from thaw_operator.observed import Claim, Job


def job(labels: dict[str, str] | None = None, **changes: Any) -> Job:
    return replace(World(spec=spec_of(**changes)).observed().job, labels=labels or {})


def made(attempt: int = 1, *, on_one_node: bool = False, **changes: Any) -> dict[str, Any]:
    return ray_job(job(**changes), attempt, SETTINGS, on_one_node=on_one_node)


def pods(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Pod specs by group."""
    cluster = manifest["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    return {"head": cluster["headGroupSpec"]["template"]["spec"], "workers": workers["template"]["spec"]}


def test_kuberay_retries_nothing_ends_the_cluster_and_knows_no_suspension() -> None:
    spec = made()["spec"]
    assert (spec["submissionMode"], spec["backoffLimit"], spec["shutdownAfterJobFinishes"]) == ("HTTPMode", 0, True)
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert {"suspend", "activeDeadlineSeconds", "enableInTreeAutoscaling"}.isdisjoint(spec)


def test_a_lost_head_does_not_come_back() -> None:
    manifest = made()
    assert manifest["metadata"]["annotations"] == {"ray.io/disable-provisioned-head-restart": "true"}
    assert pods(manifest)["head"]["restartPolicy"] == "Never"


def test_only_the_head_has_a_token_and_nothing_is_trained_there() -> None:
    manifest = made()
    assert pods(manifest)["head"]["automountServiceAccountToken"] is True
    assert pods(manifest)["workers"]["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pods(manifest)["workers"]
    assert manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


@pytest.mark.parametrize("group", ["head", "workers"])
def test_pods_are_asked_at_once_whether_they_are_ready(group: str) -> None:
    (container,) = pods(made())[group]["containers"]
    probe = container["readinessProbe"]
    assert probe["httpGet"] == {"path": "/api/healthz", "port": 52365}
    assert "initialDelaySeconds" not in probe
    assert probe["periodSeconds"] * probe["failureThreshold"] == 50


@pytest.mark.parametrize("group", ["head", "workers"])
def test_pods_stay_within_the_restricted_standard(group: str) -> None:
    pod = pods(made())[group]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"persistentVolumeClaim", "configMap", "emptyDir"}


def test_inputs_are_mounted_read_only_and_the_output_is_not() -> None:
    (container,) = pods(made())["workers"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts == {"/thaw/claims/corpus": True, "/thaw/claims/models": False, CACHE_FOLDER: False}


def test_the_prefix_cache_is_on_the_workers_node_and_may_be_put_elsewhere() -> None:
    assert all(mount["mountPath"] != CACHE_FOLDER for mount in pods(made())["head"]["containers"][0]["volumeMounts"])
    worker = pods(made())["workers"]
    assert {"name": "prefix-cache", "emptyDir": {}} in worker["volumes"]
    assert {"name": CACHE_VARIABLE, "value": CACHE_FOLDER} in worker["containers"][0]["env"]
    elsewhere = [{"name": CACHE_VARIABLE, "value": "/scratch"}]
    worker = pods(made(cluster={"workers": {"env": elsewhere}}))["workers"]
    assert [each for each in worker["containers"][0]["env"] if each["name"] == CACHE_VARIABLE] == elsewhere


def test_a_claim_that_is_read_and_written_is_mounted_once_and_writable() -> None:
    (container,) = pods(made(output={"uri": "pvc://corpus/out"}))["workers"]["containers"]
    assert [(mount["mountPath"], "readOnly" in mount) for mount in container["volumeMounts"]] == [
        ("/thaw/claims/corpus", False),
        (CACHE_FOLDER, False),
    ]


def test_every_claim_is_found_with_its_field() -> None:
    changes: dict[str, Any] = {
        "model": {"uri": "pvc://base/m"},
        "search": {
            "trials": 2,
            "parameters": [{"path": "model.uri", "choice": {"values": ["hf://a/b", "pvc://more/m", 3]}}],
        },
    }
    assert claims_of(spec_of(**changes)) == {
        "corpus": "spec.data.train.uri",
        "base": "spec.model.uri",
        "more": "spec.search.parameters[0].choice.values",
        "models": "spec.output.uri",
    }


@pytest.mark.parametrize(
    ("modes", "tied"),
    [
        (("ReadWriteOnce",), True),
        (("ReadWriteMany",), False),
        (("ReadOnlyMany",), False),
        (("ReadWriteOnce", "ReadWriteMany"), False),
    ],
)
def test_a_claim_that_only_one_node_can_mount_ties_the_pods_to_one(modes: tuple[str, ...], tied: bool) -> None:
    assert on_one_node({"models": Claim("models", modes, False)}) == tied


def test_workers_that_are_tied_run_beside_their_own_head() -> None:
    rules = pods(made(2, on_one_node=True))["workers"]["affinity"]["podAffinity"]
    (term,) = rules["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"] == {
        "thaw.dev/job": "sections",
        "thaw.dev/job-uid": UID,
        "thaw.dev/attempt": "2",
        "ray.io/node-type": "head",
    }
    assert "affinity" not in pods(made())["workers"]


def test_workers_are_what_the_job_says() -> None:
    workers: dict[str, Any] = {
        "replicas": 3,
        "resources": {"cpu": 4, "nvidia.com/gpu": 1},
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "TOKEN", "secretKeyRef": {"name": "hub", "key": "token"}},
            {"name": "RAY_USAGE_STATS_ENABLED", "value": "1"},
        ],
    }
    manifest = made(cluster={"workers": workers, "image": "mine:1"})
    (group,) = manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (3, 3, 3)
    pod = pods(manifest)["workers"]
    (container,) = pod["containers"]
    wanted = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": wanted, "limits": wanted}
    assert (container["image"], "imagePullPolicy" in container) == ("mine:1", False)
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert container["env"] == [
        {"name": "A", "value": "1"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "RAY_USAGE_STATS_ENABLED", "value": "1"},
        {"name": CACHE_VARIABLE, "value": CACHE_FOLDER},
    ]


@pytest.mark.parametrize(("labels", "ttl"), [({}, 600), ({"kueue.x-k8s.io/queue-name": "q"}, 0)])
def test_a_cluster_that_has_ended_stays_for_its_time_unless_a_queue_has_freed_its_quota(
    labels: dict[str, str], ttl: int
) -> None:
    manifest = ray_job(job(labels, ttlSecondsAfterFinished=600), 1, SETTINGS, on_one_node=False)
    assert manifest["spec"]["ttlSecondsAfterFinished"] == ttl
    assert labels.items() <= manifest["metadata"]["labels"].items()


def test_all_children_are_owned_by_the_job_and_do_not_hold_up_its_deletion() -> None:
    for manifest in (service_account(job()), role_binding(job()), made()):
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"], "blockOwnerDeletion" in owner) == (UID, True, False)


def test_the_longest_name_leaves_room_for_an_attempt() -> None:
    from thaw_api.contract import attempt_name
    from thaw_api.job import NAME_MAX_LENGTH

    assert len(attempt_name("a" * NAME_MAX_LENGTH, 999_999)) <= 47
