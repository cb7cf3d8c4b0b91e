r"""Splits the text of `cmd` into an argument vector, without a shell.

The rules, in this order: a line that begins with `#` is a comment; a `\` at the end of a line, even before trailing
blanks, joins it with the next; the rest is split into words as in a POSIX shell.  Variables, globs, pipes and
redirections have no meaning here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llama_swap.config.macros import is_comment
from llama_swap.config.masking import masked
from llama_swap.config.shell import wishes
from llama_swap.config.tree import Findings, Scalar

_WORD = re.compile(r"[^ \t\r\n]+")  # str.split would also split at Unicode's blanks
_PIECE = re.compile(
    r"""(?P<blanks>[ \t\r\n]+)|(?P<plain>[^ \t\r\n\\'"]+)|\\(?P<escaped>.)"""
    r"""|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)\"""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"""\\([$`"\\])""")
"""The characters that a `\\` escapes within double quotes (POSIX Shell Command Language, 2.2.3)."""
_CONTINUED = re.compile(r"\\[ \t]*\n|(?<!\\)\\[ \t]*\Z")
_MISSPELT_PORT = re.compile(r"\$PORT\b|(?<!\$)\{PORT\}")
_TYPOGRAPHIC = {"\u2013": "dash", "\u2014": "dash", "\u2212": "minus sign", "\u201c": "quote", "\u2018": "quote"}
"""What web pages and word processors turn `-`, `--` and quotes into; programs do not understand it."""
_BLANK = re.compile(r"\s")
_NOT_PLAIN = re.compile("[\u00a0\u2007\u202f\u200b\ufeff]")
"""Blanks that do not separate words, and some that nobody sees."""
_WINDOWS = re.compile(r"(?:(?<=\s)|(?<==)|^)[A-Za-z]:\\\w\S*")
_BARE_HASH = re.compile(r"(?<!\S)#(?!\S)")
_PORT_OPTION = re.compile(r"(?:^|\s)--port[=\s]+([0-9]{1,5})(?!\S)")


def without_comments(text: str) -> str:
    """Return `text` without the lines that are comments."""
    if "#" not in text:
        return text
    return "\n".join(line for line in text.split("\n") if not is_comment(line))


def split(text: str) -> list[str]:
    """Return the words of `text`; raises ValueError for an unclosed quote."""
    text = _CONTINUED.sub(" ", without_comments(text))
    if not any(quote in text for quote in "\\'\""):
        return _WORD.findall(text)  # most commands, and much faster
    return _unquoted(text)


def _unquoted(text: str) -> list[str]:
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None:
            raise ValueError("unclosed quote")
        position = piece.end()
        if piece["blanks"]:
            words += [word] if word is not None else []
            word = None
        else:
            value = piece[piece.lastgroup or 0]
            word = (word or "") + (_ESCAPED.sub(r"\1", value) if piece.lastgroup == "double" else value)
    return words if word is None else [*words, word]


def read_command(written: Scalar, text: str, found: Findings) -> tuple[str, ...]:
    """Return the argument vector of `text`, which is `written` with its macros expanded, and not blank; () on error."""
    warn_misspelt_port(written, found)
    try:
        words = split(text)
    except ValueError:
        quote, offset = _unclosed_quote(written.text)
        if quote:
            message = f"the quote {quote} is never closed; close it, or write \\{quote} for the character itself"
            found.error(written, message, line=written.line_of(offset))
        else:
            found.error(written, "with its macros expanded, a quote is never closed")
        return ()
    if not words:
        found.error(written, "has nothing but a \\, which joins a line with the next; write the command")
        return ()
    if "\0" in text:
        found.error(written, "contains a NUL character, which no command can")
    elif not words[0]:
        found.error(written, "begins with an empty word where the program's name belongs")
    for doubt in (*_doubts(words, text), *wishes(words)):
        found.warn(written, doubt)
    return tuple(words)


def _doubts(words: Sequence[str], text: str) -> Iterator[str]:
    """Yield a warning for each thing in `text` that is most likely a mistake."""
    for place, word in enumerate(words):
        if word.startswith(" -"):
            shown = masked(words)[place]
            yield f"the argument {shown!r} begins with a blank: lines of a `>` block end without \\, those of `|` may"
            break
    for place, word in enumerate(words):
        if word[:1] in _TYPOGRAPHIC and not _BLANK.search(word):  # with a blank, it is prose within proper quotes
            shown = masked(words)[place]
            yield f"the argument {shown!r} begins with a {_TYPOGRAPHIC[word[0]]}; type plain - and quotes"
            break
    for place, word in enumerate(words):
        if _NOT_PLAIN.search(word) and " " not in word:
            yield f"the argument {masked(words)[place]!r} contains a blank that is no plain one; type a space"
            break
    if path := _WINDOWS.search(without_comments(text)):
        yield f"{path[0]} loses each \\, as in a shell; write / instead, or put it into single quotes"
    if "#" in words and _BARE_HASH.search(text):
        yield "# and what follows it are arguments; a comment needs a line of its own, in a block with `|`"


def warn_misspelt_port(written: Scalar, found: Findings) -> None:
    """Warn about `$PORT` and `{PORT}`, which are not expanded."""
    if misspelt := _MISSPELT_PORT.search(without_comments(written.text)):
        found.warn(written, f"{misspelt[0]} is passed on as it is; write ${{PORT}} for the model's port")


def port_option(words: Sequence[str]) -> int | None:
    """Return N of the last `--port N` or `--port=N`, also within an argument such as that of `bash -c`."""
    ports = _PORT_OPTION.findall(" ".join(words))
    return int(ports[-1]) if ports else None


def _unclosed_quote(text: str) -> tuple[str, int]:
    """Return the quote that is still open at the end of `text` ("": none), and its line, counted from 0."""
    quote, opened, escaped = "", 0, False
    for number, line in enumerate(text.split("\n")):
        for character in "" if is_comment(line) else f"{line}\n":
            if escaped:
                escaped = False
            elif character == "\\" and quote != "'":
                escaped = True
            elif character == quote:
                quote = ""
            elif not quote and character in "'\"":
                quote, opened = character, number
    return (quote, opened) if quote else ("", 0)
