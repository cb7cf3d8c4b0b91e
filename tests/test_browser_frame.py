"""The frame around the pages: going to and fro, a connection that breaks, and a web server in front."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from llama_swap.web.events import MAX_FEEDS
from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_browser import BUTTON, LIVE, UiCase, side_by_side
from tests.support_processes import free_port, wait_until
from tests.support_requirements import require_program

SCROLLED = "document.querySelector('#page').scrollTop"
FINISHED = "[...document.querySelectorAll('#finished-rows [data-key=model]')].map(cell => cell.textContent).join()"
NGINX = """
daemon off; pid {place}/pid; error_log stderr;
events {{ }}
http {{
  access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port}; location /llama/ {{ proxy_pass http://127.0.0.1:{behind}/; }} }}
}}
"""


def accepts(port: int) -> bool:
    """Return whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class WayTests(UiCase):
    """From page to page, and back."""

    def test_back_to_where_one_was(self) -> None:
        """A page begins at its top; whoever comes back finds the filter, and the place in the list, as they were."""
        models = {f"model-{number:02}": fake_model("m", port=9) for number in range(60)}
        with self.opened("models", side_by_side(**models)):
            self.browser.type("#filter", "model")
            self.browser.wait_for("document.querySelectorAll('#models tr').length === 60")
            self.browser.run(f"{SCROLLED} = 1500")
            self.browser.wait_for("history.state?.top === 1500")
            self.browser.run("document.querySelectorAll('#models a')[50].click()")
            self.browser.wait_for("document.querySelector('#title')?.textContent")
            self.assertEqual(self.browser.run(f"return {SCROLLED}"), 0)
            self.browser.run("history.back()")
            self.browser.wait_for("document.querySelectorAll('#models tr').length === 60")
            self.assertEqual(
                self.browser.run(f"return [{SCROLLED}, document.querySelector('#filter').value]"), [1500, "model"]
            )

    def test_keys_scroll(self) -> None:
        """A page that was just opened is scrolled by the keys for it, without a click into it."""
        models = {f"model-{number:02}": fake_model("m", port=9) for number in range(60)}
        with self.opened("models", side_by_side(**models)):
            self.browser.wait_for("document.querySelectorAll('#models tr').length === 60")
            self.browser.press("\ue00f")  # page down
            self.browser.wait_for(f"{SCROLLED} > 100")

    def test_same_page_again(self) -> None:
        """A link to the page that is open shows what its address says, whatever was chosen there."""
        with self.opened("activity", side_by_side(a=fake_model("a"), b=fake_model("b"))):
            self.browser.wait_for("document.querySelectorAll('#of-model option').length === 3")
            self.browser.click("#of-model option[value=b]")
            self.browser.click("#pages a[data-page=activity]")
            self.browser.wait_for("document.querySelector('#of-model').value === ''")
            self.assertEqual(self.browser.run("return location.search"), "")
            self.browser.run("history.back()")
            self.browser.wait_for("document.querySelector('#of-model').value === 'b'")
            self.open("logs#proxy")
            self.browser.click("#pages a[data-page=logs]")
            self.browser.wait_for("document.querySelector('.sources [aria-current]').textContent === 'Everything'")


class LetterTests(UiCase):
    """A browser that writes twice as large as others do."""

    flags = ("--blink-settings=defaultFontSize=32",)

    def test_large_letters(self) -> None:
        """Whoever has the browser write larger gets larger pages, of which nothing is out of sight."""
        with self.opened("models", side_by_side(a=fake_model("a"))) as proxy:
            proxy.served("a")
            self.assertEqual(self.browser.run("return getComputedStyle(document.body).fontSize"), "26px")
            for width in (1280, 390):
                self.browser.resize(width, 800)
                for page in ("models", "models?id=a", "activity", "logs", "playground", "performance", "settings"):
                    self.open(page)
                    self.browser.wait_for("document.querySelector('#page').scrollWidth <= innerWidth")
            self.browser.resize(1280, 800)
            self.open("logs")
            self.browser.wait_for("document.querySelectorAll('.row').length > 3")
            heights = "[...document.querySelectorAll('.row')].map(row => row.offsetHeight % 40)"
            self.assertEqual(set(self.browser.run(f"return {heights}")), {0})


class SizeTests(UiCase):
    """Windows of other sizes."""

    def test_everything_in_sight(self) -> None:
        """At no width is anything of the tables and the tools cut off."""
        with self.opened("activity", side_by_side(**{"x" * 100: fake_model("a")})) as proxy:
            proxy.served("x" * 100)
            for width in (1280, 1000, 800, 390):
                self.browser.resize(width, 700)
                for page in ("activity", "logs"):
                    self.open(page)
                    self.browser.wait_for("document.querySelector('#page :is(#finished-rows td, .row)')")
                    room = "(page => page.scrollWidth - page.clientWidth)(document.querySelector('#page'))"
                    self.assertEqual(self.browser.run(f"return {room}"), 0, (page, width))
                self.assertTrue(self.browser.run("return document.querySelector('#status-text').offsetWidth > 10"))


class ConnectionTests(UiCase):
    """A proxy that is gone, and comes back as another one."""

    def test_everywhere(self) -> None:
        """Without a proxy each page opens and says so; with the next one each shows what that one has."""
        config = side_by_side(a=fake_model("a"), b=fake_model("b"))
        with self.opened("activity", config) as proxy:
            proxy.served("a")
            self.browser.wait_for(f"{FINISHED} === 'a'")
            proxy.stop()
            self.browser.wait_for("document.querySelector('#connection').dataset.state === 'waiting'")
            self.browser.click("#pages a[data-page=hardware]")
            self.browser.wait_for("document.querySelector('#none').textContent.endsWith('the proxy does not answer')")
            self.browser.click("#pages a[data-page=performance]")
            self.browser.wait_for("document.querySelector('#page h1').textContent === 'Performance'")
            self.browser.click("#pages a[data-page=activity]")
            self.browser.wait_for("document.querySelector('#finished-none').textContent.includes('does not answer')")
            self.browser.click("#pages a[data-page=hardware]")
            with ProxyUnderTest(config, "--listen", f"127.0.0.1:{proxy.port}") as another:
                self.browser.wait_for("document.querySelectorAll('#parts section').length > 3")
                self.assertTrue(self.browser.run("return document.querySelector('#none').hidden"))
                another.served("b")
                self.browser.click("#pages a[data-page=activity]")
                self.browser.wait_for(f"{FINISHED} === 'b'")
                self.browser.complaints()  # of the time between the two
                self.browser.open("about:blank")

    def test_another_activity(self) -> None:
        """Requests of the proxy before are not taken for those of the next one, which have the same numbers."""
        config = side_by_side(a=fake_model("a"), b=fake_model("b"))
        with self.opened("activity", config) as proxy:
            for _ in range(30):
                proxy.served("a")
            self.browser.wait_for("document.querySelector('#page-number').textContent === 'Page 1 of 2'")
            self.browser.click("#older")
            self.browser.wait_for(f"{FINISHED} === 'a,a,a,a,a'")
            proxy.stop()
            self.browser.wait_for("document.querySelector('#connection').dataset.state === 'waiting'")
            with ProxyUnderTest(config, "--listen", f"127.0.0.1:{proxy.port}") as another:
                another.served("b")
                another.served("b")
                self.browser.wait_for(f"{FINISHED} === 'b,b'")
                self.browser.complaints()  # of the time between the two
                self.browser.open("about:blank")

    def test_first_words(self) -> None:
        """As long as the models are not known, nothing is said of them but why they are not."""
        with self.opened("hardware", side_by_side(a=fake_model("a"))) as proxy:
            self.browser.open(f"{self.root}/health")
            streams = [proxy.reading("/api/events?no-logs") for _ in range(MAX_FEEDS)]
            self.browser.open(f"{self.root}/ui/models")
            self.browser.wait_for("document.querySelector('#none')?.textContent.includes('streams are in use')")
            self.assertEqual(self.text("#loaded"), "")
            for stream in streams:
                stream.hang_up()
            self.wait_for_state("a", "stopped")
            self.browser.complaints()  # of the status 503


class LoadTests(UiCase):
    """Loads that take their time."""

    def test_many_loads(self) -> None:
        """However many models are being loaded, the pages can still ask, and what fails is told."""
        slow = {f"slow-{number}": fake_model("s", "--load-delay 60") for number in range(7)}
        with self.opened("models", side_by_side(**slow, bad=fake_model("b", "--load-delay 9 --exit-after 2"))) as proxy:
            self.wait_for_state("slow-6", "stopped")
            self.browser.run("document.querySelectorAll('#models button').forEach(button => button.click())")
            for model in slow:
                self.wait_for_state(model, "starting")
            self.browser.click("#pages a[data-page=hardware]")
            self.browser.wait_for("document.querySelectorAll('#parts section').length > 3", timeout=5)
            self.browser.wait_for("document.querySelector('#notice-text').innerText.includes('bad was not loaded')")
            self.assertIn("out of memory", self.text("#notice-text"))
            self.browser.click("#pages a[data-page=models]")
            self.assertEqual(set(proxy.running().values()), {"starting"})
            self.browser.click("#unload-all")
            self.wait_for_state("slow-0", "stopped")

    def test_leaves_late(self) -> None:
        """A load that fails is told also if a part of the model's server stays for a while."""
        bad = fake_model("b", "--load-delay 9 --exit-after 1 --fork-grandchild", unloadTimeout=1)
        with self.opened("models", {"models": {"bad": bad}}):
            self.wait_for_state("bad", "stopped")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("bad", "stopping")
            self.browser.wait_for("document.querySelector('#notice-text').innerText.includes('bad was not loaded')")

    def test_waiting_for_another(self) -> None:
        """A load that waits for a busy model can be given up, and is asked for once only."""
        models = {"a": fake_model("a"), "busy": fake_model("b", "--stream 9999@20")}
        with self.opened("models", {"models": models}) as proxy:
            stream = proxy.stream("busy")
            self.wait_for_state("busy", "ready")
            button = f"document.querySelector('{BUTTON.format(1)}')"
            self.browser.click(BUTTON.format(1))
            self.browser.wait_for(f"{button}.textContent === 'Cancel'")
            self.browser.wait_for("document.querySelector('#models [data-label=Requests]').textContent === '1'")
            self.browser.click(BUTTON.format(1))
            self.browser.wait_for(f"{button}.textContent === 'Load'")
            self.browser.wait_for("document.querySelector('#models [data-label=Requests]').textContent === ''")
            stream.hang_up()
            self.assertEqual(set(proxy.running()), {"busy"})


class BelowTests(UiCase):
    """Below a path of another web server."""

    @contextmanager
    def below(self, proxy: ProxyUnderTest) -> Iterator[None]:
        """Have nginx serve the proxy below `/llama/`."""
        nginx = require_program("nginx", "nginx-light")
        port = free_port()
        with tempfile.TemporaryDirectory() as place:
            conf = Path(place, "conf")
            conf.write_text(NGINX.format(place=place, port=port, behind=proxy.port))
            process = subprocess.Popen([nginx, "-c", conf, "-e", "stderr"], stderr=subprocess.DEVNULL)
            try:
                wait_until(lambda: accepts(port), 5, "nginx")
                self.root = f"http://127.0.0.1:{port}/llama"
                yield
                self.browser.open("about:blank")
            finally:
                process.terminate()
                process.wait()

    def test_every_way(self) -> None:
        """Led there or not, the pages are found; also the page of a model whose name nginx rewrites in a path."""
        config = side_by_side(**{"org/a:1.5 %2F": fake_model("a")})
        with self.opened("models", config) as proxy, self.below(proxy):
            for start in ("/", "/ui", "/upstream", "/ui/models"):
                self.browser.open(self.root + start)
                self.browser.wait_for(LIVE)
            self.browser.wait_for("document.querySelector('#models a')")
            self.browser.click("#models a")
            self.browser.wait_for("document.querySelector('#actions button')")
            self.browser.run("location.reload()")
            self.browser.wait_for("document.querySelector('#state')?.textContent === 'stopped'")
            self.browser.click("#actions button")
            self.browser.wait_for("document.querySelector('#state').textContent === 'ready'")
            self.browser.wait_for("document.querySelector('#own-log').textContent.includes('listening')")
            self.browser.open(f"{self.root}/log")
            self.browser.wait_for(f"{LIVE} && document.querySelector('#rows').textContent.includes('listening')")
            self.browser.open(f"{self.root}/ui/logs#{quote('org/a:1.5 %2F', safe='')}")
            self.browser.wait_for("document.querySelector('#rows')?.textContent.includes('listening')")
