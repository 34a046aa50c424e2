"""The trainer on a Ray cluster that KubeRay runs, and what it tells Kubernetes. The entrypoint is `on_cluster.py`.

Read in this order: attempt (which job this is), ray_cluster (the gangs' machines), plain_text, trial_rows and
training_status (events to `status.training`, pure), pacing (when to write), answers (what a refusal
means), reporter (the thread that writes), status_patch (the write; the only module that knows Kubernetes).
"""
