"""What readers call the arms of all methods, in the order of tables (names.toml), and how each looks in figures."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

TABLE = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))
STUDENTS, RUNS, LADDER, SVS = (TABLE[part] for part in ("students", "runs", "ladder", "svs"))
MAIN = ("base", "hard_only", "pq", "ps", "grounded_t")  # the paper's main comparison, Table 4
TREES = {"ladder": "trees", "one_level": "one level", "ttrl": "trees of test problems"}
TIMES = {"base": "before (untrained model)", "ladder": "after (LADDER)"}  # whose accuracy on the variants is known
_BOTH = {f"{kind}_{run}": f"{STUDENTS[kind]}, {RUNS[run]}" for kind in STUDENTS for run in RUNS}
LABEL_LOOKS, FATE_LOOKS = ({key: tuple(look) for key, look in TABLE[part].items()} for part in ("labels", "fates"))
_SAID = {label: said for label, (said, _) in LABEL_LOOKS.items()} | TABLE["methods"]
NAMES = _SAID | SVS | LADDER | _BOTH | STUDENTS | RUNS
QUANTITIES = {
    column: (said, factor, tuple(*limits) or None) for column, (said, factor, *limits) in TABLE["quantities"].items()
}


def ordered(arms: Iterable[str]) -> list[str]:
    """Each arm once, in the order of `STUDENTS`, sweeps behind the arm they sweep; others follow as they come."""
    known = list(STUDENTS)

    def place(arm: str) -> tuple[int, int]:
        parent = max((other for other in known if f"{arm}_".startswith(f"{other}_")), key=len, default="")
        return (known.index(parent) if parent else len(known), arm != parent)

    return sorted(dict.fromkeys(arms), key=place)


ARM_COLOURS: dict[str, list[str]] = TABLE["colours"]
COLOURS = [*ARM_COLOURS, "#DDAAAA"]  # of what is no arm, in this order
OTHERS = "#777777"  # arms without a colour of their own
MARKERS = "os^DvPX"
LINES = ("-", "--", ":", "-.")
_COLOUR_OF = {arm: colour for colour, arms in ARM_COLOURS.items() for arm in arms}


def look(arm: str) -> dict[str, str]:
    """How an arm looks in every figure: its colour, and marker and line as matplotlib writes them. Students of a sweep
    have the colour of the arm whose setting it sweeps.

    >>> look("grounded_t"), look("grounded_t_rounds_x6")
    ({'colour': '#D55E00', 'marker': 'v', 'line': '-'}, {'colour': '#D55E00', 'marker': 'v', 'line': '-.'})
    """
    parent = max((known for known in _COLOUR_OF if f"{arm}_".startswith(f"{known}_")), key=len, default="")
    colour, run = _COLOUR_OF.get(parent, OTHERS), arm.removeprefix(f"{parent}_")
    if arm == parent:
        place = COLOURS.index(colour)
        return {"colour": colour, "marker": MARKERS[place % 7], "line": LINES[place // 7]}
    place = [*RUNS].index(run) if run in RUNS else 0
    return {"colour": colour, "marker": MARKERS[place % 7], "line": LINES[1 + place % 3]}
