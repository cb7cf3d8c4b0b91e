"""Token counts and speeds, from the two ends of an answer."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.metrics.tokens import NOTHING_KNOWN, Tokens, read_tokens

TIMINGS = {
    "cache_n": 3,
    "prompt_n": 20,
    "prompt_ms": 25.0,
    "prompt_per_second": 800.5,
    "predicted_n": 7,
    "predicted_per_second": 41,
    "draft_n": 6,
    "draft_n_accepted": 5,
}
OPENAI = {
    "prompt_tokens": 23,
    "completion_tokens": 7,
    "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 3},
}


def answer(**members: object) -> bytes:
    """Return an answer in one piece."""
    return json.dumps({"id": "x", "choices": [{"message": {"content": "hi"}}], **members}).encode()


def events(*data: object) -> bytes:
    """Return a stream of events."""
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in data) + b"data: [DONE]\n\n"


def read(first: bytes, last: bytes, *, chunked: bool = False) -> Tokens:
    """Return what the ends of an answer say, be it two counts or all."""
    return Tokens(*read_tokens(first, last, chunked=chunked))


def whole(body: bytes, *, chunked: bool = False) -> Tokens:
    """Return what a short answer says, whose ends are the same."""
    return read(body, body, chunked=chunked)


class WholeAnswerTests(SynchronousTestCase):
    """Answers that are one JSON text."""

    def test_openai(self) -> None:
        """The counts of `usage`; vLLM writes null where it knows nothing."""
        self.assertEqual(whole(answer(usage=OPENAI)), Tokens(23, 7, cached=3))
        bare = {**OPENAI, "prompt_tokens_details": None}
        self.assertEqual(whole(answer(usage=bare, prompt_logprobs=None)), Tokens(23, 7))

    def test_responses(self) -> None:
        """OpenAI's newer names."""
        usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5}
        self.assertEqual(whole(answer(usage=usage)), Tokens(9, 5, cached=4))

    def test_anthropic(self) -> None:
        """Anthropic's names."""
        usage = {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 5}
        self.assertEqual(whole(answer(usage=usage)), Tokens(9, 5, cached=4))

    def test_llama_cpp(self) -> None:
        """`timings` know more, and win; they also come alone."""
        expected = Tokens(20, 7, 3, 6, 5, 800.5, 41)
        self.assertEqual(whole(answer(usage=OPENAI, timings=TIMINGS)), expected)
        self.assertEqual(whole(answer(timings=TIMINGS)), expected)

    def test_embeddings(self) -> None:
        """Where a huge list follows it, `usage` is found at the beginning."""
        body = b'{"object":"list","usage":{"prompt_tokens":8,"total_tokens":8},"data":[%b]}' % (b"0.25," * 4000)
        self.assertEqual(read(body[:4096], body[-4096:]), Tokens(input=8))

    def test_said_by_the_model(self) -> None:
        """Text that looks like it is not taken for it."""
        quoted = answer(content='{"usage": {"prompt_tokens": 1, "completion_tokens": 1}}')
        self.assertEqual(whole(quoted), NOTHING_KNOWN)
        self.assertEqual(whole(answer(usage=OPENAI, content='"timings": {"prompt_n": 1}')).input, 23)

    def test_nothing(self) -> None:
        """What says nothing is unknown, whatever it is."""
        for body in (b"", b"\x1f\x8b\x00", answer(), answer(usage=None), b'{"usage":{"prompt_to', b'"usage":{]'):
            self.assertEqual(whole(body, chunked=True), NOTHING_KNOWN, body)
        odd = {"prompt_tokens": "9", "completion_tokens": -4, "prompt_tokens_details": [1]}
        self.assertEqual(whole(answer(usage=odd)), Tokens())

    def test_no_counts(self) -> None:
        """Numbers that nothing could hold which counts are no counts."""
        for number in (10**20, 10**400, -1):
            self.assertEqual(whole(answer(usage={"prompt_tokens": number, "completion_tokens": 1})), Tokens(output=1))
        for speed in (float("inf"), float("nan"), 10**400):
            self.assertEqual(whole(answer(timings={"prompt_n": 1, "prompt_per_second": speed})), Tokens(input=1))


class PlainTests(SynchronousTestCase):
    """Answers that say the least, which are read in a shorter way."""

    @given(
        st.permutations(["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"]),
        st.integers(2, 4),
        st.sampled_from([0, 7, 123_456, 10**9, 10**20, -1, 1.5, None, "8", {}, True]),
        st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]),
        st.booleans(),
    )
    def test_same(
        self, names: list[str], count: int, value: object, separators: tuple[str, str], llama_cpp: bool
    ) -> None:
        """They are read as all others are."""
        usage = {name: None if name.endswith("details") else value for name in names[:count]}
        more = {"timings": TIMINGS} if llama_cpp else {}
        shorter, longer = (
            json.dumps({"id": 1, "usage": each, **more}, separators=separators).encode()
            for each in (usage, {"else": 1, **usage})
        )
        self.assertEqual(whole(shorter), whole(longer))


class StreamTests(SynchronousTestCase):
    """Answers that are streams of events."""

    def test_openai(self) -> None:
        """The last `usage` counts, not the nulls before it."""
        stream = events({"choices": [1], "usage": None}, {"choices": [2], "usage": None}, {"usage": OPENAI})
        self.assertEqual(whole(stream), Tokens(23, 7, cached=3))

    def test_counts_in_each_event(self) -> None:
        """Where each event has counts, the last ones count."""
        stream = events(*({"usage": {"prompt_tokens": 9, "completion_tokens": n}} for n in range(6)))
        self.assertEqual(whole(stream), Tokens(9, 5))

    def test_anthropic(self) -> None:
        """The prompt's size comes at the beginning, the answer's at the end."""
        start = {"message": {"usage": {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1}}}
        end = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 80}}
        self.assertEqual(whole(events(start, end)), Tokens(9, 80, cached=4))
        words = [{"delta": {"text": "word"}} for _ in range(900)]
        stream = events(start, *words, end)
        self.assertEqual(read(stream[:4096], stream[-4096:]), Tokens(9, 80, cached=4))

    @given(st.integers(1, 700))
    @settings(max_examples=200, deadline=None)
    def test_any_chunks(self, size: int) -> None:
        """The borders of chunks may be anywhere."""
        stream = events({"choices": []}, {"usage": OPENAI, "timings": TIMINGS})
        parts = [stream[at : at + size] for at in range(0, len(stream), size)]
        chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        self.assertEqual(whole(chunked, chunked=True), Tokens(20, 7, 3, 6, 5, 800.5, 41))
