"""A language model as judge of written problems (SOAR section C.4; the paper's judge is Claude-4.5-Sonnet).

`judge(problems, ask)` takes any function `ask` from chat messages to the reply's text. Two are made here: `model` for a
loaded base (greedy), `endpoint` for any server that speaks OpenAI's chat completions. The prompt (judge.md) has the
paper's content in our words. A reply ends in one JSON object of four fields; any other, or one that contradicts itself,
is `unjudged` with the reason. The paper reports no validation of its judge; exact verdicts (`quality.exact`) allow one.
"""

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import httpx
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from soar_lib.engine.base import SHIPPED, Base
from soar_lib.engine.sampling import complete, decode
from soar_lib.files import RunError
from soar_lib.measure.quality import UNJUDGED, Judge, Verdict, exact
from soar_lib.records import Draw, Problem, SyntheticProblem, fits
from soar_lib.settings.values import ConfigError

Ask = Callable[[list[dict]], str]
ERROR_TYPES = {
    "None": "correct", "Arithmetic": "arithmetic", "Logical_Fallacy": "logic", "Ill_Posed": "ill_posed",
    "Ambiguous": "ambiguous",
}  # fmt: skip
FIELDS = {"is_correct": bool, "is_well_posed": bool, "error_type": ERROR_TYPES, "verified_answer": str | float | None}
TRANSIENT = (408, 409, 425, 429)  # HTTP codes, beside all from 500, after which trying again can help
PROMPT = Path(__file__).with_name("judge.md").read_text(encoding="utf-8").strip()


class JudgeError(RunError):
    """A judge that cannot be asked; the message names it, what was wrong and what to do."""


class NoReply(JudgeError):
    """A judge that is there but gave no reply to this question in time."""


def judge(problems: Sequence[SyntheticProblem | Problem], ask: Ask, workers: int = 1) -> list[Verdict]:
    """Verdicts in the order of the problems; `ask` is called for `workers` problems at a time. A problem whose reply
    cannot be read, or for which `ask` raises `NoReply`, is `unjudged`; any other error of `ask` ends the judging."""
    failed = Event()  # asking costs: after an error nobody is asked any more

    def one(problem: SyntheticProblem | Problem) -> Verdict:
        if failed.is_set():
            return Verdict(UNJUDGED, reason="the judging had ended")
        try:
            return read(ask(messages(problem.question, problem.answer)))
        except NoReply as error:
            return Verdict(UNJUDGED, reason=str(error))
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, problems))


def messages(question: str, answer: str) -> list[dict]:
    """The chat messages that ask a judge about one problem."""
    before, _, after = PROMPT.partition("{question}")
    return [{"role": "user", "content": before + question + after.replace("{answer}", answer)}]


def read(reply: str) -> Verdict:
    """The verdict in a reply: what follows the last </think> must be the JSON object alone, fenced or not.

    >>> read('{"is_correct": true, "is_well_posed": true, "error_type": "None", "verified_answer": "4"}')
    Verdict(label='correct', answer='4', reason='')
    >>> read("It is right.").label
    'unjudged'
    """
    text = reply.rpartition("</think>")[2].strip()
    fenced = text[:3] == text[-3:] == "```"
    try:
        found = json.loads(text[3:-3].removeprefix("json").strip() if fenced else text)
    except (ValueError, RecursionError):
        return Verdict(UNJUDGED, reason="no JSON object after the reasoning")
    if fault := _fault(found):
        return Verdict(UNJUDGED, reason=fault)
    answer = found["verified_answer"]
    return Verdict(ERROR_TYPES[found["error_type"]], None if answer is None else str(answer))


def _fault(found: object) -> str | None:
    if not isinstance(found, dict):
        return "not a JSON object"
    for name, hint in FIELDS.items():
        if not fits(found.get(name, ()), hint):
            return f"{name} is {json.dumps(found[name])[:40] if name in found else 'missing'}"
    verdict = Verdict(ERROR_TYPES[found["error_type"]])
    if (found["is_correct"], found["is_well_posed"]) != (verdict.correct, verdict.well_posed):
        flags = f"is_correct {found['is_correct']}, is_well_posed {found['is_well_posed']}"
        return f"contradicts itself: error_type {found['error_type']} with {flags}"
    return None


def model(base: Base, max_new_tokens: int = 2048) -> Ask:
    """The `ask` of `judge` by a base loaded with `engine.base.load`: greedy, one question at a time."""
    return lambda asked: replies(base, [asked], max_new_tokens)[0]


def judge_of(base: Base, max_new_tokens: int = 512) -> Judge:
    """The judge of what teachers on this base write: `quality.exact` for models of embedded worlds, else the base."""
    if base.name in SHIPPED:
        return exact
    return partial(judge, ask=model(base, max_new_tokens))


def replies(base: Base, asked: Sequence[list[dict]], max_new_tokens: int, rows: int = 64) -> list[str]:
    """Greedy replies of a base to several conversations."""
    return decode(base, complete(base, None, asked, [0] * len(asked), 1, None, Draw(max_new_tokens, rows=rows)))


def endpoint(model: str | None = None, url: str | None = None, key: str | None = None, timeout: float = 120.0,
             retries: int = 3, pause: float = 1.0, **options) -> Ask:  # fmt: skip
    """The `ask` of `judge` by a server that speaks OpenAI's chat completions, at `url` (such as https://host/v1).
    Model, url and key default to OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY (your own server may need no key). A
    try ends after `timeout` seconds of silence. A failure that may pass is tried again up to `retries` times, first
    after `pause` seconds, then each time after twice as long. `options` join the request (temperature is 0 unless
    given). Raises ConfigError; `ask` raises NoReply and JudgeError."""
    model = model or os.environ.get("OPENAI_MODEL")
    url = (url or os.environ.get("OPENAI_BASE_URL", "")).rstrip("/")
    key = key or os.environ.get("OPENAI_API_KEY")
    if not model:
        raise ConfigError("judge: no model; give model or set OPENAI_MODEL")
    if not re.match(r"https?://[^/]", url):
        raise ConfigError(f"judge: url = {url!r}: must begin with http:// or https://; give url or set OPENAI_BASE_URL")
    address, body = f"{url}/chat/completions", {"temperature": 0} | options
    # Without a header of its own the client would send the token of the Hub, which is no business of this server.
    headers = {"authorization": f"Bearer {key}" if key else None}

    def ask(asked: list[dict]) -> str:
        for attempt in range(retries + 1):
            try:
                with InferenceClient(base_url=address, api_key="none", headers=headers, timeout=timeout) as client:
                    content = client.chat_completion(asked, model=model, extra_body=body).choices[0].message.content
                return content if isinstance(content, str) else ""  # a model may refuse to say anything
            except (httpx.HTTPError, OSError) as error:
                failure = _failure(error, f"judge {address}", timeout, retries + 1)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise JudgeError(
                    f"judge {address}: its answer is no chat completion ({error!r:.80}); check url"
                ) from error
            if attempt < retries:
                time.sleep(pause * 2**attempt)
        raise failure

    return ask


def _failure(error: Exception, judge: str, timeout: float, tries: int) -> JudgeError:
    """What a failure becomes that does not pass; raised at once where trying again is of no use."""
    if isinstance(error, HfHubHTTPError):
        said = f"{judge}: HTTP {error.response.status_code}: {error.response.text[:300].strip()}"
        if error.response.status_code in TRANSIENT or error.response.status_code >= 500:
            return NoReply(f"{said}; tried {tries} times")
        raise JudgeError(f"{said}; check url, model, key and options") from error
    if isinstance(error, httpx.TimeoutException):
        return NoReply(f"{judge}: no answer for {timeout:g} s; tried {tries} times")
    return JudgeError(f"{judge}: no connection ({error}); check url, or start the server; tried {tries} times")
