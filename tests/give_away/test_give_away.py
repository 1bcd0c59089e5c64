"""Repositories for the Hub: what the cards say, what others' libraries read in them, and what is pushed or refused."""

import json
import shutil
import threading
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import tiny
import torch
from datasets import load_dataset
from huggingface_hub import metadata_load

from soar_lib import files
from soar_lib.engine import lora
from soar_lib.engine.base import load
from soar_lib.engine.sampling import decode, sample
from soar_lib.files import RunError
from soar_lib.give_away import repositories as give_away
from soar_lib.problems.prompts import student_messages
from soar_lib.records import Draw, Problem, SyntheticProblem
from soar_lib.settings.student import FilterConfig
from soar_lib.settings.values import SHIPPED, ConfigError
from soar_lib.soar.settings import SoarConfig

STUDY = Path(__file__).parents[2] / "runs" / "reference" / "study"


@pytest.fixture(scope="module")
def nano():
    return load("nano")


@pytest.fixture(scope="module")
def run(nano, tmp_path_factory) -> Path:
    """A committed SOAR run of the shipped model, with adapters that change what the model says."""
    folder = tmp_path_factory.mktemp("give_away") / "run"
    shutil.copytree(STUDY / "grounded" / "seed0", folder, ignore=shutil.ignore_patterns("checkpoint", "adapters"))
    for slot, name in enumerate(give_away.ADAPTERS):
        lora.save_peft(tiny.adapters(nano, 2, rank=16, spread=0.1), slot, folder / "adapters" / name, "nano")
    return folder


def changed(folder: Path, to: Path, name: str = "config.json", **values) -> Path:
    """A copy of a run folder with other values in one of its JSON files."""
    shutil.copytree(folder, to)
    files.write_json(to / name, files.read_json(to / name) | values)
    return to


def card(folder: Path) -> str:
    return (folder / "README.md").read_text()


# ------------------------------------------------------------------ adapters


@pytest.mark.parametrize("adapter", give_away.ADAPTERS)
def test_peft_loads_an_adapter_as_the_card_says_and_it_answers_as_ours(nano, run, tmp_path, adapter):
    built = give_away.model_repository(run, tmp_path / "model", adapter)
    names = {"repository": str(built)}
    exec(card(built).split("```python\n")[1].split("```")[0], names)
    ours = lora.load_peft(run / "adapters" / adapter, nano.model)
    questions = [row["question"] for row in files.read_jsonl(run / "hard_test.jsonl")[:2]]
    ids = [nano.encode(student_messages(question)) for question in questions]
    expected, plain = (decode(nano, sample(nano, slot, ids, [0] * 2, 1, None, Draw(24))) for slot in (ours, None))
    found = [names["model"].generate(torch.tensor([row]), do_sample=False, max_new_tokens=24) for row in ids]
    texts = [nano.tokenizer.decode(out[0, len(row) :], skip_special_tokens=True) for row, out in zip(ids, found)]
    assert texts == expected and all(one != other for one, other in zip(expected, plain))


@pytest.mark.parametrize("model", SHIPPED)
def test_the_card_of_a_shipped_models_adapter_needs_no_licence_and_loads_that_model(run, tmp_path, model):
    built = give_away.model_repository(changed(run, tmp_path / "run", model=model), tmp_path / "model")
    told = metadata_load(built / "README.md")
    assert told["license"] == "apache-2.0" and "base_model" not in told
    assert f"for `{model}`, a model of about half a million parameters that soar_lib ships" in card(built)
    assert f'base = load("{model}").model' in card(built)


def test_the_model_card_is_read_by_the_hub_and_says_what_the_run_found(run, tmp_path):
    built = give_away.model_repository(run, tmp_path / "model")
    assert sorted(path.name for path in built.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert metadata_load(built / "README.md") == {
        "license": "apache-2.0", "library_name": "peft", "pipeline_tag": "text-generation",
        "tags": ["lora", "reinforcement-learning", "math", "soar"],
    }  # fmt: skip
    for words in (
        "| promotions | 3 |", "untrained student | 0.0% |", "promoted student | 20.0% |", "40 (nano), 39 hard test",
        "rank 16", "| seed | 0 |", "`threshold = 0.01`", "\\boxed{answer}", "no held-out result", "A reward is a gain",
    ):  # fmt: skip
        assert words in card(built), words


def test_a_card_names_the_rewards_of_the_run(run, tmp_path):
    text = card(give_away.model_repository(run, tmp_path / "model"))
    assert "| teacher reward | grounded; mean " in text and "| student reward | soar |" in text
    rewards = {"reward": "mine.gain sha256:0123456789ab", "student_reward": "mine.short sha256:ba9876543210"}
    own = changed(run, tmp_path / "own", **rewards)
    text = card(give_away.model_repository(own, tmp_path / "other"))
    assert "it was paid by `mine.gain sha256:0123456789ab`, a function of whoever ran it." in text
    assert "| student reward | mine.short sha256:ba9876543210 |" in text and "A reward is a gain" not in text
    assert "- It was rewarded by `mine.short sha256:ba9876543210`" in text and "Only the box" not in text
    named = changed(run, tmp_path / "right", student_reward="right")
    text = card(give_away.model_repository(named, tmp_path / "third"))
    assert "| student reward | right |" in text and "Only the box" in text and "of whoever ran it" not in text
    text = card(give_away.questions_repository(own, tmp_path / "data"))
    assert "| `reward` | of the whole data set: `mine.gain sha256:0123456789ab`, a function of whoever ran it |" in text


def test_a_base_of_the_hub_is_named_and_one_of_a_local_folder_must_be(run, tmp_path):
    hub = changed(run, tmp_path / "hub", model="owner/base")
    with pytest.raises(ConfigError, match=r"^licence = '': no licence of adapters of owner/base is known here; name"):
        give_away.model_repository(hub, tmp_path / "model")
    built = give_away.model_repository(hub, tmp_path / "model", licence="MIT")
    assert metadata_load(built / "README.md") | {"tags": None, "pipeline_tag": None} == {
        "license": "mit", "base_model": "owner/base", "library_name": "peft", "tags": None, "pipeline_tag": None,
    }  # fmt: skip
    assert 'from_pretrained("owner/base")' in card(built)
    llama = changed(run, tmp_path / "llama", model=SoarConfig().model)
    built = give_away.model_repository(llama, tmp_path / "model")
    assert metadata_load(built / "README.md")["license"] == "llama3.2"
    local = changed(run, tmp_path / "local", model=str(tmp_path))
    with pytest.raises(ConfigError, match=r"^base_model = .*: must be a Hub id, owner/name, as others do not have"):
        give_away.model_repository(local, tmp_path / "other", licence="mit")
    built = give_away.model_repository(local, tmp_path / "other", licence="mit", base_model="owner/base")
    assert files.read_json(built / "adapter_config.json")["base_model_name_or_path"] == "owner/base"
    assert not [path for path in built.iterdir() if str(tmp_path).encode() in path.read_bytes()]


def test_what_cannot_be_given_away_is_refused_before_anything_is_written(run, tmp_path):
    to = tmp_path / "out"
    with pytest.raises(ConfigError, match="adapter = 'x': must be one of promoted_student, teacher"):
        give_away.model_repository(run, to, "x")
    with pytest.raises(RunError, match="no finished SOAR run"):
        give_away.model_repository(STUDY / "filter", to)
    bare = tmp_path / "bare"
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("adapters"))
    with pytest.raises(RunError, match=r"its adapters are gone \(no adapters/teacher\); run it again"):
        give_away.model_repository(bare, to, "teacher")
    nobody = changed(run, tmp_path / "nobody", "result.json", promoted_student=0, accuracies=[0.0])
    with pytest.raises(RunError, match="nobody was promoted, .* give away the 'teacher'"):
        give_away.model_repository(nobody, to)
    assert not to.exists()
    assert "| nobody was promoted |" in card(give_away.model_repository(nobody, to, "teacher"))


def test_a_folder_with_other_things_in_it_is_left_alone(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds notes.txt, which is not part of it; choose another folder"):
        give_away.model_repository(run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(RunError, match="cannot be written .* choose another folder"):
        give_away.model_repository(run, tmp_path / "notes.txt")


# ------------------------------------------------------------------ data sets


def test_datasets_reads_the_questions_of_a_run(run, tmp_path):
    built = give_away.questions_repository(run, tmp_path / "data")
    for name, size in (("problems", 640), ("promotion_questions", 48)):
        read = load_dataset(str(built), name, cache_dir=str(tmp_path / "cache"))["train"]
        assert len(read) == size and read.to_list() == files.read_jsonl(run / f"{name}.jsonl")
    for words in ("all 640", ": 48 of them", "mean gain in accuracy (fraction of 1) of 2 students on 32 hard problems"):
        assert words in card(built), words
    assert "| hard test | 39 | 640 | 0 | 0 |" in card(built)


def test_datasets_reads_the_hard_problems_of_a_filter_run(tmp_path):
    built = give_away.hard_repository(STUDY / "filter", tmp_path / "data")
    read = load_dataset(str(built), cache_dir=str(tmp_path / "cache"))
    for part in ("train", "test"):
        assert read[part].to_list() == files.read_jsonl(STUDY / "filter" / f"hard_{part}.jsonl")
    assert metadata_load(built / "README.md")["license"] == "apache-2.0"
    for words in (
        "79 of 280 problems are never solved in 128 samples",
        "temperature 1, at most 128 tokens",
        "| 0, of ",
    ):
        assert words in card(built), words


def test_a_run_without_promotions_gives_no_promotion_questions(tmp_path):
    built = give_away.questions_repository(STUDY / "intrinsic" / "seed0", tmp_path / "data")
    assert sorted(path.name for path in built.iterdir()) == ["README.md", "contamination.json", "problems.jsonl"]
    assert "nobody was promoted" in card(built) and "mean of 1 - s over its problems" in card(built)


@pytest.mark.parametrize(
    ("pool", "licence"),
    [("nano", "apache-2.0"), ("nano2", "apache-2.0"), ("rg:chain_sum", "apache-2.0"), ("hub:math_test", "mit"),
     ("hub:harp@abc", "mit"), ("hub:olympiadbench", "apache-2.0"), ("hub:aime24", ""), ("nano.jsonl", ""),
     ("hub:x", "")],
)  # fmt: skip
def test_the_licence_is_the_pools_and_must_be_named_where_it_is_not_known(tmp_path, pool, licence):
    folder = tmp_path / "filter"
    shutil.copytree(STUDY / "filter", folder)
    files.write_json(folder / "config.json", asdict(FilterConfig(problems=pool, k=128)))
    if not licence:
        with pytest.raises(ConfigError, match=f"^licence = '': no licence of the pool {pool} is known here; name it"):
            give_away.hard_repository(folder, tmp_path / "data")
    built = give_away.hard_repository(folder, tmp_path / "data", licence="" if licence else "CC-BY-4.0")
    assert metadata_load(built / "README.md")["license"] == (licence or "cc-by-4.0")
    homes = {"hub:math_test": "`DigitalLearningGmbH/MATH-lighteval` at revision `0530c", "hub:harp@abc": "`abc`"}
    assert homes.get(pool, "") in card(built)


# ------------------------------------------------------------------ contamination


def written(*questions: str) -> list[SyntheticProblem]:
    return [SyntheticProblem(f"w{i}", question, "1", "") for i, question in enumerate(questions)]


def test_a_question_is_found_in_other_spacing_and_an_integral_in_other_words():
    test = [Problem("t0", "What is $2+2$?", "4"), Problem("t1", "Compute: ∫ 2*x + x**2 dx", "x")]
    questions = written("What is 2 + 2?", r"Find $\int t^2 + 2t \, dt$.", "What is $2+2$?", "What is 2+3?")
    assert give_away.contamination(questions, {"hard test": test, "none": test[:0]}) == [
        {"against": "hard test", "problems": 2, "published": 4, "identical": 1,
         "shared": [["w0", "t0"], ["w1", "t1"], ["w2", "t0"]]},
        {"against": "none", "problems": 0, "published": 4, "identical": 0, "shared": []},
    ]  # fmt: skip


def test_the_report_names_what_stands_in_the_hard_test_set_and_in_a_named_one(leaking, tmp_path):
    mine = tmp_path / "mine.jsonl"
    first = files.read_jsonl(leaking / "problems.jsonl")[1]
    mine.write_text(json.dumps({"id": "m", "question": first["question"] + "\n", "answer": "1"}) + "\n")
    built = give_away.questions_repository(leaking, tmp_path / "data", against=[str(mine)])
    report = files.read_json(built / "contamination.json", list)
    assert [(row["against"], row["shared"]) for row in report] == [
        ("hard test", [["0-teacher-1-3", "nano/0/1"]]), ("mine.jsonl", [[first["id"], "mine/m"]]),
    ]  # fmt: skip
    for words in ("- 0-teacher-1-3: nano/0/1 of hard test\n", f"- {first['id']}: mine/m of mine.jsonl\n"):
        assert words in card(built)
    assert str(tmp_path) not in card(built)


def test_a_card_lists_the_first_overlaps_and_the_report_all_of_them(tmp_path):
    hard = files.read_jsonl(STUDY / "filter" / "hard_train.jsonl")
    (tmp_path / "mine.jsonl").write_text(files.jsonl(hard + files.read_jsonl(STUDY / "filter" / "hard_test.jsonl")))
    built = give_away.hard_repository(STUDY / "filter", tmp_path / "data", against=[str(tmp_path / "mine.jsonl")])
    here = [pair[0] for pair in files.read_json(built / "contamination.json", list)[1]["shared"]]
    assert len(here) == 79 and card(built).endswith(" of mine.jsonl\n\n29 more are in contamination.json\n")
    assert f"\n- {here[49]}: " in card(built) and f"\n- {here[50]}: " not in card(built)


@pytest.fixture()
def leaking(run, tmp_path) -> Path:
    """The run, had its teacher written a hard test problem in other spacing."""
    folder = tmp_path / "leaking"
    shutil.copytree(run, folder)
    rows = files.read_jsonl(folder / "problems.jsonl")
    rows[3]["question"] = files.read_jsonl(folder / "hard_test.jsonl")[0]["question"].replace(" ", "  ")
    (folder / "problems.jsonl").write_text(files.jsonl(rows))
    return folder


def test_a_run_without_a_hard_test_set_says_that_nothing_was_compared(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("hard_test.jsonl"))
    built = give_away.questions_repository(folder, tmp_path / "data")
    assert "There was no hard test set and no other set to compare with." in card(built)


# ------------------------------------------------------------------ the Hub


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a push needs; `server.public` repositories exist, `server.refused` paths are refused."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(self.path)
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
        if self.path in self.server.refused:
            return self.reply(403, {"error": "this token may not write here"})
        if "/preupload/" in self.path:
            found = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            return self.reply(200, {"files": found})
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            found = [line["value"] for line in lines if line["key"] == "file"]
            self.server.files |= {file["path"]: b64decode(file["content"]) for file in found}
            return self.reply(200, {"commitUrl": f"{self.url}/me/name/commit/{40 * '0'}", "commitOid": 40 * "0"})
        self.reply(200, {"url": f"{self.url}/me/name"})

    def do_GET(self):
        if self.path in self.server.refused:
            return self.reply(404, {"error": "there is none"})
        self.reply(200, {"id": "me/name", "private": not self.server.public, "siblings": [], "tags": []})

    @property
    def url(self) -> str:
        return f"http://{self.headers['Host']}"

    def reply(self, status: int, value: dict) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.created, server.files, server.public, server.refused = [], [], {}, False, ()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture()
def hub(monkeypatch):
    """A stand-in Hub on this machine, and a token that it takes."""
    with serving() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_for_this_test")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        huggingface_hub.close_session()
        yield server
    huggingface_hub.close_session()


@pytest.fixture(scope="module")
def model_folder(run, tmp_path_factory) -> Path:
    return give_away.model_repository(run, tmp_path_factory.mktemp("pushed") / "model")


@pytest.mark.parametrize("private", [True, False])
def test_a_push_makes_the_repository_and_uploads_the_folder(hub, model_folder, private):
    address = give_away.push(model_folder, "me/name", "model", private)
    assert address == f"http://127.0.0.1:{hub.server_port}/me/name"
    wanted = {"name": "name", "organization": "me", "visibility": "private" if private else "public", "type": "model"}
    assert hub.created == [wanted]
    assert hub.files == {path.name: path.read_bytes() for path in model_folder.iterdir()}


def test_questions_of_the_hard_test_set_are_pushed_only_knowingly(hub, leaking, tmp_path):
    built = give_away.questions_repository(leaking, tmp_path / "data")
    with pytest.raises(RunError, match=r"1 of its questions stand in the hard test set \(0-teacher-1-3\); leave"):
        give_away.push(built, "me/name", "dataset")
    assert hub.asked == []
    give_away.push(built, "me/name", "dataset", overlapping=True)
    assert hub.files["problems.jsonl"] == (leaking / "problems.jsonl").read_bytes()


def test_a_private_push_does_not_land_in_a_public_repository(hub, model_folder):
    hub.public = True
    with pytest.raises(RunError, match="^me/name: is there already and public; take another name, or private=Fal"):
        give_away.push(model_folder, "me/name", "model")
    assert hub.files == {}


@pytest.mark.parametrize("paths", [("/api/repos/create", "/api/models/me/name"), ("/api/models/me/name/commit/main",)])
def test_a_refusal_by_the_hub_is_one_line(hub, model_folder, paths):
    hub.refused = paths
    with pytest.raises(RunError, match=r"^me/name: not pushed \(.*403.*\); check the network, .*again$") as caught:
        give_away.push(model_folder, "me/name", "model")
    assert "\n" not in str(caught.value) and hub.files == {}


def test_without_token_without_network_and_with_another_name_nothing_is_asked(hub, model_folder, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"^repository = 'a/b/c': must be owner/name as the Hub allows it: Repo id"):
        give_away.push(model_folder, "a/b/c", "model")
    with pytest.raises(ConfigError, match="^kind = 'space': must be 'model' or 'dataset'"):
        give_away.push(model_folder, "me/name", "space")
    with pytest.raises(RunError, match=r"holds no dataset repository \(README.md and contamination.json\); build"):
        give_away.push(model_folder, "me/name", "dataset")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(RunError, match=r"^me/name: not pushed \(OfflineModeIsEnabled: .*\); check the network"):
        give_away.push(model_folder, "me/name", "model")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(RunError, match="^me/name: no token to push with; log in with `hf auth login`, or set"):
        give_away.push(model_folder, "me/name", "model")
    assert hub.asked == []


def test_a_hub_that_does_not_answer_is_one_line(hub, model_folder, monkeypatch):
    with serving() as gone:
        port = gone.server_port
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(RunError, match=r"^me/name: not pushed \(ConnectError: .*\); check the network"):
        give_away.push(model_folder, "me/name", "model")
