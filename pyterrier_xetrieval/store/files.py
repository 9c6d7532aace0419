"""Files and folders that are there whole or not at all, and the files that say what a folder is or was begun with."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from .facts import json_of, read_json


@contextmanager
def replacing(path: str | os.PathLike[str], mode: Literal["w", "wb"] = "w") -> Iterator[IO[Any]]:
    """A new file that takes the place of ``path`` when the block ends, in one step and on the disk.

    It is written beside its place, as ``.NAME.….unfinished``, a name that no other process of any machine has. When the
    block raises, it is removed and ``path`` stays as it was; only a killed process leaves it behind
    (:func:`remove_unfinished`). A link stays a link: what it points to is replaced. A device or a pipe has no content to
    be replaced: it is written to as it is.

    Args:
        path: in a folder that is there.
        mode: ``"w"`` for text in UTF-8, ``"wb"`` for bytes.

    Example::

        with replacing("codes.npy", "wb") as file:
            np.save(file, codes)
    """
    encoding = None if "b" in mode else "utf-8"
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, mode, encoding=encoding) as file:
            yield file
        return
    path = Path(os.path.realpath(path))
    unfinished = beside(path)
    try:
        with open(unfinished, mode, encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new folder that gets the name ``path`` when the block ends, in one step; :func:`replacing` for folders.

    Raises:
        FileExistsError: something is at ``path`` by then; it stays.

    Example::

        with new_folder("model") as folder:
            (folder / "README.md").write_text("…")
    """
    path = Path(path)
    unfinished = beside(path)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        try:
            unfinished.rename(path)
        except OSError:
            if os.path.lexists(path):
                raise FileExistsError(f"{path} already exists; choose another path or remove it first") from None
            raise
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def beside(path: Path) -> Path:
    """Where something is written before it gets the name ``path``."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished")


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left in a folder that nobody writes to now."""
    for path in folder.glob(".*.unfinished"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON object, all or nothing."""
    with replacing(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")


def same_as_kept(path: Path, arguments: dict, *, stage: str, keep: bool = True) -> None:
    """Compares a run's arguments with those that its work folder was begun with.

    Args:
        path: the file in the work folder that keeps them; with ``keep`` it is written where it is missing.
        arguments: what JSON can hold.
        stage: who asks; named in errors.

    Raises:
        ValueError: they differ (the message names all that do), or the file is damaged.
    """
    arguments = json.loads(json.dumps(arguments))
    if not path.is_file():
        if not keep:
            return
        with replacing(path) as file:
            json.dump(arguments, file, indent=1)
    try:
        kept = json_of(path.read_text(encoding="utf-8"))
        if not isinstance(kept, dict):
            raise ValueError(f"expected an object, found {type(kept).__name__}")
    except ValueError as error:
        raise ValueError(f"{stage}: {path} is damaged ({error}); remove it") from None
    other = [f"{_given(name, kept.get(name))}, not {value!r}" for name, value in arguments.items() if kept.get(name) != value]
    if other:
        told = "; ".join(other)
        raise ValueError(f"{stage}: {path.parent} was begun with {told}; name another work folder or remove that one")


def _given(name: str, value: object) -> str:
    return f"no {name}" if value is None else f"{name}={value!r}"


def artifact_kind(kind: type[Any]) -> dict[str, str]:
    """What the ``pt_meta.json`` of an artifact of this class says of its kind."""
    return {"type": kind.ARTIFACT_TYPE, "format": kind.ARTIFACT_FORMAT, "package_hint": kind.ARTIFACT_PACKAGE_HINT}


def artifact_facts(path: Path, kind: type[Any], needed: set[str]) -> dict:
    """The content of the ``pt_meta.json`` of an artifact's folder.

    Args:
        path: the folder; kind: the class of artifact that it must be; needed: keys that it must have.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON object, another kind of artifact, a key missing.
    """
    file = path / "pt_meta.json"
    facts = read_json(file)
    if not isinstance(facts, dict):
        raise ValueError(f"{file} is damaged: expected a JSON object, found {type(facts).__name__}")
    found, expected = f"{facts.get('type')}.{facts.get('format')}", f"{kind.ARTIFACT_TYPE}.{kind.ARTIFACT_FORMAT}"
    if not {"type", "format"} <= set(facts):
        raise ValueError(f"{file} is damaged: it does not say the type and format of an artifact, expected {expected}")
    if found != expected:
        raise ValueError(f"{path} is a {found} artifact, not {expected}")
    if missing := needed - set(facts):
        raise ValueError(f"{file} is damaged: {', '.join(sorted(missing))} missing")
    return facts
