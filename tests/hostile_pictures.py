"""A seeded generator of hostile and odd picture files: each with what must become of it.

The base picture is 64 x 48 with four coloured quadrants, so that a turn, a mirror, a channel swap, a clip or lost transparency shows in a probe of
four pixels.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, TiffImagePlugin

from tests.hostile_names import NAMES

RED, GREEN, BLUE, YELLOW, WHITE = (220, 30, 30), (30, 180, 40), (40, 60, 220), (230, 210, 40), (255, 255, 255)
QUADRANTS = (RED, GREEN, BLUE, YELLOW)  # top left, top right, bottom left, bottom right
SIZE = (64, 48)


@dataclass(frozen=True)
class Case:
    """A file: its name and bytes, whether it must open ("accept"), be refused ("refuse"), or either; the size and the quadrants it must show."""

    name: str
    data: bytes
    expect: str
    size: tuple[int, int] | None = None
    quadrants: tuple[tuple[int, int, int], ...] | None = None
    file_name: str = "picture"


def base() -> Image.Image:
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    picture[:24, :32], picture[:24, 32:], picture[24:, :32], picture[24:, 32:] = QUADRANTS
    return Image.fromarray(picture)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int = 8, colour: int = 0, rows: bytes | None = None, extra: bytes = b"") -> bytes:
    """A PNG of zeros that is as small as zeros are, whatever its size says."""
    bits = depth * {0: 1, 2: 3, 6: 4}[colour]
    stride = (width * bits + 7) // 8 + 1
    packer = zlib.compressobj(9)
    body = rows if rows is not None else b"".join(packer.compress(bytes(stride)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def ordinary() -> Iterator[Case]:
    picture = base()
    for kind, options in (
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ):
        yield Case(f"ordinary {kind} {options}", encoded(picture, kind, **options), "accept", SIZE, QUADRANTS)
    yield Case("ordinary GIF", encoded(picture.quantize(16), "GIF"), "accept", SIZE, QUADRANTS)
    yield Case("progressive JPEG", encoded(picture, "JPEG", quality=95, progressive=True), "accept", SIZE, QUADRANTS)
    yield Case("one pixel", encoded(Image.new("RGB", (1, 1), RED), "PNG"), "accept", (1, 1))
    yield Case("large JPEG", encoded(picture.resize((3000, 2250), Image.Resampling.NEAREST), "JPEG"), "accept", (3000, 2250), QUADRANTS)


def modes() -> Iterator[Case]:
    picture = base()
    grey = tuple((round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in QUADRANTS)
    yield Case("grey", encoded(picture.convert("L"), "PNG"), "accept", SIZE, grey)
    yield Case("palette", encoded(picture.quantize(8), "PNG"), "accept", SIZE, QUADRANTS)
    yield Case("CMYK JPEG", encoded(picture.convert("CMYK"), "JPEG", quality=95), "accept", SIZE)
    yield Case("CMYK TIFF", encoded(picture.convert("CMYK"), "TIFF"), "accept", SIZE, QUADRANTS)
    bits = picture.convert("L").point(lambda v: 255 if v > 100 else 0, "1")
    yield Case("one bit", encoded(bits, "PNG"), "accept", SIZE, tuple(WHITE if g[0] > 100 else (0, 0, 0) for g in grey))
    clear = picture.convert("RGBA")
    clear.putalpha(Image.fromarray(np.repeat(np.repeat(np.array([[255, 0], [255, 0]], np.uint8), 24, 0), 32, 1)))
    over = (RED, WHITE, BLUE, WHITE)
    for kind in ("PNG", "WEBP", "TIFF"):
        yield Case(f"transparent {kind}", encoded(clear, kind, **({"lossless": True} if kind == "WEBP" else {})), "accept", SIZE, over)
    both = clear.convert("LA")
    yield Case("grey with transparency", encoded(both, "PNG"), "accept", SIZE, (grey[0], WHITE, grey[2], WHITE))
    hidden = picture.quantize(8)
    yield Case(
        "palette with a transparent colour",
        encoded(hidden, "PNG", transparency=hidden.getpixel((40, 5))),
        "accept",
        SIZE,
        (RED, WHITE, BLUE, YELLOW),
    )
    yield Case(
        "grey with a transparent value",
        encoded(picture.convert("L"), "PNG", transparency=grey[1][0]),
        "accept",
        SIZE,
        (grey[0], WHITE, grey[2], grey[3]),
    )
    deep = np.repeat(np.repeat(np.array([[0, 20000], [40000, 65535]], np.uint16), 24, 0), 32, 1)
    scaled = tuple((v >> 8,) * 3 for v in (0, 20000, 40000, 65535))
    yield Case("16-bit grey PNG", encoded(Image.fromarray(deep), "PNG"), "accept", SIZE, scaled)
    yield Case("16-bit grey TIFF", encoded(Image.fromarray(deep), "TIFF"), "accept", SIZE, scaled)
    inverted = TiffImagePlugin.ImageFileDirectory_v2()
    inverted[262] = 0
    yield Case(
        "16-bit TIFF, white is zero",
        encoded(Image.fromarray(deep), "TIFF", tiffinfo=inverted),
        "accept",
        SIZE,
        tuple((255 - v[0],) * 3 for v in scaled),
    )
    values = deep.astype(np.float32)
    values[0, 0] = np.nan
    yield Case("floating point with nan", encoded(Image.fromarray(values), "TIFF"), "refuse")
    yield Case("32-bit integers", encoded(Image.fromarray(deep.astype(np.int32)), "TIFF"), "refuse")


def turned() -> Iterator[Case]:
    """EXIF 1 to 8: the stored picture is turned so that the shown one is always the base."""
    inverse = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores it so
    for value, turn in inverse.items():
        stored = base() if turn is None else base().transpose(Image.Transpose(turn))
        exif = Image.Exif()
        exif[0x0112] = value
        for kind in ("JPEG", "PNG", "WEBP"):
            options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
            yield Case(f"{kind} orientation {value}", encoded(stored, kind, exif=exif, **options), "accept", SIZE, QUADRANTS)
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = value
        yield Case(f"orientation {value} does not exist", encoded(base(), "JPEG", quality=95, exif=exif), "accept", SIZE, QUADRANTS)
    broken = encoded(base(), "JPEG", quality=95)
    for index, body in enumerate((b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01" * 40)):
        segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        yield Case(f"broken EXIF {index}", broken[:2] + segment + broken[2:], "accept", SIZE, QUADRANTS)
    many = (
        b"Exif\0\0II*\0\x08\0\0\0"
        + struct.pack("<H", 5000)
        + b"".join(struct.pack("<HHII", 40000 + i % 20000, 99, 1, 7) for i in range(5000))
    )
    segment = b"\xff\xe1" + struct.pack(">H", len(many) + 2) + many
    yield Case("EXIF of 5000 tags", broken[:2] + segment + broken[2:], "accept", SIZE, QUADRANTS)


def truncated(seed: int) -> Iterator[Case]:
    generator = np.random.default_rng(seed)
    noise = Image.fromarray(generator.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        whole = encoded(noise.quantize(64) if kind == "GIF" else noise, kind)
        for share in (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
            yield Case(f"{kind} cut at {share:.0%}", whole[: int(share * len(whole))], "either" if share > 0.9 else "refuse")
        for index in range(10):
            damaged = bytearray(whole)
            for place in generator.integers(12, len(whole), 20):
                damaged[place] = generator.integers(256)
            yield Case(f"{kind} damaged {index}", bytes(damaged), "either")
        start, middle = len(whole) // 2, bytes(len(whole) // 2)
        yield Case(f"{kind} second half zero", whole[:start] + middle, "either")


def bombs() -> Iterator[Case]:
    yield Case("50 million pixels", png(10_000, 5_000, 1), "accept", (10_000, 5_000))
    for width, height, depth, colour in (
        (13_000, 13_000, 1, 0),
        (8_000, 8_000, 8, 2),
        (50_001, 1_000, 1, 0),
        (1_000, 50_100, 1, 0),
        (2**31 - 1, 2**31 - 1, 8, 6),
    ):
        rows = zlib.compress(bytes(100)) if width > 10**6 else None
        yield Case(f"PNG of {width} x {height}", png(width, height, depth, colour, rows), "refuse")
    for width, height in ((1, 10_000), (10_000, 1), (65_500, 1), (3, 200)):
        yield Case(f"thin {width} x {height}", png(width, height, 1), "refuse")
    yield Case("as thin as is allowed", png(100, 2, 8), "accept", (100, 2))
    yield Case("nothing by nothing", png(0, 0, rows=zlib.compress(b"")), "refuse")
    header = encoded(Image.new("L", (16, 16)), "GIF")
    yield Case("GIF that says 65535 x 65535", header[:6] + b"\xff\xff\xff\xff" + header[10:], "refuse")
    jpeg = encoded(Image.new("RGB", (16, 16)), "JPEG")
    place = jpeg.index(b"\xff\xc0") + 5
    yield Case("JPEG that says 65535 x 65535", jpeg[:place] + b"\xff\xff\xff\xff" + jpeg[place + 4 :], "refuse")
    scan = jpeg[jpeg.index(b"\xff\xda") : -2]
    yield Case("JPEG of 4000 scans", jpeg[:-2] + scan * 4000 + jpeg[-2:], "refuse")
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    yield Case("PNG with a text bomb", png(8, 8, extra=text), "either")
    profile = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    yield Case("PNG with a profile bomb", png(8, 8, extra=profile), "either")
    yield Case("more bytes than allowed", encoded(base(), "PNG") + bytes(20_000_001), "refuse")


def disguises() -> Iterator[Case]:
    picture = base()
    for kind in ("PPM", "ICO", "TGA", "JPEG2000", "PCX", "EPS", "PDF", "SGI", "DDS"):
        yield Case(f"{kind} as a picture", encoded(picture, kind), "refuse", file_name="photo.png")
    yield Case("empty", b"", "refuse")
    for name, data in (
        ("SVG", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
        ("HTML", b"<!doctype html><script>alert(1)</script>"),
        ("GIF word alone", b"GIF89a"),
        ("JPEG word alone", b"\xff\xd8\xff"),
        ("PNG word alone", b"\x89PNG\r\n\x1a\n"),
        ("zip", b"PK\x03\x04" + bytes(100)),
        ("program", b"\x7fELF" + bytes(200)),
        ("pickle", b"\x80\x04\x95\x00\x00\x00\x00"),
        ("HEIC", struct.pack(">I", 24) + b"ftypheic" + bytes(300)),
        ("AVIF", struct.pack(">I", 24) + b"ftypavif" + bytes(300)),
        ("BMP word alone", b"BM" + bytes(10)),
        ("letter", b"BM is how this letter begins, dear Sir or Madam, and it goes on for a while."),
    ):
        yield Case(name, data, "refuse", file_name="photo.jpg")
    yield Case("PNG called JPEG", encoded(picture, "PNG"), "accept", SIZE, QUADRANTS, "photo.jpg")
    yield Case("PNG and a zip behind it", encoded(picture, "PNG") + b"PK\x05\x06" + bytes(18), "accept", SIZE, QUADRANTS)
    yield Case("JPEG and HTML behind it", encoded(picture, "JPEG", quality=95) + b"<script>alert(1)</script>", "accept", SIZE, QUADRANTS)


def animated() -> Iterator[Case]:
    frames = [base(), *(Image.new("RGB", SIZE, (i, 0, 0)) for i in range(5))]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        prepared = [f.quantize(16) for f in frames] if kind == "GIF" else frames
        options = {"lossless": True} if kind == "WEBP" else {}
        yield Case(
            f"animated {kind}", encoded(prepared[0], kind, save_all=True, append_images=prepared[1:], **options), "accept", SIZE, QUADRANTS
        )


def names() -> Iterator[Case]:
    data = encoded(base(), "PNG")
    for index, name in enumerate(NAMES):
        yield Case(f"name {index}", data, "accept", SIZE, QUADRANTS, name)


def shapes() -> Iterator[Case]:
    """The smallest, the thinnest and the largest that are taken, in every format; and just beyond."""
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"):
        for width, height in ((1, 1), (1, 50), (50, 1), (2, 3)):
            yield Case(f"{kind} of {width} x {height}", encoded(Image.new("RGB", (width, height), RED), kind), "accept", (width, height))
        yield Case(f"{kind} of 1 x 51", encoded(Image.new("RGB", (1, 51), RED), kind), "refuse")
        yield Case(f"{kind} of 1 x 10,000", encoded(Image.new("L", (1, 10_000)), kind), "refuse")


def cases(seed: int = 0) -> list[Case]:
    """All cases; the same for the same seed."""
    makers = (ordinary(), modes(), turned(), truncated(seed), bombs(), disguises(), animated(), names(), shapes())
    return [case for maker in makers for case in maker]
