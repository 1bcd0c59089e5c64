"""Give-aways: a finished run as a repository for the Hugging Face Hub, first in a local folder to look at, then pushed.

The cards (README.md) are templates, filled in with what the run itself knows. A data set also gets a contamination
report, in the card and as contamination.json: which of its questions stand in the hard test set (then `push` refuses
them unless told otherwise), or in a set that the caller names."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import CardData, DatasetCardData, HfApi, ModelCardData, RepoCard
from huggingface_hub.errors import HFValidationError, HTTPError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id
from reasoning_gym.factory import DATASETS

from soar_lib import files
from soar_lib.files import RunError
from soar_lib.problems import filtering, hub
from soar_lib.problems.likeness import Known, canonical, overlap
from soar_lib.problems.load import EMBEDDED, load
from soar_lib.problems.prompts import student_messages, teacher_messages
from soar_lib.problems.rows import hard_sets
from soar_lib.records import HARD_TEST, HARD_TRAIN, Problem, SyntheticProblem
from soar_lib.settings.student import FilterConfig
from soar_lib.settings.values import SHIPPED, ConfigError, flat
from soar_lib.soar import run as soar
from soar_lib.soar.settings import SoarConfig

ADAPTERS = {"promoted_student": student_messages("PROBLEM"), "teacher": teacher_messages()}  # and their prompts
OWN = "apache-2.0"  # of the shipped models and their problems, and of reasoning-gym, whose generators wrote them
LICENCES = dict.fromkeys(SHIPPED, OWN) | {"meta-llama/Llama-3.2-3B-Instruct": "llama3.2"}  # of the presets' bases
TESTED = "hard test"  # the set whose questions nothing may be trained on
REPORT = "contamination.json"


def model_repository(
    run: str | Path, folder: str | Path, adapter: str = "promoted_student", licence: str = "", base_model: str = ""
) -> Path:
    """Write an adapter of a finished SOAR run ("promoted_student" or "teacher"), in PEFT format with a model card, into
    `folder`; returns it. `licence`, by the Hub's name for it, may be left out only for the presets' bases;
    `base_model` is the Hub id of a base that the run took from a local folder. Raises RunError (no finished run, nobody
    promoted, a folder with other things in it) and ConfigError."""
    if adapter not in ADAPTERS:
        raise ConfigError(f"adapter = {adapter!r}: must be one of {', '.join(ADAPTERS)}")
    result, config = soar.read_result(run), files.read_config(run, SoarConfig)
    if adapter == "promoted_student" and not result.promoted_student:
        raise RunError(f"{run}: nobody was promoted, so its promoted student is the base; give away the 'teacher'")
    source = Path(run) / "adapters" / adapter
    if not (source / "adapter_config.json").is_file():
        raise RunError(f"{run}: its adapters are gone (no adapters/{adapter}); run it again to make them")
    base = base_model or config.model
    if not _on_hub(base):
        raise ConfigError(f"base_model = {base!r}: must be a Hub id, owner/name, as others do not have that folder")
    data = ModelCardData(
        license=_licence(licence, LICENCES.get(base, ""), f"adapters of {base}"),
        base_model=None if base in SHIPPED else base,  # which the Hub does not have
        library_name="peft", pipeline_tag="text-generation", tags=["lora", "reinforcement-learning", "math", "soar"],
    )  # fmt: skip
    peft = files.read_json(source / "adapter_config.json") | {"base_model_name_or_path": base}
    train, test = soar.problems(config, Path(run))
    card = _card(
        "adapter", data, config, adapter=adapter, base=base, shipped=base in SHIPPED, rank=peft["r"], result=result,
        sources=", ".join(dict.fromkeys(named(problem.source) or "no source named" for problem in train)),
        train=train, test=test, prompt=ADAPTERS[adapter][0]["content"],
    )  # fmt: skip
    return _write(folder, {
        "adapter_config.json": peft,
        "adapter_model.safetensors": (source / "adapter_model.safetensors").read_bytes(),
        "README.md": card,
    })  # fmt: skip


def questions_repository(run: str | Path, folder: str | Path, licence: str = "", against: Sequence[str] = ()) -> Path:
    """Write what the teacher of a finished SOAR run wrote, and of it the promotion questions (PQ), into `folder`, with
    data set card and contamination report; returns it. The report looks for the questions in the run's hard test set
    and in the sets `against`, each named as `problems.load` takes it. Raises RunError, ConfigError and LoadError."""
    result, config = soar.read_result(run), files.read_config(run, SoarConfig)
    written, best = files.read_records(Path(run) / "problems.jsonl", SyntheticProblem), soar.promotion_questions(run)
    parts = {name: rows for name, rows in (("problems", written), ("promotion_questions", best)) if rows}
    test = soar.problems(config, Path(run))[1]
    others = ({TESTED: test} if test else {}) | {named(name): load(name) for name in against}
    report = contamination(written, others)
    data = DatasetCardData(
        license=_licence(licence, LICENCES.get(config.model, ""), f"questions written by {named(config.model)}"),
        task_categories=["text-generation"], tags=["synthetic", "math", "soar"],
        configs=[{"config_name": name, "data_files": f"{name}.jsonl"} for name in parts],
    )  # fmt: skip
    card = _card("questions", data, config, size=len(written), best=len(best), result=result, report=report)
    contents = {f"{name}.jsonl": files.jsonl(map(asdict, rows)).encode() for name, rows in parts.items()}
    return _write(folder, contents | {REPORT: report, "README.md": card})


def hard_repository(filtered: str | Path, folder: str | Path, licence: str = "", against: Sequence[str] = ()) -> Path:
    """Write hard train and hard test of a finished filter run into `folder`, with data set card and a report of overlap
    with each other and with the sets `against`; returns it. `licence` is the pool's; it may be left out where
    problems/hub.toml or the package states it. Raises RunError, ConfigError and LoadError."""
    train, test = hard_sets(filtered)
    config = files.read_config(filtered, FilterConfig)
    pool = config.problems
    home = hub.find(pool.removeprefix("hub:")) if pool.startswith("hub:") else None
    ours = pool in EMBEDDED or pool.startswith("rg:") or pool in DATASETS
    stated = OWN if ours else home.licence if home and not home.licence.startswith("not stated") else ""
    report = contamination(train, {TESTED: test})
    report += contamination([*train, *test], {named(name): load(name) for name in against})
    splits = [{"split": name.removeprefix("hard_"), "path": f"{name}.jsonl"} for name in (HARD_TRAIN, HARD_TEST)]
    data = DatasetCardData(
        license=_licence(licence, stated, f"the pool {named(pool)}"),
        task_categories=["text-generation"], tags=["math", "soar"],
        configs=[{"config_name": "default", "data_files": splits}],
    )  # fmt: skip
    card = _card("hard", data, config, filtered=filtering.read_filtered(filtered), home=home, report=report)
    parts = {f"{name}.jsonl": (Path(filtered) / f"{name}.jsonl").read_bytes() for name in (HARD_TRAIN, HARD_TEST)}
    return _write(folder, parts | {REPORT: report, "README.md": card})


def contamination(
    published: Sequence[Problem | SyntheticProblem], others: Mapping[str, Sequence[Problem]]
) -> list[dict]:
    """For each other set, which published questions stand in it: `shared` holds the pairs (id here, id there) of
    questions with the same words, numbers and letters, or of one canonical form (`problems.likeness`); `identical`
    counts those that agree up to white space."""
    report = []
    for name, problems in others.items():
        (same, identical), known = overlap(published, problems), Known.of(problems).forms
        twins = {problem.id: known.get(canonical(problem.question)) for problem in published} | same
        shared = [[here, there] for here, there in twins.items() if there is not None]
        row = {"against": name, "problems": len(problems), "published": len(published), "identical": identical}
        report.append(row | {"shared": shared})
    return report


def _licence(given: str, known: str, of: str) -> str:
    if not given and not known:
        raise ConfigError(
            f"licence = '': no licence of {of} is known here; name it as the Hub does, such as 'cc-by-4.0'"
        )
    return (given or known).lower()


def _on_hub(name: str) -> bool:
    """Whether others can have the model of this name: a shipped one, or a Hub id."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name in SHIPPED or not Path(name).is_dir()


def _card(template: str, data: CardData, config: SoarConfig | FilterConfig, **values: Any) -> bytes:
    """README.md from a template here, which may use what paid.md sets; with a `report` it ends in contamination.md."""
    names = ["paid", template, *(["contamination"] if "report" in values else [])]
    text = "".join(Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8") for name in names)
    report = values.get("report", ())
    found = [f"{here}: {there} of {row['against']}" for row in report for here, there in row["shared"]]
    chosen = {name: json.dumps(value) for name, value in flat(asdict(config)).items()}
    settings = ", ".join(f"`{name} = {value}`" for name, value in chosen.items() if name not in ("model", "problems"))
    values |= {"config": config, "settings": settings, "found": found, "named": named}
    made = RepoCard.from_template(data, template_str=text, **values)
    return f"{made}\n".encode()


def named(name: str) -> str:
    """A model or a set as others know it: a name or Hub id as it is, of a path the last part.

    >>> named("meta-llama/Llama-3.2-3B-Instruct"), named("hub:math_test"), named("/data/mine.jsonl")
    ('meta-llama/Llama-3.2-3B-Instruct', 'hub:math_test', 'mine.jsonl')
    """
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() or name.startswith((".", "~")) else name


def _write(folder: str | Path, contents: dict[str, Any]) -> Path:
    """Write bytes as they are and other values as JSON, into a folder that holds nothing else."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(path.name for path in folder.iterdir() if path.name not in contents)
        if foreign:
            raise RunError(f"{folder}: holds {foreign[0]}, which is not part of it; choose another folder")
        for name, content in contents.items():
            (files.write_bytes_atomic if isinstance(content, bytes) else files.write_json)(folder / name, content)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    return folder


def push(folder: str | Path, repository: str, kind: str, private: bool = True, overlapping: bool = False) -> str:
    """Push a folder that was built here to the Hub as `repository` (owner/name), a "model" or a "dataset"; returns its
    address. Uses the token of `hf auth login` or HF_TOKEN. Raises ConfigError (the kind or the name), and RunError:
    another kind of folder, questions that stand in the hard test set (`overlapping` allows them), a repository that is
    public already though `private` was asked for, no token, no network, or a refusal by the Hub."""
    folder = Path(folder)
    if kind not in ("model", "dataset"):
        raise ConfigError(f"kind = {kind!r}: must be 'model' or 'dataset'")
    mark = {"model": "adapter_config.json", "dataset": REPORT}[kind]
    if not (folder / mark).is_file() or not (folder / "README.md").is_file():
        raise RunError(f"{folder}: holds no {kind} repository (README.md and {mark}); build one first")
    if kind == "dataset" and not overlapping:
        _check_overlap(folder)
    api = HfApi(token=True)
    created = _ask(repository, lambda: api.create_repo(repository, repo_type=kind, private=private, exist_ok=True))
    name = created.repo_id
    if private and not _ask(name, lambda: api.repo_info(name, repo_type=kind)).private:
        raise RunError(f"{name}: is there already and public; take another name, or private=False")
    message = "An adapter of a SOAR run" if kind == "model" else "Problems and their card"
    _ask(name, lambda: api.upload_folder(repo_id=name, folder_path=folder, repo_type=kind, commit_message=message))
    return str(created)


def _check_overlap(folder: Path) -> None:
    rows = files.read_json(folder / REPORT, list)
    shared = [pair for row in rows if row["against"] == TESTED for pair in row["shared"]]
    if shared:
        ids = ", ".join(here for here, _ in shared[:5]) + (", ..." if len(shared) > 5 else "")
        raise RunError(
            f"{folder}: {len(shared)} of its questions stand in the hard test set ({ids}); "
            "leave them out, or publish them knowingly: overlapping=True"
        )


def _ask(repository: str, request: Callable[[], Any]) -> Any:
    """A request to the Hub, its failures as one line with what to do."""
    try:
        return request()
    except HFValidationError as error:
        raise ConfigError(f"repository = {repository!r}: must be owner/name as the Hub allows it: {error}") from None
    except LocalTokenNotFoundError:
        raise RunError(f"{repository}: no token to push with; log in with `hf auth login`, or set HF_TOKEN") from None
    except (HTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or "no answer"
        raise RunError(
            f"{repository}: not pushed ({type(error).__name__}: {reason:.200}); check the network, the name "
            "and that the token may write there, then push again"
        ) from error
