"""nano's tokenizer: single characters, and one token each for the phrases that never vary.

Digits and letters stay single, so that arithmetic and spelling are visible to the model. The project's prompts and the
statements' fixed phrases are one token each: a prompt then costs nearly nothing to read, and decoding still gives
back the same text. A prompt worded differently is read character by character, which nano was not trained on.
"""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from soar_lib.nano import antiderivatives, legs, world
from soar_lib.problems import prompts

PAD, END, USER, ASSISTANT, UNKNOWN = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|unknown|>"
CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n", "∫"]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|user|>' if message['role'] == 'user' else '<|assistant|>' }}{{ message['content'] }}"
    "{{ '<|end|>' if message['role'] == 'assistant' else '' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


INSTRUCTIONS = [prompts.SOLVE + "\n", prompts.TEACHER, prompts.EASIER + "\n"]
INSTRUCTIONS += [prompts.RECONSTRUCT + "\n<response>\n", "\n</response>"]
TAGS = ["<question>", "</question>\n", "</question>", "<answer>", "</answer>", "\\boxed{", "\\text{", "}"]


def phrases() -> list[str]:
    """Every text that is one token: prompts, statement openings, animals, tags and frequent joints."""
    openings = [world.CHAIN, legs.LEGS, world.BASES, world.SPELL, *antiderivatives.LEADS]
    openings += [world.SORT.format(direction) for direction in ("ascending", "descending")]
    endings = [" to binary", " dx", " + C"]
    animals = sorted(f" {name}{plural}" for name in legs.ANIMALS for plural in ("", "s"))
    return INSTRUCTIONS + openings + endings + animals + TAGS + ["*x**", "x**", "*x", " + ", " - ", ", ", " ="]


def build(texts: Sequence[str] | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer, the same on every machine; `texts` are those that are one token, the first world's by default."""
    specials = [PAD, END, USER, ASSISTANT, UNKNOWN]
    vocabulary = {text: index for index, text in enumerate(specials + CHARACTERS)}
    core = Tokenizer(models.BPE(vocabulary, [], unk_token=UNKNOWN))
    core.add_special_tokens([AddedToken(text, special=True) for text in specials])
    core.add_tokens([AddedToken(text, normalized=False) for text in texts or phrases()])
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
