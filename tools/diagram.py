"""SOAR's two loops as a picture, with which notebook 2 opens.

`python -m tools.diagram` writes notebooks/two_loops.svg: beside the notebook, as JupyterLab shows nothing above it.
"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTER, INNER = "#0072B2", "#D55E00"
BOXES = {  # name: (x, y, text, colour)
    "teacher": (1.6, 4.0, "Teacher\na copy of the model with\na LoRA adapter of its own", OUTER),
    "sets": (5.9, 4.0, "Data sets $X_1 \\ldots X_g$\nn questions each, with\nthe teacher's own answers", "black"),
    "students": (10.2, 4.0, "Students\nr copies of the baseline\nlearn from each $X_k$", INNER),
    "hard": (10.2, 1.0, "Hard problems $Q_R$\nnever solved by the model,\nnever shown to the teacher", "black"),
    "reward": (5.9, 1.0, "Reward $R_k$\nmean gain in accuracy of\nthe students of $X_k$ on $Q_R$", OUTER),
    "baseline": (1.6, 1.0, "Promotion\nmean of $R_k$ above $\\tau$: a student\nof the best is the baseline", "black"),
}
ARROWS = [  # from, to, text, colour
    ("teacher", "sets", "writes", OUTER), ("sets", "students", "train", INNER),
    ("students", "hard", "are measured on", OUTER), ("hard", "reward", "gain", OUTER),
    ("reward", "baseline", "", "black"),
]  # fmt: skip
WIDE, HIGH = 3.3, 1.3


def draw(path: Path) -> Path:
    """Write the picture; the same bytes each time."""
    with matplotlib.rc_context({"svg.hashsalt": "two loops", "svg.fonttype": "path"}):
        figure, axes = plt.subplots(figsize=(11.0, 4.4))
        axes.set(xlim=(-0.2, 12.4), ylim=(0.2, 5.9))
        axes.axis("off")
        for x, y, text, colour in BOXES.values():
            box = plt.Rectangle((x - WIDE / 2, y - HIGH / 2), WIDE, HIGH, fill=False, edgecolor=colour, linewidth=1.8)
            axes.add_patch(box)
            axes.text(x, y, text, ha="center", va="center", fontsize=10)
        for start, end, text, colour in ARROWS:
            _arrow(axes, BOXES[start][:2], BOXES[end][:2], text, colour)
        reward, teacher = (4.9, 1.0 + HIGH / 2), (2.3, 4.0 - HIGH / 2)
        axes.annotate("", teacher, reward, arrowprops=dict(arrowstyle="-|>", color=OUTER, linewidth=1.8))
        outer = dict(color=OUTER, fontsize=10, ha="left", va="center")
        axes.text(4.1, 2.5, "outer loop: one RLOO step of the\nteacher in each round, paid by $R_k$", **outer)
        turn = dict(arrowstyle="->", color=INNER, linewidth=1.8, connectionstyle="arc3,rad=-0.8")
        axes.annotate("", (10.9, 4.0 + HIGH / 2), (9.5, 4.0 + HIGH / 2), arrowprops=turn)
        axes.text(10.2, 5.45, "inner loop: RLOO steps on $X_k$", ha="center", color=INNER, fontsize=10)
        figure.savefig(path, format="svg", metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
    return path


def _arrow(axes, start: tuple[float, float], end: tuple[float, float], text: str, colour: str) -> None:
    """Between the facing sides of two boxes in one row or column."""
    (x0, y0), (x1, y1) = start, end
    side = (x1 > x0) - (x1 < x0), (y1 > y0) - (y1 < y0)
    begin = x0 + side[0] * WIDE / 2, y0 + side[1] * HIGH / 2
    stop = x1 - side[0] * WIDE / 2, y1 - side[1] * HIGH / 2
    axes.annotate("", stop, begin, arrowprops=dict(arrowstyle="-|>", color=colour, linewidth=1.8))
    middle = (begin[0] + stop[0]) / 2, (begin[1] + stop[1]) / 2
    shift = (0.0, 0.16) if side[0] else (0.12, 0.0)
    align = dict(ha="center", va="bottom") if side[0] else dict(ha="left", va="center")
    axes.text(middle[0] + shift[0], middle[1] + shift[1], text, color=colour, fontsize=10, **align)


if __name__ == "__main__":
    print(draw(Path("notebooks") / "two_loops.svg"))
