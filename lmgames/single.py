"""`SingleSeatEnv`: a game as a Gymnasium environment, one seat the learner's, the others named opponents'.

env = gymnasium.make("lmgames/KuhnPoker-v0", opponent="nash", seat="player_1")
text, info = env.reset(seed=0)
text, reward, terminated, truncated, info = env.step("[bet]")
"""

from collections.abc import Sequence
from typing import Any, Literal

import gymnasium
from gymnasium.error import ResetNeeded

from lmgames.aec import MAX_OBSERVATION_CHARS, GameEnv
from lmgames.chance import Chance
from lmgames.game import Game
from lmgames.observation import Observation, Player
from lmgames.players import make_opponents, text_of
from lmgames.records import GameRecord
from lmgames.registry import make, nearest
from lmgames.spaces import TextSpace

MAX_REDEALS = 100


class SingleSeatEnv(gymnasium.Env[str, str]):
    """A game seen from one seat: the observation is the text of that seat, the action its reply.

    Opponents reply inside `step` and `reset`, drawing any randomness from `Observation.seed`: an episode is fixed by its
    seed and the learner's replies. The reward is all that the seat was paid since its last reward, so that rewards sum to
    its return. `info` has what `GameEnv` gives the acting agent, and `seat`; after the end it has `facts`, `outcome` and
    `returns` (of every seat).

    A game may end before the learner is asked at all, e.g. when an opponent forfeits at once. Since `reset` must return a
    text to reply to, such a game is dropped and the next deal is begun, its seed the next of the stream that
    `reset(seed=...)` started; `episode_seed` tells which one is played.

    Args:
        game: registered ID.
        opponent: a player's spec, e.g. "random" or "nash:alpha=0.2", or an object with `act`, for every other seat; or a
            dict of them by seat or role. With seat="all" there is none.
        seat: the learner's: its index, its name, a role (a seat that has the role in the deal), "random" (drawn from the
            episode's seed), or "all": the learner replies for every seat in turn, and each reward is the replying seat's.
        render_mode: "human" prints the text of each turn, "ansi" has `render` return it.
        options: of the game and of `GameEnv`.

    Raises:
        ValueError: for an unknown game, option, seat or player.
    """

    metadata = {"render_modes": ["human", "ansi"], "render_fps": 1}

    def __init__(
        self,
        game: str,
        *,
        opponent: Any = "random",
        seat: int | str = 0,
        render_mode: Literal["human", "ansi"] | None = None,
        **options: Any,
    ):
        core = make(game, render_mode=render_mode, **options).unwrapped
        assert isinstance(core, GameEnv)
        self.core = core
        """The game under it, with the privileged view of everything."""
        self.render_mode = render_mode
        self.action_space = TextSpace(core.max_raw_chars)
        self.observation_space = TextSpace(MAX_OBSERVATION_CHARS)
        self._seat_option = _checked_seat(seat, core.game)
        fixed = self._seat_option if self._seat_option in core.game.seats else None
        if seat == "all" and opponent not in ("random", None):
            raise ValueError(
                f"opponent={opponent!r}: with seat='all' the learner sits in every seat; leave the opponent out"
            )
        self.opponents = None if seat == "all" else make_opponents(opponent, core.game, fixed)
        self.seat: str | None = None
        """The learner's seat in this episode; None if all are."""
        self._reading = core.game.seats[0]  # the seat whose text is shown
        self._begun = False

    # Gymnasium's interface.

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begins an episode and plays it up to the learner's first turn.

        Args:
            seed: of the episode; without one it comes from the stream that the last seeded reset started.
            options: `{"instance": ...}` plays that instance; `{"seat": ...}` takes another seat than the one of `__init__`.

        Raises:
            ValueError: for an instance or a seat that the game does not have, or another option.
        """
        self.begin(seed, options)
        play_opponents([self])
        if self.render_mode == "human":
            self.core.render()
        return self.text, self.info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Takes the learner's reply and plays on to its next turn or to the end.

        Raises:
            ResetNeeded: before the first reset and after the end.
        """
        self.reply(action)
        play_opponents([self])
        if self.render_mode == "human":
            self.core.render()
        return self.result()

    def render(self) -> str | None:
        """The text of the seat to move, or the returns after the end, in mode "ansi". Mode "human" prints by itself."""
        return self.core.render() if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Closes the opponents made for this environment."""
        if self.opponents is not None:
            self.opponents.close()

    # Beyond Gymnasium.

    @property
    def text(self) -> str:
        """What the learner reads now."""
        return self.core.observe(self._reading)["text"]

    @property
    def over(self) -> bool:
        """Whether the episode has ended."""
        return self.core.outcome != ""

    @property
    def episode_seed(self) -> int:
        """Seed of the game being played: `reset(seed=...)` with it plays its deal again."""
        return self.core.seed

    def observation(self) -> Observation:
        """What the learner is asked, as an agent is given it."""
        return self.core.observation(self._reading)

    def record(self) -> GameRecord:
        """The episode so far, from which `lmgames.replay` plays it again; names the opponents that have a spec."""
        players = {seat: self._opponent(seat) for seat in self.core.game.seats if self.seat not in (None, seat)}
        return self.core.record({seat: spec for seat, who in players.items() if (spec := getattr(who, "spec", ""))})

    # The parts of reset and step; `TextVectorEnv` lets the opponents of many environments reply between them.

    def begin(self, seed: int | None, options: dict[str, Any] | None = None) -> None:
        """Deals; nobody has replied yet."""
        super().reset(seed=seed)
        self._begun = False  # until a deal that these options allow is there
        self._options = dict(options or {})
        for option in self._options:
            if option not in ("instance", "seat"):
                raise ValueError(f"reset: no option {option!r}{nearest(str(option), ('instance', 'seat'))}")
        self._deal(seed)
        self._redeals = 0
        self._begun = True

    def reply(self, action: str) -> None:
        """Takes the learner's reply, and no more."""
        if not self._begun or self.over:
            raise ResetNeeded("the episode is over; call reset()" if self._begun else "call reset() before step()")
        if self.core.agent_selection != self._reading:
            raise ResetNeeded(f"{self.core.agent_selection} failed to reply, so the game cannot go on; call reset()")
        self._replying = self._reading
        self._acted = True
        self.core.step(action)
        if self.seat is None and not self.over:
            self._reading = self.core.agent_selection

    def opponents_request(self) -> tuple[Player, Observation] | None:
        """Which opponent is asked now and what; None if the learner is, or the episode is over."""
        while self.over and not self._acted:
            self._deal_again()
        asked = self.core.agent_selection
        if self.over or self.seat in (None, asked):
            return None
        return self._opponent(asked), self.core.observation(asked)

    def result(self) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """What `step` returns."""
        seat = self._replying
        returns = self.core.returns
        reward = returns[seat] - self._paid[seat]
        self._paid[seat] = returns[seat]
        return self.text, reward, self.core.terminations[seat], self.core.truncations[seat], self.info()

    def _deal(self, seed: int | None) -> None:
        self.core.reset(seed=seed, options={key: value for key, value in self._options.items() if key == "instance"})
        self.seat = self._learner(self._options.get("seat", self._seat_option))
        self._reading = self.seat or self.core.agent_selection
        self._paid = self.core.returns
        self._acted = False

    def _deal_again(self) -> None:
        self._redeals += 1
        if self._redeals > MAX_REDEALS:
            raise RuntimeError(
                f"{MAX_REDEALS} games ended before {self.seat} was asked for a reply (the last by {self.core.outcome!r}); "
                "see whether the opponents' replies are legal"
            )
        self._deal(None)

    def _learner(self, wanted: int | str) -> str | None:
        game = self.core.game
        wanted = _checked_seat(wanted, game)
        if wanted == "all" or self._seat_option == "all":
            if wanted != self._seat_option:
                raise ValueError(f"seat={wanted!r}: an environment made with seat={self._seat_option!r} cannot change to it")
            return None
        if wanted in game.seats:
            return wanted
        open_to_it = [seat for seat in game.seats if wanted in ("random", self.core.role(seat))]
        if not open_to_it:
            raise ValueError(f"seat={wanted!r}: no seat has this role in the deal of seed {self.core.seed}")
        return Chance(self.core.seed).choice(open_to_it, "the learner's seat")

    def _opponent(self, seat: str) -> Player:
        assert self.opponents is not None
        return self.opponents.at(seat, self.core.role(seat))

    def info(self) -> dict[str, Any]:
        info = {**self.core.infos[self._reading], "seat": self._reading}
        if self.over:
            info["returns"] = self.core.returns
        return info


def _checked_seat(seat: int | str, game: Game[Any, Any]) -> str:
    if type(seat) is int and 0 <= seat < len(game.seats):
        return game.seats[seat]
    choices = (*game.seats, *game.roles, "random", "all")
    if isinstance(seat, str) and seat in choices:
        return seat
    raise ValueError(f"seat={seat!r}: {game.name} has seats 0 to {len(game.seats) - 1}, or {', '.join(choices)}")


def play_opponents(envs: Sequence[SingleSeatEnv]) -> None:
    """Lets opponents reply until every environment waits for its learner or is over: each player gets one batch a round.

    Raises:
        Exception: of an opponent that fails to reply, see `players.text_of`. Its game is neither won nor lost; reset it.
    """
    waiting = list(envs)
    while waiting:
        batches: dict[int, tuple[Player, list[SingleSeatEnv], list[Observation]]] = {}
        for env in waiting:
            request = env.opponents_request()
            if request is not None:
                player, observation = request
                _, asking, observations = batches.setdefault(id(player), (player, [], []))
                asking.append(env)
                observations.append(observation)
        waiting = []
        for player, asking, observations in batches.values():
            texts = [text_of(reply) for reply in player.act(observations)]
            for env, text in zip(asking, texts, strict=True):
                env.core.step(text)
            waiting += asking
