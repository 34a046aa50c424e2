"""What `thaw models` estimates, beside what a training step takes.

    python benchmarks/cost_model.py

Models built from their configuration with random numbers: real forward and backward steps with AdamW, everything
trained, the head and the top two blocks, or the head alone. Each in a process of its own: seconds of a step (the
median, without the first) and the growth of the peak memory over that of the process before it has the model.
"""

import argparse
import resource
import statistics
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from figures import save

from thaw_trainer.advice.cost import PROCESS_BYTES, cost_of
from thaw_trainer.advice.device import find_device
from thaw_trainer.advice.shape import Shape, Stack
from thaw_trainer.advice.work import Part, Stretch, Work

RESULT = Path(__file__).resolve().parent / "results" / "cost_model.json"
ROWS = 8
PARTS: tuple[Part, ...] = ("all", 2, "head")
CASES: dict[str, tuple[str, dict[str, Any], int]] = {
    "bert": (
        "AutoModelForSequenceClassification",
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
        128,
    ),
    "vit": (
        "AutoModelForImageClassification",
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536},
        197,
    ),
    "gpt2": ("AutoModelForCausalLM", {"n_embd": 384, "n_layer": 6, "n_head": 6, "vocab_size": 8000}, 128),
    "resnet": (
        "AutoModelForImageClassification",
        {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"},
        1,
    ),
}
"""Family: class, what differs from its configuration's defaults, positions of a row."""


def built(family: str) -> Any:
    """A model with random numbers."""
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    auto_class, changes, _ = CASES[family]
    return getattr(transformers, auto_class).from_config(transformers.AutoConfig.for_model(family, **changes))


def measure(family: str, part: Part, steps: int, queue: Any) -> None:
    """Runs in a process of its own: seconds of a step, bytes that the peak grew by, and the model's shape."""
    import torch

    from thaw_trainer.freezing.layout import find_layout

    model = built(family)
    weights = sum(tensor.numel() * 4 for tensor in model.parameters())
    before = psutil.Process().memory_info().rss - weights
    layout = find_layout(model)
    first = {"all": -1, "head": layout.blocks}.get(str(part), layout.blocks - int(part) if part in range(9) else 0)
    trained = set(layout.names(first, layout.blocks))
    for name, tensor in model.named_parameters():
        tensor.requires_grad_(name in trained)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4, fused=True)
    inputs: dict[str, Any]
    if family in ("vit", "resnet"):
        inputs = {"pixel_values": torch.randn(ROWS, 3, 224, 224), "labels": torch.zeros(ROWS, dtype=torch.long)}
    else:
        ids = torch.randint(5, 7000, (ROWS, CASES[family][2]))
        inputs = {"input_ids": ids, "labels": ids if family == "gpt2" else torch.zeros(ROWS, dtype=torch.long)}
    seconds = []
    model.train()
    for _ in range(steps + 1):
        began = time.perf_counter()
        torch.autograd.backward(model(**inputs).loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sizes = [sum(layout.size[n] for n in layout.names(place, place)) for place in range(-1, layout.blocks + 1)]
    queue.put((statistics.median(seconds[1:]), peak - before, sizes))


def shape_of(family: str, sizes: list[int]) -> Shape:
    """The counts that the estimate is made from."""
    from thaw_trainer.advice.catalogue import CATALOGUE

    if family == "resnet":
        return next(each.shape for each in CATALOGUE if each.uri.endswith("resnet-18"))
    stack = Stack(len(sizes) - 2, sizes[1], 384, 1536)
    positions = CASES[family][2]
    stem_macs = 768 * 384 * 196 if family == "vit" else 0
    vocabulary = 8000 if family == "gpt2" else 0
    return Shape(sizes[0], sizes[-1], (stack,), vocabulary, positions=positions, stem_macs=stem_macs)


def main() -> None:
    """Measures and prints everything."""
    parser = argparse.ArgumentParser(description="Estimates beside measured steps.")
    parser.add_argument("--steps", type=int, default=5)
    chosen = parser.parse_args()
    context = get_context("spawn")
    figures = []
    print("family  trained  step s  estimate  ratio   peak MB  estimate  ratio")
    for family in CASES:
        for part in PARTS:
            queue = context.Queue()
            process = context.Process(target=measure, args=(family, part, chosen.steps, queue))
            process.start()
            seconds, grown, sizes = queue.get(timeout=600)
            process.join()
            device = find_device("cpu", None, None)
            work = Work(rows=ROWS, length=1, stretches=(Stretch(1.0, part),), batch_rows=ROWS, cached=False)
            cost = cost_of(shape_of(family, sizes), work)
            told, memory = device.seconds(cost.operations, "float32"), cost.memory - PROCESS_BYTES
            name = str(part) if isinstance(part, str) else f"top-{part}"
            print(
                f"{family:6}  {name:7}  {seconds:6.2f}  {told:8.2f}  {told / seconds:5.2f}  {grown / 1e6:8.0f}  "
                f"{memory / 1e6:8.0f}  {memory / grown:5.2f}",
                flush=True,
            )
            figures.append(
                {
                    "family": family,
                    "trained": name,
                    "stepSeconds": round(seconds, 3),
                    "estimatedSeconds": round(told, 3),
                    "timeRatio": round(told / seconds, 2),
                    "peakBytes": grown,
                    "estimatedBytes": round(memory),
                    "memoryRatio": round(memory / grown, 2),
                }
            )
    ratios = [each["timeRatio"] for each in figures]
    print(f"time, estimated over measured: {min(ratios)} to {max(ratios)}, median {statistics.median(ratios):.2f}")
    save(RESULT, {"cases": figures})


if __name__ == "__main__":
    main()
