"""Image classification from a folder of pictures to an exported model, with each of the three libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.unit.tiny_images import TinyImages
from tests.unit.tiny_jobs import run, snapshot
from thaw_trainer.errors import TrainerError
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.image_classification import KIND
from thaw_trainer.tasks.protocol import Share

LAST_BLOCK: dict[str, Any] = {"freezing": {"preset": "last-n", "depth": 1}}
SMALL: dict[str, Any] = {"data.features": [{"resize": {"size": 32}}], "model.init": "random"}


@pytest.fixture
def tiny(tmp_path: Path) -> TinyImages:
    return TinyImages(tmp_path)


def test_a_tiny_resnet_learns_the_direction_of_stripes(tiny: TinyImages) -> None:
    told = tiny.run(tiny.spec({"training.epochs": 8}))
    assert told.metrics[-1]["accuracy"] > 0.8 > told.metrics[0]["accuracy"] or told.metrics[-1]["accuracy"] == 1.0
    assert told.metrics[-1]["top5"] == 1.0


@pytest.mark.parametrize(
    "uri", ["torchvision://resnet18", "torchvision://mobilenet_v3_small", "timm://test_vit", "timm://resnet10t"]
)
def test_a_network_of_a_library_trains_and_is_exported_for_it(uri: str, tiny: TinyImages) -> None:
    changes = SMALL | {"model.uri": uri, "training.epochs": 1}
    if uri == "timm://test_vit":
        del changes["data.features"]
    spec = tiny.spec(changes)
    task = tiny.task(spec)
    model = task.build()
    exported = tiny.root / "exported"
    task.export(model.eval(), exported)
    loaded = tiny.task(tiny.spec({"model.uri": "file:exported"}))
    assert loaded.settings == task.settings
    rebuilt = loaded.build()
    assert snapshot(rebuilt).keys() == snapshot(model).keys()
    assert all(torch.equal(tensor, snapshot(model)[name]) for name, tensor in snapshot(rebuilt).items())
    told = tiny.run(spec)
    assert np.isfinite(told.losses[0]).all()


def test_the_export_of_a_timm_model_is_read_by_timm(tiny: TinyImages) -> None:
    import timm

    task = tiny.task(tiny.spec(SMALL | {"model.uri": "timm://resnet10t"}))
    model = task.build().eval()
    task.export(model, tiny.root / "exported")
    read = timm.create_model(f"local-dir:{tiny.root / 'exported'}", pretrained=True).eval()
    pixels = torch.rand(2, 3, 32, 32)
    assert torch.equal(read(pixels), model(pixels))
    assert read.pretrained_cfg["input_size"] == (3, 32, 32)


def test_the_export_of_a_transformers_model_sees_pictures_as_the_training_did(tiny: TinyImages) -> None:
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    task = tiny.task(tiny.spec())
    model = task.build().eval()
    task.export(model, tiny.root / "exported")
    read = AutoModelForImageClassification.from_pretrained(tiny.root / "exported").eval()
    processor = AutoImageProcessor.from_pretrained(tiny.root / "exported")
    batch = next(iter(task.batches("validation", 0, Share())))
    files = sorted((tiny.root / "pictures").rglob("*.png"))
    pictures = [Image.open(files[row]) for row in batch.id]
    with torch.inference_mode():
        ours = task.outputs(model, batch, torch.device("cpu"))["logits"]
        theirs = read(**processor(pictures, return_tensors="pt")).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert read.config.id2label == {0: "diagonal", 1: "horizontal", 2: "vertical"}


def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(tiny: TinyImages) -> None:
    spec = tiny.spec(LAST_BLOCK)
    computed = tiny.run(spec, "computed")
    plan = prepare_job(spec, KIND, tiny.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(tiny.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = tiny.run(spec, "cached", prefix=site)
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] > 0


def test_frozen_batch_norm_keeps_its_statistics_and_trained_ones_move(tiny: TinyImages) -> None:
    spec = tiny.spec(LAST_BLOCK | {"training.epochs": 1})
    task = tiny.task(spec)
    before, model = snapshot(task.build()), task.build()
    task.build = lambda: model  # type: ignore[method-assign]
    run(task, spec, tiny.root / "checkpoints" / "norms")
    after = snapshot(model)
    moved = {name for name in after if "running_mean" in name and not torch.equal(after[name], before[name])}
    assert moved
    assert all("stages.2" in name for name in moved)


def test_augmented_rows_are_the_same_for_any_share_and_differ_between_epochs(tiny: TinyImages) -> None:
    spec = tiny.spec({"data.augment": [{"randomCrop": {"padding": 2}}, {"horizontalFlip": {}}]})
    task = tiny.task(spec)

    def rows(epoch: int, world: int) -> dict[int, bytes]:
        return {
            int(batch.id[place]): batch.pixels[place].numpy().tobytes()
            for rank in range(world)
            for batch in task.batches("train", epoch, Share(rank, world))
            for place in range(len(batch.id))
            if batch.weight[place]
        }

    assert rows(0, 1) == rows(0, 2)
    assert len(rows(0, 1)) == 42
    first, second = rows(0, 1), rows(1, 1)
    assert sum(first[row] != second[row] for row in first) > 30
    assert task.row_source() is None


def test_augmentation_leaves_torchs_generator_as_it_was(tiny: TinyImages) -> None:
    steps = [{"trivialAugment": {}}, {"randAugment": {"operations": 1, "magnitude": 5}}]
    task = tiny.task(tiny.spec({"data.augment": steps}))
    torch.manual_seed(7)
    state = torch.get_rng_state()
    next(iter(task.batches("train", 0, Share())))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_augmentation_makes_no_new_store(tiny: TinyImages) -> None:
    plain = KIND.prepare(tiny.spec(), tiny.files)
    assert KIND.prepare(tiny.spec({"data.augment": [{"horizontalFlip": {}}]}), tiny.files) == plain


def test_a_size_that_a_model_does_not_take_is_refused_with_its_field(tiny: TinyImages) -> None:
    spec = tiny.spec(
        {"model.uri": "timm://test_vit", "model.init": "random", "data.features": [{"resize": {"size": 24}}]}
    )
    with pytest.raises(TrainerError, match="takes no images of 24 x 24") as refused:
        KIND.empty_model(spec, KIND.prepare(spec, tiny.files))
    assert refused.value.field == "spec.data.features"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("torchvision://resnet19", "torchvision has no model 'resnet19'"),
        ("torchvision://resnet18?weights=V9", "resnet18 has weights IMAGENET1K_V1; found 'V9'"),
        ("torchvision://fcn_resnet50", "does not classify images"),
        ("timm://no_such_net", "timm has no model 'no_such_net'"),
    ],
)
def test_a_model_that_a_library_does_not_have_is_named(uri: str, says: str, tiny: TinyImages) -> None:
    with pytest.raises(TrainerError, match=says) as refused:
        KIND.prepare(tiny.spec({"model.uri": uri, "model.init": "random"}), tiny.files)
    assert refused.value.reason == "ModelNotFound"
    assert refused.value.field == "spec.model.uri"


def test_weights_that_lack_a_tensor_below_the_head_are_refused(tiny: TinyImages) -> None:
    from safetensors.torch import load_file, save_file

    task = tiny.task(tiny.spec(SMALL | {"model.uri": "torchvision://resnet18"}))
    task.export(task.build(), tiny.root / "exported")
    file = tiny.root / "exported" / "model.safetensors"
    tensors = load_file(file)
    del tensors["layer1.0.bn1.running_mean"]
    save_file(tensors, file)
    with pytest.raises(TrainerError, match=r"lack 1 tensors below the head.*layer1\.0\.bn1\.running_mean"):
        tiny.task(tiny.spec({"model.uri": "file:exported"})).build()


def test_a_network_without_dropout_refuses_one(tiny: TinyImages) -> None:
    spec = tiny.spec(SMALL | {"model.uri": "torchvision://resnet18", "model.head": {"dropout": 0.5}})
    with pytest.raises(TrainerError) as refused:
        tiny.task(spec).build()
    assert refused.value.field == "spec.model.head.dropout"
    vgg = tiny.spec(SMALL | {"model.uri": "torchvision://efficientnet_b0", "model.head": {"dropout": 0.25}})
    dropouts = [module.p for module in tiny.task(vgg).build().modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.25]


def test_accumulated_steps_and_batches_hold_the_same_rows(tiny: TinyImages) -> None:
    one = tiny.task(tiny.spec())
    parts = tiny.task(tiny.spec({"training.gradientAccumulation": 2}))
    whole = [batch.id.tolist() for batch in one.batches("train", 1, Share())]
    halves = [batch.id.tolist() for batch in parts.batches("train", 1, Share())]
    assert [left + right for left, right in zip(halves[::2], halves[1::2], strict=True)] == whole
    assert len(whole) == one.steps_per_epoch()


def test_the_configuration_tells_the_library(tiny: TinyImages) -> None:
    task = tiny.task(tiny.spec(SMALL | {"model.uri": "torchvision://resnet18"}))
    task.export(task.build(), tiny.root / "exported")
    config = json.loads((tiny.root / "exported" / "config.json").read_text(encoding="utf-8"))
    assert config["library"] == "torchvision"
    assert config["labels"] == ["diagonal", "horizontal", "vertical"]
    (tiny.root / "exported" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrainerError, match="no model_type"):
        tiny.task(tiny.spec({"model.uri": "file:exported"}))
