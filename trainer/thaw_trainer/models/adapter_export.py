"""A trained adapter as others load it: merged into the model, and beside it in peft's own layout.

<folder>/…                                                     the merged model, as the task exports any
<folder>/adapter/adapter_config.json, adapter_model.safetensors   for PeftModel.from_pretrained
"""

import copy
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models.adapter import NAME, adapter_layers
from thaw_trainer.models.four_bits import dequantize, is_four_bits, numbers_of
from thaw_trainer.tasks.protocol import Finishes, Task

FOLDER = "adapter"

_PREFIX = "base_model.model."
"""What peft puts before the name of each tensor."""

_log = logging.getLogger("thaw.adapter")


def export_model(task: Task, model: nn.Module, spec: ModelSpec, folder: Path) -> None:
    """Writes a trained model for others. An adapter is merged into the module for good.

    Where a task exports a part of its module only, or peft could not put the head back by its modules' names, there is
    no adapter beside the model: without the head that was trained with it, it is of no use.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    if isinstance(task, Finishes):
        task.finish(model)
    if spec.adapter is None:
        task.export(model, folder)
        return
    layout = find_layout(model, spec.blocks)
    head = head_modules(model, layout.names(layout.blocks, layout.blocks))
    files = None
    if not getattr(task, "exports_whole", True):
        head = "what is exported is part of what was trained"
    if isinstance(head, str):
        _log.warning("no %s beside the model: %s", FOLDER, head)
    else:
        files = _tensors(model, head), _config(model, spec, head)
    merge_adapter(model)
    task.export(model, folder)
    if files is not None:
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        save_file(files[0], folder / FOLDER / "adapter_model.safetensors", metadata={"format": "pt"})
        files[1].save_pretrained(folder / FOLDER)


def merge_adapter(model: nn.Module) -> None:
    """Puts each layer's update into its weight, and the layer back in its place."""
    for name, layer in adapter_layers(model):
        if is_four_bits(layer.get_base_layer()):
            _merge_four_bits(layer)
        else:
            layer.merge()
        parent, _, key = name.rpartition(".")
        setattr(model.get_submodule(parent), key, layer.get_base_layer())
    del model.peft_config
    dequantize(model)


def _merge_four_bits(layer: Any) -> None:
    """Adds an update to what a layer of four bits computes with; peft would round the sum to four bits again."""
    base = layer.get_base_layer()
    update = layer.get_delta_weight(NAME)
    plain = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    plain.weight = nn.Parameter((numbers_of(base) + update).to(base.compute_dtype), requires_grad=False)
    plain.bias = base.bias
    layer.base_layer = plain.train(base.training)


def head_modules(model: nn.Module, head: list[str]) -> list[str] | str:
    """Names of the modules that hold the head's tensors and nothing else; or why peft could not find them again.

    Args:
        head: names of the head's tensors.
    """
    owners = {name.rpartition(".")[0] for name in head}
    modules = sorted(name for name in owners if not any(name.startswith(f"{other}.") for other in owners))
    for name in modules:
        held = {f"{name}.{tensor}".lstrip(".") for tensor, _ in model.get_submodule(name).named_parameters()}
        if not name or held - set(head):
            return f"{name or 'the model'} holds tensors of the head beside others"
    # peft takes every module whose name ends so for one of the head.
    alike = {name for name, _ in model.named_modules(remove_duplicate=False) if name.endswith(tuple(modules))}
    if modules and alike != set(modules):
        return f"{sorted(alike - set(modules))[0]} ends as a module of the head is called"
    return modules


def _tensors(model: nn.Module, head: list[str]) -> dict[str, torch.Tensor]:
    """Adapter and head under the names that peft gives them."""
    from peft import get_peft_model_state_dict

    tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    for module in head:
        tensors |= {f"{module}.{name}": each for name, each in model.get_submodule(module).state_dict().items()}
    return {f"{_PREFIX}{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _config(model: nn.Module, spec: ModelSpec, head: list[str]) -> Any:
    """The adapter's configuration; the same bytes for the same adapter."""
    configs: Any = model.peft_config
    config = copy.copy(configs[NAME])
    config.target_modules = sorted(config.target_modules)
    config.exclude_modules = sorted(config.exclude_modules) if config.exclude_modules else None
    if getattr(config, "feedforward_modules", None) is not None:
        config.feedforward_modules = sorted(config.feedforward_modules)
    config.modules_to_save = head or None
    config.inference_mode = True
    if spec.uri.startswith("hf:"):
        base, _, revision = spec.uri.removeprefix("hf:").removeprefix("//").partition("@")
        config.base_model_name_or_path, config.revision = base, revision or None
    return config
