"""Recordings and spectrograms become arrays: one sound wave, or one row of bands per step of time."""

from __future__ import annotations

import math
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from harken.data.opening import one_line
from harken.errors import DataError, MissingExtraError

_RIFF = (b"RIFF", b"RIFX", b"RF64")  # little-endian, big-endian, beyond 4 GiB
_CODINGS = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_FASTEST = 768_000  # Hz; the resampling filter grows with the rate, and a header can claim billions
_LOUDEST = 10.0  # +20 dB; nobody mixes so hot, but samples of 16 bits written as they are into floats reach 32,768
_SURVEYED = 2_000  # files whose headers tell the rate of all


def audio_reader() -> ModuleType:
    """The soundfile package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import soundfile  # type: ignore[import-untyped]
    except (ImportError, OSError):  # OSError: libsndfile is missing
        raise MissingExtraError("soundfile", "audio") from None
    return cast(ModuleType, soundfile)


def recording_rate(path: Path) -> int:
    """Samples a second, by the file's header.

    Raises:
        DataError: not a WAV file that `decode_recording` takes.
        MissingExtraError: no soundfile.
    """
    return _open_wav(path)[1]


def common_rate(paths: Sequence[Path]) -> int:
    """The rate that most files have, the lower one at a tie; unreadable files are passed over.

    Of many files 2,000 are looked at, evenly chosen.

    Raises:
        DataError: none can be read.
        MissingExtraError: no soundfile.
    """
    counts: dict[int, int] = {}
    problem = "there are none"
    for at in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _SURVEYED)).astype(int)).tolist():
        try:
            rate = recording_rate(paths[at])
            counts[rate] = counts.get(rate, 0) + 1
        except DataError as error:
            problem = str(error)
    if not counts:
        raise DataError(f"none of the {len(paths):,} recordings can be read: {problem}")
    return max(counts, key=lambda rate: (counts[rate], -rate))


def decode_recording(path: Path, rate: int, max_seconds: float) -> npt.NDArray[np.float32]:
    """A WAV file as one sound wave.

    Channels are averaged. Where the file has another rate, the wave is resampled by ``up / down``, the two rates over
    their greatest common divisor, with `scipy.signal.resample_poly` (an FIR filter, Kaiser window with β = 5).

    Args:
        path: PCM of 8, 16, 24 or 32 bits, floating point of 32 or 64, µ-law or A-law.
        rate: samples a second, wanted.
        max_seconds: a longer recording is refused by its header, before it is read.

    Returns:
        (L,) float32 in [-1, 1]; empty for a file without samples.

    Raises:
        DataError: not WAV, damaged, too long, or samples that are no numbers or far beyond 1; the text names the file.
        MissingExtraError: no soundfile.
    """
    frames, found = _open_wav(path)
    if frames > max_seconds * found:
        raise DataError(f"{path} lasts {frames / found:,.1f} seconds, more than {max_seconds:g}: cut it")
    soundfile = audio_reader()
    try:
        channels, _ = soundfile.read(str(path), dtype="float32", always_2d=True)  # (L, channels)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        raise DataError(f"{path} is damaged: {one_line(error)}") from None
    if len(channels) < frames:
        raise DataError(f"{path} is cut short: it has {len(channels):,} samples of {frames:,}")
    wave = channels.mean(axis=1)  # (L,)
    if not np.isfinite(wave).all():
        raise DataError(f"{path} holds samples that are not numbers (NaN or infinity): record or convert it again")
    loudest = float(np.abs(wave).max(initial=0))
    if loudest > _LOUDEST:
        raise DataError(f"{path} holds samples up to {loudest:,.0f}, and they must lie between -1 and 1: scale them")
    if found != rate and len(wave):
        from scipy.signal import resample_poly  # type: ignore[import-untyped]

        divisor = math.gcd(rate, found)
        wave = resample_poly(wave, rate // divisor, found // divisor)
    clipped: npt.NDArray[np.float32] = np.clip(wave, -1, 1)  # resampling swings a little beyond, as hot mixes do
    return clipped


def _open_wav(path: Path) -> tuple[int, int]:
    """How many samples a channel has, and the rate."""
    soundfile = audio_reader()
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if head[:4] not in _RIFF or head[8:] != b"WAVE":
        raise DataError(f"{path} is no WAV file, whatever its name: convert it to WAV, as with ffmpeg")
    try:
        info = soundfile.info(str(path))
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {one_line(error)}") from None
    if info.subtype not in _CODINGS:
        raise DataError(f"{path} is compressed ({info.subtype_info}): convert it to WAV of 16 bits, as with ffmpeg")
    if not 1 <= info.samplerate <= _FASTEST:
        raise DataError(f"{path} has {info.samplerate:,} samples a second, and must have 1 to {_FASTEST:,}: correct it")
    return int(info.frames), int(info.samplerate)


def decode_spectrogram(path: Path, max_values: int = 100_000_000) -> npt.NDArray[np.float32]:
    """A spectrogram that was saved by NumPy, turned so that time comes first.

    Args:
        path: .npy, or .npz of one array or of one that is called "spectrogram": (F, T), bands by time.
        max_values: an array of more is refused by its header, before it is read.

    Returns:
        (T, F) float32; NaN stays, as a value that is missing.

    Raises:
        DataError: not such a file, too large, not two dimensions of real numbers, or infinite; the text names the file.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                with zipfile.ZipFile(file) as archive:
                    info = _member(archive, path)
                    with archive.open(info) as member:
                        array = _read_array(cast(BinaryIO, member), info.file_size, path, max_values)
            else:
                file.seek(0)
                array = _read_array(file, path.stat().st_size, path, max_values)
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise all sorts of things at bytes that are none of theirs
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path} cannot be read: {error.strerror}") from None
        raise DataError(f"{path} is damaged or not a file of numpy.save or numpy.savez: {one_line(error)}") from None
    with np.errstate(over="ignore"):
        steps = np.ascontiguousarray(array.T, dtype=np.float32)  # (T, F)
    if np.isinf(steps).any():
        raise DataError(f"{path} holds infinite values, as the logarithm of 0 is: add a little before taking it")
    return steps


def _member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """The one array, or the one called spectrogram."""
    arrays = archive.infolist()
    named = [info for info in arrays if info.filename == "spectrogram.npy"] or arrays
    if len(named) != 1:
        names = ", ".join(info.filename.removesuffix(".npy") for info in arrays[:5]) or "none"
        raise DataError(f"{path} must hold one array, or one called spectrogram: it has {names}")
    info = named[0]
    mode = info.external_attr >> 16
    linked = bool(stat.S_IFMT(mode)) and not stat.S_ISREG(mode)
    packed = info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if info.is_dir() or linked or packed or info.flag_bits & 1:  # 1: encrypted
        raise DataError(f"{path} holds {info.filename!r}, which is no plain array: write it again with numpy.savez")
    return info


def _read_array(file: BinaryIO, size: int, path: Path, max_values: int) -> npt.NDArray[np.generic]:
    """(F, T), once the header of the array and the ``size`` of its file agree with each other.

    Nothing is unpacked beyond what the header claims, so a zip file cannot grow into more than that.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    if dtype.hasobject:
        raise DataError(f"{path} holds Python objects, which are never loaded from files: save numbers")
    if len(shape) != 2 or dtype.kind not in "iuf" or shape[0] < 1 or shape[1] < 0:
        raise DataError(f"{path} is {dtype} {shape}, and must be real numbers (bands, time)")
    values = math.prod(shape)
    if values > max_values:
        raise DataError(f"{path} is {shape}, {values:,} values, more than {max_values:,}: cut it")
    claimed, there = values * dtype.itemsize, size - file.tell()
    if claimed != there:
        raise DataError(f"{path} is damaged: its header claims {claimed:,} bytes, and it has {there:,}")
    content = file.read(claimed)
    if len(content) != claimed:
        raise DataError(f"{path} is cut short: it has {len(content):,} bytes of {claimed:,}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
