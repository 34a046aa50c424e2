"""Jobs in a queue: Kueue's part is played, by what it writes into a RayJob and counts in a Workload."""

from tests.api.operator_process import OperatorProcess
from tests.api.played_kueue import PlayedKueue
from tests.api.scenes import NAME, SECONDS, Scene
from tests.cluster.polling import wait_until


def test_what_a_queue_writes_into_the_ray_job_stays(scene: Scene, operator: OperatorProcess) -> None:
    scene.claim()
    scene.create()
    scene.reaches("Starting")
    placed = {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]}
    ray_job = scene.kuberay.get("rayjob", "sections-1")
    template = ray_job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    template["spec"] |= placed
    changed = {"spec": {"suspend": True, "rayClusterSpec": {"headGroupSpec": {"template": template}}}}
    scene.patch("rayjob", "sections-1", changed)
    scene.reaches("Queued", "WaitingForQuota")
    scene.patch("ftj", NAME, {"metadata": {"labels": {"team": "nlp"}}})
    scene.patch("rayjob", "sections-1", {"spec": {"suspend": False}})
    scene.reaches("Starting")
    kept = scene.kuberay.get("rayjob", "sections-1")["spec"]
    assert kept["suspend"] is False
    pod = kept["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {name: pod[name] for name in placed} == placed


def test_preemptions_are_counted_over_all_attempts_and_cost_none(scene: Scene, operator: OperatorProcess) -> None:
    kueue = PlayedKueue(scene.api, scene.namespace)
    scene.claim()
    scene.create(restartPolicy={"onInfrastructure": 1})
    scene.patch("ftj", NAME, {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "research"}}})
    scene.reaches("Starting")
    kueue.is_installed()
    try:
        for attempt, before in (("sections-1", 0), ("sections-2", 2)):
            kueue.admits(scene.kuberay.get("rayjob", attempt))
            kueue.has_evicted(attempt, Preempted=2, PodsReadyTimeout=1)
            scene.patch("rayjob", attempt, {"spec": {"suspend": True}})
            job = scene.reaches("Queued", "WaitingForQuota")
            assert job["status"]["restarts"]["preemption"] == before + 2
            scene.patch("rayjob", attempt, {"spec": {"suspend": False}})
            scene.reaches("Starting")
            if attempt == "sections-1":
                scene.kuberay.says(attempt, "Failed", "FAILED", "Job failed with exit code 137")
                wait_until(
                    "the next attempt", lambda: None if "sections-2" in scene.names("rayjobs") else "no", SECONDS
                )
                scene.reaches("Starting")
    finally:
        kueue.is_removed()
    assert scene.job()["status"]["restarts"] == {"infrastructure": 1, "preemption": 4}
