"""`TextVectorEnv`: many games in one process, each going on as soon as its own reply is there.

    envs = gymnasium.make_vec("lmgames/KuhnPoker-v0", num_envs=64, opponent="nash")
    envs.reset(seed=0)
    while True:
        indices, observations = envs.ready()
        if not indices:
            break
        envs.step(indices, [reply.text for reply in agent.act(observations)])

Text games take microseconds a turn and a model takes seconds, so processes would gain nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from lmgames.game import check_count
from lmgames.observation import Observation
from lmgames.records import GameRecord
from lmgames.single import SingleSeatEnv, play_opponents


class TextVectorEnv(VectorEnv[tuple[str, ...], Sequence[str], np.ndarray]):
    """`num_envs` games side by side. Each comes out as it would alone: `SingleSeatEnv` says how.

    An episode that is over stays over until `reset(options={"reset_mask": ...})` begins another (Gymnasium's autoreset mode
    DISABLED). With `seat="all"` the requests of every seat come out of `ready`: self-play. A round of opponents' replies is
    one batch over all environments.

    Args:
        num_envs: how many.
        options: of `SingleSeatEnv`: `game`, `opponent`, `seat`, `render_mode` and all options of the game.
    """

    metadata = {**SingleSeatEnv.metadata, "autoreset_mode": AutoresetMode.DISABLED}

    def __init__(self, num_envs: int = 1, **options: Any):
        check_count("num_envs", num_envs, 1)
        first = SingleSeatEnv(**options)
        shared = {**options, "opponent": first.opponents}  # a model that plays in all of them is loaded once
        self.envs = [first, *(SingleSeatEnv(**shared) for _ in range(num_envs - 1))]
        self.num_envs = num_envs
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.action_space = batch_space(first.action_space, num_envs)
        self._texts = [""] * num_envs
        self._terminations = np.zeros(num_envs, dtype=np.bool_)
        self._truncations = np.zeros(num_envs, dtype=np.bool_)
        self._begun = False

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Begins an episode in every environment, or in those of `options["reset_mask"]`.

        Args:
            seed: one for each environment; an integer s stands for s, s + 1, ...
            options: `reset_mask` (num_envs,) of bool; the rest goes to `SingleSeatEnv.reset` of each.

        Raises:
            ValueError: for a list of seeds or a mask of another length, or a mask with no True.
        """
        options = dict(options or {})
        chosen = self._masked(options.pop("reset_mask", None))
        seeds: Sequence[int | None] = [None] * self.num_envs if seed is None else _seeds(seed, self.num_envs)
        if not self._begun and len(chosen) < self.num_envs:
            raise ValueError("options['reset_mask']: the first reset must be of every environment")
        for index in chosen:
            self.envs[index].begin(seeds[index], options)
        self._begun = True
        self._terminations[chosen] = self._truncations[chosen] = False
        play_opponents([self.envs[index] for index in chosen])
        infos: dict[str, Any] = {}
        for index in chosen:
            self._texts[index] = self.envs[index].text
            self._put_info(infos, index, self.envs[index].info())
        self._show()
        return tuple(self._texts), infos

    def ready(self) -> tuple[list[int], list[Observation]]:
        """The environments that wait for a reply, and what each asks; none once every episode is over."""
        indices = [index for index, env in enumerate(self.envs) if self._begun and not env.over]
        return indices, [self.envs[index].observation() for index in indices]

    def step(
        self, actions: Sequence[Any], texts: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """`step(texts)` with a reply for each environment, or `step(indices, texts)` with replies for some.

        Returns:
            Texts, rewards, terminations, truncations and infos as in Gymnasium, of every environment. One that got no reply
            keeps its text and flags, has reward 0 and no entry in the infos.

        Raises:
            ValueError: if numbers do not match, an index is given twice, or an episode is over already.
        """
        indices, replies = (range(self.num_envs), actions) if texts is None else (actions, texts)
        self._check_step(indices, replies)
        for index, text in zip(indices, replies, strict=True):
            self.envs[index].reply(text)
        play_opponents([self.envs[index] for index in indices])
        rewards = np.zeros(self.num_envs)
        infos: dict[str, Any] = {}
        for index in indices:
            text, rewards[index], self._terminations[index], self._truncations[index], info = self.envs[index].result()
            self._texts[index] = text
            self._put_info(infos, index, info)
        self._show()
        return tuple(self._texts), rewards, self._terminations.copy(), self._truncations.copy(), infos

    @property
    def over(self) -> np.ndarray:
        """(num_envs,) of bool: which episodes have ended, a `reset_mask` for new ones."""
        return self._terminations | self._truncations

    def record(self, index: int) -> GameRecord:
        """The episode of one environment so far."""
        return self.envs[index].record()

    def render(self) -> tuple[Any, ...] | None:
        """What each environment renders, in mode "ansi". Mode "human" prints by itself."""
        return tuple(env.render() for env in self.envs) if self.render_mode == "ansi" else None

    def close_extras(self, **kwargs: Any) -> None:
        self.envs[0].close()  # the opponents are shared

    def _check_step(self, indices: Sequence[int], replies: Sequence[str]) -> None:
        if isinstance(replies, str) or len(indices) != len(replies):
            raise ValueError(f"{len(indices)} environments were to be stepped with {len(replies)} replies: {replies!r}")
        if len(set(indices)) != len(indices) or not all(0 <= index < self.num_envs for index in indices):
            raise ValueError(f"indices {list(indices)} must be different and from 0 to {self.num_envs - 1}")
        idle = [index for index in indices if not self._begun or self.envs[index].over]
        if idle:
            raise ValueError(f"environments {idle} wait for reset, not for a reply; step those that ready() names")

    def _masked(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must be {self.num_envs} booleans, at least one of them True, not {mask}"
            )
        return [int(index) for index in np.flatnonzero(mask)]

    def _put_info(self, infos: dict[str, Any], index: int, info: dict[str, Any]) -> None:
        """Gymnasium's form: an array for each key, and under `_key` which environments have it.

        Only counts become numbers: a fact may differ in type from game to game.
        """
        for key, value in info.items():
            if key not in infos:
                is_count = key in ("turn", "invalid_count")
                infos[key] = np.zeros(self.num_envs, np.int64) if is_count else np.full(self.num_envs, None, object)
                infos[f"_{key}"] = np.zeros(self.num_envs, dtype=np.bool_)
            infos[key][index] = value
            infos[f"_{key}"][index] = True

    def _show(self) -> None:
        if self.render_mode == "human":
            for env in self.envs:
                env.core.render()


def _seeds(seed: int | Sequence[int | None], count: int) -> Sequence[int | None]:
    seeds = [int(seed) + index for index in range(count)] if isinstance(seed, int | np.integer) else list(seed)
    if len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds for {count} environments")
    return seeds
