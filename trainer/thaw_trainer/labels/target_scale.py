"""The scale of a number that is learned standardized, and the model's last layer, which takes it in at the end.

What a linear layer gives, times a factor and plus a shift, is what another linear layer gives. So an exported model
needs nobody to remember mean and deviation.
"""

from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thaw_trainer.models.pretrained import stored_shape


@dataclass(frozen=True)
class TargetScale:
    """A label is `shift` + `factor` x what is learned."""

    shift: float = 0.0
    factor: float = 1.0

    @classmethod
    def of(cls, mean: float, deviation: float, model: nn.Module) -> "TargetScale":
        """The scale for a model: about zero where its last layer has no bias to take a shift in (GPT-2 and its kin),
        and none where it is not clear which layer is the last."""
        found = output_layer(model)
        if found is None:
            return cls()
        return cls(mean, deviation) if found[1].bias is not None else cls(0.0, hypot(mean, deviation))

    @torch.no_grad()
    def put_in(self, model: nn.Module) -> None:
        """Makes the model give labels in their own units."""
        found = output_layer(model)
        if found is not None:
            _, layer = found
            layer.weight.mul_(self.factor)
            if layer.bias is not None:
                layer.bias.mul_(self.factor).add_(self.shift)

    @torch.no_grad()
    def take_out(self, model: nn.Module, folder: Path) -> None:
        """The inverse, for a last layer that the pretrained files have: it gives labels in their own units. A new one
        stays as it is."""
        found = output_layer(model)
        if found is not None and stored_shape(folder, f"{found[0]}.weight") == tuple(found[1].weight.shape):
            _, layer = found
            layer.weight.div_(self.factor)
            if layer.bias is not None:
                layer.bias.sub_(self.shift).div_(self.factor)


def output_layer(model: nn.Module) -> tuple[str, Any] | None:
    """Name and module of the linear layer above the model's body that gives the one output; None where it is not clear
    which that is."""
    body = f"{getattr(model, 'base_model_prefix', None) or ' '}."
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
    found = [(name, module) for name, module in linear if module.out_features == 1 and not name.startswith(body)]
    return found[0] if len(found) == 1 else None
