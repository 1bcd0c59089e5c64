"""The language-model judge: its prompt, strict reading, a real base, and a real server on a local port."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import tiny
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from soar_lib.engine import base as bases
from soar_lib.measure import judge as judges
from soar_lib.measure import quality
from soar_lib.measure.judge import JudgeError, NoReply, endpoint, judge, messages, read
from soar_lib.records import Problem
from soar_lib.settings.values import ConfigError
from tools.real import agreement


def reply(correct: bool, posed: bool, error: str, answer="72") -> str:
    fields = {"is_correct": correct, "is_well_posed": posed, "error_type": error, "verified_answer": answer}
    return f"<think>Let me see {{...}}.</think>\n{json.dumps(fields)}"


PROBLEMS = [Problem(f"p{i}", f"What is {i} + {i}?", str(2 * i)) for i in range(6)]
RIGHT = reply(True, True, "None")


# ------------------------------------------------------------------ prompt and reading


def test_the_prompt_holds_problem_and_answer_as_they_are():
    (message,) = messages("How much is {answer} and {question}?", "\\frac{1}{2}")
    content = message["content"]
    assert message["role"] == "user"
    assert content.count("<problem>\nHow much is {answer} and {question}?\n</problem>") == 1
    assert content.endswith("<proposed_answer>\n\\frac{1}{2}\n</proposed_answer>")
    for word in ("<think>", *judges.ERROR_TYPES, "is_correct", "is_well_posed", "error_type", "verified_answer"):
        assert word in content


def test_the_worked_example_of_the_prompt_is_a_reply_that_can_be_read():
    example = judges.PROMPT.partition("<think>Everything")[2].partition("\n\nNow check")[0]
    assert read("<think>" + example) == quality.Verdict("arithmetic", "72")


READ = [
    (RIGHT, "correct"),
    (reply(False, True, "Arithmetic"), "arithmetic"),
    (reply(False, True, "Logical_Fallacy", 72), "logic"),
    (reply(False, False, "Ill_Posed", None), "ill_posed"),
    (reply(False, False, "Ambiguous", None), "ambiguous"),
    (RIGHT.replace("</think>\n", "</think>```json\n") + "\n```\n", "correct"),
    (RIGHT.partition("\n")[2], "correct"),  # no reasoning
    (f"<think>It says </think> here.</think>{RIGHT}", "correct"),
]


@pytest.mark.parametrize("text, label", READ)
def test_replies_that_keep_to_the_format(text, label):
    verdict = read(text)
    assert verdict.label == label and verdict.reason == ""
    assert verdict.answer == ("72" if verdict.well_posed else None)


UNREADABLE = [
    ("", "no JSON"),
    ("The answer is right.", "no JSON"),
    ("<think>cut off while {", "no JSON"),
    (RIGHT + "\nI hope this helps!", "no JSON"),
    ("</think>" + RIGHT.partition("\n")[2] * 2, "no JSON"),
    ("</think>[1, 2]", "not a JSON object"),
    ("</think>true", "not a JSON object"),
    ("[" * 200_000, "no JSON"),
    ('{"is_correct": true}', "is_well_posed is missing"),
    (reply("true", True, "None"), 'is_correct is "true"'),
    (reply(True, 1, "None"), "is_well_posed is 1"),
    (reply(True, True, None), "error_type is null"),
    (reply(True, True, "none"), 'error_type is "none"'),
    (reply(True, True, "None", ["72"]), "verified_answer is"),
    (reply(True, True, "None", True), "verified_answer is true"),
    (reply(True, False, "None"), "contradicts itself"),
    (reply(True, True, "Arithmetic"), "contradicts itself"),
    (reply(False, True, "None"), "contradicts itself"),
    (reply(False, True, "Ill_Posed"), "contradicts itself"),
    (reply(False, False, "Arithmetic"), "contradicts itself"),
]


@pytest.mark.parametrize("text, reason", UNREADABLE, ids=range(len(UNREADABLE)))
def test_anything_else_is_unjudged_with_the_reason(text, reason):
    verdict = read(text)
    assert verdict.label == "unjudged" and not verdict.judged and verdict.reason.startswith(reason)


def test_verdicts_come_in_the_order_of_the_problems_also_side_by_side():
    def ask(asked):
        number = int(asked[0]["content"].rpartition("What is ")[2].split(" ")[0])
        time.sleep(0.02 * (5 - number))  # later problems are answered sooner
        return reply(True, True, "None", number)

    for workers in (1, 6):
        assert [verdict.answer for verdict in judge(PROBLEMS, ask, workers)] == list("012345")


def test_no_reply_is_unjudged_and_any_other_error_ends_the_judging():
    asked = []

    def silent(messages):
        asked.append(messages)
        if len(asked) == 2:
            raise NoReply("judge here: no answer for 3 s")
        return RIGHT

    verdicts = judge(PROBLEMS[:3], silent)
    assert [verdict.label for verdict in verdicts] == ["correct", "unjudged", "correct"]
    assert verdicts[1].reason == "judge here: no answer for 3 s"

    def broken(messages):
        asked.append(messages)
        raise JudgeError("judge here: HTTP 401")

    asked.clear()
    with pytest.raises(JudgeError, match="401"):
        judge(PROBLEMS * 20, broken)
    assert len(asked) == 1  # the others are not asked about in vain


# ------------------------------------------------------------------ a loaded base


def parrot(text: str) -> bases.Base:
    """A tiny model trained until it says `text`, as one token, after every prompt."""
    words = ["<pad>", "<eos>", "<unk>", "<bot>", text]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    tokenizer.chat_template = "{{ messages[0]['content'] }} <bot>"
    torch.manual_seed(0)
    net = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=5, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=1024, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )
    )  # fmt: skip
    ids = torch.tensor([[2] * 40 + [3, 4, 1]])
    labels = torch.where(torch.arange(43) < 41, -100, ids)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-2)
    for _ in range(60):
        net(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return bases.assemble(net, tokenizer, "parrot")


def test_a_base_is_asked_greedily_one_by_one():
    base = parrot('{"is_correct":false,"is_well_posed":true,"error_type":"Arithmetic","verified_answer":"9"}')
    verdicts = judge(PROBLEMS, judges.model(base, max_new_tokens=4))
    assert verdicts == [quality.Verdict("arithmetic", "9")] * 6


def test_replies_of_a_base_are_those_of_transformers_greedy_search():
    base = tiny.base()
    asked = [messages("What is 2 + 2?", "4"), messages("Is it 3?", "yes")]
    found = judges.replies(base, asked, max_new_tokens=12)
    for conversation, text in zip(asked, found, strict=True):
        ids = torch.tensor([base.encode(conversation)])
        whole = base.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert text == base.tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True)
    assert {v.label for v in judge(PROBLEMS[:2], judges.model(base, 8))} == {"unjudged"}  # it talks nonsense


# ------------------------------------------------------------------ a server


@contextmanager
def server(answer):
    """A local server of chat completions; `answer(number, body)` gives (code, text of the reply, or bytes to send)."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append({"path": self.path, "key": self.headers["Authorization"], **body})
            code, text = answer(len(requests), body)
            message = {"choices": [{"message": {"role": "assistant", "content": text}}]}
            content = text if isinstance(text, bytes) else json.dumps(message).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{service.server_port}/v1", requests
    finally:
        service.shutdown()
        thread.join()
        service.server_close()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_not_for_judges")
    for name in ("OPENAI_MODEL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


def test_a_server_is_asked_by_the_protocol():
    with server(lambda number, body: (200, RIGHT)) as (url, requests):
        ask = endpoint("some-model", f"{url}/", "secret", max_tokens=500)
        verdicts = judge(PROBLEMS[:2], ask)
    assert [verdict.label for verdict in verdicts] == ["correct", "correct"]
    assert requests[0] == {
        "path": "/v1/chat/completions", "key": "Bearer secret", "model": "some-model", "temperature": 0,
        "stream": False, "max_tokens": 500, "messages": messages(PROBLEMS[0].question, PROBLEMS[0].answer),
    }  # fmt: skip


def test_settings_come_from_the_environment_and_a_key_is_not_needed(monkeypatch):
    with server(lambda number, body: (200, RIGHT)) as (url, requests):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_MODEL", "theirs")
        assert endpoint(temperature=0.5)(messages("q", "a")) == RIGHT
    assert (requests[0]["model"], requests[0]["temperature"], requests[0]["key"]) == ("theirs", 0.5, None)


def test_missing_settings_say_what_to_set():
    with pytest.raises(ConfigError, match="no model; give model or set OPENAI_MODEL"):
        endpoint()
    with pytest.raises(ConfigError, match="url = '': must begin with http.*OPENAI_BASE_URL"):
        endpoint("m")
    with pytest.raises(ConfigError, match="file:///etc"):
        endpoint("m", "file:///etc")


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_failure_that_can_pass_is_tried_again(code):
    with server(lambda number, body: (code if number < 3 else 200, RIGHT)) as (url, requests):
        assert endpoint("m", url, retries=2, pause=0)(messages("q", "a")) == RIGHT
    assert len(requests) == 3


def test_a_failure_that_stays_is_unjudged_after_the_last_try():
    with server(lambda number, body: (503, b"overloaded")) as (url, requests):
        (verdict,) = judge(PROBLEMS[:1], endpoint("m", url, retries=2, pause=0))
    assert len(requests) == 3
    assert verdict.label == "unjudged" and verdict.reason.endswith("HTTP 503: overloaded; tried 3 times")


def test_a_server_that_keeps_silent_is_given_up():
    done = threading.Event()

    def silent(number, body):
        done.wait(20)
        return 200, RIGHT

    with server(silent) as (url, requests):
        (verdict,) = judge(PROBLEMS[:1], endpoint("m", url, timeout=0.2, retries=1, pause=0))
        done.set()
    assert verdict.label == "unjudged" and "no answer for 0.2 s; tried 2 times" in verdict.reason


@pytest.mark.parametrize("code", [400, 401, 404])
def test_a_refusal_ends_the_judging_at_once_and_keeps_the_key_to_itself(code):
    with server(lambda number, body: (code, b"no such model")) as (url, requests):
        with pytest.raises(JudgeError, match=f"{url}.*HTTP {code}: no such model; check url, model, key") as caught:
            judge(PROBLEMS, endpoint("m", url, "secret", pause=0))
    assert len(requests) == 1 and "secret" not in str(caught.value)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}'])
def test_a_server_of_another_protocol_is_named(body):
    with server(lambda number, sent: (200, body)) as (url, requests):
        with pytest.raises(JudgeError, match="is no chat completion .*check url"):
            endpoint("m", url)(messages("q", "a"))


def test_no_server_at_all_is_named():
    with server(lambda number, body: (200, RIGHT)) as (url, requests):
        pass
    with pytest.raises(JudgeError, match=f"{url}.*no connection.*start the server; tried 2 times"):
        judge(PROBLEMS, endpoint("m", url, retries=1, pause=0))


def test_an_empty_message_is_unjudged():
    with server(lambda number, body: (200, None)) as (url, requests):
        assert judge(PROBLEMS[:1], endpoint("m", url))[0].label == "unjudged"


def test_agreement_with_the_exact_judge_through_a_server():
    """The server judges right, but takes every mistake for one of logic and falls silent on what is ill-posed."""
    lead = "State the final answer to the following arithmetic problem: "
    answers = {"20 + 5 =": "25", "20 + 6 =": "16", "20 + 7 - 4 =": "27", "20 +": "25", "20 x 5 =": "25"}
    written = [Problem(question, lead + question, answer) for question, answer in answers.items()]
    exact = quality.exact(written)
    assert [verdict.label for verdict in exact] == ["correct", "arithmetic", "logic", "ambiguous", "ill_posed"]

    def answer(number, body):
        asked = body["messages"][0]["content"].rpartition("<problem>\n")[2]
        question, _, given = asked.removesuffix("\n</proposed_answer>").partition("\n</problem>\n<proposed_answer>\n")
        label = quality.exact_verdict(question, given).label
        if label == "ill_posed":
            return 200, "I cannot say."
        if label == "ambiguous":
            return 200, reply(False, False, "Ambiguous", None)
        return 200, RIGHT if label == "correct" else reply(False, True, "Logical_Fallacy")

    with server(answer) as (url, requests):
        judged = judge(written, endpoint("m", url), workers=3)
    found = agreement(exact, judged)
    assert (found.n, found.unjudged, found.share) == (4, 1, 0.75)
    assert found.confusion.loc["arithmetic", "logic"] == 1 and found.kappa == pytest.approx((0.75 - 0.25) / 0.75)
    assert agreement(exact, judged, "well_posed").kappa == 1
