"""Tiny ImageNet as arrays: read once from its zip shards, kept as `.npy` beside the training run."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64


def wnids(data: Path) -> list[str]:
    """The WordNet ids in the order of the logits."""
    with (data / "classes.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["index"]))
    return [row["wnid"] for row in rows]


def _decode(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with Image.open(io.BytesIO(archive.read(name)), formats=["WEBP"]) as picture:
        return np.asarray(picture.convert("RGB"))


def load(data: Path, split: str, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures `(n, 64, 64, 3)` uint8 (memory-mapped) and labels `(n,)` int64 of `split`, "train" or "val"."""
    pictures_file, labels_file = cache / f"{split}-pictures.npy", cache / f"{split}-labels.npy"
    if not labels_file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        index = {wnid: i for i, wnid in enumerate(wnids(data))}
        with (data / f"{split}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        pictures = np.lib.format.open_memmap(pictures_file, mode="w+", dtype=np.uint8, shape=(len(rows), SIDE, SIDE, 3))
        archives: dict[str, zipfile.ZipFile] = {}
        for i, row in enumerate(rows):
            shard = f"train-{row['shard']}.zip" if split == "train" else "val.zip"
            if shard not in archives:
                archives[shard] = zipfile.ZipFile(data / shard)
            pictures[i] = _decode(archives[shard], row["file"])
        pictures.flush()
        np.save(labels_file, np.array([index[row["wnid"]] for row in rows], dtype=np.int64))
    return np.load(pictures_file, mmap_mode="r"), np.load(labels_file)
