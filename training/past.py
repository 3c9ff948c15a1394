"""What the run was before, to be met in evaluation: a learner that beats its last self and loses to older ones goes in circles.

RUN/start/                   the model at the start
RUN/evaluated/step_000100/   the weight EMA at an evaluation by games; as many of the last as `play_past` reaches back are kept
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from training.checkpoint import remove_folder

START = "start"


def keep_for_later(run: Path, step: int, back: Sequence[int], save: Callable[[Path], None], *, removes: bool = True) -> None:
    """Keeps the policy of the evaluation after a step, and removes those that no later one will meet.

    Args:
        run: folder of the run.
        back: how many evaluations back are met; () keeps nothing.
        save: makes a folder of the weights, whole or not at all, as `hf:FOLDER` reads them.
        removes: whether this process is the one that removes.
    """
    if not back:
        return
    save(run / "evaluated" / f"step_{step:06d}")
    for old in _evaluated_before(run, step + 1)[: -max(back)] if removes else ():
        remove_folder(old)


def past_selves(run: Path, step: int, back: Sequence[int]) -> dict[str, Path]:
    """Name -> folder of the policies to be met at the evaluation after a step: "start", and "1 back", "4 back", ... as far as there
    are any."""
    if not back or not step:
        return {}
    known = _evaluated_before(run, step)
    return {START: run / START, **{f"{number} back": known[-number] for number in back if len(known) >= number}}


def _evaluated_before(run: Path, step: int) -> list[Path]:
    """Of earlier steps, the oldest first; what a run that was cut off kept of later ones is not counted."""
    folders = (run / "evaluated").glob("step_??????")
    return sorted(folder for folder in folders if int(folder.name.removeprefix("step_")) < step)
