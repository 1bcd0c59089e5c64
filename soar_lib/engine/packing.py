"""Completions packed for learning: one row of tokens per slot, each prompt once, no padding inside.

The tokens that predict a completion token come first in a row (the last token of each prompt, then the completions
without their last token), so that logits are computed for them alone; the rest of the prompts follows. Attention finds
the sequences again by the places in `layout`.
"""

from dataclasses import dataclass

import torch

from soar_lib.engine.attention import Packed
from soar_lib.engine.sampling import Samples


@dataclass(frozen=True)
class Packing:
    slots: torch.Tensor  # [B] the slot of each packed row
    ids: torch.Tensor  # [B, L] tokens; rows with fewer are padded at the end
    positions: torch.Tensor  # [B, L] each token's position in its own sequence
    keep: torch.Tensor  # [K] the columns that predict something, 0 to K - 1
    predictor: torch.Tensor  # [N, T] where in the flattened B * K each completion token is predicted
    layout: Packed


@dataclass(frozen=True)
class _Prompts:
    """The distinct (slot, prompt) pairs, right-padded."""

    ids: torch.Tensor  # [U, P]
    lengths: torch.Tensor  # [U]
    row: torch.Tensor  # [U] packed row
    owner: torch.Tensor  # [N] prompt of each completion


def pack(samples: Samples) -> Packing:
    """Lay out all tokens of `samples`; every step is a tensor operation, none a loop over rows."""
    slots, row = torch.unique(samples.slots, return_inverse=True)
    prompts = _distinct_prompts(samples, row)
    inputs = samples.mask.sum(1) - 1  # a completion's last token predicts nothing
    count = len(slots)
    last = _offsets(torch.ones_like(prompts.row), prompts.row, count)
    start = torch.bincount(prompts.row, minlength=count)[row] + _offsets(inputs, row, count)
    keep = int(torch.bincount(prompts.row, minlength=count).index_add(0, row, inputs).max())
    body = keep + _offsets(prompts.lengths - 1, prompts.row, count)
    width = keep + int(torch.zeros_like(slots).index_add(0, prompts.row, prompts.lengths - 1).max())

    column = torch.arange(prompts.ids.shape[1], device=row.device)
    place = torch.where(column < prompts.lengths[:, None] - 1, body[:, None] + column, last[:, None])
    real_prompt = column < prompts.lengths[:, None]
    prompt_place = torch.where(real_prompt, place + prompts.row[:, None] * width, 0)
    position = torch.zeros(count * width, dtype=torch.long, device=row.device)
    position[prompt_place[real_prompt]] = column.expand_as(place)[real_prompt]
    ids = torch.zeros_like(position)
    ids[prompt_place[real_prompt]] = prompts.ids[real_prompt]

    column = torch.arange(max(1, int(inputs.max())), device=row.device)
    real = column < inputs[:, None]
    place = torch.where(real, row[:, None] * width + start[:, None] + column, 0)
    position[place[real]] = (prompts.lengths[prompts.owner][:, None] + column)[real]
    ids[place[real]] = samples.completion[:, : len(column)][real]

    layout = Packed(prompt_place, prompts.lengths, place, inputs, prompts.owner, len(ids))
    follow = start[:, None] + torch.arange(samples.mask.shape[1] - 1, device=row.device)
    predictor = torch.cat([last[prompts.owner][:, None], follow], 1) + row[:, None] * keep
    shape = (count, width)
    return Packing(
        slots, ids.view(shape), position.view(shape), torch.arange(keep, device=row.device), predictor, layout
    )


def _distinct_prompts(samples: Samples, row: torch.Tensor) -> _Prompts:
    lengths = samples.prompt_mask.sum(1)
    pairs = torch.cat([row[:, None], lengths[:, None], samples.prompt * samples.prompt_mask], 1)
    pairs, owner = torch.unique(pairs, dim=0, return_inverse=True)
    row, lengths, ids = pairs[:, 0], pairs[:, 1], pairs[:, 2:]
    column = torch.arange(ids.shape[1], device=row.device)
    shift = (ids.shape[1] - lengths)[:, None] + column  # from padded left to padded right
    return _Prompts(ids.gather(1, shift.clamp(max=ids.shape[1] - 1)), lengths, row, owner)


def _offsets(counts: torch.Tensor, row: torch.Tensor, rows: int) -> torch.Tensor:
    """Where each item starts in its row when a row's items are laid end to end."""
    order = torch.argsort(row, stable=True)
    starts = counts[order].cumsum(0) - counts[order]
    sizes = torch.bincount(row, minlength=rows)
    first = (sizes.cumsum(0) - sizes)[row[order]]
    result = torch.empty_like(counts)
    result[order] = starts - starts[first]
    return result
