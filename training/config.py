"""Every setting of a run: one frozen dataclass, filled from a preset, a recipe in TOML and the command line, in that order."""

import contextlib
import dataclasses
import functools
import importlib.util
import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from agents.specs import check_spec
from lmgames import solve
from lmgames.registry import nearest
from training.advantages import BASELINES
from training.games import EVERY_GAME, PlayedGame, for_every_game, read_games, short_name

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a run. "measured" marks values found best on two cores with the tiny model."""

    preset: Literal["rcgrpo", "spiral"] = "rcgrpo"
    """What the other defaults are: role-conditioned GRPO as they stand here, or the settings of SPIRAL (2506.24119)."""
    games: dict[str, dict[str, Any]] = field(default_factory=lambda: {"KuhnPoker-v0": {}})
    """What is played: by ID, a table of options of the game and its environment. `weight` in it is the game's share of the games
    (default 1), `max_reply_tokens` takes the place of the run's; the table "*" holds for every game. See `training.games`."""
    holdout: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Games that are evaluated and never trained on, in the same form but without weights."""
    seed: int = 0
    """Fixes everything that is drawn in the run: weights, deals, replies, warm-up."""
    steps: int = 700
    """Of self-play: games, then `epochs` times `minibatches` optimiser steps on their rows."""

    # The model.
    model: str = "tiny"
    """"tiny" makes one from scratch; else a path or name for transformers."""
    hidden_size: int = 128
    layers: int = 3
    init_std: float = 0.08
    """Of the tiny model's weights, about 1 / sqrt(width) (measured: with 0.02 self-play stays blind to the card)."""
    vocab_size: int = 512

    lora_rank: int = 0
    """Of LoRA adapters (2106.09685), which are trained in place of the weights; 0 trains the weights."""
    lora_alpha: float = 0.0
    """Adapters count alpha / rank; 0 for twice the rank."""
    lora_targets: tuple[str, ...] = ("all-linear",)
    """Names of the layers that get an adapter, e.g. "q_proj,v_proj"; "all-linear" for all but the output layer."""
    base_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights under LoRA adapters. Trained weights are always fp32."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of forward and backward passes in training; weights, optimiser and sums stay fp32."""
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass: about a third more time, for activations of one layer in place of all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes this process's GPU if there is one. Only on the CPU is a run the same to the bit again."""

    # Warm start.
    warmup_steps: int = 160
    """0 for a model that plays legal moves already: `load_config` takes 0 for all but `model = "tiny"` unless told otherwise."""
    warmup_player: str = "random"
    """Whose replies are imitated: those of random legal play, which teach what a move is and not which is good, or those of a
    player by its spec, e.g. "minimax", in the games that it knows."""
    warmup_noise: float = 0.5
    """Share of random legal moves in the games of a named player; its own reply is taught at every position."""
    warmup_rows: int = 72
    """Replies to imitate a step, in whole games: the last one may bring some more."""
    warmup_recall: float = 1.0
    """Recall items for each reply to imitate."""
    warmup_games: int = 400
    warmup_lr: float = 3e-3

    # Rollout.
    sampler: Literal["module", "copy", "vllm", "servers", "ray"] = "module"
    """What games are sampled with, see `training.sampler`: the very module that is trained, a copy of it in this process, vLLM in
    this process, vLLM servers, or Ray actors that hold an engine each and play the games."""
    engine: dict[str, Any] = field(default_factory=dict)
    """Arguments of vLLM's engine (`agents.models.vllm.load`), e.g. {"gpu_memory_utilization": 0.4}, or with `sampler = "servers"`
    of `agents.models.servers.Servers`."""
    sampler_urls: tuple[str, ...] = ()
    """Of the servers' APIs, e.g. "http://localhost:8000/v1"."""
    ray_actors: int = 0
    """Engines on the Ray cluster: that of RAY_ADDRESS, or a local one."""
    ray_engine: Literal["hf", "vllm"] = "hf"
    ray_gpus: float = 0.0
    """Of each actor."""
    verify_every: int = 20
    """Weights sent to a sampler of its own are proved to have arrived at the first two times and every so often; 0 for the first
    two alone. A proof costs 8 replies of 32 tokens and one pass of the trainer over them."""
    verify_tolerance: float = 0.0
    """Largest difference of a token's log-probability in a proof, nats; 0 for 1e-3, and 0.05 where one side computes in 16 bits."""
    mode: Literal["sync", "one_step", "stream"] = "sync"
    """When the games of a step are played: before it is trained on, while the step before is, or as far ahead as `max_staleness`
    and `queue_batches` allow, see `training.batches`. All but "sync" need a sampler with weights of its own."""
    max_staleness: int = 1
    """With "stream" and `carry_over`: steps that the weights may have moved on since a reply was sampled."""
    queue_batches: int = 1
    """With "stream": batches that may wait to be trained on."""
    carry_over: bool = False
    """A step ends when as many groups of games as it has are complete; games that are not over go on with the next weights, so that
    no step waits for its longest game. Up to `games_per_step` games are in progress."""
    games_per_step: int = 256
    group_size: int = 8
    """Games on one deal; games_per_step is a multiple of it."""
    deals: Literal["stratified", "random"] = "stratified"
    """"stratified" goes through all instances of a game that can be listed, each equally often."""
    concurrency: int = 1024
    """Games played at once."""
    temperature: float = 1.0
    """Of the sampler; the trainer's log-probabilities are those of temperature 1."""
    max_reply_tokens: int = 6

    # Advantage.
    baseline: Literal[
        "none",
        "global",
        "seat_pair",
        "role_batch",
        "role_loo",
        "role_ema",
        "seed_role",
        "seed_role_loo",
        "shrink",
        "opponent_shrink",
        "position",
        "auto",
    ] = "shrink"
    """What a return is compared with, see `training.advantages.BASELINES`; "auto" chooses for each game by the variance it measures
    between roles and between deals, and logs what and why."""
    ema_baseline_decay: float = 0.95
    """Of `role_ema`, `shrink` and `auto`; 0.95 as SPIRAL."""
    ema_baseline_debias: bool = False
    """`role_ema` without the bias of its start at 0: divided by 1 - decay**n. SPIRAL does not; `shrink` and `auto` always do."""
    baseline_kappa: float = 8.0
    """Of `shrink`, `opponent_shrink`, `position` and `auto`: games at which a mean and what it is drawn towards weigh the same."""
    credit: Literal["trajectory", "turn"] = "trajectory"
    """A turn gets its trajectory's return, or what the seat was paid from that turn on, compared turn by turn."""
    turn_buckets: int = 8
    """With `credit = "turn"`: own turns told apart by the baseline; later ones count as the last."""
    turn_discount: float = 1.0
    """To the number of own turns in between: on a trajectory's advantage, or on later rewards with `credit = "turn"`."""
    scale: Literal["none", "running"] = "none"
    """"running" divides a game's advantages by a running average of its returns' standard deviation within cells: for runs on
    several games paid in different units."""
    advantage_clip: float = 5.0
    """Advantages are cut to plus and minus this, after scaling; 0 for no limit. Hits are logged."""
    drop_zero_advantage: bool = True
    """Leave rows out that teach nothing: advantage 0 to 1e-8, and no KL or entropy taken. They still count in the divisor,
    unless `rows_per_step` draws."""
    rows_per_step: int = 0
    """Rows to learn from, drawn at random among those that teach something; 0 for all. SPIRAL draws 128. The rows that are drawn
    are then all that the divisor counts, as in SPIRAL: neither those that teach nothing nor the rest of the others."""
    row_weights: Literal["token", "row", "const", "game", "role"] = "const"
    """How rows of different length and seats of different turns weigh, see `training.credit.WEIGHTS`."""

    # Refused and cut-off replies.
    forfeits: Literal["mask", "keep", "pay"] = "mask"
    """Games that a refused reply decided. "mask": only the refused reply is learnt from, and no baseline learns. "keep": like other
    games, the refused reply gets the penalty alone. "pay" (SPIRAL): the seat at fault is paid minus the penalty, the others
    `invalid_bonus`, and every reply gets that."""
    invalid_penalty: float = 1.0
    """Reward of a refused reply is minus this, in a channel of its own; it gets no share of the game's result."""
    invalid_bonus: float = 0.0
    """With `forfeits = "pay"`; 0.5 in SPIRAL."""
    invalid_baseline: Literal["none", "role_batch", "role_loo", "role_ema"] = "none"
    """Of the penalty's channel, one sample a reply. With "none" accepted replies get nothing from it."""
    truncated: Literal["keep", "mask", "penalise"] = "keep"
    """Replies cut off at `max_reply_tokens`: what the game makes of them, no row, or the invalid penalty."""

    # Loss.
    loss: Literal["ppo", "gspo", "cispo", "reinforce"] = "ppo"
    """Form of the policy gradient, see `training.loss.FORMS`."""
    clip_low: float = 0.2
    clip_high: float = 0.28
    """Uneven clip of DAPO (2503.14476). GSPO's paper has 3e-4 and 4e-4."""
    dual_clip: float = 0.0
    """Above 1: a row of negative advantage counts at most this ratio (1912.09729; MARSHAL has 3). 0 for off."""
    importance: Literal["none", "tis", "mis", "bypass"] = "tis"
    """What is done about trainer and sampler disagreeing on a token, and about replies of older weights. The clipped ratio is taken
    to the weights that the step began with, as the trainer computes them, and the way from the sampler to these is a weight of the
    token: their ratio up to `importance_cap` ("tis"), or 0 where it is out of [1 / cap, cap] ("mis"), or 1 as if there were none
    ("none", SPIRAL). "bypass" has no such weight and takes the clipped ratio all the way to the sampler."""
    importance_cap: float = 2.0
    row_reject: float = 2.0
    """Rows whose mean ratio (geometric, trainer to sampler) is out of [1 / this, this] are left out and counted; 0 for off."""
    kl_weight: float = 0.0
    """Of the KL to the magnet, in units of the game's return a nat. Tiny models want 0.3 (measured; annealing it lets the cycle
    come back), larger ones 1e-3 to 5e-2. 0 keeps no magnet."""
    kl_kind: Literal["full", "k1", "k2", "k3"] = "full"
    """Exact over the vocabulary, or from the sampled tokens, each kind so that its mean gradient is that of the KL: see
    `training.loss.kl_term`."""
    magnet_rate: float = 0.02
    """Share of the way that the magnet goes to the weights after each step (measured); 0 leaves it at the start."""
    magnet_hold: int = 100
    """Steps during which the magnet stays at the start, so that the policy keeps trying every move until it reads what it sees
    (measured: twice as fast as 0)."""
    magnet_refresh: int = 0
    """Steps after which the magnet is set to the weights, in place of following them; 0 for off."""
    entropy_weight: float = 0.0
    entropy_target: float = 0.0
    """Nats a token: below it the entropy weight rises by `entropy_gain` a step, above it it falls (Skywork-OR1, 2505.22312). 0 for
    off."""
    entropy_gain: float = 0.005

    # Optimiser.
    epochs: int = 1
    """Passes over a step's rows."""
    minibatches: int = 1
    """Optimiser steps a pass, each on a random part of the rows."""
    lr: float = 3e-4
    lr_end: float = 0.05
    """Share of `lr` left at the end of the cosine."""
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    skip_grad_norm: float = 0.0
    """An optimiser step with a larger gradient norm is skipped, as are those that are not finite; 0 for no limit."""
    skips_in_a_row: int = 3
    """Skipped steps after which the run stops and keeps the rows."""
    micro_batch_tokens: int = 16384
    """Tokens of one forward pass, see `training.samples.micro_batches`."""
    share_prefixes: bool = True
    """Compute beginnings that rows share once, exactly, where the model can; the metrics of step 0 say why it cannot."""
    ema_decay: float = 0.99
    """Of the weights' moving average, the copy that is kept; of the past, at each step."""

    # Opponents to learn against.
    p_self: float = 0.8
    """Share of the games in which the weights in training sit in every seat; in the others they sit in one role, by turns,
    and a member of the pool in the rest. 1 for no pool."""
    pool: tuple[str, ...] = ()
    """Specs of fixed members, e.g. "random" or "hf:PATH"."""
    snapshot_every: int = 50
    """Steps after which the weights join the pool; 0 for never."""
    pool_sampler: Literal["latest", "uniform", "pfsp_hard", "pfsp_even", "nash", "alpha_rank"] = "uniform"
    """Who is met how often, see `training.opponents.SAMPLERS`."""
    pool_last: int = 0
    """Only the last so many snapshots are met; 0 for all."""
    payoff_games: int = 20
    """With "nash" and "alpha_rank": games in each role that a new member plays against each other one."""
    exploit: str = ""
    """Spec of a frozen target: every game is played against it, whatever `p_self` is, and what the learner comes to win is a lower
    bound of the target's exploitability."""

    # Alarms.
    alarms: bool = True
    """Watch for the signs of collapse, see `training.alarms`."""
    stop_on_alarm: bool = False
    """Save and stop at the first alarm; else it is only logged."""

    # Evaluation and files.
    evaluate: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What differs in the games trained on where they are evaluated: tables as under `games`, laid over theirs and without weights,
    e.g. {"TicTacToe-v0": {"random_opening": 0}} where openings serve training alone; the table "*" holds for every game."""
    eval_temperature: float = 1.0
    """Of the model's replies in evaluation by games; 1 as in training, 0 for the likeliest tokens. Models that think are often
    played at 0.6 with `eval_top_p` 0.95."""
    eval_top_p: float = 1.0
    """Likewise: the likeliest tokens up to this mass; 1 for all, as in training."""
    eval_every: int = 20
    """Steps between exact evaluations; 0 for none."""
    play_every: int = 100
    """Steps between evaluations by games against `opponents`; 0 for none."""
    play_games: int = 200
    """Games in each seat against each of `opponents`, the same deals every time."""
    opponents: tuple[str, ...] = ("random",)
    """Specs of fixed agents."""
    play_past: tuple[int, ...] = ()
    """Also meet the model of the start and those of so many evaluations by games back, e.g. 1,4,16, in as many games each. Their
    weights are kept in RUN/evaluated as long as they are needed."""
    eval_samples: int = 0
    """Replies sampled at each information set for the exact evaluations, for models that think before they answer, whose
    log-probabilities of the bare moves say nothing; 64 makes 768 replies in Kuhn Poker. 0 for the log-probabilities."""
    transcripts: int = 8
    """Games of each evaluation by games kept in full: best, worst, longest, those with refused replies."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard, too; needs the package tensorboard."""
    wandb: bool = False
    """Log the metrics to Weights & Biases, too (WANDB_MODE=offline without an account); needs the extra `wandb`."""
    save_every: int = 100
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept, the newest ones."""
    keep_every: int = 0
    """Checkpoints of every so many steps are kept, too; 0 for none. What the pool holds is kept in any case, elsewhere."""

    def __post_init__(self) -> None:
        self._check_games()
        if self.games_per_step % self.group_size:
            raise ValueError(f"games_per_step={self.games_per_step} is no multiple of group_size={self.group_size}")
        if self.baseline in ("seed_role", "seed_role_loo", "position") and self.group_size < 2:
            raise ValueError(
                f"baseline={self.baseline!r} compares games on one deal: group_size={self.group_size} must be 2 or more"
            )
        if self.temperature != 1.0:
            raise ValueError(f"temperature={self.temperature}: the trainer's log-probabilities are those of temperature 1")
        self._check_ranges()
        self._check_evaluation()
        self._check_combinations()
        self._check_idle()
        assert self.baseline in BASELINES

    def _check_games(self) -> None:
        if not self.games:
            raise ValueError("games={} names no game to train on")
        for name, table in self.holdout.items():
            if "weight" in table:
                raise ValueError(f"holdout: {name} is never trained on and has no weight")
        both = {game.name for game in self.played} & {game.name for game in self.held_out}
        if both:
            raise ValueError(f"holdout: {', '.join(sorted(both))} is trained on; a game is held out or not")

    def _check_evaluation(self) -> None:
        names = [game.name for game in self.played]
        for name, table in self.evaluate.items():
            if name != EVERY_GAME and short_name(name) not in names:
                raise ValueError(
                    f"evaluate: {name} is not trained on{nearest(name, names)}. What a game held out is played with stands under "
                    "holdout"
                )
            if "weight" in table:
                raise ValueError(f"evaluate: {name}: a game's weight is its share in training and stands under games")
        _ = self.evaluated  # refuses options

    def _check_ranges(self) -> None:
        for names, fits, words in RANGES:
            for name in names.split():
                if not fits(getattr(self, name)):
                    raise ValueError(f"{name}={getattr(self, name)} must {words}")
        for name, off in (("dual_clip", "no dual clip"), ("row_reject", "no rejection")):
            if getattr(self, name) != 0 and not getattr(self, name) > 1:
                raise ValueError(f"{name}={getattr(self, name)} must be above 1, or 0 for {off}")

    def _check_idle(self) -> None:
        """Refuses settings that nothing would read."""
        defaults = {each.name: each.default for each in dataclasses.fields(self)}
        for names, counts, words in IDLE:
            for name in names.split():
                value = getattr(self, name)
                if value != defaults[name] and not counts(self):
                    raise ValueError(f"{name}={value!r} says something {words} alone; leave it {defaults[name]!r}")

    def _check_combinations(self) -> None:
        if self.forfeits == "pay" and self.truncated == "penalise":
            raise ValueError(
                "truncated='penalise' takes the invalid penalty, which forfeits='pay' pays for a whole game alone"
            )
        if self.credit == "turn" and self.forfeits == "pay":
            raise ValueError("forfeits='pay' pays a whole game; with credit='turn' say forfeits='mask' or 'keep'")
        if self.ema_baseline_debias and "role_ema" not in (self.baseline, self.invalid_baseline):
            raise ValueError(
                f"ema_baseline_debias=true is of role_ema; baseline={self.baseline!r}, invalid_baseline={self.invalid_baseline!r}"
            )
        if self.baseline == "position" and self.credit != "turn":
            raise ValueError(f"baseline='position' compares turns: credit={self.credit!r} must be 'turn'")
        if self.loss == "reinforce" and self.importance == "bypass":
            raise ValueError(
                "importance='bypass' leaves the sampler to the clipped ratio, and loss='reinforce' has none; say 'tis' or 'mis'"
            )
        if self.loss == "reinforce" and self.epochs * self.minibatches > 1:
            raise ValueError(
                f"loss='reinforce' has no ratio to the old policy: epochs={self.epochs} and minibatches={self.minibatches} "
                "must be 1"
            )
        if self.minibatches > self.games_per_step:
            raise ValueError(f"minibatches={self.minibatches} exceeds games_per_step={self.games_per_step}")
        if self.exploit and self.pool:
            raise ValueError(f"exploit={self.exploit!r} plays every game against that target: leave pool out")
        check_players(self)
        self._check_policy()
        self._check_sampler()
        self._check_mode()
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise ValueError("tensorboard=true needs the package tensorboard: pip install tensorboard")
        if self.wandb and importlib.util.find_spec("wandb") is None:
            raise ValueError("wandb=true needs the package wandb: pip install 'lmgames[wandb]'")
        if self.holdout and not (self.eval_every or self.play_every):
            raise ValueError(
                f"holdout: {', '.join(self.holdout)} is only evaluated, and eval_every=0 with play_every=0 evaluate nothing"
            )
        if self.eval_samples and not any(solve.has_small_tree(game.rules) for game in (*self.evaluated, *self.held_out)):
            raise ValueError(
                f"eval_samples={self.eval_samples}: none of the games is small enough for exact evaluation; leave it 0, and set "
                "play_every"
            )
        if any(back < 1 for back in self.play_past) or (self.play_past and not self.play_every):
            raise ValueError(
                f"play_past={','.join(map(str, self.play_past))} counts evaluations by games back, from 1 on, of which play_every="
                f"{self.play_every} must make some"
            )

    def _check_policy(self) -> None:
        if self.lora_rank and importlib.util.find_spec("peft") is None:
            raise ValueError(f"lora_rank={self.lora_rank} needs the package peft: pip install 'lmgames[train]'")
        if not self.lora_rank and (self.lora_alpha or self.lora_targets != ("all-linear",)):
            raise ValueError(
                f"lora_alpha={self.lora_alpha} and lora_targets={list(self.lora_targets)} need lora_rank above 0"
            )
        if not self.lora_targets:
            raise ValueError("lora_targets=[] names no layer")
        if not self.lora_rank and self.base_dtype != "float32":
            raise ValueError(
                f"base_dtype={self.base_dtype!r} is of weights under LoRA adapters; trained ones are fp32: say "
                f"compute_dtype={self.base_dtype!r}"
            )

    def _check_sampler(self) -> None:
        with_vllm = self.sampler == "vllm" or (self.sampler == "ray" and self.ray_engine == "vllm")
        if self.engine and not (with_vllm or self.sampler == "servers"):
            raise ValueError(
                f"engine={self.engine} are arguments of vLLM; they need sampler='vllm', or one on servers or Ray with it"
            )
        for name, needed in (("sampler_urls", "servers"), ("ray_actors", "ray")):
            if bool(getattr(self, name)) != (self.sampler == needed):
                raise ValueError(
                    f"{name} and sampler={needed!r} go together: {name}={getattr(self, name)!r}, sampler={self.sampler!r}"
                )
        for url in self.sampler_urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"sampler_urls: {url!r} must begin with http:// or https://, e.g. http://localhost:8000/v1")
        for needs, package, extra in ((with_vllm, "vllm", "vllm"), (self.sampler == "ray", "ray", "ray")):
            if needs and importlib.util.find_spec(package) is None:
                raise ValueError(f"sampler={self.sampler!r} needs the package {package}: pip install 'lmgames[{extra}]'")

    def _check_mode(self) -> None:
        if self.mode != "sync" and self.sampler == "module":
            raise ValueError(
                f"mode={self.mode!r} samples while the weights are trained, and sampler='module' has none of its own; "
                "say sampler='copy'"
            )
        if self.mode == "one_step" and self.carry_over:
            raise ValueError(
                "mode='one_step' plays whole games with one set of weights: carry_over goes with 'sync' and 'stream'"
            )
        if self.is_off_policy and self.importance == "none":
            raise ValueError(
                f"mode={self.mode!r} with carry_over={self.carry_over} trains on replies of older weights, which importance='none' "
                "takes for those of the newest: say importance='tis', 'mis' or 'bypass'"
            )

    @property
    def is_off_policy(self) -> bool:
        """Whether replies are trained on that older weights have sampled."""
        return self.mode != "sync" or self.carry_over

    @property
    def steps_ahead(self) -> int:
        """Steps after the next one whose games may be begun with the same weights."""
        return self.max_staleness if self.is_off_policy else 0

    @functools.cached_property
    def played(self) -> tuple[PlayedGame, ...]:
        """The games that are trained on."""
        return read_games(self.games, self.max_reply_tokens)

    @functools.cached_property
    def evaluated(self) -> tuple[PlayedGame, ...]:
        """The games that are trained on, as they are played in evaluation."""
        common = self.evaluate.get(EVERY_GAME, {})
        own = {short_name(name): table for name, table in self.evaluate.items()}
        tables = {name: {**table, **common, **own.get(short_name(name), {})} for name, table in self.games.items()}
        return read_games(tables, self.max_reply_tokens, setting="evaluate")

    @functools.cached_property
    def held_out(self) -> tuple[PlayedGame, ...]:
        """The games that are only evaluated."""
        return tuple(replace(game, weight=0.0) for game in read_games(self.holdout, self.max_reply_tokens))

    def reply_limit(self, env_id: str) -> int:
        """Tokens of the longest reply in a game."""
        limits = {game.name: game.max_reply_tokens for game in (*self.played, *self.held_out)}
        return limits.get(short_name(env_id), self.max_reply_tokens)

    @property
    def groups_per_step(self) -> int:
        """Groups of games on one deal."""
        return self.games_per_step // self.group_size

    @property
    def share_of_self(self) -> float:
        """Of the games, those with the weights in training in every seat."""
        return 0.0 if self.exploit else self.p_self

    @property
    def plays_pool(self) -> bool:
        """Whether some seats are other policies'."""
        return self.share_of_self < 1

    @property
    def updates_per_step(self) -> int:
        """Optimiser steps on the rows of one step."""
        return self.epochs * self.minibatches

    def to_json(self) -> str:
        """The settings, all of them, as they are saved with a run."""
        return json.dumps(dataclasses.asdict(self), indent=2)


Fits = Callable[[Any], bool]

RANGES: tuple[tuple[str, Fits, str], ...] = (
    (
        "steps hidden_size layers vocab_size warmup_rows warmup_games concurrency games_per_step group_size max_reply_tokens "
        "turn_buckets epochs minibatches micro_batch_tokens skips_in_a_row payoff_games max_staleness queue_batches play_games "
        "save_every keep",
        lambda value: value >= 1,
        "be at least 1",
    ),
    (
        "init_std lr warmup_lr clip_low clip_high grad_clip baseline_kappa",
        lambda value: value > 0 and math.isfinite(value),
        "be above 0",
    ),
    (
        "warmup_steps warmup_recall lora_rank lora_alpha advantage_clip rows_per_step invalid_penalty kl_weight magnet_hold "
        "magnet_refresh entropy_weight entropy_target entropy_gain weight_decay skip_grad_norm snapshot_every pool_last "
        "eval_every eval_temperature play_every eval_samples transcripts verify_every verify_tolerance ray_actors ray_gpus "
        "keep_every",
        lambda value: value >= 0 and math.isfinite(value),
        "not be below 0",
    ),
    (
        "p_self magnet_rate turn_discount warmup_noise lr_end",
        lambda value: 0 <= value <= 1,
        "be from 0 to 1",
    ),
    ("beta1 beta2 ema_decay ema_baseline_decay", lambda value: 0 <= value < 1, "be at least 0 and below 1"),
    ("eval_top_p", lambda value: 0 < value <= 1, "be above 0 and at most 1"),
    ("importance_cap", lambda value: value > 1, "be above 1"),
)
"""Of the numbers: names of settings, whether a value fits, and what to say of one that does not."""

IDLE: tuple[tuple[str, Callable[["Config"], bool], str], ...] = (
    ("hidden_size layers vocab_size init_std", lambda config: config.model == "tiny", "of model='tiny'"),
    ("invalid_baseline", lambda config: config.forfeits != "pay", "with forfeits='mask' or 'keep'"),
    ("pool pool_last pool_sampler payoff_games", lambda config: config.plays_pool, "with p_self below 1"),
    ("turn_buckets", lambda config: config.credit == "turn", "with credit='turn'"),
    ("dual_clip", lambda config: config.loss in ("ppo", "gspo"), "with loss='ppo' or 'gspo'"),
    ("ray_engine ray_gpus", lambda config: config.sampler == "ray", "with sampler='ray'"),
    ("queue_batches", lambda config: config.mode == "stream", "with mode='stream'"),
    ("max_staleness", lambda config: config.mode == "stream" or config.carry_over, "with mode='stream' or carry_over=true"),
    ("eval_temperature eval_top_p", lambda config: config.play_every > 0, "with play_every above 0"),
    ("eval_samples", lambda config: config.eval_every > 0, "with eval_every above 0"),
)
"""Names of settings, when they are read at all, and how to say so."""


def check_players(config: Config) -> None:
    """Refuses opponents and members of the pool that cannot play, and a pool that cannot be met.

    Raises:
        ValueError: saying what does not go together.
    """
    for spec in (*config.opponents, *config.pool, config.warmup_player):
        check_spec(spec)
        if not any(can_play(spec, game) for game in (*config.played, *config.held_out)):
            check_spec(spec, config.played[0].rules.name)  # says whom that game has
    if config.exploit:
        for game in config.played:
            check_spec(config.exploit, game.rules.name)
    if not config.plays_pool:
        return
    if not (config.pool or config.exploit or config.snapshot_every):
        raise ValueError(f"p_self={config.p_self} with an empty pool: name members, or set snapshot_every")
    for game in config.played:
        if config.pool_sampler == "nash" and game.rules.payoffs != "zero_sum":
            raise ValueError(f"pool_sampler='nash' needs a zero-sum game; {game.name} is {game.rules.payoffs}")
        if not (config.exploit or config.snapshot_every or any(can_play(spec, game) for spec in config.pool)):
            raise ValueError(
                f"pool={','.join(config.pool)}: none of them plays {game.name}; name one, or set snapshot_every"
            )


def can_play(spec: str, game: PlayedGame) -> bool:
    """Whether the agent of a spec knows a game: models do, reference players know theirs. No model is loaded to tell.

    Raises:
        ValueError: for a spec that names no agent.
    """
    check_spec(spec)
    try:
        check_spec(spec, game.rules.name)
    except ValueError:
        return False
    return True


PRESETS: dict[str, dict[str, Any]] = {
    "rcgrpo": {},
    "spiral": {  # run script and defaults of spiral-rl/spiral
        "games": {"*": {"invalid_policy": "forfeit"}},
        "baseline": "role_ema",
        "group_size": 1,
        "deals": "random",
        "games_per_step": 128,
        "rows_per_step": 128,
        "advantage_clip": 0.0,
        "forfeits": "pay",
        "invalid_penalty": 1.5,
        "invalid_bonus": 0.5,
        "clip_high": 0.2,
        "epochs": 2,
        "importance": "none",
        "row_reject": 0.0,
        "lr": 1e-6,
        "lr_end": 1.0,
        "beta2": 0.95,
        "max_reply_tokens": 4096,
        "p_self": 1.0,
    },
}


def load_config(recipe: str | Path | None = None, overrides: dict[str, Any] | None = None) -> Config:
    """The settings of a recipe with overrides.

    Args:
        recipe: path of a TOML file, or the name of one in `training/recipes/`; None for the defaults.
        overrides: by name; strings are read as the setting's type. "games.KuhnPoker-v0.weight" sets one entry of a table and
            leaves the others; "games" takes the place of all.

    Raises:
        ValueError: for an unknown recipe or setting, with the nearest one, and for a value that does not fit.
    """
    overrides = overrides or {}
    dotted = {name: value for name, value in overrides.items() if "." in name}
    given = {**(_read_recipe(recipe) if recipe is not None else {}), **overrides}
    fields = {each.name: each for each in dataclasses.fields(Config)}
    for name in given:
        if name.partition(".")[0] not in fields:
            raise ValueError(f"no setting {name.partition('.')[0]!r}{nearest(name, fields)}")
    values = {name: _as_type(name, value, fields[name].type) for name, value in given.items() if name not in dotted}
    preset = dict(PRESETS[values.get("preset", "rcgrpo")])
    tables = {name: values.pop(name, {}) for name in ("games", "holdout", "evaluate")}
    for name, value in dotted.items():
        _set_in_table(tables, name, value)
    common = {**preset.pop("games", {}).get(EVERY_GAME, {}), **tables["games"].get(EVERY_GAME, {})}
    if not tables["games"].keys() - {EVERY_GAME}:
        tables["games"] |= Config().games
    values["games"] = for_every_game(tables["games"], common)
    if values.get("model", "tiny") != "tiny":
        preset["warmup_steps"] = 0  # supervised steps on random moves would ruin a model that can read
    common.pop("weight", None)
    values["holdout"] = for_every_game(tables["holdout"], common)
    values["evaluate"] = tables["evaluate"]
    return Config(**{**preset, **values})


def _set_in_table(tables: dict[str, Any], name: str, value: Any) -> None:
    """One entry, named "games.ID.option", of a table of tables; text from a command line is read as JSON where it is any."""
    setting, _, rest = name.partition(".")
    game, _, option = rest.rpartition(".")
    if setting not in tables:
        raise ValueError(f"no setting {name!r}: {setting} has no parts")
    if not game:
        raise ValueError(f"{name}={value!r}: give it as {setting}.GAME.OPTION, e.g. {setting}.KuhnPoker-v0.show_rules")
    if isinstance(value, str):
        with contextlib.suppress(json.JSONDecodeError):  # then it is a word
            value = json.loads(value)
    tables[setting] = {**tables[setting], game: {**tables[setting].get(game, {}), option: value}}


def _read_recipe(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    if not path.suffix and not path.exists():
        path = RECIPES / f"{recipe}.toml"
    if not path.is_file():
        raise ValueError(f"no recipe {str(recipe)!r}{nearest(str(recipe), [file.stem for file in RECIPES.glob('*.toml')])}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {path}: {error}") from None


def _as_type(name: str, value: Any, kind: Any) -> Any:
    """The value as the type of the setting; text from a command line is converted."""
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            hint = nearest(value, get_args(kind)) if isinstance(value, str) else f"; there are {', '.join(get_args(kind))}"
            raise ValueError(f"{name}={value!r} is not known{hint}")
        return value
    if origin is dict:
        return _as_tables(name, value) if get_args(kind)[1] is not Any else _as_dict(name, value)
    if origin is tuple:
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        return tuple(_as_type(name, part, get_args(kind)[0]) for part in parts)
    assert not isinstance(kind, UnionType)
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{name}={value!r} is not of type {kind.__name__}") from None
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{name}={value!r} is not of type {kind.__name__}")
    return value


def _as_dict(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name}={value!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is not a table of options")
    return value


def _as_tables(name: str, value: Any) -> dict[str, dict[str, Any]]:
    """Tables of options by ID; also from IDs with commas between, or JSON."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        value = {each.strip(): {} for each in value.split(",") if each.strip()}
    value = _as_dict(name, value)
    for game, table in value.items():
        if not isinstance(table, dict):
            raise ValueError(
                f'{name}: {game}={table!r} is not a table of options; write [{name}."{game}"] and options under it'
            )
    return value
