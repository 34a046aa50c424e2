"""A policy as a folder: config.json and model.safetensors. An archive of Stable-Baselines3 becomes such a folder once.

`{"model_type": "policy", "policy": [64, 64], "value": [64, 64], "activation": "tanh"}`; with the observation's size and
the actions where it has weights.
"""

import io
import json
import re
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from thaw_api.model import ModelSpec
from thaw_trainer.data.environments import EnvironmentFacts
from thaw_trainer.data.store import file_digest
from thaw_trainer.disk import writing
from thaw_trainer.errors import MODEL_UNREADABLE, TrainerError
from thaw_trainer.models.policy import ACTIVATIONS, Activation, Policy, PolicyConfig, best_actions
from thaw_trainer.models.pretrained import URI_FIELD
from thaw_trainer.uris import UriRoots, resolve_model

MODEL_TYPE = "policy"
WEIGHTS, PROGRAM = "model.safetensors", "policy.pt2"
_SHOWN = 5
_ACTIVATION = re.compile(r"activation\.(\w+)")


def policy_folder(spec: ModelSpec, roots: UriRoots, models: Path) -> Path:
    """The folder of a spec's policy; an archive is written out below `models` first.

    Raises:
        TrainerError: ModelNotFound, ModelUnreadable, OutputNotWritable.
    """
    path = resolve_model(spec.uri, URI_FIELD, roots)
    if path.is_dir():
        return path
    folder = models / file_digest(path)
    if not folder.is_dir():
        unfinished = folder.with_suffix(".unfinished")
        config, tensors = _read_archive(path)
        with writing(models):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(unfinished, config, tensors)
            unfinished.rename(folder)
    return folder


def read_config(folder: Path, facts: EnvironmentFacts, init: str) -> PolicyConfig:
    """The policy's shape. Without weights, the environment decides what it observes and does.

    Raises:
        TrainerError: ModelUnreadable: no policy, or not one for the environment.
    """
    try:
        written: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if written.pop("model_type", None) != MODEL_TYPE:
            raise ValueError(f"its model_type is not {MODEL_TYPE!r}")
        if init == "random":
            written |= {"observation": facts.observation, "actions": facts.actions, "size": facts.size}
        sizes = {name: tuple(int(size) for size in written[name]) for name in ("policy", "value")}
        config = PolicyConfig(**(written | sizes))
        if not config.policy or not config.value or min(*config.policy, *config.value) < 1:
            raise ValueError("policy and value are lists of layers' sizes")
        if config.activation not in get_args(Activation):
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{folder / 'config.json'} describes no policy: {error}"
        raise TrainerError(MODEL_UNREADABLE, message, URI_FIELD) from error
    difference = config.difference(facts)
    if difference:
        raise TrainerError(MODEL_UNREADABLE, difference, URI_FIELD)
    return config


def build(folder: Path, config: PolicyConfig, spec: ModelSpec) -> Policy:
    """A new policy with the pretrained tensors, what the spec wants anew of its head from torch's generator.

    Raises:
        TrainerError: ModelUnreadable.
    """
    policy = Policy(config)
    if spec.init == "pretrained":
        try:
            policy.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise TrainerError(MODEL_UNREADABLE, f"no readable weights in {folder}: {error}", URI_FIELD) from error
        if spec.head.reset:
            policy.reset_head(spec.head.reset)
    return policy.to(getattr(torch, spec.dtype))


class _Program(nn.Module):
    """What is exported for others: from observations to actions."""

    def __init__(self, policy: Policy, facts: EnvironmentFacts) -> None:
        super().__init__()
        self.policy, self.facts = policy, facts

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions of observations [rows, numbers], float32."""
        scores, _, _ = self.policy(observations)
        return best_actions(scores, self.facts)


def export(policy: Policy, folder: Path, facts: EnvironmentFacts) -> None:
    """Writes the policy to fine-tune further, and as a program that torch runs by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = policy.cpu().float().eval()
    _write(folder, policy.config, policy.state_dict())
    example = torch.zeros(2, facts.observation)
    rows = torch.export.Dim("rows", max=2**20)
    program = torch.export.export(_Program(policy, facts), (example,), dynamic_shapes=({0: rows},))
    torch.export.save(program, folder / PROGRAM)


def _write(folder: Path, config: PolicyConfig, tensors: dict[str, torch.Tensor]) -> None:
    save_file({name: each.contiguous() for name, each in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    written = {"model_type": MODEL_TYPE, **asdict(config)}
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


def _read_archive(path: Path) -> tuple[PolicyConfig, dict[str, torch.Tensor]]:
    """A policy of Stable-Baselines3 with plain layers (PPO's or A2C's MlpPolicy).

    Its tensors alone are unpickled, by torch's reader of tensors; its settings are JSON, in which the activation is a
    name. What is pickled beside them is not read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
            settings = json.loads(archive.read("data"))
    except Exception as error:  # zipfile, json, torch and pickle each raise their own
        message = f"{path} is no archive of Stable-Baselines3: {type(error).__name__}: {error}"
        raise TrainerError(MODEL_UNREADABLE, message, URI_FIELD) from error
    tensors, layers = {}, {}
    for ours, theirs in (("policy", "policy_net"), ("value", "value_net")):
        pattern = re.compile(rf"mlp_extractor\.{theirs}\.(\d+)\.(weight|bias)")
        named = {name: match for name in found if (match := pattern.fullmatch(name))}
        numbers = sorted({int(match[1]) for match in named.values()})
        for name, match in named.items():
            tensors[f"body.{ours}.{numbers.index(int(match[1]))}.linear.{match[2]}"] = found.pop(name)
        layers[ours] = tuple(len(tensors[f"body.{ours}.{index}.linear.bias"]) for index in range(len(numbers)))
    for ours, theirs in (("actions", "action_net"), ("values", "value_net")):
        for part in ("weight", "bias"):
            name = f"{theirs}.{part}"
            if name in found:
                tensors[f"head.{ours}.{part}"] = found.pop(name)
    log_std = found.pop("log_std", None)
    tensors["head.log_std"] = torch.zeros(0) if log_std is None else log_std
    if found or not all(layers.values()) or "head.actions.weight" not in tensors:
        others = f"; it has {', '.join(sorted(found)[:_SHOWN])}" if found else ""
        message = f"{path} holds no policy of plain layers (PPO's or A2C's MlpPolicy){others}"
        raise TrainerError(MODEL_UNREADABLE, message, URI_FIELD)
    config = PolicyConfig(
        observation=tensors["body.policy.0.linear.weight"].shape[1],
        actions="discrete" if log_std is None else "continuous",
        size=tensors["head.actions.weight"].shape[0],
        **layers,
        activation=_activation(settings, path),
    )
    return config, tensors


def _activation(settings: dict[str, Any], path: Path) -> Activation:
    """Tanh, unless the policy's arguments name another."""
    written = str((settings.get("policy_kwargs") or {}).get("activation_fn", "activation.Tanh"))
    match = _ACTIVATION.search(written)
    name = match[1].lower() if match else written
    if name not in ACTIVATIONS:
        raise TrainerError(MODEL_UNREADABLE, f"{path}: the activation {written} is not known", URI_FIELD)
    return name  # type: ignore[return-value]
