"""From the statistics of a corpus to the block that should follow: `corpus` gathers them, this command reads them (Section 3 of the paper as a tool)."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("statistics", type=Path, metavar="STATS.npz", help="statistics of a corpus, as `corpus` writes them")
    parser.add_argument("--block", required=True, metavar="NAME", help="the block whose channels are looked at, such as 4a")
    parser.add_argument(
        "--budget",
        type=int,
        metavar="MACS",
        help="multiply-accumulates of the new block (default: those of the architects' own next block)",
    )
    parser.add_argument("--method", default="louvain", help="how clusters are found (default: louvain)")
    parser.add_argument("--clusters", type=int, metavar="K", help="how many clusters (default: as the method says)")
    parser.add_argument("--groups", type=int, default=1, metavar="G", help="groups of the 3x3 and 5x5; 0: every channel alone (default: 1)")
    parser.add_argument("--code", type=Path, metavar="FILE", help="write the block as PyTorch code (.py)")
    parser.add_argument(
        "--network", type=Path, metavar="FILE", help="write a network with the block in its place (.json), which the app opens"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import construction, descriptions, sealed, statistics

    if arguments.groups < 0:
        arguments.refuse("--groups must be at least 0")
    found = statistics.load(arguments.statistics, arguments.statistics.name)
    architecture = construction.of_statistics(found)
    measured = construction.over_corpus(found, arguments.block, arguments.method, arguments.clusters)
    plan = replace(measured.plan, groups=arguments.groups)
    after = construction.following(architecture, arguments.block) or arguments.block
    own, cost = construction.architects_own(architecture, after)
    side = construction.following_side(architecture, arguments.block)
    block = construction.fitted(plan.block, plan.inputs, side, arguments.budget or cost)
    if arguments.code:
        sealed.replace(arguments.code, construction.code(block, plan.inputs, side).encode())
    if arguments.network:
        table = construction.in_place(architecture, after, block, len(found.class_names("en")))
        sealed.replace(arguments.network, descriptions.written(table))
    told = {
        "block": arguments.block,
        "after": after,
        "pictures": found.pictures,
        "samples": measured.correlation.n,
        "clusters": measured.clusters.count,
        "independent_channels": measured.dimensions,
        "shares": dict(zip(construction.KERNELS, measured.reach.total.tolist(), strict=True)),
        "side": side,
        "constructed": asdict(block) | {"macs": construction.macs(block, plan.inputs, side)},
        "architects": asdict(own) | {"macs": cost} if own else {"macs": cost},
    }
    print(json.dumps(told) if arguments.json else _in_words(told))


def _in_words(told: dict) -> str:
    shares = ", ".join(f"{kernel} {share:.0%}" for kernel, share in told["shares"].items())
    lines = [
        f"{told['block']}: {told['pictures']} pictures, n = {told['samples']} positions, {told['clusters']} clusters, "
        f"{told['independent_channels']:.1f} independent channels, shares {shares}",
        "each channel goes with itself at a distance: statistics hold no pairs of channels there",
    ]
    for word in ("constructed", "architects"):
        row = told[word]
        widths = " ".join(f"{name}={value}" for name, value in row.items() if name != "macs")
        lines.append(f"{word} ({told['after']}): {widths or 'another kind of block'}, {row['macs']:,} multiply-accumulates")
    return "\n".join(lines)
