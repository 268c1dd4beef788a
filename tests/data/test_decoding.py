import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harken.data import decoding_pool, stored
from harken.data.decoding import decode_files
from harken.data.decoding_worker import Reading, decode_file
from harken.errors import DataError, MissingExtraError

PICTURE, SPECTROGRAM = Reading("image", size=8), Reading("spectrogram")


@pytest.fixture
def pictures(tmp_path):
    """70 small pictures of as many colours, two of them bad and one none."""
    paths = [tmp_path / f"{at}.png" for at in range(70)]
    for at, path in enumerate(paths):
        Image.new("RGB", (9, 7), (at, 255 - at, 2 * at)).save(path)
    paths[3].write_text("no picture")
    paths[69].unlink()
    paths[10] = None
    return paths


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A worker whose decoder does what the file says, the way a broken library would; its name is what files hold."""
    script = """
        import os, sys, time
        from pathlib import Path
        import harken.data.decoding_worker as worker
        real = worker.decode_picture
        def decode(path, size, most):
            match Path(path).read_bytes()[:5]:
                case b"crash": os.abort()
                case b"hangs": time.sleep(600)
                case b"print": os.write(1, b"noise"); print("noise", flush=True); path = Path(path).with_suffix(".png")
                case b"memor": raise MemoryError
                case b"cutof": os.write(worker_out(), b'{"shape": [8, 8, 3], "dtype": "uint8"}\\n12'); os._exit(0)
                case b"trash": os.write(worker_out(), b'nonsense\\n'); time.sleep(600)
            return real(path, size, most)
        def worker_out():
            return max(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")
                       and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"))
        worker.decode_picture = decode
        worker.main()
    """
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "planted_worker.py").write_text(textwrap.dedent(script))
    monkeypatch.syspath_prepend(str(tmp_path / "planted"))
    monkeypatch.setattr(decoding_pool, "_PROGRAM", "planted_worker")


@pytest.fixture(autouse=True)
def nothing_left():
    """No process, thread or pipe outlives a test."""

    def pipes():
        names = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return sorted(name for name in names if name.startswith("pipe:"))

    before = pipes()
    yield
    assert pipes() == before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("harken-decoding")]
    with contextlib.suppress(ChildProcessError):  # no children, which is right too
        assert os.waitpid(-1, os.WNOHANG)[0] == 0


def expected(paths):
    return [decode_file(path, PICTURE) if path is not None else None for path in paths]


@pytest.mark.parametrize("workers", [None, 0, 1, 3])
def test_pictures_are_rows_in_order(workers, pictures):
    shown = []
    rows, problems = decode_files(pictures, PICTURE, workers=workers, show=shown.append)
    assert shown == list(range(1, 71))
    assert len(rows) == 70
    assert rows.values.dtype == torch.uint8
    assert rows.values.shape == (67 * 8, 8, 3)
    assert problems == {
        3: f"{pictures[3]} is no picture: give JPEG, PNG, WebP, GIF, BMP, TIFF or PPM",
        69: f"{pictures[69]} cannot be read: No such file or directory",
    }
    for row, one in zip(rows, expected(pictures), strict=True):
        if isinstance(one, np.ndarray):
            assert np.array_equal(row, one)
        else:
            assert len(row) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_recordings(workers, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    waves = [np.linspace(-0.5, 0.5, 100 * at) for at in range(5)]
    paths = [tmp_path / f"{at}.wav" for at in range(5)]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave, 8000)
    rows, problems = decode_files([*paths, None], Reading("audio", rate=8000, max_seconds=0.04), workers=workers)
    assert rows.lengths.tolist() == [0, 100, 200, 300, 0, 0]
    assert rows.values.dtype == torch.float32
    assert problems == {4: f"{paths[4]} lasts 0.1 seconds, more than 0.04: cut it"}
    assert np.abs(rows[2].numpy() - waves[2]).max() < 2**-15
    rows, _ = decode_files(paths, Reading("audio", rate=16_000), workers=workers)
    assert rows.lengths.tolist() == [0, 200, 400, 600, 800]
    rows, _ = decode_files(paths, Reading("audio"), workers=workers)
    assert rows.lengths.tolist() == [0, 100, 200, 300, 400]


@pytest.mark.parametrize("workers", [0, 2])
def test_spectrograms_have_as_many_bands_as_the_first_good_one(workers, tmp_path):
    shapes = [(3, 0, 4), (2, 3), (5, 4), (2, 1), (2, 0)]
    paths = [tmp_path / f"{at}.npy" for at in range(5)]
    for path, shape in zip(paths, shapes, strict=True):
        np.save(path, np.full(shape, 1.5))
    rows, problems = decode_files(paths, SPECTROGRAM, workers=workers)
    assert rows.lengths.tolist() == [0, 3, 0, 1, 0]
    assert rows.values.shape == (4, 2)
    assert problems == {
        0: f"{paths[0]} is float64 (3, 0, 4), and must be real numbers (bands, time)",
        2: f"{paths[2]} has 5 bands, and {paths[1]} before it has 2: make them alike",
    }
    rows, problems = decode_files(paths, Reading("spectrogram", bands=5), workers=workers)
    assert rows.lengths.tolist() == [0, 0, 4, 0, 0]
    assert problems[1] == f"{paths[1]} has 2 bands, and must have 5: make them alike"


@pytest.mark.parametrize(
    ("reading", "shape"),
    [
        *[(PICTURE, (0, 8, 3)), (Reading("audio", rate=8000), (0,)), (SPECTROGRAM, (0, 1))],
        (Reading("spectrogram", bands=5), (0, 5)),
    ],
)
@pytest.mark.parametrize("paths", [[], [None, None]])
def test_no_files(reading, shape, paths):
    rows, problems = decode_files(paths, reading, workers=2)
    assert rows.values.shape == shape
    assert rows.lengths.tolist() == [0] * len(paths)
    assert problems == {}


def test_much_is_mapped_and_little_is_read(pictures, monkeypatch, recwarn, tmp_path):
    little = decode_files(pictures, PICTURE).rows
    monkeypatch.setattr(stored, "_IN_MEMORY", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    much = decode_files(pictures, PICTURE).rows
    assert not list((tmp_path / "temporary").iterdir())
    maps = Path("/proc/self/maps")
    assert sum("/temporary/" in line and "(deleted)" in line for line in maps.read_text().splitlines()) == 1
    assert torch.equal(little.values, much.values)
    much.values[0] = 7  # its own copy of the page: nothing is written to the file
    assert len(recwarn) == 0
    del much
    assert "/temporary/" not in maps.read_text()


@pytest.mark.parametrize("content", ["crash", "cutof", "trash", "memor"])
def test_a_decoder_that_breaks_takes_one_row_with_it(content, planted, pictures):
    for at in (0, 20, 21, 68):
        pictures[at].write_text(content)
    rows, problems = decode_files(pictures, PICTURE, workers=2)
    assert sorted(problems) == [0, 3, 20, 21, 68, 69]
    ending = "MemoryError" if content == "memor" else "its decoder crashed: leave it out, or convert it"
    assert problems[20].startswith(f"{pictures[20]} ")
    assert problems[20].endswith(ending)
    assert rows.lengths.tolist() == [0 if at in (*problems, 10) else 8 for at in range(70)]
    assert np.array_equal(rows[22], decode_file(pictures[22], PICTURE))


def test_a_decoder_that_hangs_is_ended(planted, pictures, monkeypatch):
    monkeypatch.setattr(decoding_pool, "_PATIENCE", 3.0)
    pictures[20].write_text("hangs")
    _, problems = decode_files(pictures, PICTURE, workers=2)
    assert sorted(problems) == [3, 20, 69]
    assert problems[20] == f"{pictures[20]} took more than 3 seconds to decode: leave it out, or convert it"


def test_what_a_decoder_prints_does_not_come_between(planted, pictures, tmp_path):
    noisy = tmp_path / "1.noisy"
    noisy.write_text("print")
    rows, problems = decode_files([noisy, pictures[2]], PICTURE, workers=1)
    assert problems == {}
    assert np.array_equal(rows[0], decode_file(pictures[1], PICTURE))
    assert np.array_equal(rows[1], decode_file(pictures[2], PICTURE))


def test_processes_that_do_not_start(pictures, monkeypatch):
    monkeypatch.setattr(decoding_pool, "_PROGRAM", "no_such_module")
    with pytest.raises(DataError, match=r"the processes that decode files do not start: see why with .* -m no_such_mo"):
        decode_files(pictures, PICTURE, workers=2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_ends_it_ends_the_processes(error, planted, pictures):
    pictures[2].write_text("hangs")

    def show(row):
        if row == 2:
            raise error

    began = time.monotonic()
    with pytest.raises(error):
        decode_files(pictures, PICTURE, workers=2, show=show)
    assert time.monotonic() - began < 30


def test_ctrl_c_while_one_hangs(planted, pictures, monkeypatch):
    pictures[2].write_text("hangs")
    shown = []

    def interrupt():
        while len(shown) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            decode_files(pictures, PICTURE, workers=2, show=shown.append)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_audio_without_soundfile(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtraError, match="soundfile is not installed"):
        decode_files([None], Reading("audio", rate=8000))


def test_names_of_any_bytes(pictures, tmp_path):
    strange = tmp_path / "a\n\udcff é.png"
    pictures[2].rename(strange)
    rows, problems = decode_files([strange], PICTURE, workers=1)
    assert problems == {}
    assert len(rows[0]) == 8


def test_a_module_in_the_working_folder_is_not_run(pictures, monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert len(decode_files(pictures[:2], PICTURE, workers=1).rows[1]) == 8


def test_a_worker_starts_without_torch_and_ends_with_its_input():
    script = "import sys, harken.data.decoding_worker\nprint({'torch', 'scipy', 'PIL', 'soundfile'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"
    command = [sys.executable, "-m", "harken.data.decoding_worker", '{"kind": "image"}']
    ran = subprocess.run(command, input=b'"none.png"\n', capture_output=True, timeout=60)
    assert ran.stdout == b'{}\n{"problem": "none.png cannot be read: No such file or directory"}\n'
    assert (ran.returncode, ran.stderr) == (0, b"")
