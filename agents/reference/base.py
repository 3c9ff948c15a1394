"""What a scripted player of one game is. Each game's players stand in `agents/reference/<game>.py`, in its `PLAYERS`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from lmgames.chance import Chance
from lmgames.observation import Observation


class ReferencePlayer(ABC):
    """A player of one game that knows its rules. It reads `observation.view` and `observation.game`, never another seat's secrets.

    Constructor parameters are the options of its spec: `nash:alpha=0.2` calls `Nash(alpha=0.2)`.
    """

    @abstractmethod
    def reply(self, observation: Observation) -> str:
        """The reply, a function of the observation alone; randomness comes from `Chance(observation.seed)`."""


class MixedPlayer(ReferencePlayer):
    """A player whose replies in each position follow a known distribution, so that exact values can be computed."""

    @abstractmethod
    def mix(self, observation: Observation) -> Mapping[str, float]:
        """Probability of each reply text; they sum to 1."""

    def reply(self, observation: Observation) -> str:
        mix = self.mix(observation)
        return Chance(observation.seed).weighted(list(mix), list(mix.values()), "reply")


class Random(MixedPlayer):
    """A uniformly random legal move; where words are free, one of the game's sample replies."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        if observation.legal_moves is None:
            return {self.reply(observation): 1.0}
        return dict.fromkeys(observation.legal_moves, 1.0 / len(observation.legal_moves))

    def reply(self, observation: Observation) -> str:
        chance = Chance(observation.seed)
        if observation.legal_moves is None:
            return observation.game.sample_reply(observation.view, observation.seat, chance)
        return chance.choice(observation.legal_moves, "reply")


class First(MixedPlayer):
    """The first legal move; where words are free, always the same sample reply."""

    def mix(self, observation: Observation) -> Mapping[str, float]:
        if observation.legal_moves is None:
            return {observation.game.sample_reply(observation.view, observation.seat, Chance(0)): 1.0}
        return {observation.legal_moves[0]: 1.0}
