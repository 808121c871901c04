"""List what can be loaded here, with which weights, on which device."""

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device")


def run(arguments: argparse.Namespace) -> None:
    """Do it."""
    from inception_viz import models

    facts = models.device_facts(models.choose_device(arguments.device))
    listed = {name: [models.card(name, weights) for weights in models.choices(name)] for name in models.ARCHITECTURES}
    if arguments.json:
        device = {"name": facts.name, "memory_bytes": facts.memory_bytes, "precision": facts.precision}
        print(json.dumps({"device": device, "models": listed}, ensure_ascii=False, allow_nan=False))
        return
    print(f"device: {facts.name}, {facts.precision}")
    for name, cards in listed.items():
        for weights in cards:
            accuracy = "" if weights["top1"] is None else f"  top-1 {weights['top1']:.1%} on {weights['measured_on']}"
            print(f"{name}  {weights['name']}  {weights['classes']} classes{accuracy}")
