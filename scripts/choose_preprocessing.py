"""Choose how pictures are prepared for the boxed model: on held-out training pictures and on one half of the photographs, never on the validation set.

    python scripts/choose_preprocessing.py --run DIR --data DIR --photographs ZIP [--checkpoint FILE]

Tried: the side that the network sees, and how far a photograph is first softened (reduced to `detail` pixels on its shorter side), because
the network was trained on enlarged 64 px pictures and has never seen anything sharper.
"""

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np
import photographs
import tiny_imagenet
import torch
from train_boxed import hold_out, untrained

from inception_viz.models import Preprocessing

SIDES = (112, 128, 144, 160, 192)
DETAILS = (48, 64, 80, 96, 128, None)
BATCH = 50


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("boxed_recipe.toml"))
    arguments = parser.parse_args()

    recipe = tomllib.loads(arguments.recipe.read_text(encoding="utf-8"))
    checkpoint = arguments.checkpoint or arguments.run / f"epoch-{len(recipe['sizes'])}.pt"
    network = untrained(recipe)
    network.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))
    network.eval().to(memory_format=torch.channels_last)
    pictures, labels = tiny_imagenet.load(arguments.data, "train", arguments.run / "data")
    _, held = hold_out(labels, recipe)
    index = {wnid: i for i, wnid in enumerate(tiny_imagenet.wnids(arguments.data))}
    photos = [(np.asarray(p), [index[w] for w in right]) for p, right in photographs.read(arguments.photographs, "choose")]

    def logits(arrays: list[np.ndarray], preparation: Preprocessing) -> torch.Tensor:
        rows = []
        for start in range(0, len(arrays), BATCH):
            batch = torch.cat([preparation.normalised(preparation.of_pixels(a)) for a in arrays[start : start + BATCH]])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rows.append(network(batch.contiguous(memory_format=torch.channels_last)).float())
        return torch.cat(rows)

    for side in SIDES:
        answers = logits([np.asarray(pictures[i]) for i in held], Preprocessing(resize=side, crop=side)).argmax(1).numpy()
        enlarged = float((answers == labels[held]).mean())
        for detail in DETAILS:
            rows = logits([array for array, _ in photos], Preprocessing(resize=side, crop=side, detail=detail)).topk(5).indices.tolist()
            top1 = np.mean([row[0] in right for row, (_, right) in zip(rows, photos, strict=True)])
            top5 = np.mean([bool(set(row) & set(right)) for row, (_, right) in zip(rows, photos, strict=True)])
            line = {"side": side, "detail": detail, "held_out_top1": round(enlarged, 4)}
            print(json.dumps(line | {"photographs_top1": round(float(top1), 4), "photographs_top5": round(float(top5), 4)}), flush=True)


if __name__ == "__main__":
    main()
