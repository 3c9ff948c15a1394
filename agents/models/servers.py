"""Several vLLM servers with the same weights as one model, and new weights for all of them.

    servers = Servers(["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"], tokenizer)
    servers.load_weights("/shared/run/weights/12", version=12)      VLLM_SERVER_DEV_MODE=1 vllm serve ...
    servers.load_adapter("policy", "/shared/run/adapters/12", 12)   VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve --enable-lora ...

A seat of a game asks the same server at every turn, which has the beginning of its prompt in its cache. A server that cannot be
reached is given up with a warning, and its requests are sent to the others; it is tried again when the next weights come.
"""

import contextlib
import hashlib
import secrets
import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.models.adapters import AdapterEngine, adapter_folder, check_loaded
from agents.models.endpoint import Calls, Endpoint, EndpointError
from agents.models.model import Completion, Request
from agents.models.remote import DEFAULT_CONCURRENCY, RemoteModel

REMEMBERED = 1 << 16  # seats of games whose server is known
BAD_REQUEST = 400  # what a server answers where an adapter of that name is loaded
OLD_ADAPTERS = 1  # earlier versions of an adapter that requests in progress may use


class Server(RemoteModel):
    """One of them.

    Attributes:
        failure: why it was given up; "" while it serves.
    """

    failure = ""

    def __init__(self, url: str, tokenizer: Any, *, seeded: bool, **options: Any):
        endpoint = Endpoint(url, **options)
        self.root = Endpoint(endpoint.url.removesuffix("/v1"), **options)
        """Its address without /v1, where the calls stand that change weights."""
        name, context = _base_model(endpoint)
        super().__init__(endpoint, name, tokenizer, context=context, seeded=seeded)

    def load_weights(self, folder: Path, version: int) -> None:
        """Replaces all weights. Requests in progress stop meanwhile and go on with the new ones, which read them from the start."""
        self.root.tell("/pause?mode=keep", {})
        try:
            self.root.tell("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
            answer = self.root.post("/reset_prefix_cache?reset_running_requests=true", {})
            if not answer.body.get("success"):
                raise EndpointError(f"the server at {self.root.url} did not reset its prefix cache; start it anew")
            self.root.tell("/update_weight_version", {"new_version": str(version)})
        finally:
            self.root.tell("/resume", {})

    def load_adapter(self, served: str, folder: Path) -> None:
        """Also in place of one of that name, that a run before this one may have left."""
        try:
            self._load_adapter(served, folder)
        except EndpointError as error:
            if error.status != BAD_REQUEST:
                raise
            with contextlib.suppress(EndpointError):
                self.unload_adapter(served)
            self._load_adapter(served, folder)

    def _load_adapter(self, served: str, folder: Path) -> None:
        self.endpoint.tell("/load_lora_adapter", {"lora_name": served, "lora_path": str(folder)})

    def unload_adapter(self, served: str) -> None:
        self.endpoint.tell("/unload_lora_adapter", {"lora_name": served})


def _base_model(endpoint: Endpoint) -> tuple[str, int | None]:
    """(name of the model that a server serves, its context)."""
    try:
        models = endpoint.get("/models").body["data"]
        base = next(model for model in models if not model.get("parent"))
        return str(base["id"]), base.get("max_model_len")
    except (KeyError, TypeError, StopIteration, AttributeError) as error:
        raise EndpointError(
            f"the server at {endpoint.url} does not say which model it serves; is it a vLLM server?"
        ) from error


class Servers(AdapterEngine):
    """The servers.

    Args:
        urls: of their APIs.
        tokenizer: of the model.
        max_batch: requests sent to each at once; others wait.
        seeded: send each request's seed; for tests.
        leads: whether this process tells the servers of new weights; False where another one does.
        label: in the names that the servers know adapters by, so that these are not taken for those of other runs, or of this one
            before it was started again; "" for one of its own. Processes that share the adapters have one label.
        options: of each `Endpoint`.

    Raises:
        EndpointError: if one cannot be reached.
    """

    def __init__(
        self,
        urls: Sequence[str],
        tokenizer: Any,
        *,
        max_batch: int = DEFAULT_CONCURRENCY,
        seeded: bool = False,
        leads: bool = True,
        label: str = "",
        **options: Any,
    ):
        if not urls:
            raise ValueError("no server is given; write their addresses, e.g. http://localhost:8000/v1")
        self.tokenizer = tokenizer
        self.servers = [Server(url, tokenizer, seeded=seeded, **options) for url in urls]
        self._leads = leads
        self._calls: Calls[_Call] = Calls(self._complete, max_batch * len(self.servers))
        self._of_seat: OrderedDict[Hashable, Server] = OrderedDict()
        self._asked: Counter[int] = Counter()  # requests in progress, by id of the server
        self._lock = threading.Lock()
        self._adapters: dict[str, tuple[str, int, Path]] = {}  # by name: what the servers call it, version, folder
        self._old: list[str] = []  # what the servers call earlier versions, oldest first
        self._label = label or secrets.token_hex(4)
        self._weights: tuple[Path, int] | None = None
        self._newest = self.version  # of the weights that some server may have by now

    # The interface of Model.

    @property
    def context(self) -> int | None:
        known = [server.context for server in self.servers if server.context is not None]
        return min(known) if known else None

    @property
    def alive(self) -> list[Server]:
        """Those that serve.

        Raises:
            EndpointError: if none does.
        """
        found = [server for server in self.servers if not server.failure]
        if not found:
            said = "; ".join(f"{server.endpoint.url}: {server.failure}" for server in self.servers)
            raise EndpointError(f"no server is left ({said}). Start them, then start the run again; nothing was lost")
        return found

    def submit(self, request: Request) -> None:
        if not request.prompt_ids:
            raise ValueError("a prompt has at least one token")
        longest = len(request.prompt_ids) + request.sampling.max_tokens
        if self.context is not None and longest > self.context:
            raise ValueError(
                f"a prompt of {len(request.prompt_ids)} tokens with up to {request.sampling.max_tokens} of reply exceeds "
                f"the servers' context of {self.context} tokens; lower max_tokens or play a shorter game"
            )
        served, version = "", self.version
        if request.adapter:
            check_loaded(self.adapters, request.adapter)
            served, version, _ = self._adapters[request.adapter]
        self._calls.submit((request, served, version))

    @property
    def waiting(self) -> int:
        return self._calls.waiting

    def poll(self) -> list[Completion]:
        completions = []
        for (request, _, version), result in self._calls.results():
            if isinstance(result, Exception):
                result = Completion(request.key, request.prompt_ids, (), (), "error", version, str(result))
            completions.append(result)
        return completions

    def score(
        self,
        prompts: Sequence[Sequence[int]],
        replies: Sequence[Sequence[int]],
        temperature: float = 1.0,
        *,
        adapter: str = "",
    ) -> list[list[float]]:
        served = self._adapters[adapter][0] if adapter else ""
        return self.alive[0].score(prompts, replies, temperature, adapter=served)

    def fingerprint(self) -> dict[str, Any]:
        return {"model": self.servers[0].name, "servers": [server.endpoint.url for server in self.servers]}

    def close(self) -> None:
        for server in self.servers:
            server.root.close()
            server.close()
        self._calls.close()

    # Who answers.

    def _complete(self, call: "_Call") -> Completion:
        request, served, version = call
        while True:
            server = self._server(request.key)
            try:
                done = server.complete(replace(request, adapter=served), version)
                newest = self._newest
                if served or newest == version:
                    return done
                # A server does not tell when they came: all tokens count as those of the older weights.
                return replace(done, version_spans=((version, len(done.ids)), (newest, 0)))
            except EndpointError as error:
                if error.status:  # it serves, but not this request
                    raise
                self._give_up(server, error)
            finally:
                with self._lock:
                    self._asked[id(server)] -= 1

    def _server(self, key: Hashable) -> Server:
        """The one that the seat of a game asked before, or else the one with the fewest requests."""
        with self._lock:
            server = self._of_seat.pop(key, None)
            if server is None or server.failure:
                server = min(self.alive, key=lambda one: self._asked[id(one)])
            self._of_seat[key] = server
            if len(self._of_seat) > REMEMBERED:
                self._of_seat.popitem(last=False)
            self._asked[id(server)] += 1
            return server

    def _give_up(self, server: Server, error: EndpointError) -> None:
        with self._lock:
            if server.failure:
                return
            server.failure = str(error)
        warnings.warn(f"{error}. Its requests go to the other servers", RuntimeWarning, stacklevel=2)

    # Weights.

    def load_weights(self, folder: str | Path, version: int) -> None:
        """Replaces all weights of every server.

        Args:
            folder: that `save_pretrained` wrote, under a path that every server can read.
            version: number of the new weights.

        Raises:
            EndpointError: if no server is left, or one refuses, saying what it said.
        """
        path = Path(folder).absolute()
        self._newest = version
        self._tell(lambda server: server.load_weights(path, version))
        self._weights = (path, version)
        self.version = version

    def load_adapter(self, name: str, path: str | Path, version: int = 0) -> None:
        """As in AdapterEngine; under a path that every server can read, of its own for each version.

        Requests in progress go on with the version that they began with.
        """
        folder = adapter_folder(path)
        where = hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()
        served = f"{name}-v{version}-{self._label}-{where}"  # the same in every process that shares the adapters
        if served in self._old or any(served == known for known, _, _ in self._adapters.values()):
            raise ValueError(f"{str(path)!r} is in use; save each version of an adapter to a folder of its own")
        before = self._adapters.get(name)
        self._adapters[name] = (served, version, folder)
        self._tell(lambda server: server.load_adapter(served, folder), but=name)
        if before is not None:
            self._old.append(before[0])
        for old in self._old[:-OLD_ADAPTERS] if self._leads else ():
            for server in self.alive:
                with contextlib.suppress(EndpointError):  # one that was started anew does not have it
                    server.unload_adapter(old)
        del self._old[:-OLD_ADAPTERS]

    @property
    def adapters(self) -> dict[str, int]:
        return {name: version for name, (_, version, _) in self._adapters.items()}

    def served_as(self, adapter: str) -> str:
        """What the servers call an adapter; "" for none."""
        return self._adapters[adapter][0] if adapter else ""

    def _tell(self, change: Callable[[Server], None], but: str = "") -> None:
        """Changes every server. One that was given up is brought up to date first, if it serves again.

        Args:
            but: the adapter that `change` loads; "" where it changes the weights.
        """
        for server in self.servers if self._leads else ():
            try:
                if server.failure:
                    self._bring_back(server, but)
                change(server)
                server.failure = ""
            except EndpointError as error:
                if error.status:
                    raise EndpointError(f"{error} {_NEEDED}", error.status) from error
                if not server.failure:
                    self._give_up(server, error)
        assert self.alive

    def _bring_back(self, server: Server, but: str) -> None:
        """Gives a server that may have been started anew what the others have."""
        server.root.knock("/health")
        if but and self._weights is not None:
            server.load_weights(*self._weights)
        for name, (served, _, folder) in self._adapters.items():
            if name != but:
                server.load_adapter(served, folder)


_Call = tuple[Request, str, int]  # what is asked, the adapter as the servers call it, version
_NEEDED = (
    "New weights need a server started with VLLM_SERVER_DEV_MODE=1, new adapters one with --enable-lora and "
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and both folders that it can read"
)
