"""Ways in which the files of an artifact are damaged, and what a hostile author writes into them."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

NOT_FACTS = (None, -1, 0, 10**12, 1e999, "x", "../x", "/etc/passwd", [], {}, ["../x"], {"../x": 1}, 0.5, float("nan"))
META = "pt_meta.json"


class Touches:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


def places(content, at=()):
    """Every place in a JSON object."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ():
        yield (*at, key)
        yield from places(value, (*at, key))


def changed(content, place, value, delete=False):
    """The JSON object with another value in this place, or without it."""
    content = json.loads(json.dumps(content))
    parent = content
    for key in place[:-1]:
        parent = parent[key]
    if delete:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return content


def damage_file(path: Path, kind: str, at: float, other: Path, marker: Path) -> None:
    """Damages one file; ``at``, from 0 to 1, says where; ``other`` is a file to swap it with."""
    data = path.read_bytes()
    place = min(int(at * len(data)), len(data) - 1)
    if kind == "missing":
        path.unlink()
    elif kind == "a folder":
        path.unlink()
        path.mkdir()
    elif kind == "a dangling link":
        path.unlink()
        path.symlink_to(marker)
    elif kind == "truncated":
        path.write_bytes(data[:place])
    elif kind == "longer":
        path.write_bytes(data + data[:1])
    elif kind == "flipped":
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << int(at * 997) % 8]) + data[place + 1 :])
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps(Touches(marker)))
    elif kind == "a checkpoint of torch":
        torch.save(Touches(marker), path)
    elif kind == "lists in lists":
        path.write_bytes(b"[" * 200_000)
    else:  # swapped
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)


KINDS = ("missing", "a folder", "a dangling link", "truncated", "longer", "flipped", "a pickle", "a checkpoint of torch",
         "lists in lists", "swapped")  # fmt: skip


def sign_model(folder: Path) -> None:
    """Writes the checksums of what is there into the metadata, as an author of the artifact can."""
    meta = json.loads((folder / META).read_text())
    meta["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in meta["sha256"]}
    (folder / META).write_text(json.dumps(meta))


def sign_shards(folder: Path, lines: list) -> None:
    """Writes these lines of shards, and metadata that fit them."""
    (folder / "shards.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data, meta = (folder / "shards.jsonl").read_bytes(), json.loads((folder / META).read_text())
    meta |= {"shards_bytes": len(data), "sha256": meta["sha256"] | {"shards.jsonl": hashlib.sha256(data).hexdigest()}}
    (folder / META).write_text(json.dumps(meta))


def hostile_weights(path: Path, how: str) -> None:
    """Rewrites a file of weights as no ``save`` would."""
    state = load_file(path)
    name = sorted(state)[0]
    state = {
        "other shape": state | {name: state[name].flatten()[:1].clone()},
        "whole numbers": state | {name: state[name].to(torch.int32)},
        "NaN": state | {name: torch.full_like(state[name], torch.nan)},
        "none": {},
        "other names": {f"../{key}": w for key, w in state.items()},
    }[how]
    save_file(state, path)
