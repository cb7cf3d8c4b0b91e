"""Slices become whole lines of bounded length, wherever the slices are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.logs.lines import MAX_LINE, LineSplitter


def split(*slices: bytes) -> bytes:
    """Return all lines of a stream that arrived in these slices."""
    splitter = LineSplitter()
    return b"".join(splitter.feed(piece) for piece in slices) + splitter.end()


class LineTests(SynchronousTestCase):
    """Where lines begin and end."""

    def test_whole_lines_at_once(self) -> None:
        """A slice of whole lines comes back as one chunk, and nothing waits."""
        splitter = LineSplitter()
        self.assertEqual(splitter.feed(b"one\ntwo\n"), b"one\ntwo\n")
        self.assertEqual(splitter.end(), b"")

    def test_a_line_in_pieces(self) -> None:
        """A line is returned only when it is complete."""
        splitter = LineSplitter()
        self.assertEqual([splitter.feed(piece) for piece in (b"on", b"", b"e\ntw")], [b"", b"", b"one\n"])
        self.assertEqual(splitter.feed(b"o\n"), b"two\n")

    def test_the_rest_at_the_end(self) -> None:
        """An unfinished line becomes a line when the stream ends; the splitter is then as new."""
        splitter = LineSplitter()
        splitter.feed(b"unfinished")
        self.assertEqual((splitter.end(), splitter.end()), (b"unfinished\n", b""))

    def test_carriage_return_and_newline(self) -> None:
        """CR LF is one line end, in one slice or torn into two, and an empty line between two stays."""
        self.assertEqual(split(b"one\r\n\r\ntwo\r\n"), b"one\n\ntwo\n")
        self.assertEqual(split(b"one\r", b"\n", b"\n", b"two\r\n"), b"one\n\ntwo\n")

    def test_progress_bar(self) -> None:
        """Each state of a progress bar is a line at once, so that it is seen moving."""
        splitter = LineSplitter()
        self.assertEqual([splitter.feed(b"%d%%\r" % n) for n in (1, 2, 3)], [b"1%\n", b"2%\n", b"3%\n"])
        self.assertEqual(splitter.feed(b"\ndone\n"), b"done\n")


class LengthTests(SynchronousTestCase):
    """Lines that are too long."""

    def test_the_longest_line(self) -> None:
        """A line of 16 KiB with its newline is left whole."""
        line = b"x" * (MAX_LINE - 1) + b"\n"
        self.assertEqual(split(line), line)
        self.assertEqual(split(line[:9], line[9:]), line)

    def test_endless_line(self) -> None:
        """A line without end is passed on piece by piece, and what waits stays bounded."""
        splitter = LineSplitter()
        lines = b"".join(splitter.feed(b"x" * 1000) for _ in range(1000)).splitlines()
        self.assertEqual({len(line) for line in lines}, {MAX_LINE - 1})
        self.assertLess(1_000_000 - sum(map(len, lines)), MAX_LINE)

    def test_no_character_is_torn(self) -> None:
        """A cut falls between two UTF-8 characters."""
        for shift in range(4):
            text = "x" * shift + "🦙" * MAX_LINE + "\n"
            lines = split(text.encode()).decode().splitlines()
            self.assertEqual("".join(lines), text.rstrip())

    def test_not_text(self) -> None:
        """Bytes that are no UTF-8 are cut all the same, and none is lost."""
        lines = split(b"\x80" * 40_000 + b"\n").splitlines()
        self.assertEqual([len(line) for line in lines], [MAX_LINE - 1, MAX_LINE - 1, 40_000 - 2 * MAX_LINE + 2])

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\r", b"x" * (MAX_LINE - 1), b"x" * MAX_LINE]),
                st.text(max_size=50).map(lambda text: text.encode("utf-8", "replace")),
                st.integers(1, 2 * MAX_LINE).map(lambda count: "é".encode() * count),
                st.binary(max_size=20),
            ),
            max_size=12,
        ),
        st.lists(st.integers(0, 100_000), max_size=8),
    )
    def test_any_slices(self, parts: list[bytes], cuts: list[int]) -> None:
        """However a stream is sliced, the lines are the same; they are bounded, and no byte of text is lost."""
        stream = b"".join(parts)
        edges = sorted(min(cut, len(stream)) for cut in cuts)
        slices = [stream[a:b] for a, b in zip([0, *edges], [*edges, len(stream)], strict=True)]
        lines = split(*slices)
        self.assertEqual(lines, split(stream))
        self.assertTrue(lines == b"" or lines.endswith(b"\n"))
        self.assertTrue(all(len(line) < MAX_LINE for line in lines.split(b"\n")))
        without_ends = stream.replace(b"\r", b"").replace(b"\n", b"")
        self.assertEqual(lines.replace(b"\n", b""), without_ends)
