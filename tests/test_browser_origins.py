"""What pages can do with the proxy in a real browser: its own rules and ours together."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest, fake_model
from tests.webdriver import Browser

ASK = """
    const [url, path, options] = arguments;
    window.said = null;
    const note = what => window.said = String(what);
    const read = async answer => note(answer.type + answer.status + ' ' + await answer.text());
    fetch(url + path, options).then(read, note);
"""
SAID = "window.said"
PICTURE = """
    const image = new Image();
    image.onerror = () => window.said = 'no';
    image.src = arguments[0] + '/upstream/a/';
"""
SOCKET = """
    const socket = new WebSocket(arguments[0].replace('http', 'ws') + '/upstream/a/ws');
    socket.onerror = () => window.said = 'no';
    socket.onopen = () => window.said = 'yes';
"""
FORM = """
    document.body.innerHTML = `<iframe name=f></iframe><form method=post enctype=text/plain target=f><input></form>`;
    const [frame, form, field] = document.querySelectorAll('iframe, form, input');
    form.action = arguments[0] + '/v1/chat/completions';
    field.name = '{"model": "a", "x": "';
    field.value = '"}';
    frame.onload = () => window.said = 'no';
    form.submit();
"""
QUESTION = '{"model": "a", "stream": true, "messages": []}'


class EmptyPage(BaseHTTPRequestHandler):
    """Serves nothing, under any name."""

    def do_GET(self) -> None:
        """Answer with an empty page."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_request(self, *_: object) -> None:
        """Say nothing."""


class OriginTests(SynchronousTestCase):
    """A browser that finds every `.test` name on this machine, and a server of pages."""

    def setUp(self) -> None:
        """Start everything."""
        self.browser = Browser("--host-resolver-rules=MAP *.test 127.0.0.1", "--disable-popup-blocking")
        self.addCleanup(self.browser.quit)
        pages = ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage)
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        self.addCleanup(pages.server_close)
        self.addCleanup(pages.shutdown)
        self.port = pages.server_port

    def proxy(self, **config: object) -> ProxyUnderTest:
        """Return a proxy with a model that streams, which lists the origin `chat.test`."""
        origins = [f"http://chat.test:{self.port}"]
        return ProxyUnderTest({"models": {"a": fake_model("a")}, "allowedOrigins": origins, **config})

    def visit(self, name: str) -> None:
        """Open a page of this host."""
        self.browser.open(f"http://{name}:{self.port}/")

    def fetch(self, proxy: ProxyUnderTest, path: str, **options: object) -> str:
        """Return what a script of the page gets."""
        self.browser.run(ASK, f"http://127.0.0.1:{proxy.port}", path, options)
        return str(self.browser.wait_for(SAID))

    def test_foreign(self) -> None:
        """A foreign page can start and stop nothing, and read nothing."""
        with self.proxy() as proxy:
            url = f"http://127.0.0.1:{proxy.port}"
            self.visit("evil.test")
            chat = "/v1/chat/completions"
            self.assertIn("TypeError", self.fetch(proxy, chat, method="POST", body=QUESTION))
            self.assertEqual(self.fetch(proxy, chat, method="POST", body=QUESTION, mode="no-cors"), "opaque0 ")
            self.assertIn("TypeError", self.fetch(proxy, "/running"))
            self.assertIn("TypeError", self.fetch(proxy, "/v1/models", headers={"Authorization": "Bearer x"}))
            for script in (PICTURE, SOCKET, FORM):
                self.browser.run(f"window.said = null; {script}", url)
                self.assertEqual(self.browser.wait_for(SAID), "no")
            self.assertEqual(proxy.journal.events(), [])
            proxy.served("a")
            for path in ("/unload", "//unload"):
                self.assertEqual(self.fetch(proxy, path, mode="no-cors"), "opaque0 ")
            self.assertEqual(proxy.running(), {"a": "ready"})

    def test_rebinding(self) -> None:
        """A page whose name leads to our address is not ours."""
        with self.proxy() as proxy:
            self.browser.open(f"http://evil.test:{proxy.port}/running")
            self.assertIn("allowedHosts", str(self.browser.run("return document.body.textContent")))

    def test_allowed(self) -> None:
        """Pages of this machine, and of a listed origin, use the models; what else there is, they cannot read."""
        with self.proxy() as proxy:
            for name in ("localhost", "chat.test"):
                self.visit(name)
                headers = {"Content-Type": "application/json", "Authorization": "Bearer x", "X-Stainless-OS": "Linux"}
                said = self.fetch(proxy, "/v1/chat/completions", method="POST", body=QUESTION, headers=headers)
                self.assertTrue(said.startswith("cors200 data: "), said)
                self.assertIn("data: [DONE]", said)
                self.assertIn('"object": "list"', self.fetch(proxy, "/v1/models"))
                self.assertIn("cors404", self.fetch(proxy, "/upstream/nobody/"))
                self.assertIn("TypeError", self.fetch(proxy, "/running"))
                self.assertIn("TypeError", self.fetch(proxy, "/logs"))

    def test_key(self) -> None:
        """With a key, which the browser's user gave, the log page works; a page elsewhere has to send it."""
        with self.proxy(apiKeys=["sk-1"]) as proxy:
            self.browser.open(f"http://me:sk-1@127.0.0.1:{proxy.port}/logs")
            self.browser.wait_for("document.querySelector('#status')?.dataset.state === 'live'")
            self.visit("chat.test")
            self.assertIn("cors401", self.fetch(proxy, "/v1/models"))
            self.assertIn("cors200", self.fetch(proxy, "/v1/models", headers={"Authorization": "Bearer sk-1"}))
