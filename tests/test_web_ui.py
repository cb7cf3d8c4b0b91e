"""The web interface's routes: which paths are a page, what its files are, and that nothing else can be had."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config
from llama_swap.errors import NotFound
from llama_swap.web.front import Front
from llama_swap.web.pages import DEEPEST, assets, index, version
from llama_swap.web.ui import UiRoutes
from tests.fakes_web import FakeRouter, app_with, models, site_of
from tests.fakes_wire import Answer, Client

NASTY = "a/b:<c> \"d\"&'e'?%#ü</noscript>"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
IMPORTED = re.compile(r"""(?:from|import|import\()\s*"\./([\w.]+)\"""")


class Links(HTMLParser):
    """Collects where a page's links lead, and what they say."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        if self.get_starttag_text() and self.texts:
            self.texts[-1] += data.strip()


class UiTests(SynchronousTestCase):
    """Each route, as a browser asks."""

    def setUp(self) -> None:
        """Make the site."""
        self.router = FakeRouter(Config(models={**models("b", "a/x", NASTY), **models("hidden", unlisted=True)}))
        self.client = Client(site_of(Front(app_with(UiRoutes(self.router).add_to))))

    def ask(self, path: str, method: str = "GET", **fields: str) -> Answer:
        """Return what a browser gets."""
        self.client.ask(method, path, None, {name.replace("_", "-"): value for name, value in fields.items()})
        return self.client.answer(method)

    def test_led_there(self) -> None:
        """The root leads to the pages, the list of the models' own servers to that of the models; also below a path."""
        for path, place in (("/", "ui"), ("/upstream", "ui/models")):
            answer = self.ask(path)
            self.assertEqual((answer.status, answer["Location"]), (302, place), path)

    def test_pages(self) -> None:
        """One page is there for every path without an extension; a model's name may have dots."""
        for path in ("/ui", "/ui/", "/ui/models", "/ui/models/qwen2.5%2Fx.js", "/ui/models/a/b.c", "/ui/no/such/page"):
            answer = self.ask(path)
            self.assertEqual((answer.status, answer["Content-Type"]), (200, "text/html; charset=utf-8"), path)
            self.assertIn(b'<main id="page"', answer.body)
        self.assertEqual(self.ask("/ui/models", "HEAD").body, b"")
        for path in ("/ui/app.js", "/ui/favicon.png", "/ui/activity/x.html"):
            self.assertEqual(self.ask(path).status, 404, path)
        for path in ("/", "/ui", "/ui/models", "/upstream"):
            self.assertEqual(self.ask(path, "POST").status, 405, path)

    def test_policy(self) -> None:
        """A page may run nothing but its own files, and holds nothing that it may not."""
        answer = self.ask("/ui/models")
        policy = answer["Content-Security-Policy"] or ""
        self.assertTrue(policy.startswith("default-src 'self';"), policy)
        self.assertNotIn("unsafe", policy)
        self.assertEqual(answer["X-Content-Type-Options"], "nosniff")
        self.assertNotRegex(answer.body, rb"<style| style=|<script(?![^>]* src=)|\son\w+=|https?://")

    def test_relative(self) -> None:
        """However deep a page is, it finds its files, also below a path of another web server."""
        for path, root in (
            ("/ui", ""),
            ("/ui/", "../"),
            ("/ui/models/a%2Fb", "../../"),
            ("/ui/models/a/b", "../../../"),
        ):
            self.assertIn(f' src="{root}ui/assets/{version()}/app.js"'.encode(), self.ask(path).body)

    def test_without_scripts(self) -> None:
        """Whoever runs no scripts, or is led nowhere, finds each listed model's server, whatever its name holds."""
        page = self.ask("/ui/models").body.decode()
        self.assertEqual(page.count("</noscript>"), 1)
        found = Links(page)
        links = {link: text for link, text in zip(found.links, found.texts, strict=True) if "upstream/" in link}
        odd = "/upstream/a/b%3A%3Cc%3E%20%22d%22%26%27e%27%3F%25%23%C3%BC%3C/noscript%3E/"
        self.assertEqual(list(links), [odd, "/upstream/a/x/", "/upstream/b/"])
        self.assertTrue(links[odd].startswith(NASTY), links)
        self.assertEqual(Links(self.ask("/upstream").body.decode()).links, list(links))

    def test_files(self) -> None:
        """Each file is served with its type."""
        self.assertIn("app.js", assets())
        for name, asset in assets().items():
            answer = self.ask(f"/ui/assets/{version()}/{name}")
            kind = KINDS[name.rpartition(".")[2]] + "; charset=utf-8"
            self.assertEqual((answer.status, answer["Content-Type"]), (200, kind))
            self.assertEqual(answer.body, asset.content)

    def test_kept_and_compressed(self) -> None:
        """A browser keeps the files of the present version, and asks for others anew; it may have them compressed."""
        for wanted, kept in ((version(), "max-age=31536000, immutable"), ("other", "no-cache")):
            plain = self.ask(f"/ui/assets/{wanted}/app.js")
            packed = self.ask(f"/ui/assets/{wanted}/app.js", Accept_Encoding="gzip, br")
            for answer in (plain, packed):
                self.assertEqual((answer["Cache-Control"], answer["Vary"]), (kept, "Accept-Encoding"))
            self.assertNotEqual(plain["ETag"], packed["ETag"])
            self.assertEqual((packed["Content-Encoding"], gzip.decompress(packed.body)), ("gzip", plain.body))
        self.assertEqual(self.ask("/ui/models")["Cache-Control"], "no-cache")
        for accepted, coding in (
            ("gzip;q=0.5", "gzip"),
            ("br, GZIP", "gzip"),
            ("gzip; q=0, br", None),
            ("gzip;q=0.0", None),
        ):
            self.assertEqual(self.ask("/ui/models", Accept_Encoding=accepted)["Content-Encoding"], coding, accepted)

    def test_files_are_whole(self) -> None:
        """What a file names is there, and each file is named somewhere."""
        texts = {name: asset.content.decode() for name, asset in assets().items()}
        named = {name for text in texts.values() for name in IMPORTED.findall(text)}
        named |= set(re.findall(r"{files}([\w.]+)", texts["index.html"]))
        self.assertEqual(named, set(texts) - {"index.html"})
        for name, text in texts.items():
            self.assertLess(text.count("\n"), 300, name)
            self.assertNotRegex(text, r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", name)

    def test_known_already(self) -> None:
        """A browser that has the present version is not sent it again."""
        for path in (f"/ui/assets/{version()}/app.js", "/ui/models"):
            etag = self.ask(path)["ETag"] or ""
            answer = self.ask(path, If_None_Match=etag)
            self.assertEqual((answer.status, answer.body), (304, b""))

    def test_nothing_else(self) -> None:
        """No other file can be had, however the path is written."""
        for name in ("__init__.py", "../ui.py", "..%2fui.py", "%2e%2e/ui.py", "..%5cui.py", "none.js"):
            self.assertEqual(self.ask(f"/ui/assets/{version()}/{name}").status, 404, name)

    def test_too_deep(self) -> None:
        """A path with many slashes is no page's: the page would grow with it, and be kept, compressed."""
        deepest = self.ask("/ui/models/" + "a/" * (DEEPEST - 3))
        self.assertEqual(deepest.status, 200)
        self.assertLess(len(deepest.body), 40_000)
        for path in ("/ui/models/" + "a/" * (DEEPEST - 2), "/ui" + "/a" * 20_000):
            answer = self.ask(path, Accept="text/html", Accept_Encoding="gzip")
            self.assertEqual(answer.status, 404, path[:20])
            self.assertLess(len(answer.body), 300)
        self.assertRaises(NotFound, index, b"/" * 20_000 + b"logs")

    def test_icon(self) -> None:
        """A tab has something to show."""
        answer = self.ask("/favicon.ico")
        self.assertEqual((answer.status, answer["Content-Type"]), (200, "image/svg+xml"))
