"""Photographs of Caltech-101 whose category is also a class of Tiny ImageNet: pictures as people upload them, not 64 px ones."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

# category -> WordNet ids that count as right (a crayfish is drawn into both lobster classes of ImageNet)
CATEGORIES = {
    "barrel": ("n02795169",),
    "cougar_body": ("n02125311",),
    "cougar_face": ("n02125311",),
    "crayfish": ("n01983481", "n01984695"),
    "dragonfly": ("n02268443",),
    "elephant": ("n02504458",),
    "lamp": ("n03637318",),
    "lobster": ("n01983481", "n01984695"),
    "pizza": ("n07873807",),
    "scorpion": ("n01770393",),
    "trilobite": ("n01768244",),
    "umbrella": ("n04507155",),
}


def read(archive: Path, half: str) -> Iterator[tuple[Image.Image, tuple[str, ...]]]:
    """Pictures with the ids that are right, of one half: every other picture is for choosing ("choose"), the rest for reporting ("report")."""
    with zipfile.ZipFile(archive) as pictures:
        for category, right in CATEGORIES.items():
            names = sorted(n for n in pictures.namelist() if n.startswith(category + "/"))
            for name in names[0 if half == "choose" else 1 :: 2]:
                yield Image.open(io.BytesIO(pictures.read(name))).convert("RGB"), right
