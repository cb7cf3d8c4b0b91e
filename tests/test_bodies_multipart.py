"""`model` in multipart forms."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.multipart import MAX_HEAD, MAX_PARTS, MultipartReader
from llama_swap.errors import BadRequest

TYPE = b"multipart/form-data; boundary=B"
FILE = (
    b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n-B\r\n- -B --B \r\r\n"
)
MODEL = b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
END = b"--B--\r\n"
WHOLE = FILE + MODEL + END


def part(head: bytes, content: bytes = b"whisper") -> bytes:
    """Return a form with one part."""
    return b"--B\r\n" + head + b"\r\n\r\n" + content + b"\r\n" + END


def disposition(parameters: bytes) -> bytes:
    """Return a form with one part that has these parameters."""
    return part(b"Content-Disposition: form-data" + parameters)


FOUND: tuple[bytes, ...] = (
    WHOLE,
    MODEL + FILE + END,
    MODEL + FILE + b"--B--",
    b"\r\n" + WHOLE,
    FILE + MODEL + FILE + END,
    disposition(b"; name=model"),
    disposition(b'  ;\tNAME="model" '),
    part(b"Content-Disposition:form-data;name=model"),
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Type: TEXT/plain ;\tcharset="US-ASCII" '),
    part(b'content-disposition: Form-Data; name="model"\r\nX-Other: \xc3\xbc'),
    part(b'Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name="model"'),
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: 8bit'),
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: 7bit'),
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: Binary '),
    FILE.replace(b'"a.wav"', b"\"C:\\a.wav\"; filename*=utf-8''a") + MODEL + END,
)
REFUSED: dict[bytes, str] = {
    b"": "ends too early",
    b"--B": "ends too early",
    b"--B--": "missing 'model'",
    FILE + END: "missing 'model'",
    MODEL + MODEL + END: "more than one 'model'",
    MODEL + FILE: "ends too early",
    MODEL + b"--B-": "ends too early",
    MODEL + b"--B--\r": "ends too early",
    WHOLE + b"x": "follows its end",
    WHOLE + WHOLE: "follows its end",
    b"preamble\r\n" + WHOLE: "does not begin with",
    b"\n" + WHOLE: "does not begin with",
    b"--C\r\n" + WHOLE: "does not begin with",
    b'{"model": "a"}': "does not begin with",
    b"--B \r\n" + WHOLE[5:]: "follows the boundary",
    b"--B\n" + WHOLE[5:]: "follows the boundary",
    b"--Bx\r\n" + WHOLE[5:]: "follows the boundary",
    # lines that some take for the end of a part
    FILE.replace(b"RIFF", b"RIFF\n--B") + MODEL + END: "does not follow a CRLF",
    FILE.replace(b"RIFF", b"RIFF\r--B") + MODEL + END: "does not follow a CRLF",
    FILE.replace(b"RIFF", b"--B") + MODEL + END: "does not follow a CRLF",
    FILE.replace(b"RIFF", b"\n--B") + MODEL + END: "does not follow a CRLF",
    FILE.replace(b"RIFF", b"RIFF\r\n--Bx") + MODEL + END: "follows the boundary",
    # heads
    part(b"\r\nx"): "malformed",
    part(b"Content-Type: text/plain"): "no Content-Disposition",
    part(b'Content-Disposition: attachment; name="model"'): "no Content-Disposition",
    disposition(b""): "no Content-Disposition",
    disposition(b'; name=""'): "no Content-Disposition",
    disposition(b'; filename="model"'): "no Content-Disposition",
    part(b'Content-Disposition : form-data; name="model"'): "malformed",
    part(b'Content-Disposition: form-data;\r\n name="model"'): "malformed",
    part(b'Content-Disposition: form-data; name="model"\nX: y'): "malformed",
    part(b'X: y\rX-Y: z\r\nContent-Disposition: form-data; name="model"'): "malformed",
    part(b'X: \x01\r\nContent-Disposition: form-data; name="model"'): "malformed",
    part(b'Content-Disposition: form-data; name="model"\r\n--B: x'): "boundary stands in the head",
    part(b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"'): "more than one",
    # parameters
    disposition(b'; name="x"; name="model"'): "more than once",
    disposition(b'; name="model"; Name="x"'): "more than once",
    disposition(b'; name="model";'): "malformed",
    disposition(b'; name = "model"'): "malformed",
    disposition(b'; name="model'): "malformed",
    disposition(b'; name="model" x'): "malformed",
    disposition(b'; x; name="model"'): "malformed",
    disposition(b', name="model"'): "no Content-Disposition",
    # names that may be meant, or read, as `model`
    disposition(b"; name*=utf-8''model"): "no Content-Disposition",
    disposition(b"; name=\"x\"; name*=utf-8''model"): "not all servers",
    disposition(b'; name="x"; name*0="model"'): "not all servers",
    disposition(b'; name="mo\\del"'): "some servers",
    disposition(b'; name="%6dodel"'): "some servers",
    disposition(b'; name=" model "'): "some servers",
    disposition(b"; name='model'"): "some servers",
    disposition(b'; name="\\"model\\""'): "some servers",
    disposition(b'; name="=?utf-8?q?model?="'): "some servers",
    # what is not a plain field
    disposition(b'; name="model"; filename="x"'): "not a file",
    disposition(b"; name=model; filename*=utf-8''x"): "not a file",
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64'): "plain text",
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=utf-16'): "plain text",
    part(b'Content-Disposition: form-data; name="model"\r\nContent-Type: application/json'): "plain text",
    part(b'Content-Disposition: form-data; name="model"', b""): "name of a model",
    part(b'Content-Disposition: form-data; name="model"', b"\xff"): "name of a model",
}
NO_BOUNDARY: tuple[bytes, ...] = (
    b"multipart/form-data",
    b"multipart/form-data; charset=utf-8",
    b"multipart/form-data; boundary=",
    b'multipart/form-data; boundary=""',
    b"multipart/form-data; boundary=B; boundary=C",
    b"multipart/form-data; boundary=B; Boundary=B",
    b'multipart/form-data; boundary="B\\""',
    b"multipart/form-data; boundary=" + b"B" * 71,
    b'multipart/form-data; boundary="B "',
    b'multipart/form-data; boundary="B@"',
    b'multipart/form-data; boundary="@B"',
    b"multipart/form-data, boundary=B",
    b"multipart/form-data boundary=B",
    b"multipart/mixed; boundary=B",
    b"multipart/form-dataX; boundary=B",
)


class MultipartTests(SynchronousTestCase):
    """Forms, in packets of any size."""

    def read(self, form: bytes, size: int, content_type: bytes = TYPE) -> tuple[int, int, str]:
        """Return where the model stands, and what it is."""
        reader = MultipartReader(content_type)
        for start in range(0, len(form), size):
            reader.feed(form[start : start + size])
        start, end = reader.end()
        return start, end, reader.decode(form[start:end])

    def test_found(self) -> None:
        """The one field of that name is found, wherever it stands."""
        for form in FOUND:
            at = form.index(b"whisper")
            for size in (1, 2, 3, 5, 1000):
                self.assertEqual(self.read(form, size), (at, at + 7, "whisper"), form)

    def test_refused(self) -> None:
        """What is incomplete, or can be read in two ways, is refused."""
        for form, reason in REFUSED.items():
            for size in (1, 2, 3, 5, 1000):
                self.assertIn(reason, str(self.assertRaises(BadRequest, self.read, form, size)), form)

    def test_boundaries(self) -> None:
        """The boundary may be quoted, long, and of odd characters; there must be one."""
        odd = (b'"B %c%c"' % (char, char) for char in b"09azAZ'()+_,-./:=?")
        for value in (b"B", b'"B"', b"----WebKitFormBoundary7MA4YWxkTrZu0gW", *odd, b"'" * 70):
            form = WHOLE.replace(b"--B", b"--" + value.strip(b'"'))
            for content_type in (
                b"multipart/form-data; boundary=" + value,
                b"Multipart/Form-Data;BOUNDARY=" + value,
                b"multipart/form-data ; charset=utf-8; boundary=" + value,
            ):
                self.assertEqual(self.read(form, 7, content_type)[2], "whisper")
        for content_type in NO_BOUNDARY:
            self.assertRaises(BadRequest, MultipartReader, content_type)

    def test_boundary_of_dashes(self) -> None:
        """A boundary that lies within another line, or in itself, ends nothing, wherever the form is cut."""
        form = FILE.replace(b"RIFF", b"RIFF" + b"-" * 20) + MODEL + END
        for boundary in (b"-", b"--", b"-----"):
            whole = form.replace(b"--B", b"--" + boundary)
            for size in range(1, 40):
                self.assertEqual(self.read(whole, size, b"multipart/form-data; boundary=" + boundary)[2], "whisper")

    def test_limits(self) -> None:
        """Heads and the number of parts have limits; contents have none."""
        many = FILE.replace(b"RIFF", b"R" * 10) * (MAX_PARTS - 1)
        self.assertEqual(self.read(many + MODEL + END, 65536)[2], "whisper")
        self.assertIn("parts", str(self.assertRaises(BadRequest, self.read, many + FILE + MODEL + END, 65536)))
        long = b"--B\r\nX: " + b"x" * MAX_HEAD
        self.assertIn("head", str(self.assertRaises(BadRequest, self.read, long, 1000)))
        self.assertIn("head", str(self.assertRaises(BadRequest, self.read, long + b"\r\n\r\n\r\n" + END, 1 << 20)))
        name = "n" * 1_000_000
        large = FILE.replace(b"RIFF", b"\r\n-" * 1_000_000) + MODEL.replace(b"whisper", name.encode()) + FILE + END
        self.assertEqual(self.read(large, 65536)[2], name)

    @settings(deadline=None)
    @given(
        st.lists(st.binary(max_size=40) | st.text("\r\n-B").map(str.encode), max_size=4),
        st.text(min_size=1),
        st.integers(0, 4),
        st.integers(1, 60),
    )
    def test_any_form(self, contents: list[bytes], model: str, place: int, size: int) -> None:
        """Among any files, the model is found, or the form is refused because a boundary stands in a file."""
        files = [FILE.replace(b"RIFF", content) for content in contents]
        value = MODEL.replace(b"whisper", model.encode())
        form = b"".join([*files[:place], value, *files[place:], END])
        if any(re.search(rb"(?:^|[\r\n])--B", content) for content in (model.encode(), *contents)):
            return
        at = sum(map(len, files[:place])) + value.index(b"\r\n\r\n") + 4
        self.assertEqual(self.read(form, size), (at, at + len(model.encode()), model))

    @given(st.integers(0, len(WHOLE)), st.integers(0, 5), st.sampled_from([b"", b"\n", b"--B", b"\r\n", b'"', b"\0"]))
    def test_damaged(self, at: int, length: int, instead: bytes) -> None:
        """A damaged form is read or refused, alike for every size of packets, and nothing else happens."""

        def outcome(size: int) -> object:
            try:
                return self.read(form, size)
            except BadRequest:
                return None

        form = WHOLE[:at] + instead + WHOLE[at + length :]
        self.assertEqual(len({outcome(size) for size in (1, 2, 7, 1000)}), 1)
