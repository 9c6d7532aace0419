"""Whether the tests of core/ notice a changed line: each mutant of the code, alone, against the tests that run its line.

    make mutants                                      all of them: docs/mutants.json and docs/mutants.md
    python benchmarks/mutants.py --file edits.py      one file, and only prints
    python benchmarks/mutants.py --render             only the page, from docs/mutants.json

cosmic-ray makes the mutants. Its own runner starts an interpreter for each, which takes seconds to import torch; here one process
imports what the tests need, forks for each mutant, and the fork loads the changed module in place of the file. Only tests in
tests/core count, of these only those that run the changed statement, and the first that fails ends it.
"""

import argparse
import ast
import json
import time
from collections.abc import Iterator
from pathlib import Path

from mutant_runner import CORE, ROOT, Mutant, Runner

DOCS = ROOT / "docs"

# Of cosmic-ray's operators those that leave a program which may still run: an error of types is killed by any test at all.
NEAR = {
    "Add": "Sub Mul", "Sub": "Add Mul", "Mul": "Div Add", "Div": "Mul FloorDiv", "FloorDiv": "Div Mul", "Mod": "FloorDiv Mul",
    "Pow": "Mul", "RShift": "LShift", "LShift": "RShift", "BitOr": "BitAnd BitXor", "BitAnd": "BitOr BitXor",
    "BitXor": "BitOr BitAnd",
}  # fmt: skip
BESIDE = {
    "Eq": "NotEq", "NotEq": "Eq", "Lt": "LtE GtE", "LtE": "Lt Gt", "Gt": "GtE LtE", "GtE": "Gt Lt", "Is": "IsNot",
    "IsNot": "Is",
}  # fmt: skip
OPERATORS = [
    *(f"ReplaceBinaryOperator_{a}_{b}" for a, others in NEAR.items() for b in others.split()),
    *(f"ReplaceComparisonOperator_{a}_{b}" for a, others in BESIDE.items() for b in others.split()),
    "ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Invert", "ReplaceUnaryOperator_Delete_Not", "AddNot",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ExceptionReplacer", "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop",
]  # fmt: skip


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of a file, but for those of annotations, which nothing evaluates."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = path.read_text()
    tree = ast.parse(source)
    fields = (getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns"))
    skipped = [((a.lineno, a.col_offset), (a.end_lineno, a.end_col_offset)) for a in fields if a]
    seen = {ast.dump(tree)}
    for name in OPERATORS:
        operator = get_operator(f"core/{name}")()
        places = [start for node in ast_nodes(get_ast(source)) for start, _ in operator.mutation_positions(node)]
        for i, place in enumerate(places):
            if any(start <= place < end for start, end in skipped):
                continue
            changed = mutate_code(source, operator, i)
            try:
                parsed = ast.parse(changed)
            except SyntaxError:
                continue
            if any(isinstance(node, ast.arguments) and node.posonlyargs for node in ast.walk(parsed)):
                continue  # the star of a signature was taken for a product
            meaning = ast.dump(parsed)
            if meaning not in seen:  # two operators may make the same change
                seen.add(meaning)
                yield Mutant(path.name, place[0], *_difference(source, changed), changed)


def _difference(source: str, changed: str) -> tuple[str, str]:
    """The lines that differ, before and after."""
    a, b = source.splitlines(), changed.splitlines()
    if len(a) != len(b):  # a decorator is gone
        i = next(i for i, line in enumerate(a) if i >= len(b) or line != b[i])
        return f"{a[i].strip()} {a[i + 1].strip()}", a[i + 1].strip()
    before, after = zip(*((x.strip(), y.strip()) for x, y in zip(a, b) if x != y))
    return " ".join(before), " ".join(" ".join(after).split())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", action="append")
    args = parser.parse_args()
    files = [path for path in sorted(CORE.glob("*.py")) if not args.file or path.name in args.file]
    t = time.time()
    mutants = [mutant for path in files for mutant in mutants_of(path)]
    print(len(mutants), "made in", round(time.time() - t, 1), flush=True)
    t = time.time()
    runner = Runner()
    print("baseline", round(time.time() - t, 1), flush=True)
    t = time.time()

    def report(m):
        if m.outcome != "killed":
            print(f"{m.outcome} {m.file}:{m.line}: {m.before}   ->   {m.after}   [{len(runner.tests_of(m))}]", flush=True)

    runner.run(mutants, report)
    for path in files:
        own = [m.outcome for m in mutants if m.file == path.name]
        print(path.name, len(own), "survived", own.count("survived"), "timeout", own.count("timeout"))
    print(round(time.time() - t, 1), "s")


if __name__ == "__main__":
    main()
