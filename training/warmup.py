"""The warm start: supervised steps on transcripts of random legal play, or of a named player's, and on questions about what an
observation says.

Random legal play teaches which replies are moves and nothing about which are good. It does not depend on what the observation
says either, so a model that imitates it learns to look away; self-play from there ends at a card-blind policy (NashConv 2/3 in
Kuhn Poker). The recall items cure it: the observation with one of its words, answered by the word that follows it there, e.g.
"card" by "Q.". They are made from the texts alone, for any game, at the places where texts differ; no strategy is in them.

A named player, such as minimax, is taught at positions of games in which it sits in every seat but some moves are random, so that
it is known what it would do also where it would not have come to (as in DAgger: Ross et al. 2011).
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from agents.specs import make_agent
from lmgames.chance import Chance
from lmgames.registry import make
from training import loss as losses
from training.config import Config, can_play
from training.games import rota, shared_out, weights_of
from training.network import Network, predict
from training.samples import Row, make_batch

RECALL = "\nRecall: "
CUES = 4  # asked about one text
PUNCTUATION = ".,:;!?>()[]"


@dataclass(frozen=True, slots=True)
class Turn:
    """A position: what the seat read, and replies to imitate, each equally likely. In random play every legal one (or one sample
    where words are free); of a named player one, as it would draw it. `game` is the number of the game it is from."""

    text: str
    replies: tuple[str, ...]
    game: int = 0


def random_play(game: str, options: Mapping[str, object], games: int, seed: int) -> list[Turn]:
    """The turns of `games` games of random legal play."""
    env = make(game, **options)
    turns: list[Turn] = []
    for number in range(games):
        env.reset(seed=Chance(seed).word("warm-up game", number) >> 2)
        while not env.unwrapped.outcome:
            info = env.infos[env.agent_selection]
            turns.append(Turn(env.observe(env.agent_selection)["text"], tuple(info["action_mask"]), number))
            env.step(Chance(seed).choice(info["action_mask"], "warm-up move", number, len(turns)))
    return turns


def taught_play(game: str, options: Mapping[str, object], games: int, seed: int, player: str, noise: float) -> list[Turn]:
    """The turns of `games` games of a player against itself, and what it replies at each.

    Args:
        player: spec of a reference player, or of any agent.
        noise: probability that a random legal move is played in place of its own, which is taught all the same.
    """
    env = make(game, **options).unwrapped
    teacher = make_agent(player, env.game.name)
    turns: list[Turn] = []
    for number in range(games):
        env.reset(seed=Chance(seed).word("warm-up game", number) >> 2)
        while not env.outcome:
            seen = env.observation(env.agent_selection)
            (reply,) = teacher.act([seen])
            turns.append(Turn(seen.text, (reply.text,), number))
            stray = Chance(seed).uniform("warm-up noise", number, len(turns)) < noise
            legal = env.infos[env.agent_selection]["action_mask"]
            env.step(Chance(seed).choice(legal, "warm-up move", number, len(turns)) if stray else reply.text)
    return turns


def shown_turns(config: Config) -> list[list[Turn]]:
    """What the warm start of a run imitates, of each of its games: `warmup_games` in all, shared out by weight."""
    if config.warmup_player == "random":
        return random_play_of(config, config.warmup_games)
    counts = shared_out(config.warmup_games, config.played)
    return [
        taught_play(game.name, game.options, count, config.seed, config.warmup_player, config.warmup_noise)
        if can_play(config.warmup_player, game)
        else random_play(game.name, game.options, count, config.seed)
        for game, count in zip(config.played, counts, strict=True)
    ]


def random_play_of(config: Config, games: int) -> list[list[Turn]]:
    """Turns of random legal play of each of a run's games."""
    counts = shared_out(games, config.played)
    return [
        random_play(game.name, game.options, count, config.seed) for game, count in zip(config.played, counts, strict=True)
    ]


def recall_items(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """For each text, (cue, answer) pairs: a word of the text and the word that follows it there.

    Asked are the cues whose answer differs from text to text, and only those that the text has once. The cue is put without
    its punctuation, so that it is not answered by looking for what followed the same tokens before.
    """
    followers: dict[str, set[str]] = defaultdict(set)
    for text in set(texts):
        for cue, word in _neighbours(text):
            followers[cue].add(word)
    items = []
    for text in texts:
        pairs = _neighbours(text)
        seen = Counter(cue for cue, _ in pairs)
        items.append([(cue, word) for cue, word in pairs if len(followers[cue]) > 1 and seen[cue] == 1])
    return items


def _neighbours(text: str) -> list[tuple[str, str]]:
    """Every word of a line that has letters or digits, without its punctuation, and the word after it."""
    pairs = []
    for line in text.split("\n"):
        words = line.split(" ")
        pairs += [(bare, after) for before, after in itertools.pairwise(words) if (bare := before.strip(PUNCTUATION))]
    return pairs


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What is taught of one game: the turns of each game that was played, and turns with what may be asked about their texts."""

    games: list[list[Turn]]
    recalls: list[tuple[Turn, list[tuple[str, str]]]]

    @classmethod
    def of(cls, turns: list[Turn]) -> "_Lesson":
        items = recall_items([turn.text for turn in turns])
        return cls(
            [list(of_game) for _, of_game in itertools.groupby(turns, lambda turn: turn.game)],
            [(turn, pairs) for turn, pairs in zip(turns, items, strict=True) if pairs],
        )


class _Teacher:
    """Draws what each step of the warm start is about: whole games, and several questions about a text, since rows that begin
    alike share their computation."""

    def __init__(self, config: Config):
        self.config = config
        self.lessons = [_Lesson.of(turns) for turns in shown_turns(config)]
        self.order = rota(weights_of(config.played))
        self.chance = Chance(config.seed).derive("warm-up")

    def replies(self, step: int) -> Iterator[tuple[str, str]]:
        """(text, reply to imitate): of games drawn until there are `warmup_rows`."""
        wanted = self.config.warmup_rows
        for number in range(wanted):
            lesson = self._lesson(step * wanted + number)
            shown = self.chance.choice(lesson.games, "game", step, number)
            for place, turn in enumerate(shown):
                yield turn.text, self.chance.choice(turn.replies, "reply", step, number, place)
            wanted -= len(shown)
            if wanted <= 0:
                return

    def recalls(self, step: int) -> Iterator[tuple[str, str]]:
        """(text with a cue, answer): about texts drawn, `CUES` questions each, `warmup_rows` * `warmup_recall` in all."""
        texts = round(self.config.warmup_rows * self.config.warmup_recall / CUES)
        for number in range(texts):
            lesson = self._lesson(step * texts + number)
            if lesson.recalls:
                turn, pairs = self.chance.choice(lesson.recalls, "recalled turn", step, number)
                for cue, word in self.chance.shuffled(pairs, "recalled words", step, number)[:CUES]:
                    yield turn.text + RECALL + cue, word

    def _lesson(self, number: int) -> _Lesson:
        return self.lessons[self.order[number]]


def warm_up(
    model: nn.Module,
    config: Config,
    encode: Callable[[str], tuple[int, ...]],
    encode_reply: Callable[[str], tuple[int, ...]],
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Supervised steps in place, on replies to imitate and on recall items.

    Args:
        model: updated in place.
        encode: observation text -> prompt ids, as the agent encodes it.
        encode_reply: reply text -> ids, the end token included.
        on_step: called with (steps done, loss in nats a token).
    """
    teacher = _Teacher(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.warmup_lr, betas=(0.9, 0.99), weight_decay=0.0)
    network = Network(model, share=config.share_prefixes)
    model.train()
    for step in range(config.warmup_steps):
        asked = [*teacher.replies(step), *teacher.recalls(step)]
        rows = [Row(encode(text), encode_reply(reply)) for text, reply in asked]
        batch = make_batch(rows, share=network.shares, device=network.device)
        optimizer.zero_grad(set_to_none=True)
        with network.passes():
            logp_UR = predict(network, batch).logp_UR
            loss = losses.supervised_loss(logp_UR[batch.row_B], batch.is_reply_BR)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = config.warmup_lr * _warmup_schedule(step, config.warmup_steps)
        optimizer.step()
        on_step(step + 1, loss.item())
    model.eval()


def _warmup_schedule(step: int, steps: int) -> float:
    """Linear over 20 steps, then cosine to a tenth."""
    rise = min(1.0, (step + 1) / 20)
    return rise * (0.1 + 0.9 * (1 + math.cos(math.pi * step / max(1, steps))) / 2)
