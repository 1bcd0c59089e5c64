"""How different the written problems are: Vendi Score, mean cosine distance, repeats (SOAR section 5.2 and appendix E).

The text of a problem is its question. Three embeddings: the mean hidden state of a loaded base, character n-gram TF-IDF
(no model at all), and a sentence-embedding model by name (the paper's is Qwen3-Embedding-8B).

The paper brings all sets to 128 problems by 100 bootstrap subsamples and leaves kernel, q and repeats within a
subsample open. Ours: cosine kernel, q = 1, subsamples without repeats, since a repeat lowers the score by itself.
Scores of sets of different size do not compare, so one table has one size: `size`, or that of its smallest group where
that is less. A group of that size is scored whole, once, and its vendi_sd is NaN.

A duplicate has an earlier problem in the subsample with the very same question, a near-duplicate one at a cosine of at
least `near` between n-gram TF-IDF vectors, whatever the row's embedding: mean hidden states put all problems of one
template close together. Both rates are means over the same subsamples."""

import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix, issparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import linear_kernel
from sklearn.preprocessing import normalize
from sklearn.utils import check_array
from sklearn.utils.extmath import row_norms
from vendi_score.vendi import score_dual, score_K

from soar_lib.engine.base import Base
from soar_lib.randomness import generator
from soar_lib.records import SyntheticProblem
from soar_lib.settings.values import ConfigError, require

Vectors = np.ndarray | csr_matrix  # [N, D], one row per text
COLUMNS = [
    "n", "size", "embedding", "q", "vendi", "vendi_sd", "draws", "distance", "duplicates", "near_duplicates", "near",
]  # fmt: skip


@dataclass(frozen=True)
class Embedding:
    """A name for the results' rows, and the function from N texts to vectors [N, D]."""

    name: str
    encode: Callable[[Sequence[str]], Vectors]


@dataclass(frozen=True)
class DiversitySettings:
    """What a table's numbers depend on beside problems and embedding. Raises ConfigError for a value out of range."""

    q: float = 1.0  # order of the Vendi Score; math.inf weighs the most common kind alone
    size: int = 128  # problems in a subsample (Table 1)
    draws: int = 100  # subsamples (Table 1)
    near: float = 0.9  # TF-IDF cosine from which a problem is a near-duplicate
    seed: int = 0

    def __post_init__(self) -> None:
        _order(self.q)
        require(self, "size", self.size >= 2, "2 or more")
        require(self, "draws", self.draws >= 1, "1 or more")
        require(self, "near", 0 < self.near <= 1, "a cosine above 0 and at most 1")


def tfidf(shortest: int = 1, longest: int = 4) -> Embedding:
    """The embedding by character n-grams of these lengths, weighted by TF-IDF over the texts; case and spaces count."""

    def encode(texts: Sequence[str]) -> csr_matrix:
        return TfidfVectorizer(analyzer="char", ngram_range=(shortest, longest), lowercase=False).fit_transform(texts)

    return Embedding(f"character n-grams ({shortest} to {longest})", encode)


def hidden_states(base: Base, rows: int = 64) -> Embedding:
    """The embedding by the base's last hidden states, averaged over a text's tokens; `rows` texts at a time."""
    return Embedding(f"mean hidden state of {base.name}", lambda texts: _mean_hidden(base, texts, rows))


@torch.no_grad()
def _mean_hidden(base: Base, texts: Sequence[str], rows: int) -> np.ndarray:
    tokens = [base.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))  # like lengths together: less padding
    means = []
    for start in range(0, len(order), rows):
        chunk = order[start : start + rows]
        width = max(1, len(tokens[chunk[-1]]))
        ids = torch.tensor([tokens[i] + [base.pad] * (width - len(tokens[i])) for i in chunk], device=base.device)
        mask = torch.tensor([[int(j < len(tokens[i])) for j in range(width)] for i in chunk], device=base.device)
        output = base.model(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False, logits_to_keep=1
        )
        total = (output.hidden_states[-1].float() * mask[..., None]).sum(1)
        means.append((total / mask.sum(1, keepdim=True).clamp(min=1)).cpu().numpy())
    return np.concatenate(means)[np.argsort(order)]


def sentence_model(name: str, device: str | None = None, rows: int = 32) -> Embedding:
    """The embedding by a sentence-embedding model, from a local folder or by its Hub id; it runs no code of a
    repository and reads no pickle. Raises ConfigError where sentence-transformers is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigError(
            f"embedding {name!r}: needs sentence-transformers; pip install 'soar-lib[embeddings]', or take tfidf() or "
            "hidden_states(base)"
        ) from error
    model = SentenceTransformer(name, device=device, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    return Embedding(name, lambda texts: model.encode(list(texts), batch_size=rows, show_progress_bar=False))


def vendi(vectors: Vectors, q: float = 1.0) -> float:
    """Vendi Score of order q (Friedman and Dieng 2023, arXiv 2210.02410) of the rows, with the cosine kernel K.

    exp of the Renyi entropy of K / N's eigenvalues: 1 where all rows point the same way, N where all are orthogonal.
    Raises ConfigError for q below 0.5: at small orders rounding errors would count as kinds of problems.

    >>> round(vendi(np.eye(3)), 6), round(vendi(np.ones((3, 2))), 6)
    (3.0, 1.0)
    """
    order, units = _order(q), _units(vectors)
    if not issparse(units) and units.shape[1] < units.shape[0]:
        return float(score_dual(units, q=order))
    with warnings.catch_warnings():  # vendi-score 0.0.3 asks for csr_matrix by its old name
        warnings.simplefilter("ignore", DeprecationWarning)
        return float(score_K(linear_kernel(units), q=order))


def distance(vectors: Vectors) -> float:
    """Mean cosine distance (1 - cosine) over all pairs of different rows; NaN below two rows.

    >>> distance(np.eye(3)), distance(np.array([[1.0, 0.0], [2.0, 0.0]]))
    (1.0, 0.0)
    """
    units = _units(vectors)
    n, total = units.shape[0], np.asarray(units.sum(axis=0)).ravel()
    return 1 - (float(total @ total) - n) / (n * (n - 1)) if n > 1 else math.nan


def near_duplicates(vectors: Vectors, near: float = 0.9) -> float:
    """Share of rows with an earlier row at a cosine of at least `near`.

    >>> near_duplicates(np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]))
    0.3333333333333333
    """
    close = np.tril(linear_kernel(_units(vectors)) >= near - 1e-9, k=-1)  # equal texts have cosine 1 up to rounding
    return float(close.any(axis=1).mean())


def subsamples(count: int, size: int, draws: int, *key: int | str) -> list[list[int]]:
    """`draws` subsets of range(count), each of `size` different numbers in ascending order; where count <= size, the
    whole range, once. Draw i depends on (key, i) alone."""
    if count <= size:
        return [list(range(count))]
    orders = (torch.randperm(count, generator=generator(*key, draw)) for draw in range(draws))
    return [sorted(order[:size].tolist()) for order in orders]


def _order(q: float) -> float | str:
    """q as vendi-score takes it."""
    if not q >= 0.5:
        raise ConfigError(f"q = {q}: must be 0.5 or more; rounding errors would count as kinds of problems")
    return "inf" if math.isinf(q) else q


def _units(vectors: Vectors) -> Vectors:
    """The rows at length 1, in float64. Raises ValueError for a row without direction."""
    units = normalize(check_array(vectors, accept_sparse="csr", dtype=float))
    lengths = row_norms(units)
    if not np.isclose(lengths, 1).all():
        raise ValueError(f"text {int(np.argmin(lengths))}: its embedding is zero; leave out empty texts")
    return units


def per_arm(groups: Mapping[Hashable, Sequence[SyntheticProblem]], embed: Embedding,
            settings: DiversitySettings = DiversitySettings()) -> pd.DataFrame:  # fmt: skip
    """One row per group, in order: arm, then `COLUMNS` (Table 1). Raises ValueError for a group of fewer than two."""
    for label, problems in groups.items():
        if len(problems) < 2:
            raise ValueError(f"arm {label}: has {len(problems)} problems; diversity needs 2, leave it out")
    questions = [problem.question for problems in groups.values() for problem in problems]
    vectors, grams = (_units(e.encode(questions)) if questions else None for e in (embed, tfidf()))
    size, rows, end = min([settings.size, *map(len, groups.values())]), [], 0
    for label, problems in groups.items():
        mine = slice(end, end := end + len(problems))
        draws = subsamples(len(problems), size, settings.draws, settings.seed, "diversity", "arm", str(label))
        measured = _measures(questions[mine], vectors[mine], grams[mine], draws, settings)
        rows.append({"arm": label, "n": len(problems), "size": size, "embedding": embed.name, **measured})
    return pd.DataFrame(rows, columns=["arm", *COLUMNS])


def _measures(questions: list[str], vectors: Vectors, grams: Vectors, draws: list[list[int]],
              settings: DiversitySettings) -> dict[str, float]:  # fmt: skip
    scores = [vendi(vectors[draw], settings.q) for draw in draws]
    return {
        "q": settings.q, "vendi": float(np.mean(scores)),
        "vendi_sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan, "draws": len(draws),
        "distance": distance(vectors), "near": settings.near,
        "duplicates": float(np.mean([1 - len({questions[i] for i in draw}) / len(draw) for draw in draws])),
        "near_duplicates": float(np.mean([near_duplicates(grams[draw], settings.near) for draw in draws])),
    }  # fmt: skip
