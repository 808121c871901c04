"""Section 3 on this machine: sparse against dense, dense blocks, connection tables, principle or coincidence. What the README quotes."""

import time

import torch

from inception_viz import coincidence, connections, dense_blocks, images, models, sparsity
from inception_viz.measurement import Outcome, conditions
from inception_viz.text import Text

NAMES = ("coffee", "chelsea", "flower")


def driven(running):
    """What a measurement returns."""
    while True:
        try:
            next(running)
        except StopIteration as end:
            return end.value


def told(outcome: Outcome) -> None:
    for finding in outcome.findings:
        verdict = {True: "supported", False: "refuted", None: "undecided"}[finding.supported]
        print(f"    “{finding.claim}”\n    {verdict}: {finding.told(Text('en'))}")


def product(device: torch.device) -> None:
    for name in ("4e 3x3", "5b 3x3"):
        points = driven(sparsity.measure(sparsity.LAYERS[name], device))
        print(f"\n{name} as wide as in the paper, {sparsity.LAYERS[name]}: {points[0].timing.conditions}")
        print("density   " + "  ".join(f"{100 * d:>6g}%" for d in sparsity.DENSITIES) + "   break-even (95%)")
        for even in sparsity.break_even(points):
            own = [p for p in points if p.format == even.format]
            cells = "  ".join(f"x {p.speedup.told:>6}" for p in own)
            print(f"{even.format:26} {cells}   {even.density:.3f} ({even.low:.3f} to {even.high:.3f})")
        told(sparsity.answered(points))


def blocks(model: models.Model) -> None:
    layer = "4e 3x3"
    shape = sparsity.Shape(384, 1152, 196)
    cases = {
        f"planted, {noise:.0%} outside": dense_blocks.matrix_of(dense_blocks.PLANTED, shape, 0.05, 16, noise) for noise in (0.0, 0.1, 0.3)
    }
    cases["random"] = dense_blocks.matrix_of(dense_blocks.RANDOM, shape, 0.05, 16)
    cases[f"pruned {layer}"] = (dense_blocks.pruned_matrix(sparsity.layer_weights(model, layer), 0.05, 16), None)
    for name, (matrix, truth) in cases.items():
        found = driven(dense_blocks.measure(name, matrix, 196, 16, model.device, truth))
        print(f"\nDense blocks, {name}, 5% of {matrix.shape}: CSR x {found.csr_over_dense.told} against dense")
        for g in found.found:
            print(
                f"{g.method:34} inside {g.inside:5.1%}  storage {g.storage:.2f}  found in {g.found_in:5.2f} s"
                f"  against CSR x {g.over_csr.told} ({g.over_csr.low:.2f} to {g.over_csr.high:.2f})  dense x {g.over_dense.told}"
            )
        told(dense_blocks.answered(found))


def tables(device: torch.device) -> None:
    for layer in (connections.LENET_LAYER, connections.Layer(16, 5, 14)):
        found = driven(connections.measure(layer, device))
        print(f"\nConnection tables, {layer.inputs} to {layer.outputs} channels, kernel {layer.kernel}, map {layer.side} x {layer.side}")
        for w in found.found:
            print(
                f"{w.wiring:20} {w.way:20} {w.parameters:9,} parameters  {w.macs / 1e6:8.2f} M MACs  {1e3 * w.timing.median:8.3f} ms"
                f"  x {w.speedup.told} ({w.speedup.low:.2f} to {w.speedup.high:.2f})"
            )
        told(connections.answered(found))


def branches(model: models.Model) -> None:
    for name in NAMES:
        inputs = model.input(images.decode(images.samples()[name].read()))
        found = driven(coincidence.of_pictures(model, inputs, 39))
        print(f"\nPrinciple or coincidence, {name}, weights “{model.weights.name}”")
        for c in found:
            print(
                f"{c.block}  inside {c.inside:.3f}  across {c.across:.3f}  gap {c.gap:+.4f}  d {c.d:+.2f}  z {c.z:5.1f}  p {c.p:.3f}"
                f"  twins {c.twins.mean():+.4f}  z {c.z_twins:5.1f}  p {c.p_twins:.3f}  n {c.n}"
            )
        told(coincidence.answered(found, conditions(model.device, model.dtype)))


def main() -> None:
    model = models.load(device="cpu")
    for part in (lambda: product(model.device), lambda: blocks(model), lambda: tables(model.device), lambda: branches(model)):
        started = time.perf_counter()
        part()
        print(f"    {time.perf_counter() - started:.0f} s", flush=True)
