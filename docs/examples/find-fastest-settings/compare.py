"""Ask models of a llama-swap the same thing, one after the other, and show side by side how fast each was.

    python compare.py [--url http://127.0.0.1:8080] [--runs 3] [--prompt FILE] [--max-tokens N] [MODEL ...]

Without names, every listed model is asked.  Speeds are medians of the runs.  A server that tells its own timings, as
llama.cpp's does, is believed; for any other the speeds are those seen from here.  Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

OWN_PROMPT = Path(__file__).with_name("prompt.txt")
PATIENCE = 1800
"""Seconds without a byte after which an answer counts as lost; large models load for minutes."""


class Unreachable(Exception):
    """Nobody answers at the URL."""


class Failed(Exception):
    """A model could not be asked, or gave no whole answer."""


class Run(NamedTuple):
    """What one answer showed."""

    first_token: float
    """Seconds from the request to the first piece of text."""
    prompt_rate: float | None
    """Tokens of the prompt read per second; None: the server tells too little."""
    rate: float | None
    """Tokens generated per second; None: there was one only."""
    drafted: int = 0
    accepted: int = 0


class Result(NamedTuple):
    """What became of one model."""

    model: str
    load: float | None = None
    """Seconds for swapping it in and a first token; None: it was running already."""
    runs: Sequence[Run] = ()
    failure: str = ""


class Column(NamedTuple):
    """One column of the table; `best` chooses the value that is marked."""

    title: str
    value: Callable[[Result], float | None]
    form: str
    best: Callable[..., float] | None = None

    def cells(self, results: Sequence[Result]) -> list[str]:
        """Return title and values as texts of one width; nothing at all if no value is known."""
        values = [self.value(result) for result in results]
        known = [value for value in values if value is not None]
        if not known:
            return []
        best = self.best(known) if self.best and len(results) > 1 else None
        texts = [f"{self.title} "]
        for value in values:
            text = "–" if value is None else self.form.format(value)
            texts.append(text + ("*" if value is not None and value == best else " "))
        width = max(map(len, texts))
        return [text.rjust(width) for text in texts]


def over_runs(choose: Callable[[Sequence[float]], float], part: str) -> Callable[[Result], float | None]:
    """Return what gives one number for a part of all runs, where they have it."""

    def value(result: Result) -> float | None:
        known = [number for run in result.runs if (number := getattr(run, part)) is not None]
        return choose(known) if known else None

    return value


def accepted_share(result: Result) -> float | None:
    """Return how many percent of the drafted tokens were right; None without a draft model."""
    drafted = sum(run.drafted for run in result.runs)
    return 100 * sum(run.accepted for run in result.runs) / drafted if drafted else None


COLUMNS = (
    Column("load s", lambda result: result.load, "{:.1f}", min),
    Column("first token s", over_runs(statistics.median, "first_token"), "{:.2f}", min),
    Column("prompt tok/s", over_runs(statistics.median, "prompt_rate"), "{:.1f}", max),
    Column("generation tok/s", over_runs(statistics.median, "rate"), "{:.1f}", max),
    Column("lowest", over_runs(min, "rate"), "{:.1f}"),
    Column("highest", over_runs(max, "rate"), "{:.1f}"),
    Column("drafts accepted", accepted_share, "{:.0f} %"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, print the table, and return 0 if every model answered, else 1."""
    args = arguments(argv)
    results: list[Result] = []
    trouble = ""
    try:
        messages = [{"role": "user", "content": args.prompt.read_text(encoding="utf-8")}]
        for model in args.models or listed_models(args.url):
            question = {"model": model, "messages": messages, "max_tokens": args.max_tokens}
            results.append(measure(args.url, question, args.runs))
    except (Unreachable, Failed, OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        trouble = f"compare.py: {error}"
    except KeyboardInterrupt:
        trouble = "\nstopped"
    if trouble:
        print(trouble, file=sys.stderr)
    if results:
        print(table(results))
    return 1 if trouble or any(result.failure for result in results) else 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Ask models the same thing and show how fast each was.")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="where llama-swap is (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="answers of each model (%(default)s)")
    parser.add_argument("--prompt", type=Path, default=OWN_PROMPT, metavar="FILE", help="what to ask (prompt.txt)")
    parser.add_argument("--max-tokens", type=int, default=256, metavar="N", help="of an answer (%(default)s)")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names or aliases; none: every listed model")
    args = parser.parse_args(argv)
    if min(args.runs, args.max_tokens) < 1:
        parser.error("--runs and --max-tokens must be at least 1")
    if urlsplit(args.url).scheme not in {"http", "https"}:
        parser.error(f"--url must be such as http://127.0.0.1:8080, not {args.url}")
    return args


def listed_models(url: str) -> list[str]:
    """Return the names in /v1/models."""
    with request(url, "GET", "/v1/models") as response:
        try:
            return [entry["id"] for entry in json.load(response)["data"]]
        except (ValueError, LookupError, TypeError):
            raise Failed(f"{url}/v1/models is no list of models; is that a llama-swap?") from None


def is_running(url: str, model: str) -> bool:
    """Tell whether `model` need not be loaded, as far as the server tells."""
    try:
        with request(url, "GET", "/running") as response:
            return any(entry["model"] == model for entry in json.load(response)["running"])
    except (Failed, ValueError, LookupError, TypeError):
        return False


def measure(url: str, question: dict[str, Any], runs: int) -> Result:
    """Swap to the question's model, then ask it `runs` times, showing the progress; a failure is a result as well."""
    model = question["model"]
    done: list[Run] = []
    progress(f"{model}: loading")
    try:
        load = time_of_load(url, model)
        for number in range(1, runs + 1):
            progress(f"{', ' if done else '; '}run {number} of {runs}")
            done.append(run(url, question))
    except (Failed, OSError, http.client.HTTPException, ValueError) as error:
        progress(": failed\n")
        return Result(model, failure=str(error) or type(error).__name__)
    progress(": done\n")
    return Result(model, load, done)


def time_of_load(url: str, model: str) -> float | None:
    """Swap to `model` and warm it up with one token; return the seconds it took, None if it was running already."""
    was_running = is_running(url, model)
    greeting = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    began = time.monotonic()
    with request(url, "POST", "/v1/chat/completions", greeting) as response:
        response.read()
    return None if was_running else time.monotonic() - began


def run(url: str, question: dict[str, Any]) -> Run:
    """Ask once and look at the answer while it comes."""
    settings = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,  # the same answer each time
        "cache_prompt": False,  # llama.cpp is to read the prompt anew each time
    }
    began = time.monotonic()
    with request(url, "POST", "/v1/chat/completions", {**question, **settings}) as response:
        return judged(began, events(response))


def events(lines: Iterable[bytes]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Return each event of a stream with the time of its arrival; Failed if it tells of an error or has no end."""
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return
        event = json.loads(data)
        if "error" in event:
            raise Failed(message_of(data))
        yield time.monotonic(), event
    raise Failed("the answer broke off; llama-swap's log may say why")


def judged(began: float, arriving: Iterable[tuple[float, dict[str, Any]]]) -> Run:
    """Return what a whole answer shows that was asked for at `began`."""
    arrivals: list[float] = []
    usage: dict[str, Any] = {}
    timings: dict[str, Any] = {}
    for arrived, event in arriving:
        if has_text(event):
            arrivals.append(arrived)
        usage = event.get("usage") or usage
        timings = event.get("timings") or timings
    if not arrivals:
        raise Failed("the answer is empty; try another --prompt")
    first_token = arrivals[0] - began
    if "predicted_per_second" in timings:
        drafts = timings.get("draft_n", 0), timings.get("draft_n_accepted", 0)
        return Run(first_token, timings.get("prompt_per_second"), timings["predicted_per_second"], *drafts)
    tokens = usage.get("completion_tokens") or len(arrivals)
    generating = arrivals[-1] - arrivals[0]
    prompt_tokens = usage.get("prompt_tokens")
    return Run(
        first_token,
        prompt_tokens / first_token if prompt_tokens else None,
        (tokens - 1) / generating if generating else None,
    )


def has_text(event: dict[str, Any]) -> bool:
    """Tell whether the event brings a piece of the answer, or of the thoughts before it."""
    deltas = [choice.get("delta") or {} for choice in event.get("choices") or ()]
    return any(delta.get(part) for delta in deltas for part in ("content", "reasoning_content", "reasoning"))


def request(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> http.client.HTTPResponse:
    """Send a request and return its answer if that is a 200; else Failed, with the proxy's own words."""
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.netloc, timeout=PATIENCE)
    try:
        connection.connect()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreachable(f"cannot reach {url}: {reason}; is llama-swap running there? --url says where") from None
    content = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
    connection.request(method, parts.path.rstrip("/") + path, content, headers)
    response = connection.getresponse()
    if response.status != 200:
        raise Failed(message_of(response.read()) or f"{response.status} {response.reason}")
    return response


def message_of(body: bytes) -> str:
    """Return the message out of an error in OpenAI's shape, or the text as it is."""
    text = body.decode(errors="replace").strip()
    try:
        error = json.loads(text)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, LookupError, TypeError):
        return text


def table(results: Sequence[Result]) -> str:
    """Return the results side by side; `*` marks the best of a column, and failures follow below."""
    measured = [result for result in results if result.runs]
    width = max([len("model"), *(len(result.model) for result in measured)])
    columns = [[name.ljust(width) for name in ("model", *(result.model for result in measured))]]
    columns += [cells for column in COLUMNS if (cells := column.cells(measured))]
    lines = [" ".join(row).rstrip() for row in zip(*columns, strict=True)] if measured else []
    for result in results:
        if result.failure:
            lines += f"{result.model} failed: {result.failure}".replace("\n", "\n    ").splitlines()
    return "\n".join(lines)


def progress(text: str) -> None:
    """Show what is going on, beside the table, not in it."""
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
