"""Our numbers beside the paper's, as a table of text for notebooks and as Markdown for README.md and figures/README.md.

`python -m soar_lib.measure.tables` writes their results and times anew from figures/data.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

ARMS = {
    "base": "Base (no training)", "hard_only": "Hard-Only", "hard_only_x4": "Hard-Only, 4x rollouts", "pq": "PQ",
    "ps": "PS", "grounded_t": "Grounded-T", "grounded_t_no_promotion": "Grounded-T, no promotion",
    "grounded_t_multi_turn": "Grounded-T, two turns", "intrinsic_t": "Intrinsic-T", "base_t": "Base-T",
    "self_answer": "Grounded-T answering itself", "oracle_small": "Real problems, as many", "oracle_full":
    "Real problems, all", "correct_only": "Grounded-T, correct only", "well_posed": "Grounded-T, well-posed, as many",
}  # fmt: skip

# Arms of the other methods, for `title`; `ARMS` has the order of a study's.
OTHERS = {
    "originals": "RL on the hard problems", "one_level": "RL on variants of one level", "ladder": "LADDER",
    "ladder_ttrl": "LADDER, then TTRL", "base_ttrl": "TTRL without LADDER", "majority": "RL on the majority's vote",
    "rlvr": "RLVR", "svs": "SvS", "rlvr_equal_rollouts": "RLVR, equal rollouts", "rlvr_equal_updates":
    "RLVR, equal rollouts and updates", "second_rollout": "Second rollout", "rephrasings": "Rephrasings",
    "svs_easier_seeds": "SvS, easier seeds", "svs_no_reward": "SvS, writing not trained", "svs_any_correct":
    "SvS, any right solver pays", "svs_guarded": "SvS, guarded",
}  # fmt: skip


def title(arm: str) -> str:
    """An arm's name for readers.

    >>> title("pq"), title("ladder"), title("pq_multi_turn")
    ('PQ', 'LADDER', 'pq multi turn')
    """
    return (ARMS | OTHERS).get(arm, arm.replace("_", " "))


def percent(mean: float, low: float, high: float) -> str:
    """Fractions as percent, mean and interval.

    >>> percent(0.1234, 0.1, 0.15)
    '12.3 (10.0–15.0)'
    """
    return f"{100 * mean:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def beside(ours: pd.DataFrame, paper: pd.DataFrame, model: str = "nano") -> pd.DataFrame:
    """One row per arm and source: pass@k in percent, ours with 95 % intervals, the paper's as mean ± SD over seeds.

    `ours` has the columns of `passk.COLUMNS` (fractions), `paper` those of figures/data/soar_paper.csv (percent).
    The paper's numbers are of another model on other problems: what compares is the order of the arms.
    """
    rows = []
    for arm in dict.fromkeys(ours["arm"]):
        mine, theirs = ours[ours["arm"] == arm], paper[paper["arm"] == arm]
        cells = {f"pass@{r.k}": percent(r.mean, r.low, r.high) for r in mine.itertuples(index=False)}
        seeds = mine["seeds"].iloc[0]
        rows.append({"arm": title(arm), "source": f"{model}, {seeds} seed{'s' if seeds > 1 else ''}", **cells})
        for name, part in theirs[theirs["k"].isin(mine["k"])].groupby("set", sort=False):
            cells = {f"pass@{r.k}": f"{r.mean} ± {r.sd}" for r in part.itertuples(index=False)}
            rows.append({"arm": title(arm), "source": f"paper, {name.upper()}", **cells})
    return pd.DataFrame(rows)


def claim_rows(found: pd.DataFrame) -> pd.DataFrame:
    """The claims as text: claim, ours with its 95 % interval, the paper's number, seeds, verdict.

    `found` has the columns of `claims.COLUMNS`; a number that is missing is shown as a dash.
    """
    rows = [
        {
            "claim": row.claim,
            "ours": "–" if pd.isna(row.ours) else _measured(row.ours, row.low, row.high, _digits(row.claim)),
            "paper": "–" if pd.isna(row.paper) else f"{row.paper:.1f}",
            "seeds": row.seeds,
            "verdict": row.verdict,
        }
        for row in found.itertuples(index=False)
    ]
    return pd.DataFrame(rows)


def _digits(claim: str) -> int:
    """How many show a difference: entropies are fractions of a nat."""
    return 3 if "entropy" in claim else 1


def _measured(mean: float, low: float, high: float, digits: int) -> str:
    interval = "" if pd.isna(low) else f" ({low:.{digits}f} to {high:.{digits}f})"  # a lone seed has none
    return f"{mean:.{digits}f}{interval}"


def ladder_rows(found: pd.DataFrame) -> pd.DataFrame:
    """A LADDER run's numbers as text: arm, measure, ours with its 95 % interval, the paper's, seeds, completions.

    `found` has the columns of `ladder_report.COLUMNS`, fractions that are shown as percent; what the paper lacks is a
    dash, and completions are those that made one student.
    """
    rows = [
        {
            "arm": title(row.arm),
            "measure": row.metric,
            "ours, %": percent(row.mean, row.low, row.high),
            "paper, %": "–" if pd.isna(row.paper) else f"{100 * row.paper:.0f}",
            "seeds": row.seeds,
            "completions": f"{row.rollouts:,}",
        }
        for row in found.itertuples(index=False)
    ]
    return pd.DataFrame(rows)


def svs_rows(found: pd.DataFrame) -> pd.DataFrame:
    """An SvS run's arms as text: the completions that trained a seed, pass@k on the hard set in percent with 95 %
    intervals at every k that the paper has (its number beside ours) and at the largest, and the entropy on test.

    `found` has the columns of `svs_report.COLUMNS`.
    """
    hard = [metric for metric in dict.fromkeys(found["metric"]) if metric.startswith("hard pass@")]
    known = {*found.loc[found["paper"].notna(), "metric"], max(hard, key=lambda metric: int(metric.partition("@")[2]))}
    cells, rows = found.set_index(["arm", "metric"]), []
    for arm in dict.fromkeys(found["arm"]):
        row = {"arm": title(arm), "completions": f"{found.loc[found['arm'] == arm, 'rollouts'].iloc[0]:,}"}
        for metric in (metric for metric in hard if metric in known):
            own = cells.loc[(arm, metric)] if (arm, metric) in cells.index else None
            k = metric.removeprefix("hard ")
            row[f"{k}, %"] = "–" if own is None else percent(own["mean"], own["low"], own["high"])
            if found.loc[found["metric"] == metric, "paper"].notna().any():
                row[f"paper's {k}"] = "–" if own is None or pd.isna(own["paper"]) else f"{100 * own['paper']:.1f}"
        own = cells.loc[(arm, "test entropy")]
        rows.append(row | {"entropy on test, nats": _measured(own["mean"], own["low"], own["high"], 3)})
    return pd.DataFrame(rows)


def method_rows(found: pd.DataFrame) -> pd.DataFrame:
    """The comparison of methods as text: all completions that were drawn on the way to a student, pass@k in percent at
    the smallest, the middle and the largest k, and the gain on Hard-Only at the largest, in points.

    `found` has the columns of figures/data/methods_nano.csv.
    """
    ks, rows = sorted(set(found["k"])), []
    for arm in dict.fromkeys(found["arm"]):
        mine = found[found["arm"] == arm].set_index("k")
        row = {"method": title(arm), "completions": f"{mine['rollouts'].iloc[0]:,}", "seeds": mine["seeds"].iloc[0]}
        for k in (ks[0], ks[len(ks) // 2], ks[-1]):
            row[f"pass@{k}, %"] = percent(*mine.loc[k, ["mean", "low", "high"]])
        gain = 100 * mine.loc[ks[-1], ["gain", "gain_low", "gain_high"]]
        row[f"gain on Hard-Only at {ks[-1]}"] = "" if arm == "hard_only" else _measured(*gain, 1)
        rows.append(row)
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    """A table of text as Markdown, one line per row."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.fillna("").astype(str).values.tolist()]
    return "\n".join(_line(cells) for cells in lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def fill(text: str, table: str, name: str = "results") -> str:
    """`text` with the Markdown table between its marks replaced. Raises ValueError where the marks are missing."""
    marked = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
    filled, count = marked.subn(lambda match: f"{table}\n", text)
    if count != 1:
        raise ValueError(f"README.md: needs the marks <!-- {name} --> and <!-- end of {name} --> once")
    return filled


def fill_times(text: str, measured: pd.DataFrame | None) -> str:
    """`text` with the last cell of each notebook's row saying how long it took (columns notebook, minutes)."""
    for row in () if measured is None else measured.itertuples(index=False):
        line = re.compile(rf"^(\| \[\w+\]\(notebooks/{re.escape(row.notebook)}\) \|.*\|).*\|$", re.MULTILINE)
        text = line.sub(rf"\g<1> {max(1, round(row.minutes))} minute{'s' if row.minutes >= 1.5 else ''} |", text)
    return text


DOCUMENTS = (Path("README.md"), Path("figures") / "README.md")
# Their tables by their marks: the CSV in figures/data, and how it becomes text.
MARKED: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "claims": ("claims", claim_rows),
    "ladder": ("ladder_nano", ladder_rows),
    "ladder claims": ("ladder_claims", claim_rows),
    "svs": ("svs_nano", svs_rows),
    "svs claims": ("svs_claims", claim_rows),
    "methods": ("methods_nano", method_rows),
}


def filled(text: str, data: Path) -> str:
    """A document with all its marked tables and times as the CSVs in `data` have them."""
    if (data / "notebooks.csv").exists():
        text = fill_times(text, pd.read_csv(data / "notebooks.csv"))
    tables = {mark: rows(pd.read_csv(data / f"{name}.csv")) for mark, (name, rows) in MARKED.items() if _in(text, mark)}
    if _in(text, "results"):
        tables["results"] = beside(*(pd.read_csv(data / f"{name}.csv") for name in ("soar_nano", "soar_paper")))
    for mark, table in tables.items():
        text = fill(text, markdown(table), mark)
    return text


def _in(text: str, mark: str) -> bool:
    return f"<!-- {mark} -->" in text


def main() -> None:
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(), Path("figures") / "data"))


if __name__ == "__main__":
    main()
