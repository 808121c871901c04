"""Verify the boxed network's files, and measure it again where the data is at hand.

    python scripts/measure_boxed.py [--data DIR] [--photographs ZIP] [--write]

Everything goes through the library as the app uses it: the packed weights, the card's preprocessing, float32. Without `--write` the figures are
compared with the card, and a difference of more than a tenth of a point ends with exit code 1.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import photographs
import tiny_imagenet
import torch
from PIL import Image
from torch import Tensor

from inception_viz import models
from inception_viz.models import ASSETS, CARD, CHECKPOINTS, Model

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
BATCH = 64
BINS = 15
TOLERANCE = 0.001
ENLARGED = 256  # pixels a side, as somebody would enlarge a small picture before uploading it


def verify(card: dict) -> None:
    """Raises SystemExit if a file is not the one that the card names."""
    for entry in [card, *card["checkpoints"].values()]:
        if entry["file"] and hashlib.sha256((ASSETS / entry["file"]).read_bytes()).hexdigest() != entry["sha256"]:
            raise SystemExit(f"{entry['file']} is not the file of the card")
    print("the files are those of the card")


@torch.inference_mode()
def answers(model: Model, pictures: Iterator[np.ndarray]) -> Iterator[Tensor]:
    """The logits of each picture, in batches."""
    prepared = model.weights.preprocessing
    batch: list[Tensor] = []
    for pixels in pictures:
        batch.append(prepared.normalised(prepared.of_pixels(pixels)))
        if len(batch) == BATCH:
            yield from model.network(torch.cat(batch).contiguous(memory_format=torch.channels_last))
            batch.clear()
    if batch:
        yield from model.network(torch.cat(batch).contiguous(memory_format=torch.channels_last))


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error over 15 bins of equal width (Guo et al. 2017)."""
    confidence, answer = logits.softmax(1).max(1)
    right = (answer == labels).double()
    which = (confidence * BINS).long().clamp(max=BINS - 1)
    return float(sum((which == b).double().mean() * abs(right[which == b].mean() - confidence[which == b].mean()) for b in which.unique()))


def shares(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Top-1 and top-5 accuracy."""
    hit = logits.topk(5).indices == labels[:, None]
    return round(float(hit[:, 0].float().mean()), 4), round(float(hit.any(1).float().mean()), 4)


def validation(data: Path) -> dict:
    """Accuracy of the last network and of the earlier ones on all validation pictures."""
    pictures, labels = tiny_imagenet.load(data, "val", Path(os.environ.get("TMPDIR", "/tmp")) / "tiny-imagenet-arrays")
    truth = torch.from_numpy(np.array(labels))
    found: dict = {"checkpoints": {}}
    for name in CHECKPOINTS:
        logits = torch.stack(list(answers(models.load("googlenet", name, "cpu"), iter(pictures))))
        top1, top5 = shares(logits, truth)
        print(f"{name}: top-1 {top1:.2%}, top-5 {top5:.2%} on {len(truth)} validation pictures", flush=True)
        if name != models.BOXED:
            found["checkpoints"][name.removeprefix("boxed-")] = {"top1": top1}
            continue
        right = (logits.argmax(1) == truth).double()
        by_class = [round(float(right[truth == c].mean()), 3) for c in range(200)]
        found |= {"top1": top1, "top5": top5, "calibration_error": round(calibration_error(logits, truth), 4), "top1_by_class": by_class}
    larger = (np.asarray(Image.fromarray(p).resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC)) for p in pictures[::5])
    logits = torch.stack(list(answers(models.load("googlenet", models.BOXED, "cpu"), larger)))
    found["enlarged"] = dict(zip(("top1", "top5"), shares(logits, truth[::5]), strict=True)) | {"n": len(truth[::5]), "side": ENLARGED}
    print(f"enlarged to {ENLARGED} pixels first: {found['enlarged']}", flush=True)
    return found


def natural(archive: Path, data: Path) -> dict:
    """Accuracy on the half of the photographs that nothing was chosen by; top-5 of 200 classes, several of which may be right."""
    index = {wnid: i for i, wnid in enumerate(tiny_imagenet.wnids(data))}
    pairs = [(np.asarray(picture), {index[w] for w in right}) for picture, right in photographs.read(archive, "report")]
    logits = list(answers(models.load("googlenet", models.BOXED, "cpu"), (p for p, _ in pairs)))
    tops = [(row.topk(5).indices.tolist(), right) for row, (_, right) in zip(logits, pairs, strict=True)]
    top1 = np.mean([top[0] in right for top, right in tops])
    top5 = np.mean([bool(right & set(top)) for top, right in tops])
    found = {"top1": round(float(top1), 4), "top5": round(float(top5), 4), "n": len(pairs), "classes": len(photographs.CATEGORIES)}
    print(f"full-size photographs: {found}", flush=True)
    return {"photographs": found}


def differences(card: dict, found: dict, path: str = "") -> Iterator[str]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from differences(card.get(key, {}), value, f"{path}{key}.")
        elif not np.allclose(
            np.asarray(card.get(key, np.nan), float), np.asarray(value, float), atol=0.021 if key == "top1_by_class" else TOLERANCE
        ):
            yield f"{path}{key}: the card says {card.get(key)}, measured {value}"


def merged(card: dict, found: dict) -> dict:
    return card | {k: merged(card.get(k, {}), v) if isinstance(v, dict) else v for k, v in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "tiny-imagenet-200")
    parser.add_argument("--photographs", type=Path, default=SHARED / "caltech-101-subset" / "images.zip")
    parser.add_argument("--write", action="store_true", help="write the figures into the card")
    arguments = parser.parse_args()
    card = json.loads(CARD.read_text(encoding="utf-8"))
    verify(card)
    if not arguments.data.exists():
        print(f"{arguments.data} is not here: accuracy is not measured")
        return
    found = validation(arguments.data)
    if arguments.photographs.exists():
        found |= natural(arguments.photographs, arguments.data)
    if arguments.write:
        CARD.write_text(json.dumps(merged(card, found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    wrong = list(differences(card, found))
    print("\n".join(wrong) or "the card's figures are measured again")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
