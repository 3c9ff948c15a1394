"""What the policies of a run are worth: exactly, where the game is small, and in games against fixed players in every seat."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent, Observation
from agents.play import Episode, Match, run_matches
from lmgames import solve
from lmgames.aec import GameEnv
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.records import GameRecord
from lmgames.registry import make
from lmgames.text import Said
from training.config import Config
from training.games import PlayedGame

MAX_FOLLOWED_TURNS = 9  # some 2000 observations in tic-tac-toe


def is_exact(game: PlayedGame) -> bool:
    """Whether exploitability can be computed at every evaluation."""
    return solve.has_small_tree(game.rules)


def can_be_followed(game: PlayedGame) -> bool:
    """Whether every course against a player of known probabilities can be followed: one instance, few turns, listed moves.

    For games in which nothing is hidden: of the others the whole policy is read off.
    """
    rules = game.rules
    if rules.words_are_free or rules.hidden_information or rules.max_turns > MAX_FOLLOWED_TURNS:
        return False
    instances = rules.instances()
    return instances is not None and len(instances) == 1


def evaluation_games(agent: Agent, opponent: Agent, game: PlayedGame, config: Config) -> list[Episode]:
    """Games of an agent in each seat against an opponent in all others, the same deals in every seat and every time.

    Returns:
        Episodes whose tag is the agent's seat.
    """
    seats = game.rules.seats
    seed = Chance(config.seed).word("evaluation") >> 3
    matches = [
        Match(game.name, seed + deal, {**dict.fromkeys(seats, opponent), seat: agent}, dict(game.options), tag=seat)
        for deal in range(config.play_games)
        for seat in seats
    ]
    return sorted(run_matches(matches, concurrency=config.concurrency), key=lambda episode: episode.index)


def exact_outcomes(agent: Agent, opponent: Agent, game: PlayedGame) -> dict[str, dict[str, float]]:
    """What `summary` estimates from games, exactly: every course of a game between an agent that answers each observation in one
    way (temperature 0) and an opponent whose moves have known probabilities.

    Returns:
        By role of the agent: mean return, and the shares won, drawn and lost. {} if instances cannot be listed or the opponent's
        probabilities are not known.
    """
    instances = game.rules.instances()
    if instances is None:
        return {}
    env = make(game.name, **game.options).unwrapped
    ends: dict[str, list[tuple[float, float]]] = {}  # (return, probability)
    for seat in game.rules.seats:
        front = [_Course(instance, (), 1 / len(instances)) for instance in instances]
        while front:
            asked: list[tuple[_Course, Observation]] = []
            others: list[tuple[_Course, Observation]] = []
            for course in front:
                course.replay(env)
                if env.outcome:
                    role = game.rules.role_of(env.game_state, seat)
                    ends.setdefault(role, []).append((env.returns[seat], course.probability))
                else:
                    (asked if env.agent_selection == seat else others).append((course, env.observation(env.agent_selection)))
            front = []
            if others:
                masses = opponent.masses([observation for _, observation in others])
                if masses is None:
                    return {}
                for (course, _), mix in zip(others, masses, strict=True):
                    front += [course.then(reply, chance) for reply, chance in mix.items() if chance > 0]
            if asked:
                replies = agent.act([observation for _, observation in asked])
                front += [course.then(reply.text, 1.0) for (course, _), reply in zip(asked, replies, strict=True)]
    return {role: _exact_summary(np.array(of_role)) for role, of_role in sorted(ends.items())}


@dataclass(frozen=True, slots=True)
class _Course:
    """A game so far: what was dealt, the replies, and how likely the opponent and luck let it come to this."""

    instance: Any
    replies: tuple[str, ...]
    probability: float

    def then(self, reply: str, chance: float) -> "_Course":
        return _Course(self.instance, (*self.replies, reply), self.probability * chance)

    def replay(self, env: GameEnv) -> None:
        env.reset(seed=0, options={"instance": self.instance})
        for reply in self.replies:
            env.step(reply)


def _exact_summary(ends_EP: NDArray[np.float64]) -> dict[str, float]:
    """Of ends and their (return, probability)."""
    paid, probability = ends_EP.T / np.array([[1.0], [ends_EP[:, 1].sum()]])
    return {
        "mean": float((paid * probability).sum()),
        "won": float(probability[paid > 0].sum()),
        "drawn": float(probability[paid == 0].sum()),
        "lost": float(probability[paid < 0].sum()),
    }


def summary(episodes: Sequence[Episode]) -> dict[str, dict[str, Any]]:
    """By role of the agent: mean return with its standard error, the shares won (return above 0), drawn and lost, and under
    "interval" the low and high end of each share's 95 % interval (Wilson 1927).

    Seats that share a role play the same deals, so errors are taken over deals and not over games.
    """
    returns: dict[str, dict[int, list[float]]] = {}
    for episode in episodes:
        assert episode.record is not None
        seat = episode.match.tag
        of_role = returns.setdefault(episode.record.roles[seat], {})
        of_role.setdefault(episode.match.seed, []).append(episode.returns[seat])
    return {role: _summary([np.array(paid) for paid in of_role.values()]) for role, of_role in sorted(returns.items())}


def transcripts(episodes: Sequence[Episode], count: int) -> list[GameRecord]:
    """The records of a few games worth reading, in the order in which they were played: by turns the agent's best, its worst, the
    longest, the one with most refused replies, the next best, ..."""

    def own(episode: Episode) -> float:
        return episode.returns[episode.match.tag]

    def refused(episode: Episode) -> int:
        return sum(step.turn.status != "ok" for step in episode.steps)

    orders = [
        sorted(episodes, key=own, reverse=True),
        sorted(episodes, key=own),
        sorted(episodes, key=lambda episode: len(episode.steps), reverse=True),
        sorted((episode for episode in episodes if refused(episode)), key=refused, reverse=True),
    ]
    chosen: dict[int, Episode] = {}
    for turn in itertools.chain.from_iterable(itertools.zip_longest(*orders)):
        if len(chosen) >= count:
            break
        if turn is not None:
            chosen[turn.index] = turn
    return [episode.record for _, episode in sorted(chosen.items()) if episode.record is not None]


def _summary(deals: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Of the returns on each deal."""
    paid = np.concatenate(deals)
    mean = float(paid.mean())
    error = {}
    if len(deals) > 1:  # one says nothing about others
        off = np.array([(of_deal - mean).sum() for of_deal in deals])  # deals as clusters (Cochran 1977, 9A.1)
        error = {"standard_error": float((len(deals) / (len(deals) - 1) * (off**2).sum()) ** 0.5 / len(paid))}
    shares = {"won": float((paid > 0).mean()), "drawn": float((paid == 0).mean()), "lost": float((paid < 0).mean())}
    return {
        "mean": mean,
        **error,
        **shares,
        "interval": {name: wilson(share, len(deals)) for name, share in shares.items()},
    }


def wilson(share: float, count: int) -> dict[str, float]:
    """Low and high end of the 95 % interval of a share seen in `count` independent trials (Wilson 1927)."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = (z2 * (share * (1 - share) / count + z2 / (4 * count**2))) ** 0.5 / (1 + z2 / count)
    return {"low": max(0.0, middle - half), "high": min(1.0, middle + half)}


class AveragePolicy:
    """The average of a sequence of policies as one policy: each is weighed at an information set by how likely its own moves
    lead there, which is what playing one of them at random comes to."""

    def __init__(self) -> None:
        self._sums: dict[solve.Key, dict[str, float]] = {}

    def add(self, game: Game[Any, Any], policy: solve.Policy) -> None:
        """Adds one policy of all seats."""
        reach = own_reach(game, policy)
        for key, mix in policy.items():
            sums = self._sums.setdefault(key, dict.fromkeys(mix, 0.0))
            for move, probability in mix.items():
                sums[move] += reach[key] * probability

    def policy(self) -> dict[solve.Key, dict[str, float]]:
        """The average so far; uniform where no policy added ever leads.

        Raises:
            ValueError: if none was added.
        """
        if not self._sums:
            raise ValueError("no policy was added to the average")
        return {key: _normalised(sums) for key, sums in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, of JSON types but for the keys' lines."""
        return {"sums": [[seat, list(map(_as_plain, lines)), dict(sums)] for (seat, lines), sums in self._sums.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up saved sums."""
        self._sums = {(seat, tuple(map(_as_line, lines))): dict(sums) for seat, lines, sums in state["sums"]}


def own_reach(game: Game[Any, Any], policy: solve.Policy) -> dict[solve.Key, float]:
    """Probability that a seat's own moves lead to each of its information sets."""
    tree = solve.game_tree(game)
    reach: dict[solve.Key, float] = {}
    pending: list[tuple[solve.Node, dict[str, float]]] = [(root, dict.fromkeys(tree.seats, 1.0)) for root in tree.roots]
    while pending:
        node, own = pending.pop()
        if node.key is None:
            continue
        seat = node.key[0]
        reach[node.key] = own[seat]
        for move, child in zip(node.moves, node.children, strict=True):
            pending.append((child, {**own, seat: own[seat] * policy[node.key].get(move, 0.0)}))
    return reach


def _normalised(sums: Mapping[str, float]) -> dict[str, float]:
    total = sum(sums.values())
    return {move: value / total if total > 0 else 1.0 / len(sums) for move, value in sums.items()}


def _as_plain(line: Any) -> Any:
    return line if isinstance(line, str) else [line.seat, line.words]


def _as_line(plain: Any) -> Any:
    return plain if isinstance(plain, str) else Said(*plain)
