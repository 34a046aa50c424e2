"""Random specs that are valid and leave out, each time, something else."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Spec = st.SearchStrategy[dict[str, Any]]

METRICS = st.sampled_from(["accuracy", "f1", "loss"])
WORDS = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
URIS = st.builds("{}://claim/{}".format, st.sampled_from(["pvc", "s3", "gs"]), WORDS)
SEEDS = st.integers(0, 2**31 - 1)
SHARES = st.floats(0, 0.4)
# Divisors whose product always divides the default batch size.
FACTORS = st.sampled_from([1, 2, 4])


def some(required: dict[str, Any] | None = None, **optional: Any) -> Spec:
    """An object with its required fields and some of the others."""
    return st.fixed_dictionaries(required or {}, optional=optional)


def source() -> Spec:
    return some({"uri": URIS}, format=st.sampled_from(["csv", "parquet"]))


def steps() -> st.SearchStrategy[list[dict[str, Any]]]:
    options = st.dictionaries(WORDS, st.integers(-(2**63), 2**63 - 1) | WORDS | st.lists(WORDS, max_size=2), max_size=2)
    return st.lists(st.builds(lambda name, value: {name: value}, WORDS, options), max_size=2)


def phases() -> st.SearchStrategy[list[dict[str, Any]]]:
    plateau = some(patience=st.integers(1, 5), minDelta=st.floats(0, 1))
    threshold = some({"above": st.floats(0, 1)}, name=METRICS) | some({"below": st.floats(0, 1)})
    alone: Spec = st.sampled_from(["10m", "1h30m", "45s"]).map(lambda time: {"time": time})
    alone |= threshold.map(lambda metric: {"metric": metric}) | plateau.map(lambda each: {"plateau": each})
    until = some(
        {"epochs": st.integers(1, 5)},
        steps=st.integers(1, 1000),
        fraction=st.floats(0.1, 1),
        plateau=plateau,
        metric=threshold,
        all=st.lists(alone, min_size=1, max_size=2),
    )
    every = some({"steps": st.integers(1, 50)}) | some({"epochs": st.integers(1, 5)})
    turn: dict[str, Any] = {"blocks": st.integers(1, 3), "every": every}
    rotate = some(
        turn,
        order=st.sampled_from(["random", "shuffled", "ascending", "descending"]),
        always=st.just(["norms"]),
    )
    group = some({"select": st.just(["head"]), "base": st.floats(1e-6, 1)})
    adaptive = some({"every": every}, percentile=st.floats(0, 100))
    named: dict[str, Any] = {
        "name": WORDS,
        "train": st.lists(st.sampled_from(["head", "all", "blocks[-2:]"]), min_size=1, max_size=3),
        "until": until,
    }
    settled = some(named | {"adaptive": adaptive})
    phase = some(
        named,
        lr=some(base=st.floats(1e-6, 1), decay=st.floats(1, 3))
        | some(lowest=st.floats(1e-6, 1))
        | some(groups=st.lists(group, min_size=1, max_size=2)),
        rotate=rotate,
        schedule=st.sampled_from(["linear", "slanted-triangular"]),
        warmup=st.floats(0, 100),
        weightDecay=st.floats(0, 1),
        optimizerState=st.sampled_from(["keep", "fresh"]),
        restoreBest=st.booleans(),
    )
    return st.lists(phase | settled, min_size=1, max_size=3, unique_by=lambda each: each["name"])


def freezing() -> Spec:
    cache = some(mode=st.sampled_from(["auto", "always", "never"]), budget=st.sampled_from(["1Gi", "500M"]))
    return (
        some(
            preset=st.sampled_from(["none", "head-only", "lp-ft", "ulmfit", "bitfit"]),
            cache=cache,
            frozenNorms=st.sampled_from(["eval", "train"]),
        )
        | some(preset=st.just("bitfit"), frozenDropout=st.sampled_from(["off", "on"]))
        | some({"preset": st.sampled_from(["last-n", "first-n", "lisa"]), "depth": st.integers(1, 9)}, cache=cache)
        | some({"phases": phases()}, cache=cache)
    )


def search() -> Spec:
    choice = st.lists(st.integers(-9, 9) | st.floats(0, 1) | st.booleans() | WORDS, min_size=1, max_size=3)
    paths = st.sampled_from(["training.optimizer.lr", "training.epochs", "freezing.phases[0].train[0]", "model.uri"])
    bounds = st.fixed_dictionaries({"min": st.integers(1, 4), "max": st.integers(5, 9)})
    chosen = st.builds(lambda path, values: {"path": path, "choice": {"values": values}}, paths, choice)
    ranged = st.builds(
        lambda path, kind, value: {"path": path, kind: value},
        *(paths, st.sampled_from(["uniform", "logUniform", "int"]), bounds),
    )
    rest: dict[str, Any] = {
        "objective": some(metric=METRICS, mode=st.sampled_from(["max", "min"])),
        "scheduler": some(
            name=st.sampled_from(["none", "asha"]), graceEpochs=st.integers(1, 5), reductionFactor=st.integers(2, 5)
        ),
        "trials": st.integers(1, 99),
        "parallel": st.just("auto") | st.integers(1, 9),
        "timeBudget": st.sampled_from(["2h", "1h30m", "90s"]),
        "seed": SEEDS,
    }
    grid = st.just({"name": "grid"})
    other = some(name=st.sampled_from(["random", "tpe"]))

    def parameters(item: Spec) -> st.SearchStrategy[list[dict[str, Any]]]:
        return st.lists(item, max_size=3, unique_by=lambda each: str(each["path"]))

    return some(**rest, algorithm=other, parameters=parameters(chosen | ranged)) | some(
        {"algorithm": grid}, **rest, parameters=parameters(chosen)
    )


def training() -> Spec:
    return some(
        epochs=st.integers(1, 100),
        batchSize=st.sampled_from([16, 32, 64]),
        optimizer=some(
            name=st.sampled_from(["adamw", "sgd"]),
            lr=st.floats(1e-9, 10),
            weightDecay=st.floats(0, 1),
            momentum=st.floats(0, 0.99),
            betas=st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
            eps=st.floats(1e-12, 1),
        ),
        schedule=some(
            name=st.sampled_from(["linear", "cosine", "constant"]),
            warmup=st.floats(0, 0.9),
            span=st.sampled_from(["run", "phase"]),
        ),
        precision=st.sampled_from(["float32", "bfloat16"]),
        sharding=st.sampled_from(["none", "full"]),
        gradientAccumulation=FACTORS,
        clipNorm=st.floats(0, 9),
        labelSmoothing=st.floats(0, 0.9),
        seed=SEEDS,
        earlyStopping=some(metric=METRICS, patience=st.integers(1, 9), minDelta=st.floats(0, 1)),
    )


def cluster() -> Spec:
    env = st.lists(some({"name": WORDS, "value": WORDS}), max_size=2, unique_by=lambda each: each["name"])
    shared: dict[str, Any] = {
        "resources": st.dictionaries(
            st.sampled_from(["cpu", "memory"]), st.integers(0, 9) | st.sampled_from(["2", "4Gi"])
        ),
        "nodeSelector": st.dictionaries(WORDS, WORDS, max_size=2),
        "tolerations": st.lists(some(key=WORDS, operator=st.just("Exists")), max_size=2),
        "env": env,
    }
    workers = some(replicas=st.integers(1, 9), **shared) | some(
        {"min": st.integers(1, 3), "max": st.integers(3, 9)}, **shared
    )
    return some(image=WORDS, workers=workers, workersPerTrial=FACTORS)


def specs() -> Spec:
    """A spec that both the models and the apiserver take."""
    targets = st.lists(WORDS, min_size=1, max_size=2)
    adapter = some({"method": st.just("ia3")}, targets=targets) | some(
        {"method": st.sampled_from(["lora", "qlora", "dora"])},
        rank=st.integers(1, 9),
        alpha=st.floats(1, 9),
        dropout=st.floats(0, 0.9),
        targets=targets,
    )
    data = some(
        {"train": source()},
        validation=source(),
        test=source(),
        columns=st.dictionaries(st.sampled_from(["text", "label"]), WORDS),
        labels=some(kind=st.sampled_from(["single-label", "regression"]))
        | some({"kind": st.just("multi-label")}, separator=WORDS),
        split=some(validation=SHARES, test=SHARES, stratifyBy=WORDS, groupBy=WORDS, seed=SEEDS),
        clean=steps(),
        features=steps(),
        augment=steps(),
        batching=some(strategy=st.sampled_from(["bucket", "pad", "pack"]), maxLength=st.integers(8, 4096)),
    )
    model = some(
        {"uri": URIS},
        init=st.sampled_from(["pretrained", "random"]),
        dtype=st.sampled_from(["float32", "bfloat16"]),
        head=some(dropout=st.floats(0, 0.9)),
        blocks=st.lists(WORDS, min_size=1, max_size=3),
        adapter=adapter,
    )
    evaluation = some(
        metrics=st.lists(METRICS, min_size=1, max_size=2),
        slices=st.lists(some({"name": WORDS, "where": WORDS}), max_size=2),
        require=st.dictionaries(METRICS, st.sampled_from([">= 0.9", "> 0"])),
    )
    return some(
        {
            "task": st.sampled_from(["text-classification", "summarization"]),
            "model": model,
            "data": data,
            "output": some({"uri": URIS}),
        },
        training=training(),
        freezing=freezing(),
        search=search(),
        evaluation=evaluation,
        cluster=cluster(),
        suspend=st.booleans(),
        restartPolicy=some(onInfrastructure=st.integers(0, 9)),
        activeDeadlineSeconds=st.integers(1, 9999),
        ttlSecondsAfterFinished=st.integers(0, 9999),
    )
