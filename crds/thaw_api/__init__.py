"""The FineTuneJob API: models, validation, and the schema of the CRD. Needs neither torch nor Kubernetes."""

from thaw_api.field_error import FieldError, InvalidManifest
from thaw_api.job import API_VERSION, GROUP, KIND, PLURAL, VERSION, FineTuneJob, FineTuneJobSpec
from thaw_api.manifest import read_job, read_jobs

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "PLURAL",
    "VERSION",
    "FieldError",
    "FineTuneJob",
    "FineTuneJobSpec",
    "InvalidManifest",
    "read_job",
    "read_jobs",
]
