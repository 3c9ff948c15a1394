"""`ParallelGameEnv`: a game as a PettingZoo parallel environment, in which all seats that move at once reply at once.

env = pettingzoo.make("parallel", "lmgames/WhoIsTheSpy-v0")
observations, infos = env.reset(seed=0)
while env.agents:
    replies = {seat: policy(observations[seat]["text"]) for seat in env.agents if infos[seat]["asked"]}
    observations, rewards, terminations, truncations, infos = env.step(replies)
"""

from typing import Any

from pettingzoo import ParallelEnv

from lmgames.aec import GameEnv
from lmgames.records import GameRecord
from lmgames.registry import make


class ParallelGameEnv(ParallelEnv[str, dict[str, str], str]):
    """`GameEnv` with a step for all seats that are asked; its games are the same, and so are their records.

    `infos[seat]["asked"]` says whether a reply of the seat is wanted; then the rest is what `GameEnv` tells the acting agent.
    Replies of other seats are not looked at and may be left out. A seat whose reply was refused is asked again alone, and the
    replies of the others are kept meanwhile.

    Args:
        core: the game under it.
    """

    def __init__(self, core: GameEnv):
        self.core = core
        """With the privileged view of everything."""
        self.metadata = {**core.metadata, "is_parallelizable": True}
        self.possible_agents = core.possible_agents
        self.render_mode = core.render_mode
        self.state_space = core.state_space
        self.agents: list[str] = []
        self._kept: dict[str, str] = {}

    def observation_space(self, agent: str) -> Any:
        return self.core.observation_space(agent)

    def action_space(self, agent: str) -> Any:
        return self.core.action_space(agent)

    @property
    def asked(self) -> tuple[str, ...]:
        """Seats whose reply the next step takes."""
        return tuple(seat for seat in self.core.waiting if seat not in self._kept)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Any]]]:
        """Starts an episode; see `GameEnv.reset`."""
        self.core.reset(seed=seed, options=options)
        self.agents = list(self.core.agents)
        self._kept = {}
        return self._observations(), self._infos()

    def step(
        self, actions: dict[str, str]
    ) -> tuple[dict[str, dict[str, str]], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Takes a reply of every seat that is asked.

        Raises:
            ValueError: if one is missing.
        """
        missing = [seat for seat in self.asked if seat not in actions]
        if missing:
            raise ValueError(f"no reply of {', '.join(missing)}; asked are {', '.join(self.asked)}")
        core = self.core
        self._kept |= {seat: actions[seat] for seat in self.asked}
        rewards = dict.fromkeys(self.agents, 0.0)
        while not core.outcome and core.agent_selection in self._kept:
            state = core.game_state
            core.step(self._kept.pop(core.agent_selection))
            for seat in rewards:
                rewards[seat] += core.rewards[seat]
            if core.game_state is not state:  # a forfeit may replace a turn that others have replied to
                self._kept = {}
        told = self._observations(), rewards, dict(core.terminations), dict(core.truncations), self._infos()
        if core.outcome:
            self.agents = []
        return told

    def render(self) -> str | None:
        return self.core.render()

    def state(self) -> Any:
        """Everything, secrets of all seats included; see `GameEnv.state`."""
        return self.core.state()

    def record(self, agents: dict[str, str] | None = None) -> GameRecord:
        """The episode so far; see `GameEnv.record`."""
        return self.core.record(agents)

    def close(self) -> None:
        self.core.close()

    def _observations(self) -> dict[str, dict[str, str]]:
        return {seat: self.core.observe(seat) for seat in self.agents}

    def _infos(self) -> dict[str, dict[str, Any]]:
        if self.core.outcome:
            return {seat: {"asked": False, **self.core.infos[seat]} for seat in self.agents}
        asked = self.asked
        return {
            seat: {"asked": True, **self.core._acting_info(seat)} if seat in asked else {"asked": False}
            for seat in self.agents
        }


def make_parallel(name: str, **options: Any) -> ParallelGameEnv:
    """The parallel environment of a game; arguments as for `lmgames.make`."""
    return ParallelGameEnv(make(name, **options).unwrapped)
