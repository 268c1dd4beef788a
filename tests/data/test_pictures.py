import io
import logging
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from harken.data.pictures import decode_picture, picture_from_array
from harken.errors import DataError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def colours():
    """8 × 8 in four quarters: red, green; blue, white."""
    rows = np.zeros((8, 8, 3), np.uint8)
    rows[:4, :4], rows[:4, 4:], rows[4:, :4], rows[4:, 4:] = RED, GREEN, BLUE, WHITE
    return rows


def save(path, picture, **options) -> Path:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def corners(rows):
    return [tuple(rows[row, column].tolist()) for row in (0, -1) for column in (0, -1)]


def png(width, height, depth, colour, *chunks) -> bytes:
    """A PNG file whose header claims what it wants."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in (header, *chunks, (b"IEND", b""))
    )


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "bmp", "tiff", "ppm", "jpg"])
def test_every_format_gives_the_pixels_that_were_saved(suffix, colours, tmp_path):
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    rows = decode_picture(save(tmp_path / f"a.{suffix}", colours, **options), 8)
    assert rows.dtype == np.uint8
    assert rows.shape == (8, 8, 3)
    assert rows.flags.writeable
    assert np.abs(rows.astype(int) - colours).max() <= (4 if suffix == "jpg" else 0)


def test_the_name_does_not_matter(colours, tmp_path):
    path = save(tmp_path / "a.txt", colours, format="PNG")
    assert np.array_equal(decode_picture(path, 8), colours)


def test_squashing_averages_all_pixels(tmp_path):
    fine = np.zeros((60, 120), np.uint8)
    fine[:, ::2] = 255  # stripes of one pixel, which taking every so-many-th pixel would turn black or white
    rows = decode_picture(save(tmp_path / "a.png", fine), 10)
    assert np.abs(rows.astype(int) - 127.5).max() < 2


def test_one_pixel(tmp_path):
    assert (decode_picture(save(tmp_path / "a.png", np.full((1, 1, 3), 7, np.uint8)), 5) == 7).all()
    assert decode_picture(save(tmp_path / "b.png", np.full((9, 9), 7, np.uint8)), 1).tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "PA", "L", "RGB", "1"])
def test_what_is_transparent_is_white(mode, tmp_path):
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:4] = 255  # black above; black too, but transparent, below
    path = tmp_path / ("a.tiff" if mode == "PA" else "a.png")
    if mode in ("LA", "RGBA"):
        save(path, Image.fromarray(np.dstack([np.zeros_like(alpha)] * (len(mode) - 1) + [alpha])))
    elif mode == "PA":
        image = Image.merge("PA", [Image.new("L", (8, 8)), Image.fromarray(alpha)])
        image.putpalette([0, 0, 0])
        rows = picture_from_array(image, 8)
        assert (rows[:4] == 0).all()
        assert (rows[4:] == 255).all()
        return
    elif mode == "P":
        image = Image.fromarray(alpha // 255).convert("P")
        image.putpalette([0, 0, 0, 0, 0, 0])
        save(path, image, transparency=0)
    else:  # one colour is called transparent: here the one below
        save(path, Image.fromarray(255 - alpha).convert(mode), transparency=WHITE if mode == "RGB" else 255)
    rows = decode_picture(path, 8)
    assert (rows[:4] == 0).all()
    assert (rows[4:] == 255).all()


def test_transparent_colours_do_not_bleed(tmp_path):
    rows = np.zeros((8, 8, 4), np.uint8)
    rows[..., 0], rows[:, ::2, 3] = 255, 255  # opaque red and, in every second column, transparent green
    rows[:, 1::2, :3] = GREEN
    half = decode_picture(save(tmp_path / "a.png", rows), 1)[0, 0]
    assert np.abs(half.astype(int) - [255, 127, 127]).max() <= 2  # half red, half the white behind it


def test_palette_without_transparency(colours, tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE))
    assert np.array_equal(decode_picture(path, 8), colours)


def test_one_bit(tmp_path):
    bits = np.arange(64).reshape(8, 8) % 3 == 0
    assert np.array_equal(decode_picture(save(tmp_path / "a.png", bits), 8)[..., 0], bits * 255)
    assert np.abs(decode_picture(tmp_path / "a.png", 3).astype(int) - 255 / 3).max() < 10  # averaged, not picked


def test_cmyk_ycbcr_and_lab_are_converted(colours, tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(colours).convert("CMYK"), quality=100, subsampling=0)
    with Image.open(path) as image:
        assert image.mode == "CMYK"
    assert np.abs(decode_picture(path, 8).astype(int) - colours).max() <= 6
    path = save(tmp_path / "a.tiff", Image.fromarray(colours).convert("YCbCr"))
    assert np.abs(decode_picture(path, 8).astype(int) - colours).max() <= 6
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(colours), srgb, lab, outputMode="LAB")
    assert np.abs(decode_picture(save(tmp_path / "b.tiff", image), 8).astype(int) - colours).max() <= 24  # LAB's 8 bits


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bits_of_gray_are_scaled_and_not_clipped(suffix, tmp_path):
    ramp = (np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8)
    rows = decode_picture(save(tmp_path / f"a.{suffix}", ramp), 8)
    assert np.abs(rows - (ramp / 257)[:, :, None]).max() <= 1
    assert rows[0, 0, 0] == 0
    assert rows[-1, -1, 0] == 255


def test_sixteen_bits_in_the_other_order_of_bytes(tmp_path):
    ramp = (np.arange(64) * 1040).reshape(8, 8)
    image = Image.frombytes("I;16B", (8, 8), ramp.astype(">u2").tobytes())
    assert np.abs(decode_picture(save(tmp_path / "a.tiff", image), 8)[..., 0] - ramp / 257).max() <= 1


def test_sixteen_bits_with_a_transparent_gray(tmp_path):
    row = b"\0" + np.array([0, 300], ">u2").tobytes()
    content = png(2, 1, 16, 0, (b"tRNS", struct.pack(">H", 300)), (b"IDAT", zlib.compress(row)))
    (tmp_path / "a.png").write_bytes(content)
    assert decode_picture(tmp_path / "a.png", 2)[0, :, 0].tolist() == [0, 255]


def test_sixteen_bits_of_rgb(tmp_path):
    row = b"\0" + np.array([65535, 32768, 0], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(1, 1, 16, 2, (b"IDAT", zlib.compress(row))))
    assert decode_picture(tmp_path / "a.png", 1).tolist() == [[[255, 128, 0]]]


def test_pixels_of_which_nobody_knows_what_is_white(tmp_path):
    path = save(tmp_path / "a.tiff", np.ones((4, 4), np.float32))
    with pytest.raises(DataError, match=r"a\.tiff holds floating-point pixels, .*: save it with 8 or 16 bits$"):
        decode_picture(path, 4)
    path = save(tmp_path / "b.tiff", np.full((4, 4), 70_000, np.int32))
    with pytest.raises(DataError, match=r"b\.tiff holds pixels from 70,000 to 70,000, and must hold 0 to 65,535"):
        decode_picture(path, 4)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_turned_as_exif_says(orientation, suffix, colours, tmp_path):
    big = np.kron(colours, np.ones((20, 40, 1), np.uint8))  # 160 × 320, so that JPEG decodes to a part of itself
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", big, exif=exif)
    expected = {
        2: colours[:, ::-1], 3: colours[::-1, ::-1], 4: colours[::-1], 5: colours.transpose(1, 0, 2),
        6: np.rot90(colours, -1), 7: colours[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(colours),
    }.get(orientation, colours)  # fmt: skip
    rows = decode_picture(path, 8)
    assert np.abs(np.array(corners(rows)) - np.array(corners(expected))).max() <= 12


def test_damaged_exif_leaves_the_picture_as_it_is(colours, tmp_path):
    path = save(tmp_path / "a.jpg", colours, exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk", quality=100, subsampling=0)
    assert np.abs(decode_picture(path, 8).astype(int) - colours).max() <= 4


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_the_first_picture_of_an_animation(suffix, colours, tmp_path):
    options = {"lossless": True} if suffix == "webp" else {}
    others = [Image.new("RGB", (8, 8), "black")]
    path = save(tmp_path / f"a.{suffix}", colours, save_all=True, append_images=others, **options)
    assert np.array_equal(decode_picture(path, 8), colours)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tiff", "ppm", "webp"])
@pytest.mark.parametrize("size", [8, 200])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_files_that_are_cut_short(suffix, size, part, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError, match=rf"a\.{suffix} is (cut short or damaged: .|no picture: give JPEG)"):
        decode_picture(path, size)


def test_what_is_no_picture(tmp_path):
    for content in (b"", b"just a text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", b"\x89PNG"):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.jpg is no picture: give JPEG, PNG, WebP, GIF, BMP, TIFF or PPM$"):
            decode_picture(tmp_path / "a.jpg", 8)
    with pytest.raises(DataError, match=r"b\.jpg cannot be read: No such file or directory$"):
        decode_picture(tmp_path / "b.jpg", 8)


def test_bombs_are_refused_before_memory_is_taken(tmp_path):
    row = zlib.compress(b"\0" * (20_000 // 8 + 1) * 20_000)
    bomb, small = tmp_path / "bomb.png", tmp_path / "small.png"
    bomb.write_bytes(png(20_000, 20_000, 1, 0, (b"IDAT", row)))
    small.write_bytes(png(10_001, 10_000, 8, 2))
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(DataError, match=r"bomb\.png has more than 100,000,000 pixels: make it smaller$"):
        decode_picture(bomb, 8)
    with pytest.raises(DataError, match=r"small\.png has 10,001 × 10,000 pixels, more than 100,000,000: make it sma"):
        decode_picture(small, 8)
    with pytest.raises(DataError, match=r"bomb\.png has more than 178,956,970 pixels"):
        decode_picture(bomb, 8, max_pixels=10**9)
    assert time.perf_counter() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_limit_of_ones_own(colours, tmp_path):
    path = save(tmp_path / "a.png", colours)
    assert decode_picture(path, 8, max_pixels=64).shape == (8, 8, 3)
    with pytest.raises(DataError, match="has 8 × 8 pixels, more than 63"):
        decode_picture(path, 8, max_pixels=63)


def test_bombs_in_texts_beside_the_picture(tmp_path):
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 2**27))
    pixel = (b"IDAT", zlib.compress(b"\0\0"))
    (tmp_path / "a.png").write_bytes(png(1, 1, 8, 0, text, pixel))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.png is cut short or damaged: Decompressed data too large"):
        decode_picture(tmp_path / "a.png", 8)
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_nothing_is_printed(colours, tmp_path):
    """Nor logged where nobody logs: a TIFF with more channels than there can be, and one byte too many of a text."""
    content = bytearray(save(tmp_path / "a.tiff", colours).read_bytes())
    at = content.index(struct.pack("<HHI", 277, 3, 1)) + 8  # SamplesPerPixel
    content[at : at + 2] = struct.pack("<H", 60_000)
    (tmp_path / "a.tiff").write_bytes(content)
    script = (
        "import sys; from pathlib import Path; from harken.data.pictures import decode_picture\n"
        "try: decode_picture(Path(sys.argv[1]), 8)\nexcept ValueError: print('refused')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.tiff")]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "default"})
    assert (ran.stdout, ran.stderr) == ("refused\n", "")
    assert logging.getLogger("PIL").level == logging.NOTSET


@pytest.mark.parametrize("scale", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays(scale, channels, colours):
    rows = colours if channels in (3, 4) else colours[..., 0]
    if channels == 4:
        rows = np.dstack([rows, np.full((8, 8), 255, np.uint8)])
    if channels == 1:
        rows = rows[:, :, None]
    factor = {np.uint8: 1, np.uint16: 257}.get(scale, 1 / 255)
    square = picture_from_array((rows.astype(np.float64) * factor).astype(scale), 8)
    assert np.array_equal(square, colours if channels in (3, 4) else np.broadcast_to(colours[..., :1], (8, 8, 3)))


def test_pillows_own_pictures(colours, tmp_path):
    assert np.array_equal(picture_from_array(Image.fromarray(colours), 8), colours)
    assert picture_from_array(colours[::2, ::-1], 5).shape == (5, 5, 3)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, format="JPEG")
    with Image.open(io.BytesIO(buffer.getvalue()[:-20])) as image, pytest.raises(DataError, match="cut short"):
        picture_from_array(image, 8)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros(4, np.uint8), r"the picture is uint8 \(4,\), and must be \(height, width\), or"),
        (np.zeros((4, 4, 2), np.uint8), r"the picture is uint8 \(4, 4, 2\), and must be"),
        (np.zeros((3, 4, 4, 3), np.uint8), "and must be"),
        (np.zeros((0, 4), np.uint8), "and must be"),
        (np.full((4, 4), 1.01), r"float64 \(4, 4\), and its numbers must lie between 0 and 1"),
        (np.full((4, 4), np.nan, np.float32), "must lie between 0 and 1"),
        (np.zeros((4, 4), np.int64), r"the picture is int64 \(4, 4\), and must be uint8, uint16"),
        ([["a"]], "and must be uint8"),
    ],
)
def test_arrays_that_are_no_pictures(array, complaint):
    with pytest.raises(DataError, match=complaint):
        picture_from_array(array, 8)
