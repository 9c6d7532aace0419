"""Constraints for pip: `oldest` pins every requirement of the package to its lower bound, `newest` none; more are passed on."""

import re
import sys
import tomllib
from pathlib import Path


def bounds(requirements: list[str]) -> list[str]:
    found = (re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", requirement) for requirement in requirements)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    which, *more = sys.argv[1:]
    if which not in ("oldest", "newest"):
        raise SystemExit(f"bounds.py expects oldest or newest, found {which}")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    names = {line.split("==")[0] for line in more}
    pinned = bounds(project["dependencies"]) if which == "oldest" else []
    sys.stdout.write("\n".join([*(line for line in pinned if line.split("==")[0] not in names), *more]) + "\n")
