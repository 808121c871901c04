"""Put a finished training run into the box: weights as fp16, earlier checkpoints as int8, and a card that says what they are.

    python scripts/pack_boxed.py --run DIR --preprocessing '{"resize": 128, "crop": 128, "detail": null}'

Accuracy is filled in by `scripts/measure_boxed.py`, which reads the packed files back: what is published is what was measured.
"""

import argparse
import hashlib
import json
import platform
import tomllib
from pathlib import Path

import safetensors.torch
import torch
from train_boxed import untrained

from inception_viz import weights
from inception_viz.models import ASSETS, CARD

STEM = "googlenet-tiny-imagenet"


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """The network's tensors of a checkpoint, without the counters that play no part in evaluation."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {k: v.contiguous() for k, v in state.items() if not k.endswith("num_batches_tracked")}


def store(state: dict[str, torch.Tensor], name: str) -> dict[str, str]:
    data = safetensors.torch.save(state)
    (ASSETS / name).write_bytes(data)
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--preprocessing", type=json.loads, required=True)
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("boxed_recipe.toml"))
    arguments = parser.parse_args()

    recipe = tomllib.loads(arguments.recipe.read_text(encoding="utf-8"))
    epochs = len(recipe["sizes"])
    early, middle = recipe["keep_epochs"]
    last = state_of(arguments.run / f"epoch-{epochs}.pt")
    log = [json.loads(line) for line in (arguments.run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    digest = weights.digest(untrained(recipe).state_dict())
    card = {
        **store({k: v.half() for k, v in last.items()}, f"{STEM}.safetensors"),
        "architecture": "googlenet, 200 classes, no auxiliary heads (torchvision's, unchanged)",
        "classes": "tiny-imagenet-classes.json",
        "preprocessing": arguments.preprocessing,
        "top1": None,
        "epochs": epochs,
        "recipe": recipe,
        "trained_with": {"torch": torch.__version__.split("+")[0], "machine": platform.machine()},
        "training_log": log,
        "checkpoints": {
            "untrained": {"epoch": 0, "file": None, "seed": recipe["seed"], "sha256": digest, "top1": None},
            "early": {
                "epoch": early,
                **store(weights.quantised(state_of(arguments.run / f"epoch-{early}.pt")), f"{STEM}-early.safetensors"),
            },
            "middle": {
                "epoch": middle,
                **store(weights.quantised(state_of(arguments.run / f"epoch-{middle}.pt")), f"{STEM}-middle.safetensors"),
            },
        },
    }
    for entry in card["checkpoints"].values():
        entry.setdefault("top1", None)
        if entry["epoch"]:  # what it reached at the side that it had been trained at, which is smaller than the last one
            entry["trained_side"] = log[entry["epoch"] - 1]["side"]
            entry["held_out_top1_at_trained_side"] = log[entry["epoch"] - 1]["held_out_top1"]
    CARD.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(CARD)


if __name__ == "__main__":
    main()
