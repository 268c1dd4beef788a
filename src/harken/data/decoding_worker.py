"""One file decoded, and the process that does it for another: ``python -m harken.data.decoding_worker``.

The process is told what to make of files by its only argument, a `Reading` in JSON. It then answers every line of its
standard input, a path in JSON, by a line of JSON and, if that gives a shape, by the bytes of the array:

    → "pictures/a.jpg"        ← {"shape": [64, 64, 3], "dtype": "uint8"} and 12,288 bytes
    → "pictures/b.jpg"        ← {"problem": "pictures/b.jpg is no picture: give JPEG, …"}

Its first line, before it is asked, is {}: it has started. Nothing here imports torch, so that it starts quickly.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harken.data.opening import one_line
from harken.data.pictures import decode_picture
from harken.data.recordings import decode_recording, decode_spectrogram, recording_rate
from harken.errors import DataError, MissingExtraError


@dataclass(frozen=True)
class Reading:
    """What files are made into.

    Args:
        kind: what they hold.
        size: image: pixels on a side.
        max_pixels: image: larger files are refused.
        rate: audio: samples a second; None: as many as most files have.
        max_seconds: audio: longer files are refused.
        bands: spectrogram: how many all files have to have; 0: as many as the first good one.
        max_values: spectrogram: larger files are refused.
    """

    kind: Literal["image", "audio", "spectrogram"]
    size: int = 64
    max_pixels: int = 100_000_000
    rate: int | None = None
    max_seconds: float = 60.0
    bands: int = 0
    max_values: int = 100_000_000


def decode_file(path: Path, reading: Reading) -> npt.NDArray[Any] | str:
    """A file's array, or what is wrong with it.

    Returns:
        image (size, size, 3) uint8, audio (L,) float32, spectrogram (T, F) float32; or a problem, which names the file.

    Raises:
        MissingExtraError: no soundfile.
    """
    try:
        if reading.kind == "image":
            return decode_picture(path, reading.size, reading.max_pixels)
        if reading.kind == "audio":
            return decode_recording(path, reading.rate or recording_rate(path), reading.max_seconds)
        return decode_spectrogram(path, reading.max_values)
    except DataError as error:
        return str(error)
    except MissingExtraError:
        raise
    except Exception as error:  # a file must not end what its neighbours are part of
        return f"{path} cannot be decoded: {one_line(error) or type(error).__name__}"


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the terminal goes to all; the parent deals with it
    reading = Reading(**json.loads(sys.argv[1]))
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a decoder prints must not come between the answers
        _answer(answers, {})
        for line in sys.stdin.buffer:
            decoded = decode_file(Path(json.loads(line)), reading)
            if isinstance(decoded, str):
                _answer(answers, {"problem": decoded})
            else:
                _answer(answers, {"shape": decoded.shape, "dtype": str(decoded.dtype)}, decoded)


def _answer(answers: Any, header: dict[str, Any], content: npt.NDArray[Any] | None = None) -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    if content is not None:
        answers.write(np.ascontiguousarray(content).data)
    answers.flush()


if __name__ == "__main__":
    main()
