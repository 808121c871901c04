"""Bytes from anywhere -> the picture that a person would expect to see, or a clear refusal.

Nothing is believed: the first bytes choose the one decoder that may look, the header's size is checked before a pixel is decoded, metadata is
not read except the orientation, and only the first frame is. Threats and measurements: Pillow alone turns a 334-byte file into 1.5 GB.
"""

import hashlib
import io
import re
import threading
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from PIL import Image

from inception_viz.errors import VisitorError
from inception_viz.text import message

MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
MAX_SIDE = 20_000
MAX_ASPECT = 50
MAX_SCANS = 100  # of a progressive JPEG: each costs a pass over the picture
SHOWN_SIDE = 1024
SHOWN_NAME = 60
DECODES = threading.BoundedSemaphore(2)

FORMATS = ("JPEG", "PNG", "WebP", "GIF", "BMP", "TIFF")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(VisitorError):
    """The root of what can be wrong with a picture."""

    words = message("This file cannot be used as a picture.")


class TooManyBytes(PictureError):
    """The file is larger than `MAX_BYTES`."""

    words = message("The file has {found} MB; at most {allowed} MB are allowed. Save the picture smaller and try again.")


class TooManyPixels(PictureError):
    """The header announces more pixels than `MAX_PIXELS`, or a longer side than `MAX_SIDE`."""

    words = message(
        "The picture has {width} x {height} pixels; at most {allowed} million are allowed, and {side} on a side. Make it smaller."
    )


class TooNarrow(PictureError):
    """One side is more than `MAX_ASPECT` times the other: little would be left of it in the square that a network sees."""

    words = message("The picture has {width} x {height} pixels; one side may be at most {allowed} times the other. Crop it and try again.")


class NotAPicture(PictureError):
    """The first bytes belong to no format that is read here."""

    words = message("This is not a picture that can be read here. Allowed are {allowed}. Save it as JPEG or PNG and try again.")


class PhoneFormat(PictureError):
    """HEIC or AVIF, as telephones save them."""

    words = message("{found} pictures cannot be read here. On the telephone choose “most compatible”, or save the picture as JPEG or PNG.")


class Damaged(PictureError):
    """The file ends too early, or what it holds contradicts itself."""

    words = message(
        "The {format} file is damaged, ends too early, or is of a rare kind that is not read here. Save it again as JPEG or PNG and try that."
    )


class NumbersNotColours(PictureError):
    """Floating-point or 32-bit values have no agreed black and white."""

    words = message(
        "The file holds {found} values, which have no agreed black and white. Save the picture with 8 or 16 bits and try again."
    )


class TooManyScans(PictureError):
    """A JPEG in so many passes that decoding it would block others for seconds."""

    words = message("The JPEG is stored in {found} passes; at most {allowed} are allowed. Save it again as an ordinary JPEG.")


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright RGB picture.

    `pixels` is `(height, width, 3)` uint8 and read-only, reduced to at most `SHOWN_SIDE` on the longer side; `width` and `height` are those
    of the original, and `sha256` is of its bytes, so that equal files are known as equal whatever they are called.
    """

    name: str
    sha256: str
    width: int
    height: int
    pixels: np.ndarray


def shown_name(name: str) -> str:
    """A file name as it may be shown: no folders, no control or direction characters, at most `SHOWN_NAME` characters.

    >>> shown_name("../../etc/pass\\u202ewd.png")
    'passwd.png'
    """
    last = re.split(r"[/\\]", name)[-1]
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C" and unicodedata.category(c) not in ("Zl", "Zp")).strip()
    if len(kept) > SHOWN_NAME:
        kept = kept[: SHOWN_NAME // 2 - 1] + "…" + kept[-SHOWN_NAME // 2 :]
    return kept or "picture"


def _format(data: bytes) -> str:
    """The format that the first bytes announce; raises NotAPicture or PhoneFormat."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if data[:2] == b"BM" and len(data) > 26 and int.from_bytes(data[14:18], "little") in (12, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if data[4:8] == b"ftyp":
        raise PhoneFormat(found="AVIF" if data[8:12] in (b"avif", b"avis") else "HEIC")
    raise NotAPicture(allowed=", ".join(FORMATS))


def _check_scans(data: bytes) -> None:
    found = data.count(b"\xff\xda")
    if found > MAX_SCANS:
        raise TooManyScans(found=found, allowed=MAX_SCANS)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise NotAPicture(allowed=", ".join(FORMATS))
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise TooManyPixels(width=width, height=height, allowed=MAX_PIXELS // 1_000_000, side=MAX_SIDE)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise TooNarrow(width=width, height=height, allowed=MAX_ASPECT)


def _orientation(opened: Image.Image) -> int:
    try:
        found = opened.getexif().get(_ORIENTATION, 1)
    except Exception:  # any broken EXIF is the same to us: no orientation is known
        return 1
    return found if found in _TURNS else 1


def _deep_grey(opened: Image.Image) -> np.ndarray:
    """16-bit grey as 8 bits; TIFF may say that white is zero, which Pillow does not turn round at this depth."""
    values = np.asarray(opened).astype(np.uint16)
    white_is_zero = opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(262) == 0
    grey = (values >> 8).astype(np.uint8)
    return 255 - grey if white_is_zero else grey


def _colours(opened: Image.Image) -> Image.Image:
    """RGB as a person expects it: transparency laid over white, 16 bits scaled, palettes and CMYK converted."""
    if opened.mode.startswith("I;16"):
        return Image.fromarray(_deep_grey(opened)).convert("RGB")
    if opened.mode == "I" and opened.format == "PNG":  # how Pillow opens some 16-bit PNGs
        return Image.fromarray((np.clip(np.asarray(opened), 0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if opened.mode in ("I", "F"):
        raise NumbersNotColours(found="32-bit" if opened.mode == "I" else "floating-point")
    if opened.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in opened.info:
        over = opened.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return opened.convert("RGB")


def _decode(data: bytes, kind: str) -> tuple[Image.Image, tuple[int, int]]:
    """The upright, reduced picture and the size (width, height) of the upright original."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = Image.open(io.BytesIO(data), formats=[kind.upper()])
        _check_size(*opened.size)
        original = opened.size
        if kind == "JPEG":
            opened.draft(None, (SHOWN_SIDE, SHOWN_SIDE))
        opened.load()  # once: a second load after a failed one succeeds with half a picture
        turn = _orientation(opened)
        if opened.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and "transparency" not in opened.info:
            opened.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)  # before the conversions, which need memory
        picture = _colours(opened)
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
    if turn != 1:
        picture = picture.transpose(_TURNS[turn])
        original = original if turn < 5 else original[::-1]
    return picture, original


def decode(data: bytes, name: str = "picture") -> Picture:
    """The picture that the bytes hold. Raises a subclass of PictureError that says what was found and what is allowed."""
    if len(data) > MAX_BYTES:
        raise TooManyBytes(found=round(len(data) / 1e6, 1), allowed=MAX_BYTES // 1_000_000)
    kind = _format(data)
    if kind == "JPEG":
        _check_scans(data)
    with DECODES:
        try:
            picture, (width, height) = _decode(data, kind)
        except VisitorError:
            raise
        except MemoryError:
            raise Damaged(format=kind) from None
        except Exception:  # Pillow's decoders raise nearly every kind of exception on broken files
            raise Damaged(format=kind) from None
    pixels = np.array(picture)
    pixels.setflags(write=False)
    return Picture(shown_name(name), hashlib.sha256(data).hexdigest(), width, height, pixels)


def jpeg(pixels: np.ndarray, side: int, quality: int) -> bytes:
    """A square picture `(s, s, 3)` uint8, made `side` x `side`, as the bytes of a JPEG file."""
    picture = Image.fromarray(pixels)
    file = io.BytesIO()
    (picture if len(pixels) == side else picture.resize((side, side), Image.Resampling.BOX)).save(file, "JPEG", quality=quality)
    return file.getvalue()


@dataclass(frozen=True)
class Sample:
    """A picture that comes inside an installed package: its title (to be translated), where it is from, and its licence."""

    title: str
    source: str
    licence: str
    package: str
    path: str

    def read(self) -> bytes:
        """The bytes of the file."""
        return files(self.package).joinpath(self.path).read_bytes()


SAMPLES: Mapping[str, Sample] = {
    "coffee": Sample(message("A cup of coffee"), "scikit-image, photograph by Rachel Michetti", "CC0", "skimage.data", "coffee.png"),
    "chelsea": Sample(message("Chelsea the cat"), "scikit-image, photograph by Stéfan van der Walt", "CC0", "skimage.data", "chelsea.png"),
    "rocket": Sample(message("A rocket on its pad"), "scikit-image, photograph by SpaceX", "CC0", "skimage.data", "rocket.jpg"),
    "astronaut": Sample(message("An astronaut"), "scikit-image, photograph by NASA", "public domain", "skimage.data", "astronaut.png"),
    "flower": Sample(message("A flower"), "scikit-learn, photograph by vultilion", "CC BY 2.0", "sklearn.datasets.images", "flower.jpg"),
    "china": Sample(
        message("A palace in China"), "scikit-learn, photograph by danielbuechele", "CC BY 2.0", "sklearn.datasets.images", "china.jpg"
    ),
}


def samples() -> Mapping[str, Sample]:
    """The sample pictures by name; none is copied into this project."""
    return SAMPLES
