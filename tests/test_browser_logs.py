"""The log page in a real browser: what is seen, what is kept out, and that much of it stays bearable."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.trial.unittest import TestCase

from llama_swap.config.model import Config
from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.web.events import EventRoutes
from llama_swap.web.streams import LogRoutes
from llama_swap.web.ui import UiRoutes
from tests.fakes_web import FakeRouter, unrecorded
from tests.support_logs import LogSite
from tests.webdriver import Browser

PAYLOADS = (
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<body onload=window.hit=1>",
    "<a href='javascript:window.hit=1' autofocus onfocus=window.hit=1>x</a>",
    "<details open ontoggle=window.hit=1>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//127.0.0.1/x.css>",
    "<object data=javascript:window.hit=1></object>",
    "</span></div></main><b>out</b>",
    '"><input autofocus onfocus=window.hit=1>',
    "&lt;b&gt;&#60;script&#62;window.hit=1&#60;/script&#62;",
    "\x1b[31m<u>red</u>\x1b[38;2;1;2;3;url(javascript:window.hit=1)m<i>x</i>\x1b]8;;javascript:window.hit=1\x07link",
    "${window.hit=1}{{constructor.constructor('window.hit=1')()}}<template><b></b></template>",
)

SHOWN = "[...document.querySelectorAll('.row .text')].map(text => text.textContent)"
COLOURS = """
    const probe = document.body.appendChild(document.createElement('i'));
    const colour = name => {
        probe.style.color = `var(--${name})`;
        return getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    };
    return arguments[0].map(pair => pair.map(colour));
"""
LAST = f"{SHOWN}.pop()"
GAP_TO_BOTTOM = "(log => log.scrollHeight - log.clientHeight - log.scrollTop)(document.querySelector('#log'))"


def in_thread(scenario: Callable[[Any], None]) -> Callable[[Any], Deferred[None]]:
    """Make a test of a scenario that blocks, while the reactor serves the page."""

    @wraps(scenario)
    def test(self: Any) -> Deferred[None]:
        return deferToThread(scenario, self)

    return test


class LogPage(TestCase):
    """A browser that has the page open, and a broadcaster behind it."""

    timeout = 120

    async def setUp(self) -> None:
        """Start a site and a browser."""
        self.broadcaster = Broadcaster()
        self.routes = LogRoutes(self.broadcaster, reactor, lambda name: None)
        router = FakeRouter(Config(models={}))
        self.events = EventRoutes(router, unrecorded(), self.broadcaster, reactor)
        self.site = LogSite(reactor, self.routes, UiRoutes(router).add_to, self.events.add_to)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.close()))
        self.addCleanup(self.events.close)
        self.addCleanup(self.routes.close)
        self.browser = await deferToThread(Browser)
        self.addCleanup(deferToThread, self.browser.quit)

    def write(self, model: str, text: str) -> None:
        """Let a model print."""
        blockingCallFromThread(reactor, self.broadcaster.writer(model).write, text.encode())

    def write_proxy(self, line: str) -> None:
        """Let the proxy say something."""
        blockingCallFromThread(reactor, self.broadcaster.publish_proxy, line.encode())

    def open(self) -> None:
        """Open the page, and wait for its stream."""
        self.browser.open(self.site.url)
        self.browser.wait_for("document.querySelector('#status')?.dataset.state === 'live'")

    def await_last(self, text: str) -> None:
        """Wait for the line that is shown last to be this one."""
        self.browser.wait_for(f"{LAST} === arguments[0]", text)

    def shown(self) -> list[str]:
        """Return the lines that exist as elements, in their order."""
        lines: list[str] = self.browser.run(f"return {SHOWN}")
        return lines

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        text: str = self.browser.run("return document.querySelector(arguments[0]).textContent", selector)
        return text


class ReadingTests(LogPage):
    """What is seen."""

    @in_thread
    def test_live(self) -> None:
        """History is there, new lines come by themselves, and the page's policy is never violated."""
        self.write("a", "from before\n")
        self.open()
        self.await_last("from before")
        self.write("a", "und jetzt – 三\n")
        self.await_last("und jetzt – 三")
        self.assertEqual(self.shown(), ["from before", "und jetzt – 三"])
        self.browser.wait_for("document.querySelector('#count').textContent === '2 lines'")
        self.assertEqual(self.text("#status-text"), "Live")
        self.assertEqual([line for line in self.browser.complaints() if "favicon" not in line], [])

    @in_thread
    def test_sources(self) -> None:
        """Each model can be read alone, also after it appeared; coming back shows no line twice."""
        self.write("a", "from a\n")
        self.open()
        self.await_last("from a")
        self.write("org/b:1 x", "from b\n")
        self.await_last("from b")
        labels = self.browser.run("return [...document.querySelectorAll('.source')].map(e => e.textContent)")
        self.assertEqual(labels, ["a", "org/b:1 x"])
        self.browser.click(".sources button[data-source='org/b:1 x']")
        self.browser.wait_for(f"{SHOWN}.join() === 'from b'")
        self.write("a", "more from a\n")
        self.write("org/b:1 x", "more from b\n")
        self.await_last("more from b")
        self.assertEqual(self.shown(), ["from b", "more from b"])
        self.assertTrue(self.browser.run("return location.hash").endswith("#org%2Fb%3A1%20x"))
        self.browser.click(".sources button[data-source='']")
        self.browser.wait_for(f"{SHOWN}.join() === 'from a,from b,more from a,more from b'")

    @in_thread
    def test_comes_back(self) -> None:
        """After a cut the page connects by itself, and shows what it missed, once."""
        self.write("a", "one\n")
        self.open()
        self.await_last("one")

        def cut() -> None:
            self.site.cut()
            self.broadcaster.writer("a").write(b"two\n")

        blockingCallFromThread(reactor, cut)
        self.await_last("two")
        self.write("a", "three\n")
        self.await_last("three")
        self.assertEqual(self.shown(), ["one", "two", "three"])

    @in_thread
    def test_colours(self) -> None:
        """Colours of a terminal are shown, whatever else it would obey is taken out."""
        self.write("a", "\x1b[1;32mOK\x1b[0m \x1b[38;2;255;0;0mred\x1b[m\x1b[2K\x1b]0;title\x07\a plain\x1b[\n")
        self.open()
        self.await_last("OK red plain")
        pieces = self.browser.run(
            "return [...document.querySelectorAll('.text span')].map(e => [e.className, e.style.color, e.textContent])"
        )
        expected = [["bold fg2", "", "OK"], ["", "", " "], ["", "rgb(255, 0, 0)", "red"], ["", "", " plain"]]
        self.assertEqual(pieces, expected)

    @in_thread
    def test_payloads(self) -> None:
        """Markup that a model prints, or is named by, or that is searched for, is text and nothing else."""
        self.open()
        before = self.browser.run("return document.querySelectorAll('script, link, style, body *').length")
        for payload in PAYLOADS:
            self.write("a", payload + "\n")
        self.write(PAYLOADS[1], "a strange name\n")
        self.await_last("a strange name")
        self.browser.type("#search", PAYLOADS[1])
        self.browser.wait_for("document.querySelectorAll('mark').length === 1")
        inside = self.browser.run("return [...document.querySelectorAll('#log *')].map(e => e.tagName)")
        self.assertEqual(set(inside), {"DIV", "SPAN", "MARK"})
        after = self.browser.run("return document.querySelectorAll('script, link, style, body *').length")
        source_items = 2 * 4
        self.assertEqual(after - before, len(inside) - 3 + source_items)
        self.assertEqual(self.shown()[:13], list(PAYLOADS[:13]))
        self.assertIsNone(self.browser.run("return window.hit ?? null"))
        self.assertEqual([line for line in self.browser.complaints() if "favicon" not in line], [])


class ControlTests(LogPage):
    """What can be done."""

    def fill(self) -> None:
        """Show more lines than fit."""
        self.write("a", "".join(f"line {number}\n" for number in range(300)))
        self.open()
        self.await_last("line 299")

    @in_thread
    def test_search(self) -> None:
        """The search marks what it finds, in text or by regex, and can hide the rest; new lines too."""
        self.write("a", "prompt eval time\nsomething else\nEVAL TIME (ms)\n")
        self.open()
        self.await_last("EVAL TIME (ms)")
        self.browser.type("#search", "eval time")
        self.browser.wait_for("document.querySelector('#matches').textContent === '2 matching lines'")
        marks = "return [...document.querySelectorAll('mark')].map(mark => mark.textContent)"
        self.assertEqual(self.browser.run(marks), ["eval time", "EVAL TIME"])
        self.assertEqual(len(self.shown()), 3)
        self.browser.click("#only")
        self.browser.wait_for(f"{SHOWN}.length === 2")
        self.write("a", "no match\nanother eval time\n")
        self.await_last("another eval time")
        self.assertEqual(self.shown(), ["prompt eval time", "EVAL TIME (ms)", "another eval time"])
        self.browser.type("#search", "\ue00c")  # Escape
        self.browser.wait_for(f"{SHOWN}.length === 5")
        self.browser.type("#search", "/^.{5}$|\\(ms\\)/")
        self.browser.wait_for(f"{SHOWN}.join() === 'EVAL TIME (ms)'")
        self.browser.type("#search", "\ue00c")
        self.browser.type("#search", "/v1/chat")
        self.browser.wait_for("document.querySelector('#matches').textContent === '0 matching lines'")
        self.browser.type("#search", "\ue00c")
        self.browser.type("#search", "/(/")
        self.browser.wait_for("document.querySelector('#matches').textContent === 'not a valid regex'")
        self.assertEqual(len(self.shown()), 5)

    @in_thread
    def test_jump(self) -> None:
        """Enter goes from match to match, and stops following."""
        self.fill()
        self.browser.type("#search", "line 42\ue007")
        self.browser.wait_for("document.querySelector('.row.current .text')?.textContent === 'line 42'")
        place = "document.querySelector('.current').getBoundingClientRect()"
        self.browser.wait_for(f"(({{top, bottom}}) => top > 0 && bottom < innerHeight)({place})")
        self.assertEqual(self.browser.run("return document.querySelector('#follow').ariaPressed"), "false")

    @in_thread
    def test_jump_between_frames(self) -> None:
        """A jump counts also if the page is not drawn until long after, as where the machine is busy."""
        self.browser.delay_frames(300)
        self.fill()
        self.browser.type("#search", "line 42\ue007")
        self.browser.wait_for("document.querySelector('.row.current .text')?.textContent === 'line 42'")

    @in_thread
    def test_follow(self) -> None:
        """The newest line stays in view until one scrolls up; then nothing moves until one asks for it."""
        self.fill()
        self.assertLess(self.browser.run(f"return {GAP_TO_BOTTOM}"), 2)
        self.browser.run("document.querySelector('#log').scrollTop -= 1000")
        self.browser.wait_for("document.querySelector('#follow').ariaPressed === 'false'")
        first_seen = "document.elementFromPoint(800, 70).closest('.row')?.textContent"
        before = self.browser.wait_for(first_seen)
        self.write("a", "".join(f"later {number}\n" for number in range(500)))
        self.browser.wait_for("document.querySelector('#count').textContent === '800 lines'")
        self.assertEqual(self.browser.run(f"return {first_seen}"), before)
        self.browser.click("#latest")
        self.await_last("later 499")
        self.browser.wait_for(f"{GAP_TO_BOTTOM} < 2")
        self.write("a", "the newest\n")
        self.await_last("the newest")
        self.assertTrue(self.browser.run("return document.querySelector('#latest').hidden"))

    @in_thread
    def test_pause(self) -> None:
        """While paused new lines are held back and counted; they come on resuming."""
        self.fill()
        self.browser.type("#log", " ")
        self.write("a", "held 1\nheld 2\n")
        self.browser.wait_for("document.querySelector('#pause-label').textContent === 'Resume · 2 new'")
        self.assertEqual(self.shown()[-1], "line 299")
        self.browser.click("#pause")
        self.await_last("held 2")
        self.assertEqual(self.text("#pause-label"), "Pause")

    @in_thread
    def test_clear(self) -> None:
        """Clearing takes the lines off the page, also for good: they do not come again."""
        self.fill()
        self.browser.click("#clear")
        self.browser.wait_for("document.querySelectorAll('.row').length === 0")
        self.browser.wait_for("!document.querySelector('#empty').hidden")
        self.write("a", "new\n")
        self.await_last("new")
        self.assertEqual(self.shown(), ["new"])

    @in_thread
    def test_keyboard(self) -> None:
        """`/` leads into the search, where letters are letters; Escape leads out; `f` and `w` toggle."""
        self.fill()
        self.browser.type("#log", "/")
        self.assertEqual(self.browser.run("return document.activeElement.id"), "search")
        self.browser.type("#search", "f w")
        pressed = "return ['follow', 'wrap', 'pause'].map(id => document.getElementById(id).ariaPressed)"
        self.assertEqual(self.browser.run(pressed), ["true", "true", "false"])
        self.browser.type("#search", "\ue00c")
        self.assertEqual(self.browser.run("return document.activeElement.id"), "log")
        self.browser.type("#log", "fw")
        self.assertEqual(self.browser.run(pressed), ["false", "false", "false"])


class BurdenTests(LogPage):
    """Much of it."""

    @in_thread
    def test_100_000_lines(self) -> None:
        """After 100,000 lines the page has few elements, keeps the newest 20,000 lines, and answers at once."""
        self.open()
        for start in range(0, 100_000, 1_000):  # in blocks that the proxy need not cut short
            self.write("a", "".join(f"line {n} {'x' * 180}\n" for n in range(start, start + 1_000)))
            self.browser.wait_for(f"{LAST}?.startsWith(arguments[0])", f"line {start + 999} ")
        self.browser.wait_for("document.querySelector('#count').textContent === '20,000 lines'")
        self.assertLess(self.browser.run("return document.querySelectorAll('*').length"), 500)
        began = time.monotonic()
        self.browser.type("#search", "line 99")
        self.browser.wait_for("document.querySelector('#matches').textContent === '1,000 matching lines'")
        self.browser.run("document.querySelector('#log').scrollTop = 0")
        self.browser.wait_for(f"{SHOWN}[0].startsWith('line 80000 ')")
        self.assertLess(time.monotonic() - began, 6)

    @in_thread
    def test_a_burst(self) -> None:
        """A burst that the page cannot take at once is cut short by the proxy, and says so; the end arrives."""
        self.open()
        self.write("a", f"{'y' * 99}\n" * 300_000)
        self.write("a", "the end\n")
        self.await_last("the end")
        self.browser.type("#search", "reader was too slow")
        self.browser.click("#only")
        self.browser.wait_for(f"{SHOWN}[0]?.includes('bytes dropped')")

    @in_thread
    def test_a_long_pause(self) -> None:
        """What is held back during a pause is bounded, and the page tells what it did not keep."""
        self.open()
        self.browser.type("#log", " ")
        for number in range(1, 16):
            self.write("a", "z\n" * 2_000)
            self.write("b", "mark\n")
            label = f"Resume · {number * 2_001:,} new"
            self.browser.wait_for("document.querySelector('#pause-label').textContent === arguments[0]", label)
        self.browser.type("#log", " ")
        self.browser.wait_for("document.querySelector('#count').textContent === '20,000 lines'")


class LookTests(LogPage):
    """How it looks, in light and in dark."""

    @in_thread
    def test_contrast(self) -> None:
        """Every colour of text can be read on its ground, 4.5 to 1, and every box be seen, 3 to 1, as WCAG 2.2 asks."""
        self.open()
        names = ["text", "muted", "accent", "good", "warn", "bad", *(f"hue{n}" for n in range(8))]
        pairs = [(name, ground) for ground in ("bg", "panel") for name in names]
        pairs += [(f"ansi{n}", "bg") for n in range(16)]
        pairs += [("box", "bg"), ("box", "panel")]
        pairs += [("accent", "accent-soft"), ("warn", "warn-soft"), ("mark-text", "mark")]
        for scheme in ("light", "dark"):
            self.browser.prefer(scheme)
            for pair, colours in zip(pairs, self.browser.run(COLOURS, pairs), strict=True):
                self.assertGreaterEqual(contrast(*colours), 3 if "box" in pair else 4.5, (scheme, pair, colours))


def contrast(one: list[int], other: list[int]) -> float:
    """Return the contrast of two colours: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio ."""

    def luminance(colour: list[int]) -> float:
        parts = [part / 255 for part in colour]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
