"""The operator's settings, read from the environment once at its start: `THAW_` and the field's name in upper case."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

RAY_VERSION = "2.60.0"
"""The Ray of the trainer image. KubeRay must know it: below 2.53 it probes pods with wget."""


class Settings(BaseSettings):
    """What a platform team decides for all jobs."""

    model_config = SettingsConfigDict(
        env_prefix="THAW_", env_ignore_empty=True, frozen=True, use_attribute_docstrings=True
    )

    trainer_image: str
    """Image of head and workers for jobs that name none."""
    trainer_image_pull_policy: str = "IfNotPresent"
    """When nodes pull it."""
    ray_version: str = RAY_VERSION
    """The Ray in the images."""
    head_cpu: str = "500m"
    """CPU that a head asks for. The driver runs there, and nothing is trained."""
    head_memory: str = "4Gi"
    """Memory that a head asks for and may use."""
    worker_cpu: str = "2"
    """CPU of a worker whose job says nothing of its resources."""
    worker_memory: str = "8Gi"
    """Memory of a worker whose job says nothing of its resources."""
    pod_group: int | None = Field(default=65532, ge=1)
    """fsGroup of the pods, by which volumes become writable; the image's own user by default."""

    namespaces: str = ""
    """Namespaces to serve, with commas between them; empty: all."""
    head_lost_seconds: float = Field(default=60.0, gt=0)
    """How long the head of a cluster that has been up may be unready before the attempt is lost."""
    recheck_seconds: float = Field(default=10.0, gt=0)
    """How often to look at what no event tells of: a claim that is missing, a name that is taken."""
    workers: int = Field(default=4, ge=1, le=64)
    """Jobs that are reconciled at the same time."""
    reconcile_seconds: float = Field(default=60.0, gt=0)
    """How long one reconcile may take before it is given up; four times as long, and the liveness probe fails."""

    metrics_port: int = Field(default=9090, ge=0, le=65535)
    """Port of the Prometheus metrics; 0: none."""
    liveness_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the liveness probe; 0: none."""
    log_level: str = "INFO"
    """Level of the log, which is JSON, one object a line."""

    def served_namespaces(self) -> list[str]:
        """The namespaces to serve; none: all of them."""
        return [name.strip() for name in self.namespaces.split(",") if name.strip()]
