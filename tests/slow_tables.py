"""Tables that the slow run (`pytest -m slow`) writes, a row for each of its tests, whether or not it passes."""

from pathlib import Path

import pandas as pd

DATA = Path(__file__).parents[1] / "figures" / "data"


def put(path: Path, key: dict[str, str], values: dict[str, int | str]) -> None:
    """Write a row into a table, in place of the one with the same key."""
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    others = [row for row in rows if any(row[name] != value for name, value in key.items())]
    table = pd.DataFrame([*others, key | values]).sort_values([*key])
    table.to_csv(path, index=False, lineterminator="\n")
