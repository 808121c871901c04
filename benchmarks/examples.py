"""What best examples cost: the second pass over a corpus against the first, what they add to the file, and how the peak of memory grows with the pictures."""

import resource
import statistics as median_of
import subprocess
import sys

import torch

from benchmarks.corpus import pictures, timed
from inception_viz import models, sealed, statistics
from inception_viz.statistics import Plan, Run

PICTURES = 256
ROUNDS = 3
MORE = (256, 1024)


def _driven(run: Run) -> statistics.Statistics:
    steps = statistics.gather(run)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def passes() -> None:
    """Both passes by turns, one thread."""
    torch.set_num_threads(1)
    model, taken = models.load(), pictures(PICTURES)
    first = Run(model, taken, Plan())
    found = _driven(first)
    second = statistics.second_pass(first, statistics.clusterings(found))
    gathered = _driven(second)
    rounds = [(timed(lambda: _driven(first), model), timed(lambda: _driven(second), model)) for _ in range(ROUNDS)]
    ratio = median_of.median(b / a for a, b in rounds)
    print(
        f"  {model.architecture}, {model.weights.preprocessing.crop} px, {model.device}, one thread, {PICTURES} pictures, n = {ROUNDS} rounds"
    )
    print(f"    second pass (forward, backward, best examples) / first (forward, moments): {ratio:.2f}")
    sizes = [len(sealed.packed(some.arrays, some.card)) / 1e6 for some in (found, gathered)]
    print(f"    file: statistics {sizes[0]:.1f} MB, examples without small pictures {sizes[1]:.1f} MB")


def memory(count: int) -> None:
    """The peak of memory of one second pass, in a process of its own."""
    torch.set_num_threads(1)
    model = models.load()
    first = Run(model, pictures(count), Plan())
    labels = {block.name: torch.arange(block.channels).numpy() % 8 for block in first.setting.blocks}
    _driven(statistics.second_pass(first, labels))
    print(f"    {count} pictures: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", flush=True)


def main() -> None:
    """Run all of it."""
    passes()
    for count in MORE:
        subprocess.run([sys.executable, "-c", f"from benchmarks import examples; examples.memory({count})"], check=True)


if __name__ == "__main__":
    main()
