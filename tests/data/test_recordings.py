import os
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from harken.data.recordings import common_rate, decode_recording, decode_spectrogram, recording_rate
from harken.errors import DataError, MissingExtraError

soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def wave():
    """A second of 440 Hz at 8 kHz, half as loud as can be."""
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)


def write(path, wave, rate=8000, **options):
    soundfile.write(str(path), wave, rate, **{"format": "WAV"} | options)
    return path


@pytest.mark.parametrize(
    ("subtype", "step"),
    [
        *[("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("FLOAT", 2**-24)],
        *[("DOUBLE", 2**-24), ("ULAW", 2**-5), ("ALAW", 2**-5)],
    ],
)
def test_every_coding_gives_the_wave(subtype, step, wave, tmp_path):
    decoded = decode_recording(write(tmp_path / "a.wav", wave, subtype=subtype), 8000, 1)
    assert decoded.dtype == np.float32
    assert decoded.shape == (8000,)
    assert np.abs(decoded - wave).max() <= step


@pytest.mark.parametrize("options", [{"endian": "BIG"}, {"format": "RF64"}, {"format": "WAVEX"}])
def test_every_header(options, wave, tmp_path):
    assert np.abs(decode_recording(write(tmp_path / "a", wave, **options), 8000, 1) - wave).max() <= 2**-15


def test_channels_are_averaged(wave, tmp_path):
    path = write(tmp_path / "a.wav", np.stack([wave, -wave / 2, 0 * wave], axis=1), subtype="FLOAT")
    assert np.abs(decode_recording(path, 8000, 1) - wave / 6).max() < 1e-6


@pytest.mark.parametrize(("found", "rate"), [(8000, 16000), (44100, 16000), (48000, 16000), (11025, 8000)])
def test_resampled_it_is_the_same_wave(found, rate, tmp_path):
    def tone(rate):
        return 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)

    decoded = decode_recording(write(tmp_path / "a.wav", tone(found), found, subtype="FLOAT"), rate, 2)
    assert decoded.dtype == np.float32
    assert len(decoded) == 2 * rate
    assert np.abs(decoded - tone(rate))[rate // 10 : -rate // 10].max() < 2e-3


def test_what_resampling_swings_beyond_is_cut_off(tmp_path):
    square = np.sign(np.sin(2 * np.pi * 100 * np.arange(8000) / 8000 + 0.01))
    decoded = decode_recording(write(tmp_path / "a.wav", square, subtype="FLOAT"), 16000, 1)
    assert np.abs(decoded).max() == 1


def test_no_samples(tmp_path):
    for rate in (8000, 16000):
        decoded = decode_recording(write(tmp_path / "a.wav", np.zeros(0)), rate, 1)
        assert decoded.shape == (0,)
        assert decoded.dtype == np.float32


@pytest.mark.parametrize("container", ["MP3", "FLAC", "OGG", "AIFF"])
def test_other_formats_called_wav(container, wave, tmp_path):
    path = write(tmp_path / "a.wav", wave, format=container)
    with pytest.raises(DataError, match=r"a\.wav is no WAV file, whatever its name: convert it to WAV, as with ffmp"):
        decode_recording(path, 8000, 1)
    with pytest.raises(DataError, match="is no WAV file"):
        recording_rate(path)


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "GSM610"])
def test_compressed_wav(subtype, wave, tmp_path):
    with pytest.raises(DataError, match=r"a\.wav is compressed \(.+\): convert it to WAV of 16 bits"):
        decode_recording(write(tmp_path / "a.wav", wave, subtype=subtype), 8000, 1)


def test_what_is_no_wav(wave, tmp_path):
    path = tmp_path / "a.wav"
    for content in (b"", b"RIFF", b"a text", b"RIFF\0\0\0\0AVI LIST"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.wav is no WAV file"):
            decode_recording(path, 8000, 1)
    path.write_bytes(b"RIFF\x24\0\0\0WAVEjunk")
    with pytest.raises(DataError, match=r"a\.wav is damaged: .+"):
        decode_recording(path, 8000, 1)
    with pytest.raises(DataError, match=r"b\.wav cannot be read: No such file or directory$"):
        decode_recording(tmp_path / "b.wav", 8000, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(bad, wave, tmp_path):
    wave[100] = bad
    with pytest.raises(DataError, match=r"a\.wav holds samples that are not numbers \(NaN or infinity\)"):
        decode_recording(write(tmp_path / "a.wav", wave, subtype="FLOAT"), 8000, 1)


def test_samples_beyond_one(wave, tmp_path):
    decoded = decode_recording(write(tmp_path / "a.wav", 3 * wave, subtype="FLOAT"), 8000, 1)
    assert np.abs(decoded - np.clip(3 * wave, -1, 1)).max() < 1e-6
    with pytest.raises(DataError, match="holds samples up to 16,384, and they must lie between -1 and 1: scale them"):
        decode_recording(write(tmp_path / "a.wav", 32768 * wave, subtype="FLOAT"), 8000, 1)


def test_too_long_is_refused_before_it_is_read(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(8_000_000), subtype="PCM_U8")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.wav lasts 1,000\.0 seconds, more than 60: cut it$"):
        decode_recording(path, 8000, 60)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    assert len(decode_recording(path, 8000, 1000)) == 8_000_000


def test_a_rate_that_cannot_be(wave, tmp_path):
    path = write(tmp_path / "a.wav", wave)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", 2_000_000_011)
    path.write_bytes(content)
    with pytest.raises(DataError, match="has 2,000,000,011 samples a second, and must have 1 to 768,000"):
        decode_recording(path, 8000, 1)


def test_the_rate_that_most_have(wave, tmp_path):
    rates = [8000, 8000, 16000, 16000, 44100]
    paths = [write(tmp_path / f"{at}.wav", wave, rate) for at, rate in enumerate(rates)]
    (tmp_path / "bad.wav").write_bytes(b"no")
    assert [recording_rate(path) for path in paths] == rates
    assert common_rate(paths) == 8000
    assert common_rate([tmp_path / "bad.wav", *paths[1:], tmp_path / "none.wav"]) == 16000
    assert common_rate(paths[-1:] * 5000) == 44100
    with pytest.raises(DataError, match=r"none of the 1 recordings can be read: .*bad\.wav is no WAV file"):
        common_rate([tmp_path / "bad.wav"])
    with pytest.raises(DataError, match="none of the 0 recordings can be read: there are none"):
        common_rate([])


def test_of_many_files_some_are_looked_at(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("harken.data.recordings.recording_rate", lambda path: seen.append(path) or 8000)
    paths = [tmp_path / str(at) for at in range(10_000)]
    assert common_rate(paths) == 8000
    assert len(seen) == len(set(seen)) == 2000
    assert (seen[0], seen[-1]) == (paths[0], paths[-1])


def test_without_soundfile(monkeypatch, wave, tmp_path):
    path = write(tmp_path / "a.wav", wave)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for use in (lambda: decode_recording(path, 8000, 1), lambda: recording_rate(path), lambda: common_rate([path])):
        with pytest.raises(MissingExtraError, match=r"soundfile is not installed: pip install 'harken\[audio\]' brin"):
            use()


@pytest.mark.parametrize("kind", [np.float32, ">f8", np.float16, np.int16, np.uint8])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", ["npy", "one", "named", "packed"])
def test_spectrograms_are_turned_so_that_time_comes_first(kind, order, save, tmp_path):
    bands = np.asarray(np.arange(12).reshape(3, 4), dtype=kind, order=order)
    path = tmp_path / "a"
    with path.open("wb") as file:
        match save:
            case "npy":
                np.save(file, bands)
            case "one":
                np.savez(file, anything=bands)
            case "named":
                np.savez(file, other=np.zeros(3), spectrogram=bands)
            case "packed":
                np.savez_compressed(file, bands)
    steps = decode_spectrogram(path)
    assert steps.dtype == np.float32
    assert steps.flags.c_contiguous
    assert np.array_equal(steps, bands.T)


def save(path, array):
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)
    return path


def test_missing_values_stay_and_no_time_is_legal(tmp_path):
    bands = np.array([[1, np.nan], [2, 3]])
    assert np.array_equal(decode_spectrogram(save(tmp_path / "a.npy", bands)), bands.T, equal_nan=True)
    assert decode_spectrogram(save(tmp_path / "a.npy", np.zeros((3, 0)))).shape == (0, 3)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize("archive", [False, True])
def test_objects_are_never_loaded(archive, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    array = np.array([[Trap(), Trap()]], dtype=object)
    if archive:
        np.savez("a.npz", array)
    path = tmp_path / "a.npz" if archive else save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"a\.np. holds Python objects, which are never loaded from files"):
        decode_spectrogram(path)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros(3), r"a\.npy is float64 \(3,\), and must be real numbers \(bands, time\)"),
        (np.zeros((1, 2, 3)), r"is float64 \(1, 2, 3\), and must be"),
        (np.zeros((0, 3)), "and must be real numbers"),
        (np.zeros((2, 3), complex), r"is complex128 \(2, 3\), and must be real numbers"),
        (np.zeros((2, 3), bool), r"is bool \(2, 3\), and must be"),
        (np.array([["a"]]), r"is <U1 \(1, 1\), and must be"),
        (np.array([[0, -np.inf]]), "holds infinite values, as the logarithm of 0 is"),
        (np.array([[1e300]]), "holds infinite values"),
    ],
)
def test_arrays_that_are_no_spectrograms(array, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        decode_spectrogram(save(tmp_path / "a.npy", array))


def test_size_is_judged_by_the_header(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**20)})
    with pytest.raises(DataError, match=r"is \(1048576, 1048576\), 1,099,511,627,776 values, more than 100,000,000"):
        decode_spectrogram(path)
    with pytest.raises(DataError, match="its header claims 4,398,046,511,104 bytes, and it has 0"):
        decode_spectrogram(path, max_values=2**41)
    with pytest.raises(DataError, match="more than 5: cut it"):
        decode_spectrogram(save(path, np.zeros((2, 3))), max_values=5)
    assert decode_spectrogram(path, max_values=6).shape == (3, 2)


def test_files_that_are_cut_short_or_damaged(tmp_path):
    path = tmp_path / "a"
    save(path, np.zeros((20, 30)))
    whole = path.read_bytes()
    np.savez_compressed(tmp_path / "b.npz", np.random.default_rng(0).random((20, 30)))
    packed = (tmp_path / "b.npz").read_bytes()
    spoilt = bytearray(packed)
    spoilt[len(packed) // 2] ^= 255
    for content in (whole[:-1], whole[:30], whole + b"\0", packed[:-30], bytes(spoilt), b"", b"text", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a is (damaged|cut short)"):
            decode_spectrogram(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        decode_spectrogram(tmp_path / "none.npy")


def test_zip_bombs(tmp_path):
    """Gigabytes behind the header of a small array, and a small size in the directory of a large one."""
    path = tmp_path / "a.npz"
    header = save(tmp_path / "b.npy", np.zeros((2, 3))).read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        member.write(header)
        for _ in range(64):
            member.write(b"\0" * 2**20)
    tracemalloc.start()
    with pytest.raises(DataError, match="its header claims 48 bytes, and it has 67,108,912"):
        decode_spectrogram(path)
    content = path.read_bytes()
    size = struct.pack("<I", 64 * 2**20 + len(header))
    assert size in content
    path.write_bytes(content.replace(size, struct.pack("<I", len(header))))
    with pytest.raises(DataError, match="is damaged"):
        decode_spectrogram(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_members_that_are_no_plain_arrays(tmp_path):
    path = tmp_path / "a.npz"
    content = save(tmp_path / "b.npy", np.zeros((2, 3))).read_bytes()
    link = zipfile.ZipInfo("spectrogram.npy")
    link.external_attr = 0o120777 << 16
    for info, packing in ((link, 0), ("x/", 0), ("x.npy", zipfile.ZIP_LZMA)):
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr(info, content)
        with pytest.raises(DataError, match="which is no plain array: write it again with numpy"):
            decode_spectrogram(path)
    np.savez(path, a=np.zeros((2, 3)), b=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"must hold one array, or one called spectrogram: it has a, b$"):
        decode_spectrogram(path)
