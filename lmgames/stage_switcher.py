"""When to train which stage of a game with clues and a vote: the switching rule of Iterative-SPO.

Vision-Zero trains either the clue stage or the decision stage. It goes from decision to clue once the votes are good, and
back once the clues have made the votes bad; two thresholds apart keep it from switching at every update. The rule needs only
the share of right votes and the share of abstentions of each update, in Who Is The Spy the facts `vote_accuracy` and
`abstention_rate`.

Source: Wang et al., "Vision-Zero" (2025). The code released with it alternates every fixed number of steps instead.
"""

from dataclasses import dataclass
from typing import Literal

from lmgames.game import check_choice, check_count

Stage = Literal["decision", "clue"]
PUBLISHED_PATIENCE = 20  # updates


@dataclass(kw_only=True)
class StageSwitcher:
    """The stage to train, updated by what each batch of games showed. `StageSwitcher(**dataclasses.asdict(s))` is a copy.

    Args:
        smoothing: weight of the past in the running averages of accuracy and abstentions, which start at 0.
        to_clue_accuracy, to_clue_abstentions: decision -> clue when accuracy >= the one and abstentions <= the other.
        to_decision_error, to_decision_abstentions: clue -> decision when 1 - accuracy >= the one or abstentions >= the
            other.
        min_stay: updates in a stage before it can be left.
        patience: updates in a stage after which it is left even if no threshold is met; None never. The paper lists 20
            (`PUBLISHED_PATIENCE`) without using it in its algorithm; that it means this is our reading.
        debias: whether the averages are divided by 1 - smoothing**updates, as if they had not started at 0. Without it even
            perfect accuracy takes 45 updates to reach 0.9.
        stage: where to start, afterwards the stage to train now.
        accuracy_average, abstention_average: before debiasing.
        updates: so far.
        stayed: updates since the last switch.
    """

    smoothing: float = 0.95
    to_clue_accuracy: float = 0.9
    to_clue_abstentions: float = 0.1
    to_decision_error: float = 0.4
    to_decision_abstentions: float = 0.5
    min_stay: int = 5
    patience: int | None = None
    debias: bool = False
    stage: Stage = "decision"
    accuracy_average: float = 0.0
    abstention_average: float = 0.0
    updates: int = 0
    stayed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing={self.smoothing!r} must be at least 0 and below 1")
        check_choice("stage", self.stage, ("decision", "clue"))
        check_count("min_stay", self.min_stay, 0)
        if self.patience is not None:
            check_count("patience", self.patience, max(1, self.min_stay))

    @property
    def accuracy(self) -> float:
        """Running share of right votes."""
        return self.accuracy_average / self._weight

    @property
    def abstentions(self) -> float:
        """Running share of abstentions."""
        return self.abstention_average / self._weight

    @property
    def _weight(self) -> float:
        """How much of an average the updates so far make up."""
        return 1 - self.smoothing**self.updates if self.debias and self.updates else 1.0

    def update(self, accuracy: float, abstentions: float) -> Stage:
        """Takes in one update and says which stage to train next.

        Args:
            accuracy: right votes among all votes of the update, abstentions included, 0 to 1.
            abstentions: abstentions among them, 0 to 1.

        Raises:
            ValueError: if one is no share.
        """
        if not (0 <= accuracy <= 1 and 0 <= abstentions <= 1):
            raise ValueError(f"accuracy={accuracy!r} and abstentions={abstentions!r} must be shares, 0 to 1")
        self.accuracy_average += (1 - self.smoothing) * (accuracy - self.accuracy_average)
        self.abstention_average += (1 - self.smoothing) * (abstentions - self.abstention_average)
        self.updates += 1
        self.stayed += 1
        if self.stayed >= self.min_stay and (self._is_done or self.stayed == self.patience):
            self.stage = "clue" if self.stage == "decision" else "decision"
            self.stayed = 0
        return self.stage

    @property
    def _is_done(self) -> bool:
        """Whether the thresholds say to leave the stage."""
        if self.stage == "decision":
            return self.accuracy >= self.to_clue_accuracy and self.abstentions <= self.to_clue_abstentions
        return 1 - self.accuracy >= self.to_decision_error or self.abstentions >= self.to_decision_abstentions
