"""The Kubernetes operator: kopf events feed a work queue; each job's key is observed, decided and applied."""
