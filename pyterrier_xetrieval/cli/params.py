"""Arguments that several commands have in common, each named and checked in one way."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..store.files import beside

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from ..datasets import Collection
    from ..model import Xetrieval

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
POSITIVE = click.IntRange(min=1)
MISSING = click.option(
    "--missing", type=click.Choice(["error", "drop"]), default="error", show_default=True,
    help="A document without a text: refuse it, or leave it out and say how many were.",
)  # fmt: skip
SEED = click.option("--seed", default=0, type=click.IntRange(min=0), show_default=True, help="Of all random choices.")


class Device(click.ParamType):
    """A torch device that this machine has."""

    name = "device"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        import torch

        try:
            torch.empty(0, device=value)
        except (RuntimeError, AssertionError) as error:
            self.fail(f"{value!r} cannot be used here: {str(error).splitlines()[0]}", param, ctx)
        return value


DEVICE = click.option("--device", type=Device(), help='Where the models compute, e.g. "cuda".  [default: cpu]')


class NewPath(click.Path):
    """A file or folder to write, in a folder that exists and takes files: better refused now than after the work."""

    def __init__(self, *, folder: bool = False):
        super().__init__(file_okay=not folder, dir_okay=folder, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"folder {path.parent} does not exist", param, ctx)
        if not path.exists() or path.is_file():  # a device or a pipe is written to as it is
            trial = beside(Path(os.path.realpath(path)))
            try:
                trial.touch()
                trial.unlink()
            except OSError as error:
                self.fail(f"cannot write to {path.parent}: {error.strerror}", param, ctx)
        return path


class Model(click.ParamType):
    """An artifact's folder, or ``default``, the bundled model; :func:`open_model` opens it."""

    name = "model"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != "default" and not Path(value).is_dir():
            self.fail(f"folder {value!r} does not exist", param, ctx)
        return value


class Features(click.ParamType):
    """Feature ids and ranges of them: ``17,20-29``."""

    name = "ids"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", value):
            self.fail(f"expects ids and ranges such as 17,20-29, found {value!r}", param, ctx)
        parts = [part.split("-") for part in value.split(",")]
        return list(dict.fromkeys(i for part in parts for i in range(int(part[0]), int(part[-1]) + 1)))


def open_model(value: str, device: str | None) -> tuple[Xetrieval, BiEncoder]:
    """The model that an argument of type :class:`Model` names, and its own encoder."""
    from ..model import Xetrieval

    model = Xetrieval.default(device=device) if value == "default" else Xetrieval(value, device=device)
    return model, model.encoder() if device is None else model.encoder(device=device)


def open_dataset(name: str, *, exclude_own_id: bool = False) -> Collection:
    """A BEIR-style folder, or what the package's provider knows by this name."""
    from ..datasets import beir_folder
    from ..datasets.provider import Provider

    try:
        return beir_folder(name, exclude_own_id=exclude_own_id) if Path(name).is_dir() else Provider().get_dataset(name)
    except KeyError as error:
        raise click.UsageError(f"DATASET is no folder, not pydocs, and {error.args[0]}") from None
