"""What was drawn, read back from matplotlib axes."""

import io
import re

import numpy as np


def bars(ax) -> list[tuple[str, float, float]]:
    """Each horizontal bar from the top down: its row's name, where it starts and where it ends."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    return [(name, patch.get_x(), patch.get_x() + patch.get_width()) for name, patch in zip(names, ax.patches, strict=True)]


def lines(ax) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each named curve: its horizontal and vertical values."""
    return {line.get_label(): line.get_data() for line in ax.get_lines() if not line.get_label().startswith("_")}


def dots(ax) -> dict[str, dict[str, float]]:
    """What is compared: row to value."""
    rows = [label.get_text() for label in ax.get_yticklabels()]
    return {c.get_label(): dict(zip(rows, c.lines[0].get_xdata().tolist(), strict=True)) for c in ax.containers}


def check_files(ax) -> None:
    """The figure as SVG and PDF: drawn to the end, with nothing rasterised and nothing beyond its frame."""
    files = {}
    for kind in ("svg", "pdf"):
        file = io.BytesIO()
        ax.figure.savefig(file, format=kind)
        files[kind] = file.getvalue()
    assert files["svg"].rstrip().endswith(b"</svg>") and b"<image" not in files["svg"]
    assert files["pdf"].startswith(b"%PDF") and not re.search(rb"/Subtype\s*/Image", files["pdf"])
    ax.figure.canvas.draw()
    frame, drawn = ax.figure.bbox, ax.get_tightbbox()
    assert drawn.x0 >= frame.x0 - 1 and drawn.x1 <= frame.x1 + 1 and drawn.y0 >= frame.y0 - 1 and drawn.y1 <= frame.y1 + 1
