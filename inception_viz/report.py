"""An analysis to take away: figures as HTML files, one self-contained report in every language, and a bundle that lets others repeat it."""

import base64
import io
import json
import platform
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader

from inception_viz import analysis as analyses
from inception_viz import nulls, validation
from inception_viz.analysis import Analysis, BlockAnalysis
from inception_viz.attributions import cluster_map
from inception_viz.clusters import SEED, Clusters, branch_table
from inception_viz.correlations import order
from inception_viz.evidence import Evidence
from inception_viz.figures import Figure, attributions, clusters, colours, correlations, flows, knockouts, pictures
from inception_viz.figures import validation as tested
from inception_viz.flows import Flows, graph
from inception_viz.grids import grid
from inception_viz.nulls import AgainstChance
from inception_viz.text import LANGUAGES, Text
from inception_viz.validation import ClusterTests

ROOT = Path(__file__).parent.parent
MOST_MAPS = 8
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "networkx", "scikit-learn", "captum")
FONTS = (
    ("IBM Plex Sans", 400, "ibm-plex-sans-latin-400-normal"),
    ("IBM Plex Sans", 600, "ibm-plex-sans-latin-600-normal"),
    ("IBM Plex Sans Arabic", 400, "ibm-plex-sans-arabic-arabic-400-normal"),
    ("IBM Plex Sans Arabic", 600, "ibm-plex-sans-arabic-arabic-600-normal"),
)


def _figures(analysis: Analysis, block: BlockAnalysis, found: Clusters, text: Text) -> Iterator[tuple[str, Figure]]:
    similar, given = block.correlation, block.attribution
    inside = [order(similar.part(b.start, b.stop)) for b in block.block.branches]
    yield "correlations-by-branch", correlations.branches(similar, block.block, inside, text)
    yield "correlations", correlations.whole(similar, block.block, order(similar), block.block.name, text)
    yield "clusters", clusters.over_branches(branch_table(found, block.block), block.block, text)
    names = [text("cluster {n}", n=k + 1) for k in range(found.count)]
    maps = [cluster_map(block.activation, found.members(k)) for k in range(min(found.count, MOST_MAPS))]
    if maps:
        yield "cluster-maps", clusters.maps(analysis.view, maps, grid(block.block, len(analysis.view)), names[: len(maps)], text)
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
        pairs = {text("all pairs"): block.correlation}
        yield f"null-{kind}-distribution", correlations.distribution(pairs, text, {by_chance: chance.null.pairs})
        yield f"null-{kind}-clusters", tested.tightness(chance.clusters, text(nulls.KINDS[kind]), text)
    yield "stability", tested.found_again(doubted.stability, doubted.chance_stability, text)
    yield "branches", tested.over_cells(doubted.specialisation, block.block, text)
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


@dataclass(frozen=True, eq=False)
class Chance:
    """What chance would give: for every block `p` of all pairs `(C, C)` under the shift null and how many are beyond it, for `block` also `tests`."""

    p: Mapping[str, np.ndarray]
    against: Mapping[str, AgainstChance]
    block: str
    tests: ClusterTests


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a report tells: the analysis, the clusters of every block, and what chance would give."""

    analysis: Analysis
    clusters: Mapping[str, Clusters]
    chance: Chance


def steps(analysis: Analysis) -> int:
    """How often `make` ticks."""
    return 2 * len(analysis.blocks) + nulls.DRAWS


def make(analysis: Analysis, method: str, count: int | None, block: str, tick: Callable[[], None] = lambda: None) -> Report:
    """Cluster every block, and set pairs and the clusters of `block` against shifted maps. Raises UnknownChoice or TooManyClusters."""
    analysis.architecture.block(block)
    found: dict[str, Clusters] = {}
    for name, clustered in analyses.clustered(analysis, method, count):
        tick()
        found[name] = clustered
    p = {}
    for name, one in analysis.blocks.items():
        tick()
        p[name] = nulls.shift_p(torch.from_numpy(np.array(one.activation)))
    against = {name: nulls.against_chance(values) for name, values in p.items()}
    activation = torch.from_numpy(np.array(analysis.blocks[block].activation))
    draws = nulls.draws(nulls.SHIFT, activation, "spatial")
    tests = validation.cluster_tests(found[block], analysis.blocks[block].correlation, draws, tick)
    return Report(analysis, found, Chance(p, against, block, tests))


def versions() -> dict[str, str]:
    """What the numbers depend on: this project, Python, and the packages that compute."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"inception-viz": project["version"], "python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def command(report: Report) -> str:
    """The command that makes the same report, but for files of one's own."""
    analysis, found = report.analysis, report.clusters[report.chance.block]
    told = f"python -m inception_viz report PICTURE --out DIR --model {analysis.model.architecture} --weights '{analysis.model.weights}'"
    told += f" --target {analysis.target.index}" + (f" --against {analysis.target.against}" if analysis.target.against is not None else "")
    told += f" --method '{found.method}' --block {report.chance.block}"
    return told + (f" --clusters {found.count}" if found.criterion == "chosen" else "")


def _listed(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def summary(report: Report) -> dict:
    """The contract of `analysis.json`, with `repeat` and, for every block, `against_chance`; `cluster_tests` for the block that was tested."""
    chance = report.chance
    told = analyses.summary(report.analysis, report.clusters)
    told["repeat"] = {"command": command(report), "versions": versions(), "seeds": {"louvain": SEED, "shifts": list(range(nulls.DRAWS))}}
    for block in told["blocks"]:
        found = chance.against[block["name"]]
        block["against_chance"] = {
            "null": nulls.SHIFT, "pairs": found.pairs, "level": found.level,
            "share": None if np.isnan(found.share) else found.share,
            "share_adjusted": None if np.isnan(found.adjusted_share) else found.adjusted_share,
        }  # fmt: skip
        if block["name"] == chance.block:
            tests = chance.tests
            block["cluster_tests"] = {
                "null": nulls.SHIFT, "draws": tests.draws, "mean_r": _listed(tests.mean_r), "p": _listed(tests.p), "q": _listed(tests.q),
            }  # fmt: skip
    return told


def arrays(report: Report) -> dict[str, np.ndarray]:
    """The arrays of the analysis, and `<block>/p` (C, C) float32."""
    return analyses.arrays(report.analysis) | {f"{name}/p": p for name, p in report.chance.p.items()}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _facts(report: Report, text: Text) -> list[tuple[str, str]]:
    analysis, found = report.analysis, report.clusters[report.chance.block]
    target, names = analysis.target, analysis.class_names[text.language]
    against = "" if target.against is None else f" – {names[target.against]}"
    return [
        (text("Picture"), f"{analysis.picture.name}, {analysis.picture.width} × {analysis.picture.height}"),
        (text("SHA-256 of the picture"), analysis.picture.sha256),
        (text("Network"), analysis.model.architecture),
        (text("Weights"), analysis.model.weights),
        (text("SHA-256 of the weights"), analysis.model.weights_sha256),
        (text("Device"), f"{analysis.model.device}, {analysis.model.dtype}"),
        (text("Class to explain"), names[target.index] + against),
        (text("How clusters are found"), f"{text(found.method)} ({text(found.criterion)})"),
        (text("Attribution"), text("gradient x activation")),
        (text("Seeds"), f"Louvain {SEED}; {text('shifted maps')} 0–{nulls.DRAWS - 1}"),
        (text("Versions"), ", ".join(f"{name} {version}" for name, version in versions().items())),
        (text("The same again"), command(report)),
    ]


def _words(report: Report, text: Text) -> dict[str, str]:
    side = report.analysis.view.shape[0]
    return {
        "title": text("What fires together"),
        "what": text(
            "How the channels of every block answered one picture, which of them fire together, and what that gives to the class."
        ),
        "seen": text("What the network sees: {side} x {side} pixels", side=side),
        "says": text("What the network says"),
        "repeat": text("To repeat it"),
        "bundle": text("The data beside this report (report.json, arrays.npz) hold every number that is told here."),
        "chance": text("Against chance"),
        "chance_what": text(
            "Smooth maps correlate by chance. p: how often shifted maps correlate as strongly for their smoothness; adjusted: for many tests."
        ),
        "clusters": text("Clusters"),
        "cluster": text("Cluster"),
        "branches": text("Over the branches"),
        "channels": text("Channels"),
        "gives": text("Given to the target, logits"),
    }


def _chance_rows(report: Report, text: Text) -> list[list[str]]:
    return [
        [name, f"{found.pairs:,}", str(report.analysis.blocks[name].correlation.n), _share(found.share), _share(found.adjusted_share)]
        for name, found in report.chance.against.items()
    ]


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"


def _rounded(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def _cluster_rows(report: Report, name: str, text: Text) -> list[dict]:
    block, found = report.analysis.blocks[name], report.clusters[name]
    table, gives = branch_table(found, block.block), block.attribution.by_cluster(found.labels)
    most = max(1, int(table.sum(1).max(initial=1)))
    tests = report.chance.tests if name == report.chance.block else None
    return [
        {
            "number": k + 1,
            "parts": [
                (f"{100 * n / most:.2f}", colours.branch(b.name)) for n, b in zip(table[k].tolist(), block.block.branches, strict=True)
            ],
            "parts_told": ", ".join(f"{b.name}: {n}" for n, b in zip(table[k].tolist(), block.block.branches, strict=True)),
            "channels": int(table[k].sum()),
            "gives": f"{gives[k]:+.2f}",
            "p": _rounded(tests.p[k]) if tests else "",
            "q": _rounded(tests.q[k]) if tests else "",
        }
        for k in range(found.count)
    ]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The pictures of a block, drawn once for all languages."""

    matrix: str
    maps: tuple[str, ...]


def _drawn(report: Report, name: str) -> _Drawn:
    block, found, view = report.analysis.blocks[name], report.clusters[name], report.analysis.view
    maps = [cluster_map(block.activation, found.members(k)) for k in range(min(found.count, MOST_MAPS))]
    return _Drawn(
        _base64(pictures.matrix(block.correlation.r, order(block.correlation))),
        tuple(_base64(pictures.overlay(view, one, grid(block.block, len(view)))) for one in maps),
    )


def _block(report: Report, name: str, drawn: _Drawn, text: Text) -> dict:
    block, found = report.analysis.blocks[name], report.clusters[name]
    tested = name == report.chance.block
    return {
        "title": text("Block {name} has {n} channels", name=name, n=block.block.channels),
        "told": text("{clusters} clusters, silhouette {score}; n = {n} positions; {constant} constant channels.", clusters=found.count,
                     score=_rounded(found.score), n=block.correlation.n, constant=int(block.correlation.constant.sum())),
        "matrix": drawn.matrix,
        "matrix_told": text("Correlations of all channels, similar ones side by side: red 1, white 0, blue -1, grey: constant."),
        "key": [(b.name, colours.branch(b.name)) for b in block.block.branches],
        "clusters": _cluster_rows(report, name, text),
        "tested": text("p: how often clusters of shifted maps are as tight for their size, in {n} draws; q: adjusted for many clusters.",
                       n=report.chance.tests.draws) if tested else "",
        "maps": [{"data": data, "told": text("cluster {n}", n=k + 1)} for k, data in enumerate(drawn.maps)],
    }  # fmt: skip


def _page(report: Report, drawn: Mapping[str, _Drawn], language: str) -> dict:
    text, top = Text(language), report.analysis.predictions[0].probability
    return {
        "language": language,
        "name": LANGUAGES[language],
        "direction": text.direction,
        "words": _words(report, text),
        "facts": _facts(report, text),
        "predictions": [
            {"name": p.names[language], "width": f"{100 * p.probability / top:.1f}", "told": f"{p.probability:.1%}"}
            for p in report.analysis.predictions
        ],
        "chance_heads": [
            text("Block"),
            text("Pairs"),
            text("Positions (n)"),
            text("p up to 5%"),
            text("Adjusted"),
        ],
        "chance_rows": _chance_rows(report, text),
        "blocks": [_block(report, name, one, text) for name, one in drawn.items()],
    }


def html(report: Report, first: str = "en") -> str:
    """The report as one file that needs no network and no script: every language in it, `first` on show. Whatever came from outside is escaped."""
    drawn = {name: _drawn(report, name) for name in report.analysis.blocks}
    template = Environment(loader=FileSystemLoader(ROOT / "assets"), autoescape=True).get_template("report.html")
    return template.render(
        first=first,
        title=f"Inception Viz: {report.analysis.picture.name}",
        view=_base64(pictures.photograph(report.analysis.view)),
        pages=[_page(report, drawn, language) for language in LANGUAGES],
        fonts=[{"family": f, "weight": w, "data": _base64((ROOT / "static" / f"{file}.woff2").read_bytes())} for f, w, file in FONTS],
        stripe=list(colours.BRANCH.values())[:4],
        blue=colours.BRANCH["1x1"],
    )


def _json(report: Report) -> bytes:
    return json.dumps(summary(report), ensure_ascii=False, indent=1, allow_nan=False).encode()


def _npz(report: Report) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays(report))
    return packed.getvalue()


def files(report: Report, first: str = "en") -> dict[str, bytes]:
    """`report.html`, `report.json` and `arrays.npz`."""
    return {"report.html": html(report, first).encode(), "report.json": _json(report), "arrays.npz": _npz(report)}


def zipped(written: Mapping[str, bytes]) -> bytes:
    """Files in one archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in written.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def write(report: Report, folder: Path, first: str = "en") -> None:
    """Write all three files into `folder`; a full disk harms no older file. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files(report, first).items():
        analyses.replace(folder / name, data)
