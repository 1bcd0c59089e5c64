r"""The answer that a response states: what stands in its last \boxed{}, the only place where one is looked for.

A box counts wherever it stands, in unfinished thinking too: `problems.prompts` asks for it as the last thing written.
"""

import re

BRACE = re.compile(r"\\+(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
# What may stand between two boxes of one list: \boxed{1}, \boxed{2} papers and \( n = \boxed{3} \).
DELIMITERS = re.compile(r"\\[\[\]()]|\\(?:quad|qquad|text|textbf|mbox|,|;|!| )|[$&{}]")
GAP = re.compile(r"[\s,;.]*|[^.!?\n\\]{0,30}\b(?:and|or)\b[^.!?\n\\]{0,10}")
CORRECTION = re.compile(
    r"\b(?:rather|no|not|wait|actually|instead|sorry|mean|correct\w*|should|better)\b", re.IGNORECASE
)


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of every balanced \boxed{} or \fbox{} that is in no other, in order."""
    found, opened = [], []
    for match in BRACE.finditer(text):
        if match.group()[-1] == "{" and match.group() != "\\{":
            opened.append(match)
        elif match.group() == "}" and opened:
            start = opened.pop()
            if start.group() != "{":
                while found and found[-1][0] > start.start():
                    found.pop()
                found.append((start.start(), match.end(), text[start.end() : match.start()]))
    return found


def extract_boxed(text: str) -> str | None:
    r"""The stripped content of the last balanced \boxed{} or \fbox{}; None where there is none or it is empty.

    >>> extract_boxed("\\boxed{4}, no: \\boxed{\\frac{1}{2}}")
    '\\frac{1}{2}'
    """
    found = boxes(text)
    return found[-1][2].strip() or None if found else None


def boxed_answer(text: str) -> str | None:
    r"""The answer a response states: its last box, joined with the boxes it forms one list with.

    `\boxed{2} and \boxed{3}` is the list `2,3`; `\boxed{2} wait no, \boxed{3}` is 3.
    """
    found = boxes(text)
    if not found or not found[-1][2].strip():
        return None
    contents = [found[-1][2].strip()]
    for (_, end, content), (start, _, _) in zip(found[-2::-1], found[:0:-1]):
        gap = text[end:start]
        if not content.strip() or CORRECTION.search(gap) or not GAP.fullmatch(DELIMITERS.sub("", gap)):
            break
        if content.strip() != contents[0]:
            contents.insert(0, content.strip())
    return ",".join(contents)
