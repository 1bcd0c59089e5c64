"""What is loaded from elsewhere runs no code, is what it was when it was pinned, and nothing of the user's leaks."""

import ast
import errno
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from soar_lib import runs
from soar_lib.cli.arguments import KINDS
from soar_lib.problems.hub import SETS
from soar_lib.settings.student import preset
from tools import audit

ROOT = Path(__file__).parents[1]
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in (ROOT / "soar_lib").rglob("*.py")}
UNPICKLERS = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}


def calls() -> list[tuple[str, str, dict[str, str]]]:
    """(file, what is called as it is written, keywords as they are written) of every call in soar_lib."""
    return [
        (name, ast.unparse(node.func), {key.arg or "**": ast.unparse(key.value) for key in node.keywords})
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


CALLS = calls()


def test_nothing_unpickles_or_runs_text():
    imported = {
        (name, module.split(".")[0])
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [item.name for item in node.names])
    }
    assert {(name, module) for name, module in imported if module in UNPICKLERS} == set()
    running = {"eval", "exec", "compile", "torch.load", "np.load", "pd.read_pickle", "os.system", "yaml.load"}
    assert {(name, called) for name, called, _ in CALLS if called in running} == set()
    assert [name for name, _, keywords in CALLS if keywords.get("shell") == "True"] == []


def test_weights_are_read_as_safetensors_alone():
    loading = [(called, keywords) for _, called, keywords in CALLS if called.endswith("Model.from_pretrained")]
    assert loading and all(keywords.get("use_safetensors") == "True" for _, keywords in loading)
    (options,) = [keywords for name, called, keywords in CALLS if called == "dict" and "use_safetensors" in keywords]
    assert options["use_safetensors"] == "True"  # what AutoModelForCausalLM is given
    (sentences,) = [keywords for _, called, keywords in CALLS if called == "SentenceTransformer"]
    assert "'use_safetensors': True" in sentences["model_kwargs"]
    (vllm,) = [keywords for _, called, keywords in CALLS if "load_format" in keywords]
    assert vllm["load_format"] == "'safetensors'"


def test_code_from_a_repository_is_run_by_no_preset_and_no_default():
    trusting = [keywords["trust_remote_code"] for _, _, keywords in CALLS if "trust_remote_code" in keywords]
    assert len(trusting) >= 4 and {*trusting} <= {"False", "config.remote_code", "self.remote_code"}
    asked = [keywords for _, called, keywords in CALLS if called.startswith("Auto") and "from_pretrained" in called]
    assert len(asked) >= 4 and all("trust_remote_code" in given or given["**"] == "options" for given in asked)
    for kind in KINDS.values():
        assert not any(preset(name, kind).remote_code for name in kind.presets)


def test_what_is_downloaded_is_pinned():
    """Each benchmark by its revision and number of problems, nearly all by a checksum of what they hold."""
    assert all(re.fullmatch("[0-9a-f]{40}", home.revision) and home.rows for home in SETS.values())
    assert sum(bool(home.sha256) for home in SETS.values()) >= len(SETS) - 2
    downloads = [keywords for _, called, keywords in CALLS if called.endswith(("hf_hub_download", "snapshot_download"))]
    assert downloads and all("revision" in keywords for keywords in downloads)


@pytest.mark.parametrize(
    ("version", "events", "found"),
    [
        ("2.0", [{"introduced": "0"}, {"fixed": "2.1"}], True),
        ("2.1", [{"introduced": "0"}, {"fixed": "2.1"}], False),
        ("2.1", [{"introduced": "0"}, {"last_affected": "2.1"}], True),
        ("1.5", [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.4"}], True),
        ("1.3", [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "1.4"}], False),
    ],
)
def test_an_advisory_is_found_for_the_versions_that_it_names(tmp_path, version, events, found):
    ranges = [{"type": "GIT", "events": [{"introduced": "0"}]}, {"type": "ECOSYSTEM", "events": events}]
    affected = [{"package": {"name": "Some_Package"}, "ranges": ranges}, {"package": {"name": "other"}, "versions": []}]
    record = {"id": "PYSEC-1", "details": "It runs text.\nAlways.", "affected": affected}
    (tmp_path / "vulns" / "some-package").mkdir(parents=True)
    (tmp_path / "vulns" / "some-package" / "PYSEC-1.yaml").write_text(yaml.safe_dump(record))
    told = [("some-package", "PYSEC-1", "It runs text.")] if found else []
    assert [*audit.findings(tmp_path, {"some-package": version, "unknown": "1"})] == told
    assert audit.here().keys() >= {"torch", "pytest"}


def test_the_page_explains_each_finding_and_lists_six_downloads_with_their_sizes():
    page, lock = (ROOT / "notebooks" / "troubleshooting.md").read_text(), (ROOT / "requirements.lock").read_text()
    (count, table) = re.search(r"(\w+) of them affects? .*?\n\n(\| finding .*?)\n\n", page, re.DOTALL).groups()
    explained = re.findall(r"^\| ([\w-]+) [\d.]+: (?:PYSEC|GHSA|CVE)-[\w-]+ \| .{80,} \|$", table, re.MULTILINE)
    assert len(explained) == len(table.splitlines()) - 2 == ["None", "One", "Two", "Three", "Four"].index(count)
    listed = re.findall(r"^\| (\w+).*? \| (\d+) \| (\d+) \| .+ \|$", page, re.MULTILINE)
    sizes = [int(installed) for *_, installed in listed]
    assert len(listed) == 6 and sizes == sorted(sizes, reverse=True)
    assert all(f"\n{name}==" in lock and int(installed) > int(download) > 0 for name, download, installed in listed)


@pytest.mark.network
def test_nothing_leaves_this_machine_during_a_test():
    there = ("192.0.2.1", 9)
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        assert stream.connect_ex(there) == errno.ENETUNREACH
        for reach in (
            lambda: stream.connect(there),
            lambda: datagrams.sendto(b"x", there),
            lambda: datagrams.sendto(b"x", 0, there),
            lambda: socket.getaddrinfo("example.org", 80),
        ):
            with pytest.raises(OSError, match="Network is unreachable"):
                reach()
        assert datagrams.sendto(b"x", ("127.0.0.1", 9)) == 1


# ------------------------------------------------------------------ secrets

SECRETS = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9]{32,}|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE"
    r"|\bwandb_v1_\w{20,}|\b(?:HF_TOKEN|WANDB_API_KEY|AWS_SECRET_ACCESS_KEY)\s*[=:]\s*['\"]?\w{16,}"
)
HOMES = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+)/")


def tracked(*folders: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no repository: an unpacked archive")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_a_secret_is_known_when_it_is_seen():
    assert SECRETS.search("token hf_" + "a1" * 17) and SECRETS.search('HF_TOKEN="' + "x" * 20)
    assert not SECRETS.search("set HF_TOKEN") and HOMES.search('"/home/me/x"') and not HOMES.search("runs/home/x/y")


def test_no_file_holds_a_secret_and_no_run_or_notebook_names_a_home():
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in tracked() if path.suffix != ".safetensors"}
    assert len(texts) > 100 and [path for path, text in texts.items() if SECRETS.search(text)] == []
    published = tracked("runs", "notebooks", "figures")
    assert published and [path for path in published if HOMES.search(texts.get(path, ""))] == []


def test_a_run_folder_keeps_nothing_of_the_environment(tmp_path, monkeypatch):
    secret = "hf_" + "s3cr3t" * 6
    for name in ("HF_TOKEN", "WANDB_API_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, secret)
    for name, kind in KINDS.items():
        runs.open_run(tmp_path / name, preset("smoke", kind))
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 2 * len(KINDS) and not any(secret in text for text in written)


@pytest.mark.parametrize(("asked", "off"), [({}, True), ({"HF_HUB_DISABLE_TELEMETRY": "0"}, False)])
def test_no_library_reports_its_use_unless_the_user_says_so(asked, off):
    code = "import soar_lib, huggingface_hub.constants; print(huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY)"
    quiet = ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY", "DO_NOT_TRACK")
    here = {name: value for name, value in os.environ.items() if name not in quiet} | asked
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=here, capture_output=True, text=True)
    assert done.stdout.split() == [str(off)], done.stderr
