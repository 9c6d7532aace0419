"""All public entries that are fuzzed, and how many cases are run."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.helpers.fuzz import artifacts, indexes, options, queries, readers, stages
from tests.helpers.fuzz.outcomes import Defect, QuickSource, Source

ENTRIES: dict[str, Callable[[Source], bool]] = {
    **options.ENTRIES, **readers.ENTRIES, **stages.ENTRIES, **queries.ENTRIES, **indexes.ENTRIES, **artifacts.ENTRIES
}  # fmt: skip


@dataclass
class Tally:
    """What became of the cases of one entry.

    Attributes:
        valid, refused: cases with the right answer, and with an error that says why there is none.
        defects: how often each other outcome came.
        unbuilt: how often the harness itself failed, by its error; these cases have told nothing about the package.
        first: the seed of the first case of each outcome that is told.
    """

    valid: int = 0
    refused: int = 0
    defects: Counter = field(default_factory=Counter)
    unbuilt: Counter = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return self.valid + self.refused + sum(self.defects.values()) + sum(self.unbuilt.values())


def run(entry: Callable[[Source], bool], cases: int, *, name: str, number: int = 0) -> Tally:
    """Draws and runs this many cases of an entry, whatever comes of them: no case ends the run.

    Args:
        name: of the entry; number: a seed. Case ``i`` is ``entry(QuickSource(f"{number}/{name}/{i}"))``.
    """
    tally = Tally()
    for i in range(cases):
        drawn = f"{number}/{name}/{i}"
        try:
            if entry(QuickSource(drawn)):
                tally.valid += 1
            else:
                tally.refused += 1
        except Exception as error:
            built = isinstance(error, AssertionError) or _in_the_package(error)
            what = " ".join(f"{'' if isinstance(error, Defect) else f'{type(error).__name__}: '}{error}".split())[:250]
            (tally.defects if built else tally.unbuilt)[what] += 1
            tally.first.setdefault(what, drawn)
    return tally


def _in_the_package(error: Exception) -> bool:
    """Whether the package was at work, which gives an entry the explanations or vectors that its case begins with."""
    return any("pyterrier_xetrieval/" in frame.filename for frame in traceback.extract_tb(error.__traceback__))
