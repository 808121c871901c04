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

SIDES = (96, 112, 128, 144, 160, 192, 224)
DETAILS = (48, 64, 80, 96, 128, None)


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

    def logits(array: np.ndarray, preparation: Preprocessing) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return network(preparation.normalised(preparation.of_pixels(array))).float()[0]

    for side in SIDES:
        small = Preprocessing(resize=side, crop=side, detail=None)
        enlarged = np.mean([int(logits(np.asarray(pictures[i]), small).argmax()) == labels[i] for i in held])
        for detail in DETAILS:
            preparation = Preprocessing(resize=side, crop=side, detail=detail)
            answers = [(logits(array, preparation), right) for array, right in photos]
            top1 = np.mean([int(a.argmax()) in right for a, right in answers])
            top5 = np.mean([any(r in a.topk(5).indices.tolist() for r in right) for a, right in answers])
            line = {"side": side, "detail": detail, "held_out_top1": round(float(enlarged), 4)}
            print(json.dumps(line | {"photographs_top1": round(float(top1), 4), "photographs_top5": round(float(top5), 4)}), flush=True)


if __name__ == "__main__":
    main()
