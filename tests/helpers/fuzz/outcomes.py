"""The two outcomes that are allowed: the right answer, or an error of the package's own; everything else is a defect."""

from __future__ import annotations

import io
import logging
import random
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from hypothesis import strategies as st
from pyterrier.validate import InputValidationError

OURS = (ValueError, TypeError, KeyError, FileNotFoundError, FileExistsError, InputValidationError)
SECRET = "sk-fuzz-7f3a9c"  # in texts and keys; never in a log
VALID, REFUSED = True, False


class Defect(AssertionError):
    """An outcome that is not allowed."""


class Source:
    """Draws that make a case; from hypothesis, which shrinks a failure to its simplest form."""

    def __init__(self, data: Any):
        self.data = data

    def pick(self, values: Sequence) -> Any:
        return self.data.draw(st.sampled_from(values))

    def number(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))

    def chance(self, of_ten: int) -> bool:
        """True in so many of ten draws."""
        return self.data.draw(st.integers(0, 9)) < of_ten

    def seed(self) -> int:
        return self.data.draw(st.integers(0, 2**32 - 1))


class QuickSource(Source):
    """The same draws from a seeded generator, in half of the time; for many cases."""

    def __init__(self, seed: str):
        self.random = random.Random(seed)

    def pick(self, values: Sequence) -> Any:
        return values[self.random.randrange(len(values))]

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def chance(self, of_ten: int) -> bool:
        return self.random.randrange(10) < of_ten

    def seed(self) -> int:
        return self.random.getrandbits(32)


def judged(
    call: Callable[[], Any], compare: Callable[[Any], None], *, harm: str | None, names: Sequence[str] = (), either: bool = False
) -> bool:
    """Calls, and compares the answer with the oracle's.

    Args:
        call: what is tested.
        compare: raises an AssertionError unless the answer is the right one.
        harm: what makes a right answer impossible; None where there has to be one.
        names: one of them has to be in the error.
        either: an answer and an error are both fine, as long as the answer is right.

    Returns:
        Whether there was an answer.
    """
    try:
        with quiet() as told:
            answer = call()
    except OURS as error:
        check_error(error, names)
        if harm is None and not either:
            raise Defect(f"refused what is valid: {type(error).__name__}: {error}") from error
        return REFUSED
    except Exception as error:
        raise Defect(f"{type(error).__name__} of {_place(error)}: {str(error)[:200]} (harm: {harm})") from error
    finally:
        if "told" in locals() and SECRET in told():
            raise Defect("the text of a document or a key is in a log")
    if harm is not None and not either:
        raise Defect(f"an answer in spite of {harm}")
    try:
        compare(answer)
    except Defect:
        raise
    except Exception as error:
        raise Defect(f"a wrong answer: {type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    return VALID


def check_error(error: BaseException, names: Sequence[str]) -> None:
    """A Defect unless the error was raised by this package and says who asks, what was expected and what was found."""
    told = str(error)
    if not isinstance(error, InputValidationError) and "pyterrier_xetrieval" not in _place(error):
        raise Defect(f"{type(error).__name__} of {_place(error)}: {told[:200]}") from error
    if len(told) < 20 or (names and not any(name in told for name in names)):
        raise Defect(f"an error that names none of {list(names)[:4]}: {type(error).__name__}: {told[:200]}") from error


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename.rpartition('site-packages/')[2]}:{last.name}"


@contextmanager
def quiet() -> Iterator[Callable[[], str]]:
    """Catches what is logged, printed and warned; gives it."""
    stream = io.StringIO()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as caught, redirect_stdout(stream), redirect_stderr(stream):
            warnings.simplefilter("always")
            yield lambda: stream.getvalue() + " ".join(str(w.message) for w in caught)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
