"""What a tokenizer is made of: its markers, its alphabet, and Hugging Face's pipeline that cuts and looks up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any, get_args

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from harken.config import TokenKind

# The space inside keeps users' texts from spelling a marker: it cannot occur in one character, in a word, or in the
# alphabet that stands for bytes. For the same reason they are plain entries, not the library's "special tokens".
PAD, UNK, BOS, EOS = "< pad >", "< unk >", "< bos >", "< eos >"

Merges = list[tuple[str, str]]


def markers_of(kind: TokenKind, markers: bool) -> list[str]:
    """The markers of a vocabulary, in the order of their ids."""
    return [PAD, *([] if kind in ("byte", "bpe") else [UNK]), *([BOS, EOS] if markers else [])]


def pipeline(kind: TokenKind, vocabulary: dict[str, int], merges: Merges, lowercase: bool) -> tokenizers.Tokenizer:
    """The library's tokenizer for a vocabulary, markers included."""
    model: models.Model
    if kind in ("word", "wordpunct"):
        model = models.WordLevel(vocabulary, unk_token=UNK)
    elif kind == "character":  # BPE that never merges: the same characters as Split(Regex("(?m).")), in half the time
        model = models.BPE(vocabulary, [], unk_token=UNK, fuse_unk=False)
    else:
        model = models.BPE(vocabulary, merges)
    return _prepared(model, kind, lowercase)


def learned_tokens(
    kind: TokenKind, texts: Iterable[str], room: int, lowercase: bool, min_count: int
) -> tuple[list[str], Merges]:
    """Tokens after the markers, in the order of their ids, and merges in the order learned.

    Args:
        kind: what one token is.
        texts: training rows.
        room: most tokens of word, wordpunct and bpe.
        lowercase: count capital letters as small ones.
        min_count: leave out what occurs less often.
    """
    trainer: trainers.Trainer
    match kind:
        case "character":
            small = normalizers.Lowercase().normalize_str if lowercase else str  # as the pipeline will do it
            counts: Counter[str] = Counter()
            for text in texts:
                counts.update(small(text))
            kept = [character for character, count in counts.items() if count >= min_count]
            return sorted(kept, key=lambda character: (-counts[character], character)), []
        case "byte":
            return byte_alphabet(), []
        case "bpe":
            model: models.Model = models.BPE()
            trainer = trainers.BpeTrainer(
                vocab_size=room,
                min_frequency=min_count,
                show_progress=False,
                special_tokens=[],
                initial_alphabet=byte_alphabet(),
            )
        case "word" | "wordpunct":
            model = models.WordLevel()
            trainer = trainers.WordLevelTrainer(
                vocab_size=room, min_frequency=min_count, show_progress=False, special_tokens=[]
            )
    learner = _prepared(model, kind, lowercase)
    learner.train_from_iterator(texts, trainer)
    fitted = json.loads(learner.to_str())["model"]
    return sorted(fitted["vocab"], key=fitted["vocab"].get), [tuple(pair) for pair in fitted.get("merges", [])]


def stored_tokens(content: dict[str, Any]) -> tuple[list[str], Merges]:
    """Tokens after the markers, and merges, of a saved file; ValueError where they are not what `save` writes."""
    kind, model = content["kind"], content["tokenizer"]["model"]
    if kind not in get_args(TokenKind) or not isinstance(content["markers"], bool):
        raise ValueError(f"kind {kind!r}, markers {content['markers']!r}")
    lowercase, min_count = content.get("lowercase", False), content.get("min_count", 1)
    if not isinstance(lowercase, bool) or type(min_count) is not int:
        raise ValueError(f"lowercase {lowercase!r}, min_count {min_count!r}")
    special = markers_of(kind, content["markers"])
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    if [model["vocab"][token] for token in tokens] != list(range(len(tokens))) or tokens[: len(special)] != special:
        raise ValueError("the ids of its vocabulary are not the markers and what follows them")
    tokens = tokens[len(special) :]
    merges = [(left, right) for left, right in model.get("merges", [])]
    alphabet = byte_alphabet()
    fits = {
        "character": all(len(token) == 1 for token in tokens),
        "word": all(" " not in token for token in tokens),
        "wordpunct": all(" " not in token for token in tokens),
        "byte": tokens == alphabet and not merges,
        "bpe": set(alphabet) <= set(tokens) and set("".join(tokens)) <= set(alphabet),
    }
    if not fits[kind]:
        raise ValueError(f"its vocabulary is not one of {kind} tokens")
    return tokens, merges


def _prepared(model: models.Model, kind: TokenKind, lowercase: bool) -> tokenizers.Tokenizer:
    """A model and what a text goes through before it; one rule for fitting and for encoding."""
    prepared = tokenizers.Tokenizer(model)
    if lowercase:
        prepared.normalizer = normalizers.Lowercase()  # keeps track of where in the text every letter came from
    if kind == "word":
        prepared.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    elif kind == "wordpunct":
        prepared.pre_tokenizer = pre_tokenizers.Whitespace()
    elif kind in ("byte", "bpe"):
        prepared.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == "bpe")
    return prepared


def byte_alphabet() -> list[str]:
    """The printable character that stands for each byte, 0 to 255, in a byte-level vocabulary (as in GPT-2)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    stand_ins = iter(range(256, 512))
    return [chr(byte if byte in printable else next(stand_ins)) for byte in range(256)]


_BYTE = {character: byte for byte, character in enumerate(byte_alphabet())}


def bytes_of(token: str) -> bytes:
    """What a token of a byte-level vocabulary stands for."""
    return bytes(_BYTE[character] for character in token)
