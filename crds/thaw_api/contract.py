"""What operator and trainer must name alike: labels, field managers, paths and variables inside a Ray pod, exit codes.

The operator writes pods in these terms; the driver, which runs on the Ray head, reads them.
"""

JOB_LABEL = "thaw.dev/job"
"""On everything that belongs to a job: its name."""
JOB_UID_LABEL = "thaw.dev/job-uid"
"""On everything that belongs to a job: its uid, which tells it from an older job of the same name."""
ATTEMPT_LABEL = "thaw.dev/attempt"
"""On everything that belongs to one attempt: its number, from 1."""

OPERATOR_MANAGER = "thaw-operator"
"""Field manager of everything in the status but `training`."""
TRAINER_MANAGER = "thaw-trainer"
"""Field manager of `status.training`."""
TRAINER_ACCOUNT_PREFIX = "thaw-trainer-"
"""A job's driver runs as the ServiceAccount of this prefix and the job's name."""
TRAINER_CLUSTER_ROLE = "thaw-trainer"
"""The ClusterRole that each job's RoleBinding refers to."""

JOB_FOLDER = "/etc/thaw"
"""Where the attempt's ConfigMap is mounted in the head's pod."""
JOB_FILE = "job.json"
"""The FineTuneJob as the driver reads it: apiVersion, kind, metadata {name, namespace, uid}, spec."""
CLAIM_SCHEME = "pvc://"
CLAIMS_FOLDER = "/thaw/claims"
"""`pvc://claim/path` is the folder or file `CLAIMS_FOLDER/claim/path` in every pod of the job."""
ATTEMPT_VARIABLE = "THAW_ATTEMPT"
"""Environment variable of the head: the attempt's number."""
CACHE_VARIABLE = "THAW_CACHE_DIR"
"""Environment variable of workers: the folder of the prefix cache."""
CACHE_FOLDER = "/thaw/cache"
"""Where a worker's pod has an ephemeral volume for it."""
HEAD_CONTAINER = "ray-head"
"""The head's container, whose log has what the driver prints."""
DRIVER_COMMAND = "python -m thaw_trainer.on_cluster"
"""The entrypoint of the RayJob."""

HEAD_RESOURCE = "thaw_head"
"""Custom resource of the Ray head: what must never wait for CPUs that gangs hold is placed by it."""

EXIT_FAILED = 1
"""Exit code of a driver whose job failed by the user's own error (every trial failed, say)."""
EXIT_INVALID = 2
"""Exit code of a driver that found manifest, model or data unusable before training."""
EXIT_INFRASTRUCTURE = 75
"""Exit code of a driver that failed for reasons outside the job (EX_TEMPFAIL): another attempt may succeed."""


def trainer_account(job_name: str) -> str:
    """The name of the ServiceAccount that a job's driver runs as."""
    return f"{TRAINER_ACCOUNT_PREFIX}{job_name}"


def attempt_name(job_name: str, attempt: int) -> str:
    """The name of an attempt's RayJob and ConfigMap; at most 47 characters for a valid job name."""
    return f"{job_name}-{attempt}"


def split_claim(uri: str) -> tuple[str, str] | None:
    """Claim and path of a `pvc://claim/path` URI; None for a URI of another kind."""
    if not uri.startswith(CLAIM_SCHEME):
        return None
    claim, _, path = uri.removeprefix(CLAIM_SCHEME).partition("/")
    return claim, path
