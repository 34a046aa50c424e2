"""A model as a folder of the Hugging Face layout has it: configuration, tokenizer, weights; whichever its head is."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.freezing.layout import find_layout

URI_FIELD = "spec.model.uri"
_MODEL_FILES = (".json", ".txt", ".model", ".safetensors")


def model_files(folder: Path) -> list[Path]:
    """The files that a model is, by their endings: their content decides what it computes, not where they are."""
    return sorted(path for path in folder.glob("*") if path.suffix in _MODEL_FILES)


def load_tokenizer(folder: Path, **options: Any) -> Any:
    """The model's tokenizer; raises TrainerError ModelUnreadable."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # tokenizers raise bare Exceptions for corrupt files
        raise TrainerError(MODEL_UNREADABLE, f"no readable tokenizer in {folder}: {error}", URI_FIELD) from error
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        # transformers makes an empty one for a folder without a vocabulary.
        raise TrainerError(MODEL_UNREADABLE, f"no vocabulary of a tokenizer in {folder}", URI_FIELD)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(folder: Path, **changes: Any) -> Any:
    """The model's configuration with changes.

    Raises:
        TrainerError: ModelUnreadable.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, **changes)
    except Exception as error:  # json, key and value errors of many config classes
        raise TrainerError(MODEL_UNREADABLE, f"no readable config.json in {folder}: {error}", URI_FIELD) from error


def label_settings(labels: list[str]) -> dict[str, Any]:
    """What a configuration says of a head for `labels`."""
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
    }


def build(
    auto_class: Any, folder: Path, config: Any, spec: ModelSpec, new_head: bool = True, thaw: bool = False
) -> nn.Module:
    """A new module with the pretrained tensors; what the files lack of the head is random (torch's generator).

    Args:
        auto_class: transformers' AutoModelFor... of the task.
        new_head: whether the files may lack the head.
        thaw: whether tensors that the class freezes by itself are made trainable.

    Raises:
        TrainerError: ModelUnreadable, when weights are missing, corrupt or of other shapes.
    """
    dtype = getattr(torch, spec.dtype)
    try:
        if spec.init == "random":
            module: nn.Module = auto_class.from_config(config, dtype=dtype)
            return module.requires_grad_(True) if thaw else module
        module, found = auto_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, torch and transformers each raise their own
        raise TrainerError(MODEL_UNREADABLE, f"no readable weights in {folder}: {error}", URI_FIELD) from error
    if thaw:
        module.requires_grad_(True)
    else:
        # Read from files, whatever the class holds fixed (sinusoidal positions) has become trainable.
        for name, tensor in build_empty(auto_class, config).named_parameters():
            if not tensor.requires_grad:
                module.get_parameter(name).requires_grad_(False)
    _check_found(module, found, folder, spec.blocks, new_head)
    return module


def _check_found(
    module: nn.Module, found: dict[str, Any], folder: Path, blocks: list[str] | None, new_head: bool
) -> None:
    """Only the head may be new, if anything: transformers makes random tensors of whatever is missing, and warns."""
    new = {*found["missing_keys"], *(mismatch[0] for mismatch in found["mismatched_keys"])}
    layout = find_layout(module, blocks)
    lacking = sorted(new & set(layout.names(-1, layout.blocks - 1 if new_head else layout.blocks)))
    if lacking:
        raise TrainerError(
            MODEL_UNREADABLE,
            f"the weights in {folder} lack {len(lacking)} tensors{' below the head' if new_head else ''}, or have them "
            "in other shapes: "
            f"{', '.join(lacking[:5])}",
            URI_FIELD,
        )


def check_weights(folder: Path) -> None:
    """Reads the headers of a model's weight files, which say whether each is whole.

    Raises:
        TrainerError: ModelUnreadable.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise TrainerError(MODEL_UNREADABLE, f"no *.safetensors in {folder}; pickled weights are not loaded", URI_FIELD)
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise TrainerError(MODEL_UNREADABLE, f"{file} is no whole safetensors file: {error}", URI_FIELD) from error


def stored_shape(folder: Path, tensor: str) -> tuple[int, ...] | None:
    """The shape that a tensor has in a model's weight files; None where they lack it."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            if tensor in opened.keys():  # noqa: SIM118  no mapping
                return tuple(opened.get_slice(tensor).get_shape())
    return None


def build_empty(auto_class: Any, config: Any) -> nn.Module:
    """The module without numbers (meta device): its names and shapes, in no time and no memory."""
    with torch.device("meta"):
        module: nn.Module = auto_class.from_config(config)
    return module


def longest_input(module: nn.Module) -> int | None:
    """Tokens that a module has positions for; None: no limit."""
    positions = getattr(module.config, "max_position_embeddings", None) or 0
    if not isinstance(positions, int) or positions <= 0:
        return None
    for name, child in module.named_modules():
        padding = getattr(child, "padding_idx", None)
        if name.endswith("position_embeddings") and isinstance(padding, int):
            # RoBERTa and its kin count positions from behind the padding index.
            return positions - padding - 1
    return positions
