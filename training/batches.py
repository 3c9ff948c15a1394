"""When the games of a step are played: before it is trained on, or ahead, in a thread of their own, while earlier ones are.

sync      games, step, games, step, ...: always with the newest weights
one_step  while step k trains, the games of step k + 1 are played with the weights that step k began with
stream    up to `queue_batches` batches wait; games go on while weights change under them, none of them staler than
          `max_staleness` steps. Where the trainer is behind, the player waits: nothing is thrown away
"""

import itertools
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from training.config import Config
from training.rollout import Batch, Rollout


class Batches(ABC):
    """The batches of a run, in the order of their steps."""

    def __init__(self, rollout: Rollout):
        self.rollout = rollout

    @abstractmethod
    def next(self, step: int) -> Batch:
        """The batch of a step; waits for it.

        Raises:
            Exception: what went wrong where it was played.
        """

    @contextmanager
    def held(self, *, quiet: bool = False) -> Iterator[None]:
        """Inside it nothing is played, so that weights can be published.

        Args:
            quiet: also no request is in progress (but for games that are carried over).
        """
        yield

    def published(self, step: int) -> None:
        """The weights of a step are what games are sampled with now; said inside `held`."""
        self.rollout.weights_of = step

    def close(self) -> None:  # noqa: B027  # one that plays in turn has nothing to end
        """Ends what is being played."""


class InTurn(Batches):
    """Plays a batch when it is asked for."""

    def next(self, step: int) -> Batch:
        *_, batch = self.rollout.play(step)
        assert batch is not None
        return batch


class _ClosedError(Exception):
    pass


class Ahead(Batches):
    """Plays in a thread, as far ahead as staleness and queue allow.

    Args:
        rollout: plays.
        config: settings of the run.
        first: step that the run begins with, whose weights are published.
    """

    def __init__(self, rollout: Rollout, config: Config, first: int):
        super().__init__(rollout)
        self._config = config
        self._change = threading.Condition()  # guards what follows
        self._ready: deque[Batch] = deque()
        self._hold = ""  # "between games", "between batches" or not at all
        self._still = False  # the player waits
        self._step = first  # that it plays or waits to play
        self._closed = False
        self._error: BaseException | None = None
        rollout.weights_of = first
        self._thread = threading.Thread(target=self._play, args=(first,), name="rollout", daemon=True)
        self._thread.start()

    def next(self, step: int) -> Batch:
        with self._change:
            self._change.wait_for(lambda: self._ready or self._error)
            if not self._ready:
                self._raise()
            batch = self._ready.popleft()
            self._change.notify_all()
        assert batch.step == step, (batch.step, step)
        return batch

    @contextmanager
    def held(self, *, quiet: bool = False) -> Iterator[None]:
        whole = quiet or self._config.mode == "one_step"
        with self._change:
            if self._config.mode == "one_step":  # the next batch is of these weights, whoever is the faster
                self._change.wait_for(lambda: self._ready or self._step >= self._config.steps or self._error)
            self._hold = "between batches" if whole else "between games"
            self._change.wait_for(lambda: self._still or self._error)
            self._raise()
        try:
            yield
        finally:
            with self._change:
                self._hold = ""
                self._change.notify_all()

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    # In the thread.

    def _play(self, first: int) -> None:
        try:
            for step in itertools.count(first):
                self._step = step
                self._wait(lambda step=step: not self._hold and self._may_begin(step))  # type: ignore[misc]
                for batch in self.rollout.play(step):
                    if batch is None:
                        self._wait(lambda: self._hold != "between games")
                        continue
                    with self._change:
                        self._ready.append(batch)
                        self._change.notify_all()
        except _ClosedError:
            pass
        except BaseException as error:  # for the thread that trains, whatever it is
            with self._change:
                self._error = error
                self._change.notify_all()

    def _may_begin(self, step: int) -> bool:
        fresh = self.rollout.weights_of >= step - self._config.max_staleness
        return step < self._config.steps and fresh and len(self._ready) < self._config.queue_batches

    def _wait(self, until: Callable[[], bool]) -> None:
        with self._change:
            self._still = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._closed or until())
            if self._closed:
                raise _ClosedError
            self._still = False


def make_batches(rollout: Rollout, config: Config, first: int) -> Batches:
    """What `config.mode` names.

    Args:
        first: step that the run begins with, whose weights are published.
    """
    rollout.weights_of = first
    return InTurn(rollout) if config.mode == "sync" else Ahead(rollout, config, first)
