"""Picture files become squares of 8-bit RGB, whatever their format, mode and size."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harken.data.opening import one_line
from harken.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

# No format whose reader runs another program (EPS starts Ghostscript) or is seldom used, and so seldom attacked.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP")
_GAP = 2.0  # a picture is averaged over whole pixels down to this many times the size, and interpolated from there

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its complaints are printed where nobody logs


def decode_picture(path: Path, size: int, max_pixels: int = 100_000_000) -> npt.NDArray[np.uint8]:
    """A picture file as a square.

    The first picture of an animation counts. It is turned as EXIF says, squashed to ``size`` × ``size`` (bilinear over
    all the pixels that fall together) and laid on white where it is transparent. 16 bits are scaled to 8; colour
    profiles are not applied.

    Args:
        path: JPEG, PNG, WebP, GIF, BMP, TIFF or PPM, by its content and not by its name.
        size: pixels on a side.
        max_pixels: a picture of more is refused by its header, before memory is taken for it. Pillow's own limit,
            178,956,970, holds too.

    Returns:
        (size, size, 3) uint8: rows, columns, RGB.

    Raises:
        DataError: not a picture, cut short or damaged, too large, or of floating-point pixels; the text names the file.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # An open file and not a path, which Pillow may map into memory: were it cut meanwhile, that ends the process.
        with (
            warnings.catch_warnings(action="ignore"),
            path.open("rb") as file,
            Image.open(file, formats=_FORMATS) as image,
        ):
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"{path} has {width:,} × {height:,} pixels, more than {max_pixels:,}: make it smaller")
            wanted = round(_GAP * size)
            image.draft(None, (wanted, wanted))  # JPEG decodes to a half, a quarter, an eighth of itself
            return _square(image, size, str(path))
    except DataError:
        raise
    except Image.DecompressionBombError:
        most = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise DataError(f"{path} has more than {most:,} pixels: make it smaller") from None
    except UnidentifiedImageError:
        raise DataError(f"{path} is no picture: give JPEG, PNG, WebP, GIF, BMP, TIFF or PPM") from None
    except Exception as error:  # whatever a decoder stumbles over
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        raise DataError(f"{path} is cut short or damaged: {one_line(error) or type(error).__name__}") from None


def picture_from_array(picture: npt.ArrayLike | Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """A picture that is in memory as a square, as `decode_picture` has it.

    Args:
        picture: Pillow's, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4, the last one opacity) of uint8, of
            uint16, or of floating-point numbers from 0 to 1.
        size: pixels on a side.

    Returns:
        (size, size, 3) uint8.

    Raises:
        DataError: any other array.
    """
    from PIL import Image

    if isinstance(picture, Image.Image):
        try:
            with warnings.catch_warnings(action="ignore"):
                return _square(picture, size, "the picture")
        except (OSError, SyntaxError) as error:  # opened by the caller, and read only now
            raise DataError(f"the picture is cut short or damaged: {one_line(error)}") from None
    array = np.asarray(picture)
    described = f"the picture is {array.dtype} {array.shape}"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]  # (H, W)
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise DataError(f"{described}, and must be (height, width), or (height, width, 1, 3 or 4 channels)")
    if array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):  # NaN neither
            raise DataError(f"{described}, and its numbers must lie between 0 and 1: scale them, or give uint8")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = _eight_bits(array)
    elif array.dtype != np.uint8:
        raise DataError(f"{described}, and must be uint8, uint16, or floating-point numbers between 0 and 1")
    return _square(Image.fromarray(np.ascontiguousarray(array)), size, "the picture")


def _square(image: Image.Image, size: int, name: str) -> npt.NDArray[np.uint8]:
    """Squashed, then turned and laid on white: in this order nothing but the decoded picture itself is large."""
    from PIL import Image

    image.load()
    turned = _turning(image)  # read after load, which turns TIFF by itself and reads what PNG has at its end
    image = _resizable(image, name)
    image = image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=_GAP)
    if turned is not None:
        image = image.transpose(turned)
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))  # (size, size, 3)


def _turning(image: Image.Image) -> Image.Transpose | None:
    """How the camera was held: what has to be done to the pixels."""
    from PIL import ExifTags, Image

    turns = (
        *(None, None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM),
        *(Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90),
    )
    try:
        written = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF raises all sorts of things, and the picture itself is there
        return None
    return turns[written] if isinstance(written, int) and 0 <= written < len(turns) else None


def _resizable(image: Image.Image, name: str) -> Image.Image:
    """In a mode whose neighbouring pixels can be averaged: L, LA, RGB or RGBA.

    Raises:
        DataError: pixels of which nobody knows what is white.
    """
    from PIL import Image

    if image.mode == "F":
        raise DataError(
            f"{name} holds floating-point pixels, of which nobody knows what is white: save it with 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # 16 bits of gray; I too, where PPM's are, and TIFF's of 32 bits
        gray = np.asarray(image)
        if not 0 <= gray.min() <= gray.max() <= 65535:
            raise DataError(
                f"{name} holds pixels from {gray.min():,} to {gray.max():,}, and must hold 0 to 65,535: save it with "
                "8 or 16 bits"
            )
        clear = image.info.get("transparency")  # PNG may call one gray transparent
        if isinstance(clear, int):
            gray = np.where(gray == clear, 65535, gray)
        return Image.fromarray(_eight_bits(gray.astype(np.uint16)))
    if image.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.has_transparency_data:  # in the palette, in one colour that is called transparent, or premultiplied
        return image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """0 … 65535 as 0 … 255, 257 k as k."""
    return ((values - (values >> 8) + 128) >> 8).astype(np.uint8)
