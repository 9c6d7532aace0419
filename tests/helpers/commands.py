"""Running the command line in this process, and the files it reads and writes."""

import gzip
import json
import re
from pathlib import Path

from click.testing import CliRunner

from pyterrier_xetrieval.cli import main


def run(*arguments, **options):
    return CliRunner().invoke(main, list(map(str, arguments)), **options)


def write(path, *lines) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def lines(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_bytes().splitlines()]


def one_line(done) -> str:
    """The only line of a refusal, but for progress bars."""
    told = [line for line in done.stderr.splitlines() if line.strip() and not re.search(r"\d+%\|", line)]
    assert done.exit_code == 2 and not done.stdout and len(told) == 1 and told[0].startswith("Error: "), done.output
    return told[0]
