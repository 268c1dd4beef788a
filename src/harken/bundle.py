"""What is on disk: configuration, tokenizers and weights, as a folder of JSON and safetensors.

    bundle/
    ├── bundle.json              format version, task, config, facts, and the sha256 of every other file
    ├── weights.safetensors
    └── NAME_tokenizer.json      of each tokenizer that the configuration asks for (`tokenizer_names`), if any

Nothing in it is a pickle: loading runs no code. The checksums find truncation, bit rot and hand edits; they
are no signature, so they do not show who wrote the folder.

A folder cannot be replaced in one step, so saving goes through two siblings:

    1. write and fsync      .bundle.new     bundle is still the previous one
    2. rename               bundle          → .bundle.old
    3. rename               .bundle.new     → bundle
    4. remove               .bundle.old

A process killed between 2 and 3 leaves no ``bundle`` but two whole siblings. `Bundle.load` then reads the
newer one without touching the disk, and the next `Bundle.save` first finishes the interrupted swap.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from harken._version import __version__
from harken.config import TASKS, LanguageModelRun, RunConfig, Seq2SeqRun, SequenceRun
from harken.data.features import Tokenizer
from harken.errors import BundleError, ConfigError

FORMAT = 1
MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
FOLDER = "bundle"  # its name inside a run folder
TOKENIZERS = ("source", "target", "input", "characters", "text")  # all that there are; see `tokenizer_names`

_KEYS = {"format", "harken", "task", "config", "facts", "sha256"}
_RETRIES = 20


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained model, apart from any class that runs it.

    Args:
        config: every option of the run.
        tokenizers: name → tokenizer; the names that `tokenizer_names` gives for the config.
        weights: parameter name → tensor, as `Module.state_dict` gives them.
        facts: what was learned beside weights and is plain JSON, such as the longest training answer.
    """

    config: RunConfig
    tokenizers: Mapping[str, Tokenizer]
    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the folder ``path`` in place of the bundle that stands there; one of the two is always whole.

        Raises:
            BundleError: ``path`` holds files that are no bundle's, or the disk refuses; the old one stands.
        """
        home = Path(path).resolve()  # a link to a bundle keeps pointing at the newest one
        refuse_foreign(home)
        new, old = _siblings(home)
        try:
            home.parent.mkdir(parents=True, exist_ok=True)
            _finish_swap(home)
            try:
                self._write(new)
                _swap(home, new, old)
            except OSError:
                _remove(new)
                raise
        except OSError as error:
            reason = error.strerror or error
            raise BundleError(f"cannot save the bundle to {home}: {reason}; an earlier one is not lost") from error

    @classmethod
    def load(cls, path: str | Path) -> Bundle:
        """Read a bundle from its own folder or from the run folder around it.

        Safe beside a process that is saving to the same place: the answer is one whole bundle or the other.

        Raises:
            BundleError: no bundle there; a file missing, extra, linked, truncated or changed; a newer format;
                options or a task that this harken does not know.
        """
        home = _home(Path(path).resolve())
        for _ in range(_RETRIES):
            before = _identity(home)
            result: Bundle | BundleError
            try:
                result = cls._read_any(home)
            except BundleError as error:
                result = error
            except OSError as error:
                result = BundleError(f"cannot read {error.filename or home}: {error.strerror or error}")
            if _identity(home) != before:
                continue  # another process put a new bundle here meanwhile
            if isinstance(result, BundleError):
                raise result
            return result
        raise BundleError(f"{home} changes while it is read: wait until the other process has saved")

    def _write(self, folder: Path) -> None:
        _remove(folder)
        folder.mkdir()
        # Copies, because safetensors refuses tensors that share memory (tied weights) or that are views.
        weights = {name: w.detach().cpu().contiguous().clone() for name, w in self.weights.items()}
        checksums = {WEIGHTS: _write_file(folder / WEIGHTS, safetensors.torch.save(weights))}
        for name in tokenizer_names(self.config):
            file = folder / _tokenizer_file(name)
            checksums[file.name] = _write_file(file, self.tokenizers[name].to_json())
        manifest = {
            "format": FORMAT,
            "harken": __version__,
            "task": self.config.task,
            "config": self.config.model_dump(mode="json"),
            "facts": json.loads(json.dumps(dict(self.facts))),  # as it will be read: its checksum must agree
        }
        manifest["sha256"] = {MANIFEST: _digest(_canonical(manifest)), **checksums}
        # Last, because without it nothing is whole. ASCII, because a text may hold lone surrogates.
        _write_file(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode("ascii"))
        _sync_folder(folder)

    @classmethod
    def _read_any(cls, home: Path) -> Bundle:
        """Read ``home``, or what a killed `save` left beside it: the newer if it is whole, else the older."""
        if home.exists() or home.is_symlink():
            return cls._read(home)
        left = [folder for folder in _siblings(home) if folder.is_dir()]
        for folder in left:
            try:
                return cls._read(folder)
            except BundleError:
                if folder == left[-1]:
                    raise
        raise BundleError(f"{home} is no bundle: there is no such folder")

    @classmethod
    def _read(cls, folder: Path) -> Bundle:
        config, facts, files = _verified(folder)
        try:
            weights = safetensors.torch.load(files[WEIGHTS])
        except (SafetensorError, KeyError, ValueError) as error:
            raise BundleError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from None
        tokenizers = {
            name: Tokenizer.from_json(files[file], str(folder / file))
            for name, file in ((name, _tokenizer_file(name)) for name in tokenizer_names(config))
        }
        return cls(config, tokenizers, weights, facts)


def tokenizer_names(config: RunConfig) -> tuple[str, ...]:
    """The tokenizers that the bundle of a run holds; a `SequenceRun` must be settled."""
    if isinstance(config, Seq2SeqRun):
        return ("source", "target")
    if isinstance(config, LanguageModelRun):
        return ("text",)
    if isinstance(config, SequenceRun) and config.data.input in ("text", "sentences", "words"):
        return ("input", "characters") if config.data.input == "words" and config.features.characters else ("input",)
    return ()


# Reading


def _verified(folder: Path) -> tuple[RunConfig, dict[str, Any], dict[str, bytes]]:
    """Options and facts, and the bytes of every file beside them, after all checksums were compared."""
    file = folder / MANIFEST
    if folder.is_symlink() or not folder.is_dir():
        raise BundleError(f"{folder} is no bundle: it must be a folder, not a file or a link")
    if not os.path.lexists(file):
        raise BundleError(f"{folder} is no bundle: it holds no {MANIFEST}")
    manifest = _parse(file, _read_file(file))
    checksums = manifest["sha256"]
    _compare(file, _canonical({k: v for k, v in manifest.items() if k != "sha256"}), checksums.get(MANIFEST))
    try:
        config = RunConfig.build(manifest["config"])
    except ConfigError as error:
        raise BundleError(f"{file} holds options that this harken cannot use: {error}") from None
    expected = {WEIGHTS, *map(_tokenizer_file, tokenizer_names(config))}
    present = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
    if missing := expected - present:
        raise BundleError(f"{folder} is incomplete, copy all of it again: {_listed(missing)} is missing")
    if extra := present - expected:
        raise BundleError(f"{folder} holds {_listed(extra)}, which is no part of a bundle: remove it")
    if checksums.keys() != expected | {MANIFEST}:
        raise BundleError(f"{file} lists the wrong files ({_listed(checksums)}): it was changed after it was saved")
    files = {name: _read_file(folder / name) for name in sorted(expected)}
    for name, content in files.items():
        _compare(folder / name, content, checksums[name])
    return config, manifest["facts"], files


def _compare(file: Path, content: bytes, checksum: object) -> None:
    if _digest(content) != checksum:
        raise BundleError(f"{file} was truncated or changed after it was saved: its checksum is another")


def _parse(file: Path, content: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(content.decode("ascii"))
    except (ValueError, RecursionError):
        raise BundleError(f"{file} is truncated or is no JSON file") from None
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is not int or version < 1:
        raise BundleError(f"{file} names no format version: it is not harken's")
    if version > FORMAT:
        raise BundleError(
            f"{file} has format {version}, written by harken {manifest.get('harken', '?')}, and this is "
            f"harken {__version__}, which reads up to format {FORMAT}: pip install --upgrade harken"
        )
    if manifest.keys() != _KEYS:
        raise BundleError(f"{file} must hold exactly {_listed(_KEYS)}: it holds {_listed(manifest)}")
    if not all(isinstance(manifest[key], dict) for key in ("config", "facts", "sha256")):
        raise BundleError(f"{file} must hold mappings under config, facts and sha256")
    task = manifest["task"]
    if not isinstance(task, str) or task not in TASKS or manifest["config"].get("task") != task:
        raise BundleError(f"{file} is for the task {task!r}: this harken reads {_listed(TASKS)}")
    return manifest


def _home(path: Path) -> Path:
    """The bundle folder that ``path`` stands for: itself, or the one in a run folder."""
    inner = path / FOLDER
    found = any(os.path.lexists(folder) for folder in (inner, *_siblings(inner)))
    return inner if found and not os.path.lexists(path / MANIFEST) else path


def _identity(home: Path) -> tuple[int, int] | None:
    """Changes whenever another bundle takes the place of this one."""
    try:
        status = home.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _read_file(file: Path) -> bytes:
    """The bytes of a regular file; links, pipes and devices are not opened."""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise BundleError(f"{file} is no regular file: links are not followed")
    return file.read_bytes()


# Writing


def _siblings(home: Path) -> tuple[Path, Path]:
    """Where the next bundle is written and where the previous one waits to be removed: newer first."""
    return home.parent / f".{home.name}.new", home.parent / f".{home.name}.old"


def refuse_foreign(home: Path) -> None:
    """A bundle takes the place of a bundle, or of nothing: never of somebody's other files.

    Raises:
        BundleError: something else stands there.
    """
    if not home.exists():
        return
    if not home.is_dir():
        raise BundleError(f"cannot save the bundle to {home}: a file of that name is in the way")
    if foreign := {entry.name for entry in home.iterdir()} - _own_files():
        raise BundleError(f"{home} holds {_listed(foreign)}, and a bundle needs a folder of its own: name another")


def _swap(home: Path, new: Path, old: Path) -> None:
    if home.exists():
        home.rename(old)
        try:
            new.rename(home)
        except OSError:
            old.rename(home)
            raise
    else:
        new.rename(home)
    _sync_folder(home.parent)
    with contextlib.suppress(OSError):  # the new one is in place; the next `save` clears away what is left
        _remove(old)


def _finish_swap(home: Path) -> None:
    """Put in place what a killed `save` left beside ``home``, and clear the rest away."""
    new, old = _siblings(home)
    if not home.exists():
        try:
            _verified(new)
            new.rename(home)
        except BundleError:
            if old.exists():
                old.rename(home)
        _sync_folder(home.parent)
    _remove(new)
    _remove(old)


def _remove(folder: Path) -> None:
    """Remove a bundle folder and nothing foreign with it, the manifest first: no half passes for a whole."""
    if folder.is_symlink():  # somebody else's folder, and none of our files
        folder.unlink()
    if not folder.exists():
        return
    for name in sorted(_own_files(), key=lambda name: name != MANIFEST):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def _write_file(file: Path, content: bytes) -> str:
    """Write through to the disk; the sha256 of what was meant, not of what arrived."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return _digest(content)


def _sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder survive a power cut (Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _own_files() -> set[str]:
    return {MANIFEST, WEIGHTS, *map(_tokenizer_file, TOKENIZERS)}


def _tokenizer_file(name: str) -> str:
    return f"{name}_tokenizer.json"


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))
