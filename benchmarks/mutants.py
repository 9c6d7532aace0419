"""Whether the tests of core/ notice a changed line: each mutant of the code, alone, against the tests that run its line.

    make mutants                                      all of them: docs/mutants.json and docs/mutants.md
    python benchmarks/mutants.py --file edits.py      one file's part of these
    python benchmarks/mutants.py --again              what survived the last time
    python benchmarks/mutants.py --render             only the page, after a reason was written into docs/mutants.json

cosmic-ray makes the mutants. Its own runner starts an interpreter for each, which takes seconds to import torch; here one process
imports what the tests need, forks for each mutant, and the fork loads the changed module in place of the file. Only tests in
tests/core count, of these only those that run the changed statement, and the first that fails ends it.
"""

import argparse
import ast
import json
from collections import Counter
from collections.abc import Iterator
from difflib import unified_diff
from itertools import groupby
from pathlib import Path
from random import Random

from mutant_runner import CORE, ROOT, Mutant, Runner

RECORD, PAGE = ROOT / "docs" / "mutants.json", ROOT / "docs" / "mutants.md"

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


def mutants_of(path: Path, sample: int | None = None) -> Iterator[Mutant]:
    """All mutants of a file, or so many that a fixed seed draws; but for those of annotations, which nothing evaluates."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = path.read_text()
    tree, nodes = ast.parse(source), list(ast_nodes(get_ast(source)))
    fields = (getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns"))
    skipped = [((a.lineno, a.col_offset), (a.end_lineno, a.end_col_offset)) for a in fields if a]
    operators = [get_operator(f"core/{name}")() for name in OPERATORS]
    places = []
    for operator in operators:
        starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        places += [(operator, i, at) for i, at in enumerate(starts) if not any(a <= at < b for a, b in skipped)]
    if sample:  # what is drawn is made, not more: most of the time goes into making
        Random(0).shuffle(places)
    seen, made = {ast.dump(tree)}, 0
    for operator, i, start in places:
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
            made += 1
            yield Mutant(path.name, start[0], *_difference(source, changed), changed)
        if made == sample:
            return


def _difference(source: str, changed: str) -> tuple[str, str]:
    """The lines that differ, before and after."""
    lines = list(unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm=""))[3:]
    before, after = ([line[1:].split("  #")[0] for line in lines if line[0] == sign and line[1:].strip()] for sign in "-+")
    return " ".join(" ".join(before).split()), " ".join(" ".join(after).split()) or "nothing"


def measured(files: list[Path], known: dict, again: bool, sample: int | None) -> dict:
    """By file what docs/mutants.json keeps; a survivor that was explained before stays explained.

    Args:
        again: only what survived the last time, and the figures of the rest are those of that time.
        sample: at most so many of each file, drawn at random with a fixed seed.
    """
    last = {(name, s["before"], s["after"]): s["why"] for name, own in known.items() for s in own["survivors"]}
    drawn = {path.name: list(mutants_of(path, sample)) for path in files}
    if again:
        drawn = {name: [m for m in own if (name, m.before, m.after) in last] for name, own in drawn.items()}
    mutants = [mutant for own in drawn.values() for mutant in own]
    print(f"{len(mutants)} mutants; first the tests run as they are, to see which lines each of them runs", flush=True)

    def report(mutant: Mutant) -> None:
        if mutant.outcome != "killed":
            print(f"{mutant.outcome} {mutant.file}:{mutant.line}\n    {mutant.before}\n    {mutant.after}", flush=True)

    Runner().run(mutants, report)
    found = {}
    for name, own in drawn.items():
        survivors = [
            {"line": m.line, "before": m.before, "after": m.after, "why": last.get((name, m.before, m.after), "")}
            for m in sorted(own, key=lambda mutant: mutant.line)
            if m.outcome == "survived"
        ]
        before = known[name] if again else {"mutants": len(own), "endless": 0, "sampled": sample is not None}
        endless = before["endless"] + [mutant.outcome for mutant in own].count("endless")
        found[name] = {"sampled": before["sampled"], "mutants": before["mutants"], "endless": endless, "survivors": survivors}
    return found


HEAD = """# Mutants of `core/`

Do the tests notice a changed line? [cosmic-ray](https://cosmic-ray.readthedocs.io) changed one operator, number, truth
value, decorator or loop of `pyterrier_xetrieval/core/` at a time, and for each change those tests of `tests/core` ran that
run the changed statement. A mutant is killed if a test fails, or does not end. Of {mutants:,} mutants **{share:.1%}** were
killed. Left out are annotations, texts, and replacements that can only raise an error of types (`+` by `<<`); cosmic-ray does
not delete statements and does not drop arguments. Of some files all mutants were tried, of others some that a fixed seed drew
(`--sample`).

`make mutants` tries all of all files, which takes half an hour or so of a free core (estimated from its parts);
`.venv/bin/python benchmarks/mutants.py --sample 21` a part of each. The figures are in [mutants.json](mutants.json).

| file | drawn | mutants | killed | of these endless | survived | killed |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{table}

## What survived

{kinds}. The reasons, and below each what was changed:
{survivors}
"""


def page(record: dict) -> str:
    """docs/mutants.md."""
    rows, survivors, kinds = [], [], Counter()
    for name, own in record.items():
        left = own["survivors"]
        rows.append([own["mutants"], own["mutants"] - len(left), own["endless"], len(left)])
        survivors += [f"\n### `core/{name}`\n"] if left else []
        for why, group in groupby(sorted(left, key=lambda survivor: survivor["why"]), lambda survivor: survivor["why"]):
            changes = [f"  - line {s['line']}: `{s['before']}` became `{s['after']}`" for s in group]
            survivors += [f"- {why or 'not explained'}", *changes]
            kinds[why.split(":")[0] or "not explained"] += len(changes)
    rows.append([sum(column) for column in zip(*rows)])
    names = [*(f"`{name}` | {'some' if own['sampled'] else 'all'}" for name, own in record.items()), "together |"]
    return HEAD.format(
        mutants=rows[-1][0], share=rows[-1][1] / rows[-1][0], survivors="\n".join(survivors),
        table="\n".join(f"| {name} | {' | '.join(map(str, row))} | {row[1] / row[0]:.1%} |" for name, row in zip(names, rows)),
        kinds=", ".join(f"{n} {kind}" for kind, n in kinds.most_common()),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", help="only this file of core/; may be given more than once")
    parser.add_argument("--sample", type=int, help="at most so many mutants of each file, drawn at random; all unless given")
    parser.add_argument("--again", action="store_true", help="only what survived the last time: after a test was added")
    parser.add_argument("--render", action="store_true", help="only the page")
    args = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if not args.render:
        files = [path for path in sorted(CORE.glob("*.py")) if path.name in (args.file or [path.name])]
        record |= measured([path for path in files if path.name != "__init__.py"], record, args.again, args.sample)
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    PAGE.write_text(page(record))


if __name__ == "__main__":
    main()
