"""JSON over HTTP, with a second try where that can help: what clients of model servers have in common."""

import json
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

MOST_BYTES = 64 << 20  # of an answer
LONGEST_WAIT_S = 60.0  # between two tries
QUOTED = 300  # characters of a server's own words in a message

Job = TypeVar("Job")


class EndpointError(RuntimeError):
    """A request that failed for good. The message says what to do; `status` is the HTTP status, 0 if there was none."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class _TryAgainError(Exception):
    """A failure that may pass by itself."""

    def __init__(self, why: str, wait_s: float | None = None):
        super().__init__(why)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Args:
        body: the JSON object.
        retries: tries that failed before.
        seconds: from the first try to the answer.
    """

    body: dict[str, Any]
    retries: int
    seconds: float


class Endpoint:
    """An HTTP server that takes and gives JSON objects. Safe to use from several threads.

    Transport errors, status 429 and 5xx are tried again, with waits that double; all else fails at once.

    Args:
        url: e.g. "http://localhost:8000/v1".
        api_key: sent as a bearer token; never shown.
        timeout_s: seconds without a sign of the server before a try is given up.
        retries: tries after the first.
        backoff_s: wait before the second try, seconds.
        requests_per_minute: None for no limit.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 300.0,
        retries: int = 5,
        backoff_s: float = 0.5,
        requests_per_minute: float | None = None,
    ):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url {url!r} must begin with http:// or https://, e.g. http://localhost:8000/v1")
        if retries < 0 or not timeout_s > 0 or not backoff_s >= 0:
            raise ValueError(f"retries={retries!r}, timeout_s={timeout_s!r}, backoff_s={backoff_s!r}: one is out of range")
        if requests_per_minute is not None and not requests_per_minute > 0:
            raise ValueError(f"requests_per_minute={requests_per_minute!r} must be above 0; None is no limit")
        self.url = url.rstrip("/")
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._retries = retries
        self._backoff_s = backoff_s
        self._spacing_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next_start = 0.0
        self._lock = threading.Lock()
        self._jitter = random.Random()
        self._closed = threading.Event()
        self._opener = urllib.request.build_opener(_NoRedirects)

    def post(self, path: str, body: dict[str, Any]) -> Answer:
        """Sends an object.

        Raises:
            EndpointError: if it failed for good.
        """
        return self._call(path, json.dumps(body).encode())

    def tell(self, path: str, body: dict[str, Any]) -> None:
        """Sends an object to where success is all that is answered.

        Raises:
            EndpointError: if it failed for good.
        """
        self._call(path, json.dumps(body).encode(), reads=False)

    def knock(self, path: str) -> None:
        """One request without a second try.

        Raises:
            EndpointError: if it failed.
        """
        try:
            self._once(path, None, reads=False)
        except _TryAgainError as failure:
            raise EndpointError(str(failure)) from failure.__cause__

    def get(self, path: str) -> Answer:
        return self._call(path, None)

    def close(self) -> None:
        """Ends waits between tries; what is tried then fails."""
        self._closed.set()

    def _call(self, path: str, data: bytes | None, *, reads: bool = True) -> Answer:
        began = time.monotonic()
        for tried in range(self._retries + 1):
            self._wait(self._until_my_turn())
            try:
                return Answer(self._once(path, data, reads=reads), tried, time.monotonic() - began)
            except _TryAgainError as failure:
                if tried == self._retries:
                    raise EndpointError(f"{failure} (tried {tried + 1} times)") from failure.__cause__
                doubled = self._backoff_s * 2**tried * (0.5 + self._jitter.random())
                self._wait(min(LONGEST_WAIT_S, doubled if failure.wait_s is None else failure.wait_s))
        raise AssertionError("the last try returns or raises")

    def _until_my_turn(self) -> float:
        """Seconds to wait so that requests start no closer than the rate limit allows."""
        if not self._spacing_s:
            return 0.0
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + self._spacing_s
        return start - now

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds) if seconds > 0 else self._closed.is_set():
            raise EndpointError("the client was closed")

    def _once(self, path: str, data: bytes | None, *, reads: bool) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "lmgames"}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                raw = response.read(MOST_BYTES + 1)
                if response.length and len(raw) <= MOST_BYTES:  # `read` with a limit does not say that bytes are missing
                    raise ConnectionError(f"the answer was cut off after {len(raw)} bytes")
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
            raise self._transport_failure(error) from error
        return self._parsed(raw) if reads else {}

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        """What a status that is no success means."""
        try:
            words = self._words(error.read(MOST_BYTES))
        except (OSError, HTTPException):
            words = ""
        said = f"the server at {self.url} answered {error.code}" + (f": {words}" if words else "")
        if error.code == 429 or error.code >= 500:
            return _TryAgainError(f"{said}; wait, or ask for less at once", _seconds(error.headers.get("Retry-After")))
        return EndpointError(f"{said}. {_what_to_do(error.code, words)}", error.code)

    def _words(self, raw: bytes) -> str:
        """A server's own message, on one line and without the key that it may quote."""
        text = raw.decode("utf-8", "replace")
        try:
            found = json.loads(text)
            found = found.get("error", found) if isinstance(found, dict) else found
            text = str(found.get("message", found)) if isinstance(found, dict) else str(found)
        except ValueError:
            pass
        if self._api_key:
            text = text.replace(self._api_key, "***")
        text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        return text.removesuffix(".") if len(text) <= QUOTED else text[:QUOTED] + " ..."

    def _transport_failure(self, error: Exception) -> Exception:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return EndpointError(f"no secure connection to {self.url}: {reason}. Check the address and its certificate")
        why = str(reason) or type(reason).__name__
        if isinstance(reason, TimeoutError):
            why = f"no answer within {self._timeout_s:g} s"
        return _TryAgainError(
            f"the server at {self.url} cannot be reached: {why}. Start it, or check the address and the port"
        )

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        advice = f"is {self.url} the address of an OpenAI-compatible API? It usually ends with /v1"
        if len(raw) > MOST_BYTES:
            raise EndpointError(f"the server's answer is longer than {MOST_BYTES >> 20} MiB; {advice}")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise EndpointError(
                f"the server's answer is no UTF-8 text (at byte {error.start}: {raw[:40]!r}); {advice}"
            ) from error
        try:
            body = json.loads(text)
        except ValueError as error:
            raise EndpointError(f"the server's answer is no JSON ({self._words(raw)[:80]!r}); {advice}") from error
        if not isinstance(body, dict):
            raise EndpointError(f"the server's answer is no JSON object ({self._words(raw)[:80]!r}); {advice}")
        return body


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET, and the key elsewhere."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:  # a date
        return None


def _what_to_do(status: int, words: str) -> str:
    lowered = words.lower()
    if status in (401, 403):
        return "Set the environment variable OPENAI_API_KEY, or name another one with api_key_env"
    if "max_completion_tokens" in lowered:
        return "Give the option max_tokens_name=max_completion_tokens"
    too_long = ("context", "too long", "too large", "maximum", "max_tokens", "max_model_len")
    if status in (400, 413, 422) and any(word in lowered for word in too_long):
        return "If the prompt is too long: lower max_tokens, play a shorter game, or start the server with a longer context"
    if status == 404:
        return "Check the model's name and the address, which usually ends with /v1"
    if 300 <= status < 400:
        return "It redirects; give the address that it redirects to"
    return "It does not accept the request as it is"


class Calls(Generic[Job]):
    """Threads that do jobs, each as soon as one is free.

    Args:
        do: gives the result of a job.
        threads: jobs done at once.
    """

    def __init__(self, do: Callable[[Job], Any], threads: int):
        if threads < 1:
            raise ValueError(f"concurrency={threads!r} must be at least 1")
        self._do = do
        self._most = threads
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[tuple[int, Job] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, Job, Any]] = SimpleQueue()
        self._era = 0  # jobs of earlier ones were given up
        self.waiting = 0

    def submit(self, job: Job) -> None:
        self.waiting += 1
        self._jobs.put((self._era, job))
        if len(self._threads) < min(self._most, self.waiting):
            thread = threading.Thread(target=self._work, daemon=True)  # an unanswered request does not keep the process
            self._threads.append(thread)
            thread.start()

    def results(self) -> list[tuple[Job, Any]]:
        """(job, its result, or the exception that it raised) of at least one; [] only if none waits."""
        found: list[tuple[Job, Any]] = []
        while self.waiting and (not found or not self._results.empty()):
            era, job, result = self._results.get()
            if era == self._era:
                self.waiting -= 1
                found.append((job, result))
        return found

    def close(self) -> None:
        """Gives up what waits."""
        self._era += 1
        self.waiting = 0
        for _ in self._threads:
            self._jobs.put(None)
        self._threads = []

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            era, job = item
            if era != self._era:
                continue
            try:
                result = self._do(job)
            except Exception as error:
                result = error
            self._results.put((era, job, result))
