"""Kinds of labels by what `data.labels` says."""

from thaw_api.labels import LabelsSpec
from thaw_trainer.labels.kind import Labels
from thaw_trainer.labels.multi_label import MultiLabel
from thaw_trainer.labels.regression import Regression
from thaw_trainer.labels.single_label import SingleLabel


def find_labels(spec: LabelsSpec) -> Labels:
    """The kind that a manifest names."""
    if spec.kind == "multi-label":
        return MultiLabel(spec.separator)
    return Regression() if spec.kind == "regression" else SingleLabel()
