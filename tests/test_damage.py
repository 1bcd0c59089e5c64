"""Every file of a run folder that is read back, with each field of a row of another type or gone: one line that names
file, line and field, or the field is not needed. The committed runs are read, their first lines alone."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from soar_lib import files
from soar_lib.ladder import explorer as ladder_explorer
from soar_lib.ladder import report as ladder
from soar_lib.ladder import variants
from soar_lib.measure import plots, widgets
from soar_lib.problems import filtering
from soar_lib.records import Problem
from soar_lib.settings.student import FilterConfig, preset
from soar_lib.soar import claims, explorer, report, run, run_explorer, value
from soar_lib.svs import explorer as svs_explorer
from soar_lib.svs import report as svs
from soar_lib.svs import run as svs_run

REFERENCE = Path(__file__).parents[1] / "runs" / "reference"
KEPT = 40  # lines of each file
RUN, MEASURED = "study/grounded/seed0", "study/grounded/evaluate"


def drawn(folder: Path) -> None:
    """Go on with a filter run whose every problem is settled: nothing is drawn, so there need be no model."""
    ids = [json.loads(line)["id"] for line in (folder / "outcomes.jsonl").read_text().splitlines()]
    problems = [Problem(one, "q", "a") for one in ids]
    filtering.fail_at_k(None, problems, preset("smoke", FilterConfig), log=folder / "samples.jsonl", progress=False)


def valued(folder: Path) -> None:
    claims.value_gain("grounded", "untrained", claims.read_study(folder.parent))


# file, and what reads it from its folder
READERS: list[tuple[str, list[Callable[[Path], object]]]] = [
    ("ladder/problems.jsonl", [ladder.read_variants, lambda folder: variants.read(folder, "ladder", 0)]),
    ("ladder/scores.jsonl", [ladder.read_scores, ladder.probes]),
    ("ladder/metrics.csv", [ladder.probes, ladder_explorer.read]),
    ("ladder/hard_test.jsonl", [ladder.read_variants, ladder.settings]),
    (f"{RUN}/rounds.jsonl", [run.read_rounds, report.rounds_of, run_explorer.round_browser]),
    (f"{RUN}/problems.jsonl", [run.promotion_questions, run_explorer.round_browser]),
    (f"{RUN}/hard_train.jsonl", [lambda folder: files.read_problems(folder, "hard_train")]),
    (f"{RUN}/metrics.csv", [run.read_result]),
    (f"{MEASURED}/scores.jsonl", [lambda folder: claims.read_study(folder.parents[1])]),
    (f"{MEASURED}/problems.jsonl", [lambda folder: report.sampled(folder.parents[1])]),
    (f"{MEASURED}/metrics.csv", [lambda folder: report.curves(folder.parents[1])]),
    (f"{MEASURED}/sources.csv", [lambda folder: claims.read_study(folder.parents[1]), claims.written]),
    ("study/grounded/values.csv", [lambda folder: value.seeds(folder / "values.csv"), valued]),
    ("study/pass_at_k.csv", [explorer.read]),
    ("study/filter/outcomes.jsonl", [filtering.read_filtered, plots.filtering_table, widgets.problem_browser]),
    ("study/filter/samples.jsonl", [drawn]),
    ("svs/svs/problems.jsonl", [lambda folder: svs.written(folder.parent)]),
    ("svs/svs/scores.jsonl", [lambda folder: svs.read(folder.parent)]),
    ("svs/svs/metrics.csv", [lambda folder: svs.steps(folder.parent), svs_run.rollouts_by_step]),
    ("svs/train.jsonl", [svs.exact_judge]),
    ("svs/svs.csv", [svs_explorer.read]),
]  # fmt: skip


WHOLE = (".json", "hard_test.jsonl", "hard_train.jsonl")  # other files name these problems


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The committed runs, each file cut to its first lines; with the files that they have no example of."""
    place = tmp_path_factory.mktemp("runs")

    def cut(source: str, copy: str) -> None:
        lines = files.text_of(Path(source.removesuffix(".gz"))).splitlines(keepends=True)
        Path(copy.removesuffix(".gz")).write_text("".join(lines if source.endswith(WHOLE) else lines[:KEPT]))

    for top in ("ladder", "study", "svs"):
        shutil.copytree(REFERENCE / top, place / top, copy_function=cut)
    for where in ("study", "svs"):
        config = files.read_json(place / where / "config.json")
        files.write_json(place / where / "config.json", config | {"arms": [{"study": "grounded"}.get(where, where)]})
    filtered = place / "study" / "filter"
    shutil.copyfile(REFERENCE / "study" / "filter" / "outcomes.jsonl", filtered / "outcomes.jsonl")
    samples = [{"id": row.id, "right": 1, "wrong": 0, "unparsed": 0, "timeout": 0, "cut": 0}
               for row in filtering.read_outcomes(filtered)]  # fmt: skip
    files.append_jsonl(filtered / "samples.jsonl", samples)
    metrics = (place / RUN / "metrics.csv").read_text().splitlines()
    added = [f"{line},{what}\n" for line, what in zip(metrics, ["sprayed", *[0.0] * len(metrics)], strict=False)]
    (place / RUN / "metrics.csv").write_text("".join(added))
    values = "".join(f"{seed},{name},0.5,32\n" for seed in (0, 1) for name in ("trained", "untrained"))
    (place / "study" / "grounded" / "values.csv").write_text(f"seed,teacher,value,sets\n{values}")
    return place


def damaged(text: str, jsonl: bool) -> list[tuple[str, bool, str]]:
    """(field, whether it is gone, text) for each field of the first row of a file."""
    if jsonl:
        first, *others = text.splitlines(keepends=True)
        row = json.loads(first)
        gone = [(name, True, {key: row[key] for key in row if key != name}) for name in row]
        changed = [(name, False, row | {name: [{"x": 1}]}) for name in row]
        return [(name, missing, "".join([files.jsonl([new]), *others])) for name, missing, new in gone + changed]
    columns, *rows = csv.reader(io.StringIO(text))
    found = []
    for place, name in enumerate(columns):
        changed = [columns, [*rows[0][:place], "?", *rows[0][place + 1 :]], *rows[1:]]
        for missing, new in ((True, [row[:place] + row[place + 1 :] for row in (columns, *rows)]), (False, changed)):
            csv.writer(buffer := io.StringIO()).writerows(new)
            found.append((name, missing, buffer.getvalue()))
    return found


@pytest.mark.parametrize(("name", "readers"), READERS, ids=[name for name, _ in READERS])
def test_a_field_of_another_type_or_missing_is_named(runs, name, readers):
    path, jsonl, refused = runs / name, name.endswith(".jsonl"), set()
    whole = path.read_text()
    for read in readers:
        read(path.parent)
    try:
        for field, missing, text in damaged(whole, jsonl):
            path.write_text(text)
            for read in readers:
                try:
                    read(path.parent)
                except files.RunError as error:
                    refused.add((field, missing))
                    said = f"has no column '{field}'" if missing and not jsonl else f"field '{field}' "
                    place = re.escape(str(path) if missing and not jsonl else f"{path}:{1 if jsonl else 2}")
                    fitting = rf"{re.escape(str(path.parent))}/\w+\.jsonl:1"  # a file whose rows point at this one's
                    assert re.match(rf"({place}|{fitting}): {said}", str(error)) and "\n" not in str(error)
    finally:
        path.write_text(whole)
    fields = {field for field, _, _ in damaged(whole, jsonl)}
    assert {(field, False) for field in fields} <= refused if jsonl else refused
