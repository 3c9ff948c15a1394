"""One engine with several LoRA adapters: each as a model of its own."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.models.model import Completion, Model, Request
from agents.models.revision import revision_of


class AdapterEngine(Model):
    """An engine whose requests may name an adapter, of different ones in one batch."""

    @abstractmethod
    def load_adapter(self, name: str, path: str | Path, version: int = 0) -> None:
        """Loads a LoRA adapter, or a new version of one; requests that name it use it from the next one on.

        Args:
            name: what requests call it.
            path: a folder that peft wrote.
            version: number of its weights, given with completions.

        Raises:
            ValueError: if it cannot be loaded, saying why.
        """

    @property
    @abstractmethod
    def adapters(self) -> dict[str, int]:
        """Version of each adapter that requests may name."""

    @abstractmethod
    def score(
        self,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[int]],
        temperature: float = 1.0,
        *,
        adapter: str = "",
    ) -> list[list[float]]:
        """As in Model, under an adapter."""

    def with_adapter(self, name: str) -> "AdapterModel":
        """This engine with the adapter on, as a model of its own."""
        check_loaded(self.adapters, name)
        return AdapterModel(self, name)


def check_loaded(adapters: dict[str, int], name: str) -> None:
    if name not in adapters:
        raise ValueError(f"no adapter {name!r} is loaded; there are {sorted(adapters) or 'none'}")


def adapter_folder(path: str | Path) -> Path:
    """The folder of an adapter.

    Raises:
        ValueError: if there is none.
    """
    folder = Path(path).expanduser().resolve()
    if not (folder / "adapter_config.json").is_file():
        raise ValueError(f"no adapter at {str(path)!r}: there is no adapter_config.json; peft's save_pretrained writes it")
    return folder


def adapter_name(path: str | Path) -> str:
    """A name for the adapter of a folder: its folder's, and a hash of what is in it, so that a folder that was written again is
    another adapter, in the engine as in results.

    Raises:
        ValueError: if there is no adapter.
    """
    folder = adapter_folder(path)
    return f"{folder.name.replace('.', '_')}-{revision_of(str(folder))[:16]}"


class AdapterModel(Model):
    """An engine with one of its adapters on. It shares the engine's requests: `poll` gives those of all its adapters."""

    def __init__(self, engine: AdapterEngine, adapter: str):
        self.engine = engine
        self.adapter = adapter
        self.tokenizer = engine.tokenizer

    @property
    def version(self) -> int:  # type: ignore[override]  # an adapter's number is set by loading it
        check_loaded(self.engine.adapters, self.adapter)
        return self.engine.adapters[self.adapter]

    @property
    def context(self) -> int | None:
        return self.engine.context

    @property
    def end_ids(self) -> tuple[int, ...]:
        return self.engine.end_ids

    def submit(self, request: Request) -> None:
        self.engine.submit(replace(request, adapter=self.adapter))

    def poll(self) -> list[Completion]:
        return self.engine.poll()

    @property
    def waiting(self) -> int:
        return self.engine.waiting

    def score(
        self, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        return self.engine.score(prompts, replies, temperature, adapter=self.adapter)

    def fingerprint(self) -> dict[str, Any]:
        return {**self.engine.fingerprint(), "adapter": self.adapter, "adapter_version": self.version}


@contextmanager
def peft_at_work() -> Iterator[None]:
    """Inside, peft may wrap a model without a word: it asks for a setting by a name that transformers has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield
