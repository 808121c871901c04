"""The trained network of the box against networks of the same architecture before any training, on one photo: are they told apart, and by what?

For every block: mean |r| over all pairs of channels, constant channels, and clusters tighter than those of shifted maps. The figure of the README is written
by `python -m benchmarks.told_apart --figure FILE` (SVG).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from inception_viz import analysis, clusters, images, models, nulls, validation
from inception_viz.correlations import correlate

TWINS = 39
WIDTH, HEIGHT, LEFT, TOP = 720, 300, 56, 44
TRAINED, TWIN = "#cf6a00", "#7d8590"


def strengths(model: models.Model, picture: images.Picture) -> dict[str, np.ndarray]:
    """Mean |r| of every block in TWINS untrained networks, `(TWINS,)` each."""
    found: dict[str, list[float]] = {}
    for taken in nulls.untrained(model, model.input(picture), TWINS):
        for name, activation in taken.items():
            found.setdefault(name, []).append(nulls.strength(correlate(activation)))
    return {name: np.array(values) for name, values in found.items()}


def real_clusters(block: analysis.BlockAnalysis) -> str:
    """How many clusters are tighter than those of shifted maps."""
    activation = torch.from_numpy(np.array(block.activation))
    found = clusters.find(block.correlation)
    tests = validation.cluster_tests(found, block.correlation, nulls.draws(nulls.SHIFT, activation, count=validation.DRAWS))
    return f"{int(tests.real.sum())} of {found.count}"


def drawn(real: dict[str, float], twins: dict[str, np.ndarray]) -> Iterator[str]:
    """Lines of the figure: a column a block, grey ticks for the twins, a diamond for the trained network."""
    top = max(max(real.values()), max(v.max() for v in twins.values())) * 1.08
    step = (WIDTH - LEFT - 16) / len(real)

    def y(value: float) -> float:
        return HEIGHT - 34 - (HEIGHT - 34 - TOP) * value / top

    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#7d8590"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" {style}>'
    yield "<title>Mean |r| of each block: the trained network and untrained ones</title>"
    yield f'<text x="{LEFT}" y="18">mean |r| over all pairs of channels</text>'
    yield f'<path d="M{LEFT} 31 l6 -6 l6 6 l-6 6z" fill="{TRAINED}"/><text x="{LEFT + 18}" y="36">trained</text>'
    yield f'<rect x="{LEFT + 84}" y="30" width="14" height="2" fill="{TWIN}"/><text x="{LEFT + 104}" y="36">untrained, n = {TWINS}</text>'
    for tick in np.arange(0, top, 0.1):
        yield f'<path d="M{LEFT} {y(tick):.1f} H{WIDTH - 16}" stroke="{TWIN}" stroke-opacity="0.3"/>'
        yield f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.1f}</text>'
    for column, (name, value) in enumerate(real.items()):
        x = LEFT + step * (column + 0.5)
        for other in twins[name]:
            yield f'<rect x="{x - 9:.1f}" y="{y(other) - 1:.1f}" width="18" height="2" fill="{TWIN}" fill-opacity="0.45"/>'
        yield f'<path d="M{x - 7:.1f} {y(value):.1f} l7 -7 l7 7 l-7 7z" fill="{TRAINED}"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{name}</text>'
    yield "</svg>"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--figure", type=Path)
    figure = parser.parse_known_args(sys.argv[1:])[0].figure
    model, early = models.load(device="cpu"), models.load(weights="boxed-untrained", device="cpu")
    name, entry = next(iter(images.samples().items()))
    picture = images.decode(entry.read(), name)
    found, untrained = analysis.analyze(model, picture), analysis.analyze(early, picture)
    twins = strengths(model, picture)
    real = {block: nulls.strength(a.correlation) for block, a in found.blocks.items()}
    print(f"photo “{name}”, {model.weights.name} against {TWINS} untrained networks, two-sided p at least {2 / (1 + TWINS):.2f}")
    print("  block  mean |r|  untrained: mean (least, most)   p     constant channels    clusters beyond shifted maps")
    for block, a in found.blocks.items():
        null = nulls.Null(nulls.UNTRAINED, a.correlation, a.correlation.pairs(), twins[block])
        other = untrained.blocks[block]
        print(
            f"  {block:5}  {real[block]:.3f}     {twins[block].mean():.3f} ({twins[block].min():.3f}, {twins[block].max():.3f})"
            f"          {null.p(real[block]):.2f}   {int(a.correlation.constant.sum()):4} / {int(other.correlation.constant.sum()):4}"
            f"          {real_clusters(a)} / {real_clusters(other)}"
        )
    if figure:
        figure.write_text("\n".join(drawn(real, twins)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
