"""Asked to end, a run finishes its step, saves, and returns."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """Inside this context SIGTERM sets `asked` and does nothing else. Outside the main thread, where Python has no signals, it
    stays False."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
