"""Face recognition: margins, verification, identities kept apart, and an embedder that learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve

from tests.manifests import job
from tests.unit.tiny_images import SIZE, save_resnet
from tests.unit.tiny_jobs import Run, run
from thaw_api.job import FineTuneJobSpec
from thaw_api.model import MarginSpec
from thaw_trainer.errors import TrainerError
from thaw_trainer.freezing.layout import find_layout
from thaw_trainer.models.face_embedder import MarginHead
from thaw_trainer.prefix.memory import PrefixMemory, PrefixSite
from thaw_trainer.prefix.plan import PrefixPlan
from thaw_trainer.preparation import prepare_job
from thaw_trainer.tasks.face_recognition import KIND, FaceRecognition
from thaw_trainer.tasks.protocol import JobFiles, Share
from thaw_trainer.tasks.verification_metrics import verification_metrics
from thaw_trainer.uris import UriRoots


def write_faces(folder: Path, identities: int, images: int = 6, seed: int = 0) -> Path:
    """An imagefolder: an identity is a smooth pattern, its images are that with noise and another brightness."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    for identity in range(identities):
        waves = random.uniform(1, 4, (3, 2)), random.uniform(0, 2 * np.pi, 3)
        pattern = np.stack(
            [np.sin(2 * np.pi * (a * rows + b * columns) + turn) for (a, b), turn in zip(*waves, strict=True)], axis=-1
        )
        for number in range(images):
            face = 128 + 70 * pattern + random.normal(0, 15, pattern.shape) + random.uniform(-20, 20)
            file = folder / f"person{seed}-{identity:02d}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(face, 0, 255).astype(np.uint8)).save(file)
    return folder


class Faces:
    """A folder with faces and a tiny ResNet, and trials of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_faces(root / "faces", 20)
        save_resnet(root / "model")

    def spec(self, changes: dict[str, Any] | None = None) -> FineTuneJobSpec:
        own = {
            "task": "face-recognition",
            "model": {"uri": "file:model", "head": {"embedding": 16, "margin": {"margin": 0.2, "scale": 16}}},
            "data.train.uri": "file:faces",
            "data.split": {"validation": 0.2, "test": 0.2},
            "training.batchSize": 12,
            "training.epochs": 3,
            "training.optimizer": {"lr": 0.01},
        }
        return FineTuneJobSpec.model_validate(job(own | (changes or {}))["spec"])

    @property
    def files(self) -> JobFiles:
        return JobFiles(UriRoots(self.root), self.root / "stores")

    def task(self, changes: dict[str, Any] | None = None) -> FaceRecognition:
        spec = self.spec(changes)
        return KIND.open(spec, KIND.prepare(spec, self.files))

    def run(self, changes: dict[str, Any] | None = None, folder: str = "trial", **how: Any) -> Run:
        return run(self.task(changes), self.spec(changes), self.root / "checkpoints" / folder, **how)


@pytest.fixture
def faces(tmp_path: Path) -> Faces:
    return Faces(tmp_path)


def test_an_embedder_learns_to_tell_strangers_apart(faces: Faces) -> None:
    untrained = faces.task()
    model = untrained.build().eval()
    with torch.inference_mode():
        parts = [
            untrained.predictions(batch, untrained.outputs(model, batch, torch.device("cpu")))
            for batch in untrained.batches("validation", 0, Share())
        ]
    before = verification_metrics(*(np.concatenate([part[name] for part in parts]) for name in ("embedding", "label")))
    after = faces.run({"training.epochs": 12}).metrics[-1]
    assert after["auc"] > max(0.9, before["auc"])


def test_no_identity_is_in_two_splits(faces: Faces) -> None:
    task = faces.task()
    names = sorted(path.name for path in (faces.root / "faces").iterdir())
    identities = {
        split: {names[row // 6] for row in task.rows[split].id.tolist()} for split in ("train", "validation", "test")
    }
    assert not identities["train"] & identities["validation"]
    assert not identities["train"] & identities["test"]
    assert not identities["validation"] & identities["test"]
    assert sum(map(len, identities.values())) == 20
    assert task.store.facts["counts"]["identitiesTest"] == len(identities["test"])


def test_sources_that_share_an_identity_are_refused(faces: Faces) -> None:
    for folder in write_faces(faces.root / "more", 3, seed=2).iterdir():
        folder.rename(folder.with_name(folder.name.replace("person2", "person0")))
    with pytest.raises(TrainerError, match="train and test share 3 identities") as refused:
        faces.task({"data.test": {"uri": "file:more"}})
    assert refused.value.field == "spec.data.test"
    write_faces(faces.root / "others", 3, seed=1)
    assert faces.task({"data.test": {"uri": "file:others"}}).store.facts["counts"]["identitiesTest"] == 3


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=6),
    st.sampled_from(["arcface", "cosface"]),
    st.floats(0, 1),
    st.data(),
)
def test_a_margin_is_what_its_paper_says(cosines: list[float], method: Any, margin: float, data: st.DataObject) -> None:
    """Directions in a plane, the embedding along the first axis: each cosine is the direction's first number."""
    true = data.draw(st.integers(0, len(cosines) - 1))
    head = MarginHead(2, len(cosines), MarginSpec(method=method, margin=margin, scale=10.0)).double()
    sines = [math.sqrt(1 - cosine**2) for cosine in cosines]
    with torch.no_grad():
        head.weight.copy_(torch.tensor(list(zip(cosines, sines, strict=True))))
    logits = head(torch.tensor([[3.0, 0.0]], dtype=torch.float64), torch.tensor([true]))[0] / 10
    for identity, cosine in enumerate(cosines):
        angle = math.acos(cosine)
        if identity != true:
            expected = cosine
        elif method == "cosface":
            expected = cosine - margin
        elif angle <= math.pi - margin:
            expected = math.cos(angle + margin)
        else:
            expected = cosine - margin * math.sin(margin)
        assert logits[identity].item() == pytest.approx(expected, abs=1e-3)


def test_a_margins_gradient_is_finite_where_cosines_are_one() -> None:
    head = MarginHead(2, 2, MarginSpec())
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    torch.autograd.backward(head(embeddings, torch.tensor([0, 1])).logsumexp(dim=1).sum())
    assert embeddings.grad is not None
    assert torch.isfinite(embeddings.grad).all()


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(2, 4))
def test_verification_is_what_scikit_learn_computes(seed: int, identities: int, images: int) -> None:
    random = np.random.default_rng(seed)
    identity = np.repeat(np.arange(identities), images)
    embeddings = np.eye(identities)[identity] + random.normal(0, 0.8, (len(identity), identities))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    found = verification_metrics(embeddings, identity)
    pairs = [(i, j) for i in range(len(identity)) for j in range(i + 1, len(identity))]
    same = [int(identity[i] == identity[j]) for i, j in pairs]
    alike = [float(embeddings[i].astype(np.float64) @ embeddings[j].astype(np.float64)) for i, j in pairs]
    assert found["auc"] == pytest.approx(roc_auc_score(same, alike))
    false_accepts, true_accepts, _ = roc_curve(same, alike, drop_intermediate=False)
    assert found["tar"] == pytest.approx(true_accepts[false_accepts <= 0.01].max())
    hits, probes = 0, 0
    for row in range(len(identity)):
        if row % images:
            scores = [
                float(embeddings[row].astype(np.float64) @ embeddings[each * images]) for each in range(identities)
            ]
            hits, probes = hits + (int(np.argmax(scores)) == identity[row]), probes + 1
    assert found["rank1"] == pytest.approx(hits / probes)


def test_the_projection_and_the_directions_are_the_head(faces: Faces) -> None:
    spec = faces.spec()
    layout = find_layout(KIND.empty_model(spec, KIND.prepare(spec, faces.files)))
    assert {name.rpartition(".")[0] for name in layout.names(layout.blocks, layout.blocks)} == {
        "backbone.classifier.1",
        "margin",
    }
    assert layout.blocks == 3


def test_blocks_of_a_librarys_backbone_are_known_inside_the_embedder(faces: Faces) -> None:
    spec = faces.spec(
        {"model.uri": "torchvision://resnet18", "model.init": "random", "data.features": [{"resize": {"size": 32}}]}
    )
    layout = find_layout(KIND.empty_model(spec, KIND.prepare(spec, faces.files)))
    assert layout.blocks == 8
    assert layout.place["backbone.layer4.1.conv2.weight"] == 7


def test_the_exported_backbone_gives_the_measured_embeddings(faces: Faces) -> None:
    from transformers import AutoModelForImageClassification

    task = faces.task()
    model = task.build().eval()
    task.export(model, faces.root / "exported")
    read = AutoModelForImageClassification.from_pretrained(faces.root / "exported").eval()
    batch = next(iter(task.batches("test", 0, Share())))
    pixels = task.pixels(batch, torch.device("cpu"))
    with torch.inference_mode():
        ours = task.outputs(model, batch, torch.device("cpu"))["embedding"]
        theirs = torch.nn.functional.normalize(read(pixels).logits)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(len(ours)))


def test_the_cached_prefix_gives_the_same_losses_to_the_last_bit(faces: Faces) -> None:
    changes = {"freezing": {"preset": "last-n", "depth": 1}}
    spec = faces.spec(changes)
    plan = prepare_job(spec, KIND, faces.files).prefixes[spec.model.uri]
    site = PrefixSite(PrefixMemory(faces.root / "prefix"), PrefixPlan("always", 2**30, plan.passes))
    cached = faces.run(changes, "cached", prefix=site)
    computed = faces.run(changes, "computed")
    assert cached.losses == computed.losses
    assert cached.metrics == computed.metrics
    assert cached.reports[-1]["prefix"]["blocks"] == 2


def test_a_tables_identities_are_kept_apart_whatever_their_column_is_called(faces: Faces) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted((faces.root / "faces").rglob("*.png"))
    table = pa.table({"photo": [file.read_bytes() for file in files], "person": [file.parent.name for file in files]})
    pq.write_table(table, faces.root / "faces.parquet")
    task = faces.task({"data.train.uri": "file:faces.parquet", "data.columns": {"image": "photo", "label": "person"}})
    assert task.store.facts["counts"]["identitiesValidation"] == 4


def test_held_out_faces_that_make_no_pairs_are_refused(faces: Faces) -> None:
    with pytest.raises(TrainerError, match="validation has 1 identities in 6 images: no two") as refused:
        faces.task({"data.split": {"validation": 0.05, "test": 0.2}})
    assert refused.value.field == "spec.data.split.validation"


def test_very_many_images_are_measured_by_some_identities(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    identity = np.repeat(np.arange(60), 5)
    embeddings = np.eye(60)[identity] + random.normal(0, 0.5, (300, 60))
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)
    whole = verification_metrics(embeddings, identity)
    monkeypatch.setattr("thaw_trainer.tasks.verification_metrics.MOST_IMAGES", 150)
    some = verification_metrics(embeddings, identity)
    assert some != whole
    assert some["auc"] == pytest.approx(whole["auc"], abs=0.05)
    assert some == verification_metrics(embeddings, identity)
