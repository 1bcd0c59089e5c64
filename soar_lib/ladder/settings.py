"""The settings of LADDER with TTRL; the defaults are the paper's values (Llama-3.2-3B-Instruct, section 4.1).

Each comment says where a value is stated (LADDER sections; "code" is the released trainer of the paper's time), and
where the paper is silent ("open") what we chose and why. "MIT" is the paper's other run, of a 7B model (preset "mit").
"""

from dataclasses import dataclass, replace

from soar_lib.settings.student import CHECKS, BaseSettings, Cost, OptimiserSettings, Phase, StudentSettings
from soar_lib.settings.values import require, require_all

LADDER_ARMS = ("base", "originals", "one_level", "ladder", "ladder_ttrl", "base_ttrl", "majority")
TTRL_ARMS = ("ladder_ttrl", "base_ttrl")
PROMPTS = ("transformations", "plain")


@dataclass(frozen=True)
class VariantSettings:
    """How a tree of variants grows from one problem, level by level (3.1.2)."""

    prompt: str = "transformations"  # "plain": one constant instruction for one easier variant, as nano learned it
    depth: int = 3  # levels; 3.1.2: 3 for Llama
    per_prompt: int = 10  # 3.1.2: fewer are repetitive, more are worse
    prompts: int = 1  # prompts per parent; open
    parents: int = 40  # variants of one level that get children; open. 10 + 100 + 400 variants: 4.1 has about 500
    equivalent: float = 0.3  # share of prompts for equivalent variants, the others ask for easier ones; 3.1.2, for MIT
    suggestions: tuple[int, int] = (3, 5)  # fewest and most transformations per prompt, 3.1.2
    temperatures: tuple[float, ...] = (0.8, 1.0, 1.2, 1.4)  # in turn; 3.1.2: 0.8 to 1.4
    max_new_tokens: int = 2048  # open
    votes: int = 8  # the base's answers to a variant, without a verifier (check = "answer"); ours, not the paper's
    agreement: float = 0.5  # a variant whose most frequent answer has a smaller share of them counts as unsolvable

    def __post_init__(self) -> None:
        require_all(self, ("depth", "per_prompt", "prompts", "parents", "max_new_tokens", "votes"), prompt=PROMPTS)
        require(self, "equivalent", 0 <= self.equivalent <= 1, "between 0 and 1")
        require(self, "agreement", 0 < self.agreement <= 1, "more than 0 and at most 1")
        low, high = (*self.suggestions, 0, 0)[:2]
        require(self, "suggestions", len(self.suggestions) == 2 and 1 <= low <= high, "fewest and most")
        temperatures = bool(self.temperatures) and min(self.temperatures) > 0
        require(self, "temperatures", temperatures, "one or more, all above 0")
        if self.prompt == "plain":
            require(self, "equivalent", self.equivalent == 0, "0 where prompt = 'plain', which knows easier")
            require(self, "per_prompt", self.per_prompt == 1, "1 where prompt = 'plain', which asks for one")

    @property
    def most_prompts(self) -> int:
        """Completions that the tree of one problem takes at most.

        >>> VariantSettings().most_prompts  # each for ten variants
        51
        """
        parents, total = 1, 0
        for _ in range(self.depth):
            total += parents * self.prompts
            parents = min(self.parents, parents * self.prompts * self.per_prompt)
        return total


_GRPO = OptimiserSettings(learning_rate=1e-6, schedule="constant", kl=0.001)  # 3.1.4 and code


@dataclass(frozen=True)
class LadderConfig(BaseSettings, command="ladder"):
    """LADDER (Algorithm 1), TTRL (Algorithm 2) and their controls, each on every seed. In `student`: steps 250 (section
    4.1, where it levels off), batch 128 (3.2.2, for MIT; code has 8 to 128 for Llama), group 5, rate 1e-6, 1,024 tokens
    (code), KL 0.001 (3.1.4), clip 0.2 (code); the rank is ours."""

    problems: str = ""  # folder of a filter run; empty: commands filter `pool` first
    pool: str = "rg:intermediate_integration"  # 4.1: 110 integrals of textbooks and GPT-4o; published lists leak
    pool_size: int = 0  # drawn from the pool, 0: all of a file, 500 of a generated set
    pool_samples: int = 128  # of a problem, none of them right: then it is hard; open, SOAR's
    check: str = "integral"  # 3.1.3: numbers decide; "answer": the base's most frequent answer stands for a variant's
    seed: int = 0
    seeds: int = 3  # students per arm, each with trees of its own; the paper seems to have one
    originals: int = 10  # problems of hard train that are used, 4.1; 0: all
    tested: int = 100  # problems of hard test that are used, 4.1; 0: all
    arms: tuple[str, ...] = LADDER_ARMS
    samples: int = 32  # per test problem for pass@1; open
    most_samples: int = 4096  # per test problem for pass@k at what LADDER and TTRL spend, however much that is
    variant_samples: int = 4  # per variant, for the accuracy at each level before and after; 0: not measured
    ttrl_steps: int = 100  # 3.2.3
    ttrl_batch: int = 128  # 3.2.3: as in the training of the MIT model
    probes: int = 1  # answers to the test problem after each step of TTRL: any of them right is the paper's success
    together: int = 0  # TTRL's students trained as one population, between two commits; 0: all
    rows: int = 1024  # completions in memory together; changes speed, and results by rounding only
    variants: VariantSettings = VariantSettings()
    student: StudentSettings = StudentSettings(steps=250, batch=128, group=5, advantage="grpo", optimiser=_GRPO)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("pool_samples", "seeds", "samples", "most_samples", "ttrl_steps", "ttrl_batch", "probes"))
        require_all(self, ("rows",), ("pool_size", "originals", "tested", "variant_samples", "together"), check=CHECKS)
        known = set(self.arms) <= set(LADDER_ARMS) and "base" in self.arms
        require(self, "arms", known, f"base and some of {', '.join(LADDER_ARMS[1:])}")
        needed = "ladder" in self.arms or "ladder_ttrl" not in self.arms
        require(self, "arms", needed, "with ladder, from whose students ladder_ttrl starts")
        tuned, warmup = set(self.arms) & set(TTRL_ARMS), self.student.optimiser.warmup
        rule = f"'stack' with the arms {', '.join(TTRL_ARMS)}, which train a student for each test problem, watched"
        require(self, "student.trainer", not (tuned and self.student.trainer == "trl"), rule)
        require(self, "student.optimiser.warmup", warmup < self.ttrl_steps, f"below ttrl_steps = {self.ttrl_steps}")

    @property
    def written(self) -> int:
        """Completions at most to write the variants of one problem and, without a verifier, to answer them."""
        most = self.variants.most_prompts
        return most * (1 + self.variants.per_prompt * self.variants.votes) if self.check == "answer" else most

    @property
    def ttrl_samples(self) -> int:
        """Completions that TTRL spends at most on one test problem: variants, rollouts and probes; 0 without TTRL."""
        rollouts = self.ttrl_steps * self.ttrl_batch * self.student.group
        spent = self.written + rollouts + self.probes * (self.ttrl_steps + 1)
        return spent if set(self.arms) & set(TTRL_ARMS) else 0

    def one_level(self) -> "LadderConfig":
        """These settings without a tree: as many prompts as a tree has at most, all for the problem itself."""
        flat = replace(self.variants, depth=1, prompts=self.variants.most_prompts)
        return replace(self, variants=flat)

    def spread_samples(self, originals: int, tested: int) -> int:
        """The most completions that one LADDER student takes, per test problem (`tested`), rounded up; 0 without it."""
        return -(-(originals * self.written + self.student.rollouts) // tested) if "ladder" in self.arms else 0

    def draws(self, arm: str, originals: int, tested: int) -> int:
        """Samples per test problem on which an arm is measured. The base gets as many as LADDER and TTRL spend, and
        LADDER's students as many as TTRL, up to `most_samples`."""
        ttrl = self.ttrl_samples
        wanted = {"base": self.spread_samples(originals, tested) + ttrl, "ladder": ttrl}.get(arm, 0)
        return max(self.samples, min(wanted, self.most_samples))

    def counts(self, problems: int = 0) -> Cost:
        """The cost of all arms and seeds at most: every tree as large as it can be and every variant usable."""
        arms, student, variants, tested = set(self.arms), self.student, self.variants, problems
        originals, tuned = self.originals or tested, len(arms & set(TTRL_ARMS)) * tested
        written = self.written * (originals * len(arms & {"one_level", "ladder"}) + tested * bool(tuned))
        training = len(arms - {"base", *TTRL_ARMS}) * student.rollouts
        tuning = tuned * (self.ttrl_samples - self.written + self.samples)
        scoring = sum(self.draws(arm, originals, tested) for arm in arms - set(TTRL_ARMS)) * tested
        leaves = originals * variants.most_prompts * variants.per_prompt if "ladder" in arms else 0
        rollouts = self.seeds * (training + tuning + scoring + 2 * self.variant_samples * leaves)
        written *= self.seeds
        tokens = rollouts * student.max_new_tokens + written * max(variants.max_new_tokens, student.max_new_tokens)
        return Cost(rollouts + written, 0, tokens, most_rollouts=rollouts + written)

    def phases(self, problems: int = 0, runs: int = 1) -> list[Phase]:
        """Phases that hold memory: trees, students, copies at test time, scores of perhaps more samples than `rows`."""
        student, arms, variants, tested = self.student, set(self.arms), self.variants, max(1, self.tested or problems)
        originals, trained = self.originals or tested, self.seeds * len(arms - {"base", *TTRL_ARMS})
        asked = max(originals, tested) * variants.prompts * (variants.parents if variants.depth > 1 else 1)
        found = [Phase.sampling("variants", 0, asked, 1, variants.max_new_tokens, self.rows)]
        if self.check == "answer":
            answers = asked * variants.per_prompt * variants.votes
            found.append(Phase.sampling("votes", 0, answers, variants.votes, student.max_new_tokens, self.rows))
        if trained:
            found += student.phases(trained, 0, self.rows)
        if tuned := len(arms & set(TTRL_ARMS)) * self.seeds * tested:
            together = min(tuned, self.together or tuned)
            tuning = replace(student, steps=self.ttrl_steps, batch=self.ttrl_batch)
            each = tuning.phases(together, (trained + together) * student.rank, self.rows)
            found += [replace(phase, name=f"TTRL: {phase.name}") for phase in each]
        most = max(self.draws(arm, originals, tested) for arm in arms)
        ranks, tokens, fewer = trained * student.rank, student.max_new_tokens, "samples, most_samples"
        return [*found, Phase.sampling("scores", ranks, tested * most, most, tokens, self.rows, fewer)]
