"""Numbers as text: names of arms for readers, percent with intervals, tables of claims."""

import pandas as pd

from soar_lib.measure.names import NAMES


def name(arm: str) -> str:
    """An arm's name for readers.

    >>> name("pq"), name("ladder"), name("grounded_t_n_half"), name("tau_x2"), name("mine_too")
    ('PQ', 'LADDER', 'Grounded-T, n x 1/2', 'tau x 2', 'mine too')
    """
    return NAMES.get(arm, arm.replace("_", " "))


def percent(mean: float, low: float, high: float) -> str:
    """Fractions as percent: the mean and its interval, which is NaN for one run without spread.

    >>> percent(0.1234, 0.1, 0.15), percent(0.5, float("nan"), float("nan"))
    ('12.3 (10.0–15.0)', '50.0 (one run)')
    """
    return f"{100 * mean:.1f} ({'one run' if pd.isna(low) else f'{100 * low:.1f}–{100 * high:.1f}'})"


def signed(mean: float, low: float, high: float, digits: int = 1) -> str:
    """A mean and its interval, left out where it is NaN (a lone seed); both may be negative.

    >>> signed(1.25, -0.5, 3), signed(2, float("nan"), float("nan"), 3)
    ('1.2 (-0.5 to 3.0)', '2.000')
    """
    interval = "" if pd.isna(low) else f" ({low:.{digits}f} to {high:.{digits}f})"
    return f"{mean:.{digits}f}{interval}"


def score_rows(found: pd.DataFrame, seeds: str = "students") -> pd.DataFrame:
    """A table with `passk.COLUMNS` as text: a row per arm, pass@k in percent; `seeds` says what its seeds count."""
    rows = []
    for arm, part in found.groupby("arm", sort=False):
        cells = {f"pass@{row.k} (%)": percent(row.mean, row.low, row.high) for row in part.itertuples(index=False)}
        rows.append({"arm": name(arm), seeds: part["seeds"].iloc[0], "rollouts each": part["rollouts"].iloc[0]} | cells)
    return pd.DataFrame(rows)


def mean_rows(frame: pd.DataFrame, y: str, label: str, factor: float = 1, digits: int = 1) -> pd.DataFrame:
    """A table of `plots.means` as text: the arm's name, the other columns, and under `label` the mean over seeds, ± SD
    where there are several."""
    ends = [f" ± {factor * sd:.{digits}f}" if pd.notna(sd) else "" for sd in frame["sd"]]
    cells = [f"{factor * mean:.{digits}f}{end}" for mean, end in zip(frame[y], ends, strict=True)]
    text = frame.drop(columns=[y, "sd", "seeds"]).round(1).assign(**{label: cells, "seeds": frame["seeds"]})
    return text.assign(arm=frame["arm"].map(name))


def gap_rows(found: pd.DataFrame) -> pd.DataFrame:
    """A table of `passk.gaps` as text: arm minus arm, points with 95 % interval, p, seeds."""
    rows = [
        {"arm": f"{name(r.arm)} minus {name(r.other)}", f"pass@{r.k}, points": gap, "p": r.p, "seeds": r.seeds}
        for r in found.itertuples(index=False)
        for gap in [signed(100 * r.mean, 100 * r.low, 100 * r.high)]
    ]
    return pd.DataFrame(rows)


def claim_rows(found: pd.DataFrame) -> pd.DataFrame:
    """A table with `claims.COLUMNS` as text: claim, ours with interval, the paper's, seeds, verdict; dash: none."""
    rows = [[
        row.claim,
        "–" if pd.isna(row.ours) else signed(row.ours, row.low, row.high, 3 if "entropy" in row.claim else 1),
        "–" if pd.isna(row.paper) else f"{row.paper:.1f}", row.seeds, row.verdict,
    ] for row in found.itertuples(index=False)]  # fmt: skip
    return pd.DataFrame(rows, columns=["claim", "ours", "paper", "seeds", "verdict"])
