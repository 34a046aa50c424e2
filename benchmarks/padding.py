"""Tokens computed for each token that there is, by how rows are put into length classes, on the quickstart's table.

python benchmarks/padding.py [prepared store]
"""

import sys
from pathlib import Path

import numpy as np

from thaw_trainer.data.batches import length_classes, merge_rare_classes, plan_batches
from thaw_trainer.data.store import PreparedStore, ragged

BATCH = 32


def main() -> None:
    """Prints one line for each rule."""
    stores = Path("examples/quickstart/out/prepared")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else next(stores.iterdir())
    _, offsets = ragged(PreparedStore(folder).table("train")["input_ids"])
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    rules = {
        "multiples of 16": np.minimum(np.arange(16, longest + 16, 16), longest),
        "widening": length_classes(longest),
        "widening, rare ones joined": merge_rare_classes(length_classes(longest), lengths, 32),
        "one class": np.asarray([longest]),
    }
    print(f"{len(lengths)} rows, {lengths.sum()} tokens, batches of {BATCH}")
    for name, widths in rules.items():
        plans = plan_batches(lengths, widths, BATCH)
        computed = sum(len(plan.rows) * plan.width for plan in plans)
        print(f"{name:<28} {computed / lengths.sum():5.2f} x the tokens, {len(plans)} steps, {len(widths)} classes")


if __name__ == "__main__":
    main()
