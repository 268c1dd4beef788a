"""A bundle comes back as it was, survives a death at every instant of saving, and is refused when it is not whole."""

import contextlib
import errno
import functools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harken import bundle as bundle_module
from harken.bundle import FORMAT, MANIFEST, WEIGHTS, Bundle, tokenizer_names
from harken.config import Seq2SeqRun, SequenceRun
from harken.data.features import Tokenizer
from harken.errors import BundleError

TEXTS = ["27 sept 1994", "été ␣ 中", "a\tb"]
NAMES = {MANIFEST, WEIGHTS, "source_tokenizer.json", "target_tokenizer.json"}


@pytest.fixture(autouse=True)
def _fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can pull the plug, so waiting for the disk proves nothing; that it is asked to write is a test below."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@functools.cache
def make(mark: float = 0.0) -> Bundle:
    """A small bundle that can be told from others by ``mark``."""
    config = Seq2SeqRun().override(
        hidden_size=8, validation="held_out.csv", patience=3, devices="0,1", learning_rate=0.1
    )
    tokenizers = {
        "source": Tokenizer.fit(TEXTS, "character", 8000, markers=False),
        "target": Tokenizer.fit(TEXTS, "character", 8000, markers=True),
    }
    weights = {"output.weight": torch.full((3, 4), mark), "output.bias": torch.arange(3.0)}
    return Bundle(config, tokenizers, weights, {"mark": mark, "longest_target": 10})


def mark_of(path: Path) -> float:
    loaded = Bundle.load(path)
    assert loaded.facts["mark"] == loaded.weights["output.weight"][0, 0].item()  # all of it from one saving
    return float(loaded.facts["mark"])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    make().save(tmp_path / "run" / "bundle")
    return tmp_path / "run" / "bundle"


# A round trip


def test_everything_comes_back(saved: Path) -> None:
    before, after = make(), Bundle.load(saved)
    assert {file.name for file in saved.iterdir()} == NAMES
    assert after.config == before.config
    assert after.facts == before.facts
    assert after.weights.keys() == before.weights.keys()
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in before.weights)
    for name in ("source", "target"):
        old, new = before.tokenizers[name], after.tokenizers[name]
        assert (new.kind, new.vocabulary_size, new.bos_id, new.eos_id) == (
            old.kind,
            old.vocabulary_size,
            old.bos_id,
            old.eos_id,
        )
        assert torch.equal(new.encode([*TEXTS, "?"]).values, old.encode([*TEXTS, "?"]).values)


def test_weights_keep_dtype_layout_and_sharing_is_no_obstacle(tmp_path: Path) -> None:
    shared = torch.randn(4, 6, requires_grad=True)
    weights = {
        "tied": shared,
        "again": shared,
        "view": shared.detach()[1:3].t(),
        "half": torch.randn(3).bfloat16(),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 5),
    }
    original = make()
    Bundle(original.config, original.tokenizers, weights).save(tmp_path / "b")
    loaded = Bundle.load(tmp_path / "b").weights
    for name, tensor in weights.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_facts_survive_as_json_gives_them_back(tmp_path: Path) -> None:
    facts = {
        "pair": (1, 2),
        "by_number": {10: "a", 9: "b"},
        "text": "\ud800 中",
        "loss": float("inf"),
        "none": None,
    }
    original = make()
    Bundle(original.config, original.tokenizers, original.weights, facts).save(tmp_path / "b")
    assert Bundle.load(tmp_path / "b").facts == json.loads(json.dumps(facts))


def test_loads_from_the_run_folder_and_through_a_link_the_user_names(saved: Path, tmp_path: Path) -> None:
    (saved.parent / "metrics.json").write_text("{}")
    (tmp_path / "latest").symlink_to(saved.parent)
    (tmp_path / "best").symlink_to(saved)
    for path in (saved.parent, str(saved), tmp_path / "latest", tmp_path / "best"):
        assert Bundle.load(path).facts == make().facts
    make(5).save(tmp_path / "best")
    assert (tmp_path / "best").is_symlink()
    assert mark_of(saved) == 5


# Bundles of every task


def sequence_bundle(kind: str, **options: object) -> Bundle:
    config = SequenceRun().override(label="stars").settled(kind).override(**options)
    tokenizer = Tokenizer.fit(TEXTS, "character", 8000, markers=False)
    return Bundle(config, dict.fromkeys(tokenizer_names(config), tokenizer), make().weights, {"heads": []})


@pytest.mark.parametrize(
    ("kind", "options", "names"),
    [
        ("text", {}, {"input"}),
        ("sentences", {"task": "regress"}, {"input"}),
        ("words", {"task": "tag"}, {"input", "characters"}),
        ("words", {"task": "tag", "characters": False}, {"input"}),
        ("ids", {}, set()),
        ("series", {}, set()),
        ("vectors", {}, set()),
    ],
)
def test_a_bundle_holds_the_tokenizers_that_its_input_needs(
    tmp_path: Path, kind: str, options: dict[str, object], names: set[str]
) -> None:
    before = sequence_bundle(kind, **options)
    before.save(tmp_path / "b")
    assert {f.name for f in (tmp_path / "b").iterdir()} == {MANIFEST, WEIGHTS} | {f"{n}_tokenizer.json" for n in names}
    after = Bundle.load(tmp_path / "b")
    assert (after.config, after.facts, after.tokenizers.keys()) == (before.config, before.facts, names)
    (tmp_path / "b" / "source_tokenizer.json").write_text("{}")
    refused(tmp_path / "b", "source_tokenizer.json", "remove it")


def test_one_task_s_bundle_takes_the_place_of_another_s(tmp_path: Path) -> None:
    for bundle in (sequence_bundle("words"), make(), sequence_bundle("series")):
        bundle.save(tmp_path / "b")
        assert Bundle.load(tmp_path / "b").config == bundle.config


def test_a_bundle_from_before_there_were_other_tasks(saved: Path) -> None:
    """Its config lacks the options that came since, and has the defaults of then."""
    since = {"training": ("batch_steps", "min_steps")}

    def older(manifest: dict) -> None:
        for section, names in since.items():
            for name in names:
                del manifest["config"][section][name]

    edit(saved, older)
    assert Bundle.load(saved).config == make().config


# Saving survives


def test_every_file_and_folder_is_asked_through_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    make().save(tmp_path / "bundle")
    written = [tmp_path, tmp_path / "bundle", *(tmp_path / "bundle").iterdir()]
    assert {file.stat().st_ino for file in written} <= set(synced)
    assert synced[-1] == tmp_path.stat().st_ino  # the rename, after what it makes visible


class Killed(BaseException):
    """What a test raises in place of SIGKILL: nothing catches it."""


class Fault:
    """Breaks the disk at its ``step``-th change: for good when the process is `Killed`, once when the disk is full."""

    OPERATIONS = ("mkdir", "rename", "unlink", "rmdir", "fsync")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, kind: type[BaseException]) -> None:
        self.step, self.kind, self.count, self.happened = step, kind, 0, False
        for name in self.OPERATIONS:
            monkeypatch.setattr(os, name, self._broken(name, getattr(os, name)))

    def _broken(self, name: str, original: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object, **options: object) -> None:
            self.count += 1
            if self.count == self.step or (self.happened and self.kind is Killed):
                if name == "fsync" and not self.happened and stat.S_ISREG(os.fstat(args[0]).st_mode):
                    os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)  # what was being written stays half
                self.happened = True
                raise Killed if self.kind is Killed else OSError(errno.ENOSPC, "No space left on device")
            original(*args, **options)

        return call


def save_and_die(save: Callable[[Path], None], path: Path, step: int) -> Fault:
    with pytest.MonkeyPatch.context() as patch:
        fault = Fault(patch, step, Killed)
        with contextlib.suppress(Killed):
            save(path)
    return fault


def marks_after_deaths(save: Callable[[Path], None], folder: Path) -> list[float]:
    """What is loaded after ``save`` died at step 1, 2, … over a bundle marked 1."""
    marks = []
    for step in range(1, 1000):
        path = folder / str(step) / "bundle"
        make(1).save(path)
        fault = save_and_die(save, path, step)
        marks.append(mark_of(path))
        assert mark_of(path.parent) == marks[-1]  # the run folder finds it too
        if not fault.happened:
            return marks
    raise AssertionError("saving never ends")


def test_a_death_at_any_step_leaves_the_old_or_the_new_bundle(tmp_path: Path) -> None:
    marks = marks_after_deaths(lambda path: make(2).save(path), tmp_path)
    assert len(marks) > 10
    assert marks == sorted(marks)  # never the old one again once the new one was there
    assert set(marks) == {1, 2}


def test_that_test_finds_a_save_that_writes_in_place(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        marks_after_deaths(lambda path: make(2)._write(path), tmp_path)


def test_a_death_during_recovery_from_a_death(tmp_path: Path) -> None:
    first, finished = 0, False
    while not finished:
        first += 1
        second, again = first % 3 - 2, True  # every third step, and every step for some first death
        while again:
            second += 3
            path = tmp_path / f"{first}-{second}" / "bundle"
            make(1).save(path)
            finished = not save_and_die(lambda p: make(2).save(p), path, first).happened
            before = mark_of(path)
            again = save_and_die(lambda p: make(3).save(p), path, second).happened
            assert mark_of(path) in {before, 3}
            make(4).save(path)
            assert mark_of(path) == 4
            assert {entry.name for entry in path.parent.iterdir()} == {"bundle"}
            shutil.rmtree(path.parent)
    assert first > 10


def test_a_death_in_the_first_saving_leaves_nothing_or_all(tmp_path: Path) -> None:
    outcomes = []
    for step in range(1, 1000):
        path = tmp_path / str(step) / "bundle"
        fault = save_and_die(lambda p: make(2).save(p), path, step)
        try:
            outcomes.append(mark_of(path))
        except BundleError:
            outcomes.append(0.0)
        make(3).save(path)
        assert mark_of(path) == 3
        if not fault.happened:
            break
    assert outcomes[0] == 0
    assert outcomes[-1] == 2
    assert outcomes == sorted(outcomes)


def test_a_full_disk_is_one_sentence_and_leaves_the_old_bundle(tmp_path: Path) -> None:
    outcomes, sentences = [], []
    for step in range(1, 1000):
        path = tmp_path / str(step) / "bundle"
        make(1).save(path)
        with pytest.MonkeyPatch.context() as patch:
            fault = Fault(patch, step, OSError)
            try:
                make(2).save(path)
                refused = False
            except BundleError as error:
                refused = True
                sentences.append(str(error))
        outcomes.append((refused, mark_of(path)))
        if not fault.happened:
            break
    assert len(sentences) > 7
    assert all("No space left on device" in sentence for sentence in sentences)
    assert set(outcomes) == {(True, 1), (True, 2), (False, 2)}
    assert outcomes.count((True, 2)) == 1  # both renames done, and the folder above did not reach the disk


def test_a_full_disk_leaves_no_half_written_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bundle"
    make(1).save(path)

    def full(file: Path, content: bytes) -> str:
        file.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundle_module, "_write_file", full)
    with pytest.raises(BundleError, match=r"cannot save the bundle .*: No space left on device; an earlier one is not"):
        make(2).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    assert mark_of(path) == 1


def test_a_real_kill_beside_a_reader(tmp_path: Path) -> None:
    """One process saves without a pause, this one loads without a pause, then the first is killed."""
    script = (
        "import sys, itertools\nfrom pathlib import Path\nfrom test_bundle import make\n"
        "for mark in itertools.count(1): make(mark).save(Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    path = tmp_path / "bundle"
    make(0).save(path)
    with subprocess.Popen([sys.executable, "-c", script, str(path)], env=environment) as writer:
        try:
            deadline = time.monotonic() + 60
            while (seen := mark_of(path)) < 30:
                assert writer.poll() is None
                assert time.monotonic() < deadline, seen
        finally:
            writer.send_signal(signal.SIGKILL)
    assert mark_of(path) >= seen
    make(-1).save(path)
    assert mark_of(path) == -1
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("in_the_way", ["folder", "file"])
def test_never_replaces_what_is_no_bundle(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / "thesis"
    file = path / "chapter.txt" if in_the_way == "folder" else path
    file.parent.mkdir(exist_ok=True)
    file.write_text("years of work")
    with pytest.raises(BundleError, match=r"chapter.txt|in the way"):
        make().save(path)
    assert file.read_text() == "years of work"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis"]


# Loading refuses


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    """Change the manifest and make its checksum agree, so that the rule behind the checksum is what refuses."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    if isinstance(manifest.get("sha256"), dict):
        manifest["sha256"][MANIFEST] = bundle_module._digest(bundle_module._canonical(rest))
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_an_honest_edit_passes(saved: Path) -> None:
    """`edit` itself breaks nothing: what the tests below refuse is what they changed."""
    edit(saved, lambda m: m["facts"].update(note="x"))
    assert Bundle.load(saved).facts["note"] == "x"


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "flipped", "longer", "link", "folder", "pipe"])
def test_damaged_files(saved: Path, name: str, damage: str) -> None:
    file = saved / name
    content = file.read_bytes()
    file.unlink()
    if damage == "truncated":
        file.write_bytes(content[:-3])
    elif damage == "empty":
        file.touch()
    elif damage == "flipped":  # one bit
        place = content.index(b"greedy") if name == MANIFEST else len(content) // 2
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    elif damage == "longer":
        file.write_bytes(content + b"x")
    elif damage == "link":
        (saved.parent / "elsewhere").write_bytes(content)
        file.symlink_to(saved.parent / "elsewhere")
    elif damage == "folder":
        file.mkdir()
    elif damage == "pipe":
        os.mkfifo(file)
    refused(saved, name)


def test_extra_files(saved: Path) -> None:
    (saved / "weights.pkl").write_text("")
    refused(saved, "weights.pkl", "remove it")


def test_no_bundle_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "no such folder")
    refused(tmp_path, "holds no bundle.json")
    (tmp_path / "file").write_text("{}")
    refused(tmp_path / "file", "must be a folder")


def test_a_linked_bundle_inside_a_run_folder(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "bundle").symlink_to(saved)
    refused(tmp_path / "other", "link")


def test_a_changed_option_is_found(saved: Path) -> None:
    text = (saved / MANIFEST).read_text()
    assert '"reverse_source": false' in text
    (saved / MANIFEST).write_text(text.replace('"reverse_source": false', '"reverse_source": true'))
    refused(saved, "changed")


def test_a_newer_format(saved: Path) -> None:
    edit(saved, lambda m: m.update(format=FORMAT + 1, harken="9.9", surprise=1))
    refused(saved, f"format {FORMAT + 1}", "9.9", "pip install --upgrade harken")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda m: m.update(format="1"), "format version"),
        (lambda m: m.update(format=True), "format version"),
        (lambda m: m.update(format=0), "format version"),
        (lambda m: m.pop("format"), "format version"),
        (lambda m: m.pop("facts"), "exactly"),
        (lambda m: m.update(run="os.system"), "run"),
        (lambda m: m.update(task="dance"), "dance"),
        (lambda m: m.update(task=["seq2seq"]), "task"),
        (lambda m: m["config"].update(task="dance"), "task"),
        (lambda m: m.update(config=[]), "mappings"),
        (lambda m: m["config"]["model"].update(hiden_size=3), "hidden_size"),
        (lambda m: m["config"]["model"].update(hidden_size=-3), "hidden_size"),
        (lambda m: m.update(sha256="0"), "mappings"),
        (lambda m: m["sha256"].update({"../../etc/passwd": "0"}), "../../etc/passwd"),
        (lambda m: m["sha256"].pop(WEIGHTS), "lists the wrong files"),
        (lambda m: m["sha256"].update({WEIGHTS: None}), WEIGHTS),
    ],
)
def test_a_manifest_that_breaks_a_rule(saved: Path, change: Callable[[dict], None], part: str) -> None:
    edit(saved, change)
    refused(saved, part)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\ufeff{}", '{"format": 1' + "0" * 5000 + "}"])
def test_a_manifest_that_is_no_object(saved: Path, text: str) -> None:
    (saved / MANIFEST).write_text(text, encoding="utf-8")
    refused(saved, MANIFEST)


@pytest.mark.parametrize("name", [WEIGHTS, "source_tokenizer.json"])
def test_a_file_with_a_right_checksum_and_wrong_content(saved: Path, name: str) -> None:
    (saved / name).write_bytes(b"nonsense")
    edit(saved, lambda m: m["sha256"].update({name: bundle_module._digest(b"nonsense")}))
    refused(saved, name)
