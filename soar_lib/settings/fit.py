"""Whether a run fits the machine: said before it starts, and refused with what to change where it cannot."""

from collections.abc import Callable
from typing import Any

from soar_lib.settings.cost import Part, by_trl, describe, size, total
from soar_lib.settings.memory import Form, Memory, Shape, shape
from soar_lib.settings.phases import predict
from soar_lib.settings.presets import Config
from soar_lib.settings.values import ConfigError, change, differences, to_values

# What makes a run smaller, in the order in which it is tried, and how far down. The first ones change speed alone.
LEVERS = {
    "rows": 32, "together": 4, "student.optimiser.max_tokens": 128, "teacher.optimiser.max_tokens": 128,
    "teacher.draw": 8, "four_bit": True, "student.rank": 8, "student.group": 4, "repeats": 1,
    "student.max_new_tokens": 256, "max_new_tokens": 256,
}  # fmt: skip


def describe_memory(config: Config, problems: int = 0, runs: int = 1) -> str:
    """The predicted peak as part of a line, or why there is none; `problems` and `runs` as for `phases.predict`."""
    try:
        form, free = here(config)
        found = predict(config, shape(config.model), form, problems, runs)
    except ConfigError as error:
        return str(error)
    kind = "GPU memory" if form.gpu else "memory"
    there = "" if free is None else f", of {size(free)} free"
    return f"at most {size(found.total)} of {kind} for tensors{there} ({_parts(found)})"


def predicted_bytes(config: Config, problems: int = 0, runs: int = 1) -> int | None:
    """The predicted peak, None where there is no prediction."""
    try:
        form, _ = here(config)
        return predict(config, shape(config.model), form, problems, runs).total
    except ConfigError:
        return None


def predicted(*parts: Part) -> dict[str, Any]:
    """What cost.json says of the prediction: completions (the teacher's too), most tokens, hours and bytes, None where
    unknown."""
    whole, peaks = total(parts), [predicted_bytes(*part) or 0 for part in parts]
    return {
        "rollouts": whole.rollouts + whole.teacher_samples, "tokens": whole.tokens, "hours": whole.hours,
        "peak_bytes": max(peaks, default=0) or None,
    }  # fmt: skip


def announce(name: str, parts: dict[str, Part], say: Callable[[str], None]) -> None:
    """Say what each part of a whole will cost, then all together, and what the largest part holds in memory. Raises
    ConfigError where a part cannot fit."""
    for part in parts.values():
        check_memory(*part)
    for part, (config, problems, runs) in parts.items():
        say(f"{name}: {part}: {describe(total([(config, problems, runs)]), config.model)}")
    if parts:
        largest = max(parts.values(), key=lambda part: predicted_bytes(*part) or 0)
        say(f"{name}: in all {describe(total(parts.values()), largest[0].model)}")
        say(f"{name}: its largest part: {describe_memory(*largest)}")


def check_memory(config: Config, problems: int = 0, runs: int = 1, loaded: bool = False) -> None:
    """Raise ConfigError where the run cannot fit, with the settings that would make it fit; `loaded` says that the
    base is in memory already. A GPU must hold the whole prediction; main memory, where completions are hardly ever all
    of full length and nothing else need be in it, what is certain. A model without a prediction passes."""
    try:
        (form, free), known = here(config), shape(config.model)
        found = predict(config, known, form, problems, runs)
    except ConfigError:
        return
    spare = free + found.weights if loaded and free is not None else free
    if spare is None or _needed(found, form) <= spare:
        return
    kind = "GPU memory" if form.gpu else "memory"
    raise ConfigError(
        f"{config.model} does not fit: {size(_needed(found, form))} of {kind} needed ({_parts(found)}), "
        f"{size(spare)} to be had; {_way_out(config, *remedy(config, known, form, spare, problems, runs), form, spare)}"
    )


def _way_out(config: Config, changed: Config, least: Memory, form: Form, free: int) -> str:
    changes = "; ".join(differences(to_values(config), to_values(changed)))
    if not changes:
        return "use a smaller model"
    needed = _needed(least, form)
    return f"with {changes} it needs {size(needed)}" + ("" if needed <= free else ", so use a smaller model too")


def remedy(
    config: Config, known: Shape, form: Form, free: int, problems: int = 0, runs: int = 1
) -> tuple[Config, Memory]:
    """The settings made smaller, one lever after another, until the prediction fits, and that prediction; the smallest
    found where nothing does."""
    found = predict(config, known, form, problems, runs)
    while _needed(found, form) > free:
        for other in _smaller(config, form):
            lighter = predict(other, known, _form(form, other), problems, runs)
            if _needed(lighter, form) < _needed(found, form):
                config, found, form = other, lighter, _form(form, other)
                break
        else:
            break
    return config, found


def _smaller(config: Config, form: Form) -> list[Config]:
    """The settings with one lever moved by one notch, for each lever that can still move."""
    moved = []
    for name, least in LEVERS.items():
        value = to_values(config)
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if name == "four_bit":
            new = True if value is False and form.gpu else None
        elif name == "together" and value == 0:
            new = least  # 0 means all
        else:
            new = max(least, value // 2) if value is not None and value > least else None
        try:
            moved += [] if new is None else [change(config, {name: new})]
        except ConfigError:  # against another setting
            continue
    return moved


def here(config: Config) -> tuple[Form, int | None]:
    """How this machine would hold the base, and the bytes it has free (None where it does not say). Raises ConfigError
    for a command without a prediction."""
    import torch

    from soar_lib.engine.backends import choose_dtype

    if by_trl(config):
        raise ConfigError("memory not predicted: not worked out for student.trainer = 'trl'")
    if config.backend == "vllm":
        raise ConfigError("memory not predicted: not worked out for backend = 'vllm', which holds the weights twice")
    if not torch.cuda.is_available():
        return Form(4, config.four_bit), _available()
    number = choose_dtype(torch.device("cuda")).itemsize
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # by torch, of what was freed before
    return Form(number, config.four_bit, gpu=True), torch.cuda.mem_get_info()[0] + kept


def _available() -> int | None:
    """Main memory that a new program can have, as Linux tells it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None


def _needed(memory: Memory, form: Form) -> int:
    return memory.total if form.gpu else memory.certain


def _form(form: Form, config: Config) -> Form:
    return Form(form.bytes, config.four_bit, form.gpu, form.prompt)


def _parts(memory: Memory) -> str:
    names = {"cache": "keys and values"}
    parts = {names.get(name, name): value for name, value in to_values(memory).items() if name != "phase"}
    largest = sorted(parts, key=parts.get, reverse=True)[:3]
    return f"{memory.phase}: {', '.join(f'{name} {size(parts[name])}' for name in largest)}"
