r"""A language model as judge of written problems (SOAR section C.4; the paper's judge is Claude-4.5-Sonnet).

`judge(problems, ask)` is all: `ask` is any function from chat messages to the reply's text. Two are made here: `model`
for a loaded base (greedy), `endpoint` for any server that speaks OpenAI's chat completions. `judge_in_batches` is
`judge` with a loaded base that reads many problems at a time.

The prompt's content is the paper's, the words are ours. A reply ends in one JSON object of four fields; a reply that
is anything else, or contradicts itself, is `unjudged` with the reason, never guessed at. How far such a judge can be
trusted is to be measured on problems with exact verdicts (`quality.exact`, `quality.agreement`); the paper reports no
validation.
"""

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from threading import Event
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from soar_lib.engine.base import Base
from soar_lib.engine.sampling import decode, sample
from soar_lib.measure.quality import UNJUDGED, Verdict
from soar_lib.records import Draw, Problem, SyntheticProblem
from soar_lib.runs import RunError
from soar_lib.settings.values import ConfigError

Ask = Callable[[list[dict]], str]
ERROR_TYPES = {
    "None": "correct", "Arithmetic": "arithmetic", "Logical_Fallacy": "logic", "Ill_Posed": "ill_posed",
    "Ambiguous": "ambiguous",
}  # fmt: skip
MAX_REPLY = 4_000_000  # bytes read of a server's answer
TRANSIENT = (408, 409, 425, 429)  # HTTP codes, beside all from 500, after which trying again can help

PROMPT = r"""You check exercises for a mathematics course. Below are one problem and the answer proposed for it.

1. Take the problem exactly as it is written. Do not add context, data or assumptions that it lacks.
2. Decide whether it is well posed: complete, meaningful, and with one definite answer. Report fragments and nonsense.
   - Ill_Posed: it is nonsense, contradicts itself or cannot be solved at all.
   - Ambiguous: data, context or a part of the text is missing, so that its answer cannot be told.
3. Only if it is well posed, solve it yourself, then compare your answer with the proposed one.
   - None: the proposed answer is right.
   - Arithmetic: a sound method would lead there but for a mistake in calculation.
   - Logical_Fallacy: the proposed answer comes from a wrong method or from another problem.
   A problem that is not well posed has no right answer.

First reason between <think> and </think>. Then write one JSON object with these four fields and nothing after it:
"is_correct": true or false
"is_well_posed": true or false
"error_type": "None", "Arithmetic", "Logical_Fallacy", "Ill_Posed" or "Ambiguous"
"verified_answer": your own answer as a string, or null where the problem is not well posed

Example
<problem>
A box holds 4 rows of 6 eggs. How many eggs are in 3 such boxes?
</problem>
<proposed_answer>
70
</proposed_answer>
<think>Everything needed is given. One box holds 4 * 6 = 24 eggs, three hold 3 * 24 = 72.
The proposed 70 is close to the product of the right numbers: the method fits, the calculation slipped.</think>
{"is_correct": false, "is_well_posed": true, "error_type": "Arithmetic", "verified_answer": "72"}

Now check this one.
<problem>
{question}
</problem>
<proposed_answer>
{answer}
</proposed_answer>"""


class JudgeError(RunError):
    """A judge that cannot be asked; the message names it, what was wrong and what to do."""


class NoReply(JudgeError):
    """A judge that is there but gave no reply to this question in time."""


def judge(problems: Sequence[SyntheticProblem | Problem], ask: Ask, workers: int = 1) -> list[Verdict]:
    """Verdicts in the order of the problems; `workers` problems are asked about at a time.

    A reply that cannot be read, and a `NoReply`, is `unjudged`; any other error of `ask` ends the judging.
    """

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
    """What a judge is asked about one problem."""
    before, _, after = PROMPT.partition("{question}")
    return [{"role": "user", "content": before + question + after.replace("{answer}", answer)}]


# ------------------------------------------------------------------ reading a reply


def read(reply: str) -> Verdict:
    """The verdict in a reply: what follows the last </think> must be the JSON object alone, fenced or not.

    >>> read('{"is_correct": true, "is_well_posed": true, "error_type": "None", "verified_answer": "4"}')
    Verdict(label='correct', answer='4', reason='')
    >>> read("It is right.").label
    'unjudged'
    """
    text = reply.rpartition("</think>")[2].strip()
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    try:
        found = json.loads(fenced.group(1) if fenced else text)
    except (ValueError, RecursionError):
        return Verdict(UNJUDGED, reason="no JSON object after the reasoning")
    fault = _fault(found)
    if fault:
        return Verdict(UNJUDGED, reason=fault)
    answer = found["verified_answer"]
    return Verdict(ERROR_TYPES[found["error_type"]], None if answer is None else str(answer))


def _fault(found: object) -> str | None:
    """Why a parsed reply is no verdict; None where it is one."""
    fields = {"is_correct": bool, "is_well_posed": bool, "error_type": str, "verified_answer": str | int | float | None}
    if not isinstance(found, dict):
        return "not a JSON object"
    for name, kind in fields.items():
        if name not in found:
            return f"{name} is missing"
        if not isinstance(found[name], kind) or (kind is not bool and isinstance(found[name], bool)):
            return f"{name} is {json.dumps(found[name])[:40]}"
    if found["error_type"] not in ERROR_TYPES:
        return f"error_type is {found['error_type'][:40]!r}"
    verdict = Verdict(ERROR_TYPES[found["error_type"]])
    if (found["is_correct"], found["is_well_posed"]) != (verdict.correct, verdict.well_posed):
        flags = f"is_correct {found['is_correct']}, is_well_posed {found['is_well_posed']}"
        return f"contradicts itself: error_type {found['error_type']} with {flags}"
    return None


# ------------------------------------------------------------------ a loaded base as judge


def model(base: Base, max_new_tokens: int = 2048) -> Ask:
    """`ask` for a base loaded with soar_lib.engine.base.load: greedy, one question at a time."""
    return lambda asked: replies(base, [asked], max_new_tokens)[0]


def judge_in_batches(
    base: Base, problems: Sequence[SyntheticProblem | Problem], max_new_tokens: int = 2048, rows: int = 64
) -> list[Verdict]:
    """What judge(problems, model(base)) gives, with `rows` problems in memory at a time."""
    asked = [messages(problem.question, problem.answer) for problem in problems]
    return [read(reply) for reply in replies(base, asked, max_new_tokens, rows)]


def replies(base: Base, asked: Sequence[list[dict]], max_new_tokens: int, rows: int = 64) -> list[str]:
    """Greedy replies of a base to several conversations."""
    if not asked:
        return []
    prompts = [base.encode(conversation) for conversation in asked]
    draw = Draw(max_new_tokens, rows=rows)
    return decode(base, sample(base, None, prompts, [0] * len(prompts), 1, None, draw))


# ------------------------------------------------------------------ a server as judge


def endpoint(
    model: str | None = None,
    url: str | None = None,
    key: str | None = None,
    timeout: float = 120.0,
    retries: int = 3,
    pause: float = 1.0,
    **options,
) -> Ask:
    """`ask` for a server that speaks OpenAI's chat completions, at `url` (such as https://host/v1).

    What is not given is taken from OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY; a server of one's own needs no
    key. `timeout` is in seconds of silence; a request that failed for a reason that can pass is sent again up to
    `retries` times, after `pause` seconds, then twice as long. `options` join the request (temperature is 0 unless
    given). Raises ConfigError for settings that are missing; the function raises NoReply and JudgeError.
    """
    model = model or os.environ.get("OPENAI_MODEL")
    url = (url or os.environ.get("OPENAI_BASE_URL", "")).rstrip("/")
    key = key or os.environ.get("OPENAI_API_KEY")
    if not model:
        raise ConfigError("judge: no model; give model or set OPENAI_MODEL")
    if not re.match(r"https?://[^/]", url):
        raise ConfigError(f"judge: url = {url!r}: must begin with http:// or https://; give url or set OPENAI_BASE_URL")
    address = f"{url}/chat/completions"

    def ask(asked: list[dict]) -> str:
        body = {"model": model, "messages": asked, "temperature": 0} | options
        request = Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
        if key:
            request.add_unredirected_header("Authorization", f"Bearer {key}")  # for this server alone
        for attempt in range(retries + 1):
            try:
                return _content(_send(request, timeout), address)
            except _Passing as error:
                failure = error
            if attempt < retries:
                time.sleep(pause * 2**attempt)
        raise failure.outcome(f"judge {address}: {failure}; tried {retries + 1} times")

    return ask


class _Passing(Exception):
    """A failure that can pass; `outcome` is the error it becomes when it does not."""

    def __init__(self, message: str, outcome: type[JudgeError]):
        super().__init__(message)
        self.outcome = outcome


def _send(request: Request, timeout: float) -> bytes:
    """The body of the server's answer. Raises _Passing, and JudgeError where trying again is of no use."""
    try:
        with urlopen(request, timeout=timeout) as response:
            return response.read(MAX_REPLY)
    except HTTPError as error:
        with error:
            said = f"HTTP {error.code}: {error.read(300).decode(errors='replace').strip()}"
        if error.code in TRANSIENT or error.code >= 500:
            raise _Passing(said, NoReply) from error
        raise JudgeError(f"judge {request.full_url}: {said}; check url, model, key and options") from error
    except TimeoutError as error:
        raise _Passing(f"no answer for {timeout:g} s", NoReply) from error
    except (URLError, HTTPException, ConnectionError) as error:
        if isinstance(error, URLError) and isinstance(error.reason, TimeoutError):
            raise _Passing(f"no connection for {timeout:g} s", NoReply) from error
        raise _Passing(f"no connection ({error}); check url, or start the server", JudgeError) from error


def _content(body: bytes, address: str) -> str:
    """The reply's text in a chat completion; empty where the model refused to say anything."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise JudgeError(f"judge {address}: its answer is no chat completion ({body[:80]!r}); check url") from error
    return content if isinstance(content, str) else ""
