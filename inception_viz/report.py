"""The figures of an analysis as HTML files that open without a server and without a network."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from inception_viz import nulls
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.attributions import cluster_map
from inception_viz.clusters import Clusters, branch_table
from inception_viz.correlations import order
from inception_viz.evidence import Evidence
from inception_viz.figures import Figure, attributions, clusters, colours, correlations, flows, knockouts, validation
from inception_viz.flows import Flows, graph
from inception_viz.text import Text

MOST_MAPS = 8


def _figures(analysis: Analysis, block: BlockAnalysis, found: Clusters, text: Text) -> Iterator[tuple[str, Figure]]:
    similar, given = block.correlation, block.attribution
    inside = [order(similar.part(b.start, b.stop)) for b in block.block.branches]
    yield "correlations-by-branch", correlations.branches(similar, block.block, inside, text)
    yield "correlations", correlations.whole(similar, block.block, order(similar), block.block.name, text)
    yield "clusters", clusters.over_branches(branch_table(found, block.block), block.block, text)
    names = [text("cluster {n}", n=k + 1) for k in range(found.count)]
    maps = [cluster_map(block.activation, found.members(k)) for k in range(min(found.count, MOST_MAPS))]
    if maps:
        yield "cluster-maps", clusters.maps(analysis.view, maps, names[: len(maps)], text)
    yield "attributions", attributions.bars(given.by_cluster(found.labels), names, block.block.name, text)
    branches = [b.name for b in block.block.branches]
    fills = [colours.branch(b) for b in branches]
    yield "attributions-by-branch", attributions.bars(given.by_branch(block.block), branches, block.block.name, text, fills)


def _doubts(block: BlockAnalysis, found: Clusters, doubted: Evidence, text: Text) -> Iterator[tuple[str, Figure]]:
    for kind, chance in doubted.chance.items():
        null = chance.null.first
        by_chance = text("{null}: chance", null=text(nulls.KINDS[kind]))
        shown = {text("this network"): (block.correlation, order(block.correlation)), by_chance: (null, order(null))}
        yield f"null-{kind}-correlations", correlations.beside(shown, block.block, text)
        pairs = {text("all pairs"): block.correlation.pairs()}
        yield f"null-{kind}-distribution", correlations.distribution(pairs, text, {by_chance: chance.null.pairs})
        yield f"null-{kind}-clusters", validation.tightness(chance.clusters, text(nulls.KINDS[kind]), text)
    yield "stability", validation.found_again(doubted.stability, doubted.chance_stability, text)
    yield "branches", validation.over_cells(doubted.specialisation, block.block, text)
    if doubted.knockouts:
        out, alone = zip(*((one.necessity, one.sufficiency) for one in doubted.knockouts.outcomes), strict=True)
        unit = text("fall of the target (logits)")
        yield "knockouts-out", knockouts.against_controls(out, unit, text)
        yield "knockouts-alone", knockouts.against_controls(alone, unit, text, doubted.knockouts.whole)


def write_figures(
    analysis: Analysis, found: Mapping[str, Clusters], text: Text, folder: Path, doubted: Mapping[str, Evidence] | None = None
) -> list[Path]:
    """Write `<block>-<figure>.html` for every block into `folder`, beside one copy of plotly's script; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, block in analysis.blocks.items():
        doubts = _doubts(block, found[name], doubted[name], text) if doubted else ()
        for kind, figure in (*_figures(analysis, block, found[name], text), *doubts):
            path = folder / f"{name}-{kind}.html"
            figure.write_html(path, include_plotlyjs="directory", config={"displaylogo": False})
            written.append(path)
    return written


def write_flows(analysis: Analysis, followed: Flows, text: Text, folder: Path) -> Path:
    """Write the flows through all blocks as `flows.svg` into `folder`; returns the file."""
    path, name = folder / "flows.svg", analysis.class_names[text.language][followed.target.index]
    path.write_text(flows.draw(graph(followed, against_chance=False), text, name).svg, encoding="utf-8")
    return path
