"""The command ``pyterrier-xetrieval``."""


def main() -> None:
    raise SystemExit("not yet")
