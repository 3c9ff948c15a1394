"""Asked to end, a run finishes its step, saves, and returns."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SAID = b"\nfinishing the step, then saving; once more stops at once and loses the steps since the last checkpoint\n"


class Stop:
    """Inside this context SIGTERM sets `asked` and does nothing else. So does the first SIGINT (Ctrl-C), which says so; a second
    one interrupts. A signal that is ignored, as SIGINT is in the background, stays so. Outside the main thread, where Python has no
    signals, `asked` stays False."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._ask) for number in heard}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
            os.write(2, SAID)  # print might be interrupted in the middle of itself
