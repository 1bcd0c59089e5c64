"""Attention that reads a shared prompt once, plugged into any transformers model through its attention interface.

Completions of one prompt share its keys and values, in sampling (`Decoding`) and in learning (`Packed`). A layout
object travels through the model's forward as the keyword argument `layout`; each attention layer hands it queries, keys
and values after the rotary embedding and gets the result back. The modules of the model are its own, so the numbers are
those of its ordinary forward up to rounding. Models whose attention has more than that (sliding windows, soft-capped
scores, sinks) are refused with a clear error."""

from contextlib import contextmanager

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "soar_shared_prompt"
BLOCK = 32  # columns by which the buffers of Decoding grow
SPREAD, BUCKET = 0.75, 8  # completions attended together: shortest to longest, and at least so many rows


def attend(module, query, key, value, attention_mask, **options):
    """transformers' attention function: query [N, H, L, d], key and value [N, Hkv, L, d] -> [N, L, H, d]."""
    extra = [name for name in ("sliding_window", "softcap", "s_aux") if options.get(name) is not None]
    if extra:
        raise ValueError(f"{type(module).__name__} uses {', '.join(extra)}, which shared-prompt attention does not do")
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    return options["layout"].attend(module.layer_idx, query, key, value, scale), None


AttentionInterface.register(NAME, attend)


@contextmanager
def shared_prompts(model):
    """Inside, `model` takes the keyword `layout` in its forward; its former attention comes back at the end."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


class Prefill:
    """Right-padded prompts [U, P], causal, so padding needs no mask; keeps each layer's keys and values."""

    def __init__(self):
        self.keys, self.values = {}, {}

    def attend(self, layer, query, key, value, scale):
        """The attention [U, P, H, d] of the prompts in one layer, whose keys and values are kept."""
        self.keys[layer], self.values[layer] = key, value
        return _causal(query, key, value, scale).transpose(1, 2).contiguous()


class Decoding:
    """One new token per row; row i continues prompt `owner[i]` of a Prefill, prompt by prompt in order. Own keys and
    values lie in buffers [R, Hkv, columns, d] that grow by `block` columns, the prompts' keys as [U, Hkv, d, P];
    `keep(rows)` drops rows and prompts nobody continues. Query heads that share a key head are further queries of it. A
    forward between `prepare` and `advance` writes at `column`, a tensor, and allocates no buffer but in the first one,
    so that it can be recorded (graphs.py)."""

    def __init__(self, prefill: Prefill, lengths: torch.Tensor, owner: torch.Tensor):
        self.prompt_keys = {layer: keys.mT.contiguous() for layer, keys in prefill.keys.items()}
        self.prompt_values = {layer: values.contiguous() for layer, values in prefill.values.items()}
        self.lengths, self.length, self.block = lengths, 0, BLOCK
        self.column = torch.zeros(1, dtype=torch.long, device=owner.device)  # `length` on the device
        self.keys, self.values = {}, {}
        self.future = None
        self._place(owner)

    def _place(self, owner: torch.Tensor) -> None:
        """A grid [U, g] of rows by prompt: `grid` lists the row in each cell, `cell` the cell of each row."""
        self.owner, prompts = owner, len(self.lengths)
        counts = torch.bincount(owner, minlength=prompts)
        self.width = int(counts.max())
        row = torch.arange(len(owner), device=owner.device)
        self.cell = owner * self.width + row - (counts.cumsum(0) - counts)[owner]
        self.grid = row.new_zeros(prompts * self.width).scatter_(0, self.cell, row)
        self.in_order = torch.equal(self.grid, row)
        absent = torch.arange(int(self.lengths.max()), device=owner.device) >= self.lengths[:, None, None, None]
        self.mask = torch.zeros_like(absent, dtype=torch.float32).masked_fill_(absent, -torch.inf)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these, named prompt by prompt in order (a row may be named twice)."""
        alive, owner = torch.unique(self.owner[rows], return_inverse=True)
        for cache in (self.keys, self.values):
            for layer, tensor in cache.items():
                cache[layer] = tensor.index_select(0, rows)
        if len(alive) < len(self.lengths):
            self.lengths = self.lengths[alive]
            columns = int(self.lengths.max())
            for layer, values in self.prompt_values.items():
                self.prompt_keys[layer] = self.prompt_keys[layer][..., :columns].index_select(0, alive)
                self.prompt_values[layer] = values[:, :, :columns].index_select(0, alive)
        self._place(owner)

    def prepare(self) -> bool:
        """Make room for one more token; call before each forward. True where buffers had to grow."""
        full = next((tensor.shape[2] for tensor in self.keys.values()), -1) == self.length
        self.future = None
        for cache in (self.keys, self.values) if full else ():
            for layer, tensor in cache.items():
                cache[layer] = torch.cat([tensor, tensor.new_zeros(*tensor.shape[:2], self.block, tensor.shape[3])], 2)
        return full

    def _append(self, cache: dict, layer: int, new: torch.Tensor) -> torch.Tensor:
        if layer not in cache:
            cache[layer] = new.new_zeros(new.shape[0], new.shape[1], self.block, new.shape[3])
        return cache[layer].index_copy_(2, self.column, new)

    def _future(self, columns: int) -> torch.Tensor:
        """Additive mask [columns] of columns not written yet, made by a forward's first layer."""
        if self.future is None:
            later = torch.arange(columns, device=self.mask.device) > self.column
            self.future = torch.zeros_like(later, dtype=self.mask.dtype).masked_fill_(later, -torch.inf)
        return self.future

    def advance(self) -> None:
        """Call after each forward: the next token goes to the next column."""
        self.length += 1
        self.column += 1

    def attend(self, layer, query, key, value, scale):
        """The attention [R, 1, H, d] of each row's new token to its prompt and to its own tokens, in one layer."""
        keys = self._append(self.keys, layer, key)
        values = self._append(self.values, layer, value)
        shape, heads = query.shape, keys.shape[1]
        query = (query * scale).view(shape[0], heads, -1, shape[-1])
        own = _scores(query, keys) + self._future(keys.shape[2])
        if not self.prompt_keys:
            return torch.matmul(_softmax(own, values.dtype), values).view(shape).transpose(1, 2)
        prompt = self._off_grid(torch.matmul(self._on_grid(query), self.prompt_keys[layer]) + self.mask)
        weights = _softmax(torch.cat([prompt, own], -1), values.dtype)
        shared, own = weights.split([prompt.shape[-1], own.shape[-1]], -1)
        result = torch.matmul(own, values)
        result = result + self._off_grid(torch.matmul(self._on_grid(shared), self.prompt_values[layer]))
        return result.view(shape).transpose(1, 2)

    def _on_grid(self, x: torch.Tensor) -> torch.Tensor:
        """[R, Hkv, q, c] by row -> [U, Hkv, g * q, c] by prompt."""
        x = x if self.in_order else x.index_select(0, self.grid)
        x = x.view(-1, self.width, *x.shape[1:]).transpose(1, 2)
        return x.reshape(x.shape[0], x.shape[1], -1, x.shape[-1])

    def _off_grid(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(x.shape[0], x.shape[1], self.width, -1, x.shape[-1]).transpose(1, 2)
        x = x.reshape(-1, *x.shape[2:])
        return x if self.in_order else x.index_select(0, self.cell)


class Packed:
    """Whole prompts and completions, packed without padding into rows [N, L] of tokens in any order. `prompts` [U, P]
    and `completions` [R, T] hold each token's place in the flattened N * L, right-padded; `lengths` [U] and `counts`
    [R] say how many are real, `owner` [R] each one's prompt; those of like length go together. Differentiable."""

    def __init__(self, prompts, lengths, completions, counts, owner, places: int):
        self.prompt_shape = tuple(prompts.shape)
        self.buckets = [_Bucket(rows, lengths, counts, owner) for rows in _alike(counts)]
        cells = [(prompts, torch.arange(prompts.shape[1], device=owner.device) < lengths[:, None])]
        for bucket in self.buckets:
            cells.append((completions[bucket.rows, : bucket.mask.shape[2]], bucket.real))
        real = torch.cat([mask.flatten() for _, mask in cells])
        self.place = torch.cat([place.flatten() for place, _ in cells]) * real  # of each cell of the padded grids
        self.cell = owner.new_zeros(places).scatter_(0, self.place[real], real.nonzero()[:, 0])  # of each place
        taken = real.new_zeros(places).index_fill_(0, self.place[real], True)
        self.real, self.taken = real[:, None, None], taken[:, None, None]  # cells and places that hold a token

    def attend(self, layer, query, key, value, scale):
        """The attention [N, L, H, d] of all tokens in one layer: completions see their prompt and themselves."""
        grids = [self._grids(x) for x in (query, key, value)]
        (prompt_query, prompt_key, prompt_value), *completions = zip(*grids, strict=True)
        outputs = [_causal(prompt_query, prompt_key, prompt_value, scale)]
        for bucket, (q, k, v) in zip(self.buckets, completions, strict=True):
            k, v = bucket.behind(prompt_key, k), bucket.behind(prompt_value, v)
            k, v = _repeat(k, q.shape[1]), _repeat(v, q.shape[1])
            mask = bucket.mask.to(q.dtype)
            outputs.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale))
        flat = torch.cat([x.transpose(1, 2).flatten(0, 1) for x in outputs])
        flat = _Permute.apply(flat, self.cell, self.place, self.real)
        return flat.view(query.shape[0], query.shape[2], *flat.shape[1:])

    def _grids(self, x: torch.Tensor) -> list[torch.Tensor]:
        """[N, heads, L, d] -> prompts [U, heads, P, d], then each bucket's completions [R', heads, T', d]."""
        cells = _Permute.apply(x.transpose(1, 2).flatten(0, 1), self.place, self.cell, self.taken)
        shapes = [self.prompt_shape, *(bucket.real.shape for bucket in self.buckets)]
        parts = cells.split([rows * columns for rows, columns in shapes])
        return [part.view(*shape, *x.shape[1::2]).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)]


class _Bucket:
    """Completions `rows` [R'] of like length and their prompts `owner` [R']: `real` [R', T'] says which cells hold a
    token, `mask` [R', 1, T', P' + T'] is additive, of the whole prompt and one's own past."""

    def __init__(self, rows: torch.Tensor, lengths: torch.Tensor, counts: torch.Tensor, owner: torch.Tensor):
        self.rows, self.owner = rows, owner[rows]
        counts, lengths = counts[rows, None], lengths[self.owner, None]
        width, self.columns = max(1, int(counts.max())), int(lengths.max())
        column = torch.arange(width, device=rows.device)
        self.real = column < counts
        seen = (torch.arange(self.columns, device=rows.device) < lengths)[:, None].expand(-1, width, -1)
        past = (column <= column[:, None]).expand(len(rows), -1, -1)
        mask = torch.zeros(len(rows), 1, width, self.columns + width, device=rows.device)
        self.mask = mask.masked_fill_(~torch.cat([seen, past], -1)[:, None], -torch.inf)

    def behind(self, prompt: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return torch.cat([prompt[:, :, : self.columns].index_select(0, self.owner), own], 2)


def _alike(counts: torch.Tensor) -> list[torch.Tensor]:
    """Row numbers sorted by count, cut where a row is less than SPREAD of its bucket's longest."""
    values, order = counts.sort(descending=True, stable=True)
    values, starts = values.tolist(), [0]
    for i, value in enumerate(values):
        if value < SPREAD * values[starts[-1]] and i - starts[-1] >= BUCKET:
            starts.append(i)
    return [order[i:j] for i, j in zip(starts, [*starts[1:], len(values)], strict=True)]


class _Permute(torch.autograd.Function):
    """x.index_select(0, there) whose gradient is gathered with `back`, the inverse, which is faster than to scatter it.
    Padding on either side repeats some row; `real` [len(x), 1, 1] is False where x is padding and gets no gradient."""

    @staticmethod
    def forward(context, x, there, back, real):
        context.save_for_backward(back, real)
        return x.index_select(0, there)

    @staticmethod
    def backward(context, gradient):
        back, real = context.saved_tensors
        return gradient.index_select(0, back).mul_(real), None, None, None


def _scores(query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """query @ keys^T. In half precision a CPU copies a transposed operand, so that must be the small one."""
    return torch.matmul(query, keys.mT) if query.dtype == torch.float32 else torch.matmul(keys, query.mT).mT


def _softmax(scores: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """In float32, as the masks are; then in the values' own precision."""
    return torch.softmax(scores, -1, dtype=torch.float32).to(dtype)


def _causal(query, key, value, scale):
    key, value = _repeat(key, query.shape[1]), _repeat(value, query.shape[1])
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)


def _repeat(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)
