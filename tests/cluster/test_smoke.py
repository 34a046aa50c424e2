"""The cluster itself works: names resolve, volumes bind, KubeRay runs a job with the trainer's image."""

from __future__ import annotations

import json

from tests.cluster.conftest import TestCluster
from tests.cluster.namespaces import Namespace
from tests.cluster.ray_jobs import pod, ray_job

POD_SECONDS = 60.0
JOB_SECONDS = 240.0
ENDED = {"Succeeded", "Failed"}


def test_a_pod_finds_the_apiserver_by_name(cluster: TestCluster, namespace: Namespace) -> None:
    code = "import socket; print(socket.gethostbyname('kubernetes.default.svc'))"
    namespace.apply(pod("dns", cluster.trainer_image, ["python", "-c", code]))
    phase = namespace.wait_for("pod", "dns", ("status", "phase"), ENDED, POD_SECONDS)
    log = namespace.kubectl("logs", "dns")
    service = cluster.api.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert (phase, log.strip()) == ("Succeeded", service)


def test_a_claim_binds_and_a_pod_that_is_not_root_writes_to_it(cluster: TestCluster, namespace: Namespace) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    command = ["python", "-c", "open('/data/file', 'w').write('kept')"]
    namespace.apply(claim, pod("writer", cluster.trainer_image, command, volumes=volumes, container=mounts))
    assert namespace.wait_for("pod", "writer", ("status", "phase"), ENDED, POD_SECONDS) == "Succeeded"
    command = ["python", "-c", "print(open('/data/file').read())"]
    namespace.apply(pod("reader", cluster.trainer_image, command, volumes=volumes, container=mounts))
    assert namespace.wait_for("pod", "reader", ("status", "phase"), ENDED, POD_SECONDS) == "Succeeded"
    assert namespace.kubectl("logs", "reader").strip() == "kept"


def test_a_raw_ray_job_succeeds_on_a_head_and_a_worker(cluster: TestCluster, namespace: Namespace) -> None:
    code = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    namespace.apply(ray_job("answer", cluster.trainer_image, f'python -c "{code}"'))
    ended = {"SUCCEEDED", "FAILED", "STOPPED"}
    status = namespace.wait_for("rayjob", "answer", ("status", "jobStatus"), ended, JOB_SECONDS)
    assert status == "SUCCEEDED", json.dumps(namespace.get("rayjob", "answer")["status"], indent=2)
