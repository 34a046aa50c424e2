"""Object detection from COCO's json to an exported detector, with each family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.tiny_jobs import Run, snapshot
from tests.unit.tiny_objects import CONFIGS, QUERIES, SIZE, TinyObjects, detr_config
from thaw_api.job import FineTuneJobSpec
from thaw_trainer.errors import PREFIX_NOT_CACHEABLE, TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models import detector
from thaw_trainer.models.detection_loss import counts_of
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.object_detection import KIND, ObjectDetection
from thaw_trainer.tasks.protocol import Share, predict

CPU = torch.device("cpu")
LAST_BLOCK: dict[str, Any] = {"freezing": {"preset": "last-n", "depth": 1}}
HEAD: dict[str, Any] = {"freezing": {"preset": "head-only"}}
FAMILIES = list(CONFIGS)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyObjects:
    return TinyObjects(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_detector_of_each_family_learns(family: str, tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path, family)
    told = tiny.run(tiny.spec({"training.epochs": 8, "training.optimizer": {"lr": 3e-3}}))
    assert told.metrics[-1]["loss"] < told.metrics[0]["loss"]
    assert told.metrics[0].keys() == {"map", "map50", "map75", "loss"}
    assert np.mean(told.losses[-1]) < np.mean(told.losses[0])


def test_a_yolos_from_random_weights_tells_its_queries_and_places_apart(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path, initializer_range=0.5)
    torch.manual_seed(0)
    model = tiny.task(tiny.spec({"model.init": "random"})).build().eval()
    pixels = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        boxes, moved = model(pixels).pred_boxes[0], model(pixels.roll(8, dims=-1)).pred_boxes[0]  # by one patch
    assert len(torch.unique(boxes, dim=0)) == len(boxes)
    assert not torch.allclose(boxes, moved, atol=1e-4)


def test_boxes_of_the_scaled_image_are_where_the_rectangles_are(tiny: TinyObjects) -> None:
    """Pictures 40 wide become 32 wide: their boxes go along."""
    task = tiny.task(tiny.spec())
    colours = {"blue": 2, "green": 1, "red": 0}
    looked_at = 0
    for batch in task.batches("train", 0, Share()):
        assert batch.pixels.shape[2:] == (SIZE, SIZE)
        for image, objects in zip(batch.pixels, batch.objects, strict=True):
            if len(objects.category) != 1:
                continue
            bright = image[colours[task.labels[int(objects.category[0])]]].numpy() > 160
            rows, columns = np.nonzero(bright)
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (objects.boxes[0] * SIZE).tolist() == pytest.approx(seen, abs=1.0)
            looked_at += 1
    assert looked_at


def test_the_count_of_a_step_is_its_boxes(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec())
    model = task.build()
    for batch in task.batches("train", 0, Share()):
        loss, count = task.step(model, batch, CPU)
        assert count == sum(max(1, len(each.category)) for each in batch.objects[: batch.plan.filled])
        assert loss.requires_grad


def test_two_workers_parts_of_a_step_add_up_to_one_workers(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec())
    model = task.build()
    for epoch in range(2):
        whole = [task.step(model, batch, CPU) for batch in task.batches("train", epoch, Share())]
        parts = [
            [task.step(model, batch, CPU) for batch in task.batches("train", epoch, Share(rank, 2))] for rank in (0, 1)
        ]
        for (loss, count), one, other in zip(whole, *parts, strict=True):
            assert count == one[1] + other[1]
            assert (one[0] + other[0]).item() == pytest.approx(loss.item(), rel=1e-4)


def test_a_rows_result_does_not_depend_on_its_neighbours(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec())
    model = task.build().eval()
    together: dict[int, list[Any]] = {}
    with torch.inference_mode():
        for size in (8, 16):
            own = tiny.task(tiny.spec({"training.batchSize": size}))
            for batch in own.batches("train", 0, Share()):
                told = predict(task, model, batch, CPU)
                for place, row in enumerate(told["id"].tolist()):
                    together.setdefault(row, []).append(np.append(told["loss"][place], told["box"][place]))
    assert all(len(each) == 2 for each in together.values())
    for one, other in together.values():
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_each_image_is_measured_once_with_the_loss_of_all_its_boxes(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec())
    model = task.build().eval()
    with torch.inference_mode():
        (told,) = (predict(task, model, batch, CPU) for batch in task.batches("validation", 0, Share()))
        (batch,) = task.batches("validation", 0, Share())
        loss, count = task.step(model, batch, CPU)
    assert sorted(told["id"].tolist()) == sorted(task.rows["validation"].id.tolist())
    assert told["box"].shape == (8, QUERIES, 4)
    assert told["counted"].sum() == count
    assert task.metrics(told, full=True)["loss"] == pytest.approx(float(loss) / count, rel=1e-5)
    details = task.details(told)["averagePrecision"]
    assert details.keys() == set(task.labels)


def test_what_is_there_told_as_found_is_a_precision_of_one(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec())
    rows = task.rows["test"]
    box, category = np.zeros((8, QUERIES, 4), np.float32), np.zeros((8, QUERIES), np.int64)
    score = np.zeros((8, QUERIES), np.float32)
    for row in range(8):
        truth = rows.truth(row)
        count = len(truth.category)
        box[row, :count], category[row, :count], score[row, :count] = truth.boxes, truth.category, 0.9
    told = {"id": rows.id, "split": np.full(8, "test"), "loss": np.ones(8), "counted": counts_of(rows.counts())}
    assert task.metrics(told | {"box": box, "category": category, "score": score}, full=True)["map"] == pytest.approx(
        1.0
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_finds_the_same_boxes_with_the_export(family: str, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    tiny = TinyObjects(tmp_path, family)
    task = tiny.task(tiny.spec())
    model = task.build().eval()
    task.export(model, tmp_path / "exported")
    read = AutoModelForObjectDetection.from_pretrained(tmp_path / "exported").eval()
    processor = AutoImageProcessor.from_pretrained(tmp_path / "exported")
    assert type(processor).__name__.removesuffix("Fast") == detector.FAMILIES[family].processor
    assert read.config.id2label == {0: "blue", 1: "green", 2: "red"}
    (batch,) = task.batches("test", 0, Share())
    files = sorted((tmp_path / "pictures").glob("*.png"))
    pictures = [Image.open(files[row]) for row in batch.id[: batch.plan.filled]]
    sizes = [(picture.height, picture.width) for picture in pictures]
    with torch.inference_mode():
        ours = predict(task, model, batch, CPU)
        theirs = processor.post_process_object_detection(
            read(**processor(pictures, return_tensors="pt")), threshold=0.0, target_sizes=sizes
        )
    for place, told in enumerate(theirs):
        height, width = sizes[place]
        order = np.lexsort((ours["category"][place], -ours["score"][place]))
        their_order = np.lexsort((told["labels"].numpy(), -told["scores"].numpy()))
        np.testing.assert_allclose(ours["score"][place][order], told["scores"].numpy()[their_order], atol=2e-3)
        # A DETR's queries are all alike at first: which of two equals comes first is chance.
        boxes = np.sort(ours["box"][place] * [width, height, width, height], axis=0)
        np.testing.assert_allclose(boxes, np.sort(told["boxes"].numpy(), axis=0), atol=0.3)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_is_where_the_next_job_goes_on(family: str, tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path, family)
    task = tiny.task(tiny.spec())
    model = task.build()
    task.export(model.eval(), tmp_path / "exported")
    loaded = tiny.task(tiny.spec({"model.uri": "file:exported"}))
    assert loaded.settings == task.settings
    rebuilt = snapshot(loaded.build())
    assert rebuilt.keys() == snapshot(model).keys()
    assert all(torch.equal(tensor, snapshot(model)[name]) for name, tensor in rebuilt.items())


TOP: dict[str, Any] = {
    "freezing": {"phases": [{"name": "top", "train": ["head", "blocks[2:]"], "until": {"fraction": 1}}]}
}
"""Of a DETR, all but the backbone."""
CACHED = [
    *((family, HEAD) for family in FAMILIES),
    *((family, LAST_BLOCK) for family in FAMILIES if family != "conditional_detr"),
    *((family, TOP) for family in FAMILIES),
]


def cached_run(tiny: TinyObjects, spec: FineTuneJobSpec) -> Run:
    plan = prepare_job(spec, KIND, tiny.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(tiny.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    return tiny.run(spec, "cached", prefix=site)


@pytest.mark.parametrize(
    ("family", "schedule"), CACHED, ids=[f"{family}-{next(iter(spec['freezing'].values()))}" for family, spec in CACHED]
)
def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(
    family: str, schedule: dict[str, Any], tmp_path: Path
) -> None:
    """With dropout in what is trained, where the family has one."""
    dropout: dict[str, Any] = {} if family == "yolos" else {"dropout": 0.1}
    tiny = TinyObjects(tmp_path, family, **dropout)
    spec = tiny.spec(schedule)
    computed, cached = tiny.run(spec, "computed"), cached_run(tiny, spec)
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] > 0


def test_a_conditional_detrs_decoder_is_cached_whole_or_not_at_all(tmp_path: Path) -> None:
    """Between its layers it reads what is neither a layer's nor a norm."""
    tiny = TinyObjects(tmp_path, "conditional_detr")
    with pytest.raises(TrainerError, match="what is left out is read") as refused:
        cached_run(tiny, tiny.spec(LAST_BLOCK))
    assert refused.value.reason == PREFIX_NOT_CACHEABLE


def test_augmented_rows_are_the_same_for_any_share_and_differ_between_epochs(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec({"data.augment": [{"randomResizedCrop": {"minScale": 0.4}}, {"horizontalFlip": {}}]}))

    def rows(epoch: int, world: int) -> dict[int, tuple[bytes, list[Any]]]:
        return {
            int(batch.id[place]): (batch.pixels[place].numpy().tobytes(), batch.objects[place].boxes.tolist())
            for rank in range(world)
            for batch in task.batches("train", epoch, Share(rank, world))
            for place in range(batch.plan.filled)
        }

    assert rows(0, 1) == rows(0, 2)
    assert len(rows(0, 1)) == 24
    first, second = rows(0, 1), rows(1, 1)
    assert sum(first[row] != second[row] for row in first) > 20
    assert task.row_source() is None


def test_an_image_whose_boxes_are_all_cut_away_is_background(tiny: TinyObjects) -> None:
    task = tiny.task(tiny.spec({"data.augment": [{"randomResizedCrop": {"minScale": 0.02}}], "training.epochs": 1}))
    batches = list(task.batches("train", 0, Share()))
    left = sum(len(each.category) for batch in batches for each in batch.counted)
    assert left < task.rows["train"].counts().sum()
    for batch in batches:
        for each in batch.objects:
            assert len(each.boxes) == len(each.category)
    model = task.build()
    assert all(torch.isfinite(task.step(model, batch, CPU)[0]) for batch in batches)


def test_a_size_makes_another_store_and_an_augmentation_none(tiny: TinyObjects) -> None:
    plain = KIND.prepare(tiny.spec(), tiny.files)
    assert KIND.prepare(tiny.spec({"data.augment": [{"horizontalFlip": {}}]}), tiny.files) == plain
    larger = tiny.task(tiny.spec({"data.features": [{"resize": {"size": 48}}]}))
    assert next(iter(larger.batches("train", 0, Share()))).pixels.shape[2:] == (48, 48)


def test_what_transformers_freezes_by_itself_is_the_schedules_to_freeze(tmp_path: Path) -> None:
    task = TinyObjects(tmp_path, "detr")
    opened = task.task(task.spec())
    from transformers import AutoModelForObjectDetection

    theirs = AutoModelForObjectDetection.from_config(detr_config())
    assert not all(tensor.requires_grad for tensor in theirs.parameters())
    for model in (opened.build(), KIND.empty_model(task.spec(), opened.store.folder)):
        assert all(tensor.requires_grad for tensor in model.parameters())
    assert not find_layout(opened.build()).fixed


def refused(tiny: TinyObjects, changes: dict[str, Any]) -> TrainerError:
    spec = tiny.spec(changes)
    with pytest.raises(TrainerError) as caught:
        prepare_job(spec, KIND, tiny.files)
    return caught.value


def test_a_detector_of_another_kind_is_refused_before_anything_is_written(tiny: TinyObjects) -> None:
    from transformers import RTDetrConfig

    RTDetrConfig().save_pretrained(tiny.root / "other")
    error = refused(tiny, {"model.uri": "file:other"})
    assert "rt_detr is no detector that can be trained here; detr, table-transformer, yolos" in error.message
    assert error.field == "spec.model.uri"
    assert not list(tiny.root.glob("stores/*"))


def test_a_size_below_a_patch_is_refused_with_its_field(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path, patch_size=16)
    error = refused(tiny, {"data.features": [{"resize": {"size": 8}}]})
    assert "images of 8 x 8 are smaller than the model's patches of 16 x 16" in error.message
    assert error.field == "spec.data.features"


def test_a_dropout_of_the_head_is_refused(tiny: TinyObjects) -> None:
    assert refused(tiny, {"model.head": {"dropout": 0.1}}).field == "spec.model.head.dropout"


def test_an_auxiliary_loss_of_a_yolos_is_refused(tmp_path: Path) -> None:
    tiny = TinyObjects(tmp_path, auxiliary_loss=True)
    assert "YOLOS has no auxiliary_loss" in refused(tiny, {}).message


def test_weights_that_lack_the_backbone_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny = TinyObjects(tmp_path, "detr")
    file = tmp_path / "model" / "model.safetensors"
    tensors = load_file(file)
    (name,) = (name for name in tensors if name.endswith("stages.0.layers.0.layer.0.convolution.weight"))
    del tensors[name]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(TrainerError, match="lack 1 tensors below the head"):
        tiny.task(tiny.spec()).build()


def test_an_unreadable_processor_is_refused(tiny: TinyObjects) -> None:
    (tiny.root / "model" / "preprocessor_config.json").write_text("{")
    assert "no readable processor" in refused(tiny, {}).message


def test_without_a_processor_the_configuration_tells_the_size(tiny: TinyObjects) -> None:
    (tiny.root / "model" / "preprocessor_config.json").unlink()
    task: ObjectDetection = tiny.task(tiny.spec())
    assert task.settings.size == SIZE
    assert task.settings.mean == pytest.approx((0.485, 0.456, 0.406))
