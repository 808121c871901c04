"""Train the boxed GoogLeNet on Tiny ImageNet from scratch; killed at any moment, a second start goes on from the last checkpoint.

    python scripts/train_boxed.py --data DIR --run DIR [--device cuda] [--recipe FILE]

Every random number is drawn from (seed, epoch, step, part), so that a resumed run takes the steps that an unbroken one would have taken.
"""

import argparse
import copy
import json
import math
import os
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tiny_imagenet
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import GoogLeNet

from inception_viz.models import random_network

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 255
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) * 255

Recipe = dict  # as read from the TOML file


def untrained(recipe: Recipe) -> GoogLeNet:
    """GoogLeNet before its first step, without dropout: that would draw from the global generator, which threads share."""
    network = random_network("googlenet", recipe["classes"], recipe["seed"])
    network.dropout.p = 0.0
    return network


def hold_out(labels: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on, and indices held out: `held_out_per_class` of every class, drawn by the seed."""
    order = np.random.default_rng(recipe["seed"]).permutation(len(labels))
    by_class = [order[labels[order] == c][: recipe["held_out_per_class"]] for c in range(recipe["classes"])]
    held = np.sort(np.concatenate(by_class))
    return np.setdiff1d(np.arange(len(labels)), held), held


def normalised(pictures: np.ndarray, device: torch.device) -> Tensor:
    """Pictures `(n, h, w, 3)` uint8 as `(n, 3, h, w)` float32, ImageNet's mean and deviation taken out."""
    tensor = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float()
    return (tensor - MEAN.to(device)) / STD.to(device)


def random_crops(pictures: Tensor, side: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """One random crop of each picture, mirrored half the time, enlarged bilinearly to `side`: `(n, 3, side, side)`."""
    n = len(pictures)
    draw = torch.rand(5, n, generator=generator)
    low, high = recipe["crop_area"]
    area = low + (high - low) * draw[0]
    low, high = map(math.log, recipe["crop_ratio"])
    ratio = torch.exp(low + (high - low) * draw[1])
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = width * torch.where(draw[2] < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = (1 - width) * (2 * draw[3] - 1)
    theta[:, 1, 2] = (1 - height) * (2 * draw[4] - 1)
    grid = functional.affine_grid(theta.to(pictures.device), [n, 3, side, side], align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def learning_rate(progress: float, recipe: Recipe) -> float:
    """The learning rate after `progress` epochs."""
    warm, total = recipe["warm_up_epochs"], len(recipe["sizes"])
    if progress < warm:
        return recipe["peak_learning_rate"] * progress / warm
    return recipe["peak_learning_rate"] * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (total - warm)))


class Trainer:
    """The network, its replicas (shared weights, own batch-norm statistics) and the optimiser."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe, self.device = recipe, device
        self.network = untrained(recipe).to(device, memory_format=torch.channels_last).train()
        self.parameters = list(self.network.parameters())
        shared = {id(p): p for p in self.parameters}
        self.parts = [self.network] + [copy.deepcopy(self.network, dict(shared)) for _ in range(recipe["parts"] - 1)]
        decayed = [p for p in self.parameters if p.ndim > 1]
        plain = [p for p in self.parameters if p.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": recipe["weight_decay"]}, {"params": plain}],
            lr=0.0, momentum=recipe["momentum"], nesterov=True, foreach=True,
        )  # fmt: skip
        self.threads = ThreadPoolExecutor(recipe["parts"] if device.type == "cpu" else 1)

    def gradients(self, part: int, pictures: np.ndarray, labels: np.ndarray, side: int, key: list[int]) -> tuple:
        """Gradients, summed loss and right answers of one sub-batch."""
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        seed = np.random.SeedSequence([*key, part]).generate_state(1)[0]
        generator = torch.Generator().manual_seed(int(seed))
        crops = random_crops(normalised(pictures, self.device), side, self.recipe, generator)
        crops = crops.contiguous(memory_format=torch.channels_last)
        target = torch.from_numpy(labels).to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            logits = self.parts[part](crops)
        logits = logits.float()
        loss = functional.cross_entropy(logits, target, label_smoothing=self.recipe["label_smoothing"])
        right = (logits.argmax(1) == target).sum()
        return torch.autograd.grad(loss, self.parameters), loss.detach() * len(labels), right

    def step(self, pictures: np.ndarray, labels: np.ndarray, epoch: int, step: int, progress: float) -> tuple[float, int]:
        """One step of the optimiser; returns summed loss and right answers."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(progress, self.recipe)
        count = self.recipe["parts"]
        key = [self.recipe["seed"], epoch, step]
        jobs = [
            self.threads.submit(self.gradients, i, p, y, self.recipe["sizes"][epoch], key)
            for i, (p, y) in enumerate(zip(np.array_split(pictures, count), np.array_split(labels, count), strict=True))
        ]
        results = [job.result() for job in jobs]
        for i, parameter in enumerate(self.parameters):
            parameter.grad = torch.stack([gradients[i] for gradients, _, _ in results]).mean(0)
        self.optimizer.step()
        return sum(float(loss) for _, loss, _ in results), sum(int(right) for _, _, right in results)

    def state(self) -> dict:
        return {"parts": [p.state_dict() for p in self.parts], "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict) -> None:
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self.optimizer.load_state_dict(state["optimizer"])


@torch.inference_mode()
def accuracy(network: nn.Module, pictures: np.ndarray, labels: np.ndarray, side: int, device: torch.device) -> tuple[float, float]:
    """Top-1 and top-5 accuracy on whole pictures enlarged to `side`."""
    network.eval()
    right = np.zeros(2)
    for start in range(0, len(labels), 200):
        batch = normalised(np.ascontiguousarray(pictures[start : start + 200]), device)
        batch = functional.interpolate(batch, size=(side, side), mode="bilinear", antialias=True)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            logits = network(batch.contiguous(memory_format=torch.channels_last)).float()
        hit = logits.topk(5).indices.cpu() == torch.from_numpy(labels[start : start + 200])[:, None]
        right += [hit[:, 0].sum(), hit.any(1).sum()]
    network.train()
    return tuple(right / len(labels))


def write(path: Path, state: dict) -> None:
    aside = path.with_suffix(".partial")
    torch.save(state, aside)
    os.replace(aside, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of Tiny ImageNet (classes.csv, train-*.zip ...)")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).with_name("boxed_recipe.toml"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()

    recipe = tomllib.loads(arguments.recipe.read_text(encoding="utf-8"))
    device = torch.device(arguments.device)
    arguments.run.mkdir(parents=True, exist_ok=True)
    pictures, labels = tiny_imagenet.load(arguments.data, "train", arguments.run / "data")
    pictures = np.array(pictures)  # in memory: random reads of a map are slow
    kept, held = hold_out(labels, recipe)
    trainer = Trainer(recipe, device)
    last = arguments.run / "last.pt"
    epoch, step, loss, right, seconds = 0, 0, 0.0, 0, 0.0
    if last.exists():
        saved = torch.load(last, map_location=device, weights_only=True)
        trainer.restore(saved)
        epoch, step, loss, right, seconds = (saved[k] for k in ("epoch", "step", "loss", "right", "seconds"))
        print(f"resumed at epoch {epoch}, step {step}", flush=True)
    else:
        write(arguments.run / "epoch-0.pt", trainer.network.state_dict())

    steps = len(kept) // recipe["batch"]
    while epoch < len(recipe["sizes"]):
        order = np.random.default_rng([recipe["seed"], epoch]).permutation(kept)
        started = time.monotonic()
        while step < steps:
            chosen = order[step * recipe["batch"] : (step + 1) * recipe["batch"]]
            more = trainer.step(pictures[chosen], labels[chosen], epoch, step, epoch + step / steps)
            loss, right, step = loss + more[0], right + more[1], step + 1
            if not math.isfinite(loss):
                raise SystemExit(f"the loss is not finite at epoch {epoch}, step {step}")
            if step % recipe["checkpoint_steps"] == 0 and step < steps:
                spent = seconds + time.monotonic() - started
                write(last, trainer.state() | {"epoch": epoch, "step": step, "loss": loss, "right": right, "seconds": spent})
        seconds += time.monotonic() - started
        top1, top5 = accuracy(trainer.network, pictures[held], labels[held], recipe["sizes"][epoch], device)
        seen = steps * recipe["batch"]
        line = {
            "epoch": epoch + 1, "side": recipe["sizes"][epoch], "loss": round(loss / seen, 4),
            "train_top1": round(right / seen, 4), "held_out_top1": round(top1, 4), "held_out_top5": round(top5, 4),
            "seconds": round(seconds, 1), "pictures_per_second": round(seen / seconds, 1),
        }  # fmt: skip
        print(json.dumps(line), flush=True)
        with (arguments.run / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        epoch, step, loss, right, seconds = epoch + 1, 0, 0.0, 0, 0.0
        if epoch in recipe["keep_epochs"] or epoch == len(recipe["sizes"]):
            write(arguments.run / f"epoch-{epoch}.pt", trainer.network.state_dict())
        write(last, trainer.state() | {"epoch": epoch, "step": step, "loss": loss, "right": right, "seconds": seconds})


if __name__ == "__main__":
    main()
