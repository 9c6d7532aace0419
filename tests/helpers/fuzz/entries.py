"""All public entries that are fuzzed, and how many cases are run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.helpers.fuzz import artifacts, indexes, options, readers, stages
from tests.helpers.fuzz.outcomes import Defect, QuickSource, Source

ENTRIES: dict[str, Callable[[Source], bool]] = {
    **options.ENTRIES, **readers.ENTRIES, **stages.ENTRIES, **indexes.ENTRIES, **artifacts.ENTRIES
}  # fmt: skip


@dataclass
class Tally:
    """What became of the cases of one entry.

    Attributes:
        valid, refused: cases with the right answer, and with an error that says why there is none.
        defects: how often each other outcome came; first: the seed of the first case of each.
    """

    valid: int = 0
    refused: int = 0
    defects: Counter = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return self.valid + self.refused + sum(self.defects.values())


def run(entry: Callable[[Source], bool], cases: int, *, name: str, number: int = 0) -> Tally:
    """Draws and runs this many cases of an entry, whatever comes of them.

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
        except Defect as defect:
            what = " ".join(str(defect).split())[:250]
            tally.defects[what] += 1
            tally.first.setdefault(what, drawn)
    return tally
