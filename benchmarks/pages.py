"""What the pages cost: a warm rerun on the server, a large heatmap on the wire, and memory over many pictures."""

import gc
import os
import statistics
import time
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from inception_viz import analysis, images, models
from inception_viz.architecture import describe
from inception_viz.correlations import order
from inception_viz.engine.local import Engine
from inception_viz.figures import correlations
from inception_viz.text import Text

ROOT = Path(__file__).parent.parent
RERUNS = 9
PICTURES = 200
PAGES = ("app.py", *(f"pages/{word}.py" for word in ("architecture", "activations", "correlations", "clusters", "attributions")))


def resident() -> float:
    """Megabytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def reruns() -> None:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120).run()
    for path in PAGES:
        page.switch_page(path).run()
        assert not page.exception, page.exception
        seconds = []
        for _ in range(RERUNS):
            started = time.perf_counter()
            page.run()
            seconds.append(time.perf_counter() - started)
        print(
            f"  warm rerun of {path:24} median {1e3 * statistics.median(seconds):6.0f} ms, worst {1e3 * max(seconds):6.0f} ms, n = {RERUNS}"
        )


def wire() -> None:
    model = models.load()
    found = analysis.analyze(model, images.decode(next(iter(images.samples().values())).read()))
    last = found.blocks[describe(model).blocks[-1].name]
    figure = correlations.whole(last.correlation, last.block, order(last.correlation), "", Text("en"))
    print(f"  heatmap of {last.block.channels} x {last.block.channels}: {len(figure.to_json().encode()) / 1e6:.2f} MB as JSON")


def memory() -> None:
    model, engine = models.load(), Engine()
    generator = np.random.default_rng(0)
    readings = []
    for index in range(PICTURES):
        pixels = generator.integers(0, 256, (160, 160, 3), dtype=np.uint8)
        picture = images.Picture(f"{index}", f"{index}", 160, 160, pixels)
        job = engine.submit("one", "analysis", index, lambda progress, picture=picture: analysis.analyze(model, picture))
        job.wait()
        job.result()
        if (index + 1) % 50 == 0:
            gc.collect()
            readings.append((index + 1, resident()))
    print("  memory after " + ", ".join(f"{n} pictures {megabytes:.0f} MB" for n, megabytes in readings))
    engine.close()


def main() -> None:
    reruns()
    wire()
    memory()
