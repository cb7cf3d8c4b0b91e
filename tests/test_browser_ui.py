"""The web interface in a real browser, before a whole proxy: what is seen, what it does, what is kept out."""

from __future__ import annotations

import json
from urllib.parse import quote

from llama_swap import __version__
from tests.blackbox import ProxyUnderTest, fake_model
from tests.support_browser import BUTTON, UiCase, side_by_side
from tests.support_processes import wait_until
from tests.test_blackbox_reload import reload

ATTACK = "<img src=x onerror=window.hit=1><script>window.hit=1</script>"
SAID = """window.said = null;
import(new URL('said.js', document.querySelector('script').src))
    .then(({ saidIn }) => window.said = saidIn(arguments[0]))"""
HOLD = """const real = window.fetch;
window.held = [];
window.release = () => { window.fetch = real; window.held.forEach(pass => pass()); };
window.fetch = async (url, options) => {
    const answer = await real(url, options);
    if (String(url).includes('metrics/activity')) await new Promise(pass => window.held.push(pass));
    return answer;
};
import(new URL('live.js', document.querySelector('script').src)).then(({ listen }) => {
    window.news = 0;
    listen(kinds => { if (kinds.has('activity')) window.news++; });
})"""
"""Holds answers about the activity back until `release()`, and counts the news of it."""
PAGES = ("models", "models/a", "activity", "logs", "playground", "performance", "hardware", "settings", "nonsense")
SOMETHING = "document.querySelector('#page :is(tbody tr, .row, option, figure path, dd)')"


class ModelTests(UiCase):
    """The list of models, and the page of one."""

    def test_life(self) -> None:
        """A model is loaded and unloaded by its button; the page shows each state when it comes."""
        models = {"a": fake_model("a", "--load-delay 1"), "b": fake_model("b")}
        with self.opened("models", side_by_side(**models)) as proxy:
            for model in "ab":
                self.wait_for_state(model, "stopped")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("a", "starting")
            self.wait_for_state("a", "ready")
            self.assertEqual(proxy.running(), {"a": "ready"})
            proxy.served("b")
            self.wait_for_state("b", "ready")
            self.browser.wait_for("document.querySelector('#loaded').textContent === '2 of 2 loaded'")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("a", "stopped")
            self.assertEqual(proxy.running(), {"b": "ready"})
            self.browser.click("#unload-all")
            self.wait_for_state("b", "stopped")
            self.browser.wait_for("document.querySelector('#unload-all').disabled")
            self.assertTrue(self.browser.run("return document.querySelector('#notice').hidden"))

    def test_a_load_that_fails(self) -> None:
        """Why a model could not be loaded is said, line by line, until it is read."""
        with self.opened("models", side_by_side(a=fake_model("a", "--exit-after 0.2 --load-delay 9"))):
            self.wait_for_state("a", "stopped")
            self.browser.click(BUTTON.format(1))
            self.browser.wait_for("document.querySelector('#notice-text').innerText.includes('out of memory\\n')")
            self.browser.click("#notice-close")
            self.assertTrue(self.browser.run("return document.querySelector('#notice').hidden"))
            self.browser.wait_for("/^failed \\d/.test(document.querySelector('#models .state')?.textContent)")
            why = "model a ended with exit status 1 before it was ready"
            self.assertEqual(self.text("#models .trouble"), why)
            self.browser.click("#models a")
            self.browser.wait_for("/^failed \\d/.test(document.querySelector('#state')?.textContent)")
            self.browser.wait_for("document.querySelector('#details')?.textContent.includes('out of memory')")

    def test_unload_while_loading(self) -> None:
        """A load can be ended; that is no failure."""
        with self.opened("models", side_by_side(a=fake_model("a", "--load-delay 60"))):
            self.wait_for_state("a", "stopped")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("a", "starting")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("a", "stopped")
            self.assertTrue(self.browser.run("return document.querySelector('#notice').hidden"))

    def test_text_is_text(self) -> None:
        """Names, descriptions, aliases and what a model prints are text, whatever they look like."""
        odd = fake_model(ATTACK, name=ATTACK, description=ATTACK, aliases=[f"alias{ATTACK}"], metadata={"k": ATTACK})
        with self.opened("models", side_by_side(**{ATTACK: odd})) as proxy:
            self.wait_for_state(ATTACK, "stopped")
            self.assertEqual(self.text("#models .tag"), f"alias{ATTACK}")
            proxy.served(ATTACK)
            self.browser.click("#models a")
            self.browser.wait_for("document.querySelector('#details dd')?.textContent === arguments[0]", ATTACK)
            self.browser.wait_for("document.querySelector('#own-log').textContent.includes(arguments[0])", ATTACK)
            self.browser.wait_for("document.querySelector('#finished-rows tr')")
            self.assertEqual(self.text("#title"), ATTACK)
            for page in ("models", "activity", "logs", "playground"):
                self.open(page)
                self.browser.wait_for("document.querySelector('#page').textContent.includes(arguments[0])", ATTACK)
                self.assertEqual(self.browser.run("return document.querySelectorAll('img, body script').length"), 0)

    def test_filter_and_profile(self) -> None:
        """The filter looks at names, aliases and descriptions; a profile is chosen, also by others."""
        models = {"a": fake_model("a", description="Codes"), "b/c:1": fake_model("b", aliases=["gpt"])}
        config = {**side_by_side(**models), "profiles": {"day": {"pins": {"x": "a"}}}}
        shown = "[...document.querySelectorAll('#models tr')].filter(row => row.isConnected).length"
        with self.opened("models", config) as proxy:
            self.wait_for_state("b/c:1", "stopped")
            for word in ("codes", "GPT", "c:1"):
                self.browser.type("#filter", word)
                self.browser.wait_for(f"{shown} === 1")
                self.browser.run("document.querySelector('#filter').value = ''")
            self.browser.wait_for("document.querySelectorAll('#profile option').length === 2")
            proxy.ask("PUT", "/api/profiles/active", {"name": "day"})
            self.browser.wait_for("document.querySelector('#profile').value === '=day'")
            self.browser.click("#profile option[value='']")
            wait_until(lambda: proxy.get("/api/profiles").json()["active"] is None, 5, "no profile")

    def test_many(self) -> None:
        """A thousand models do not make the page slow: it has few elements, and the filter finds the rest."""
        models = {f"model-{number:04}": fake_model("m", port=9) for number in range(1000)}
        with self.opened("models", {"models": models}):
            self.browser.wait_for("document.querySelector('#loaded').textContent === '0 of 1,000 loaded'")
            self.assertLess(self.browser.run("return document.querySelectorAll('*').length"), 5000)
            self.browser.type("#filter", "0999")
            self.browser.wait_for("document.querySelectorAll('#models tr').length === 1")
            self.assertEqual(self.text("#models a"), "model-0999")

    def test_one(self) -> None:
        """A model's page has its details, its requests and its lines, all live; an unknown one is said to be none."""
        model = fake_model("a", description="Codes", aliases=["gpt", "x"], capabilities={"context": 4096})
        key = "org/a:1.5"
        paused = "return document.querySelector('#pause').ariaPressed"
        with self.opened(f"models/{quote(key, safe='')}", side_by_side(**{key: model})) as proxy:
            self.browser.wait_for("document.querySelector('#details').textContent.includes('gpt, x')")
            self.assertIn("4,096 tokens", self.text("#details"))
            self.assertIn("fakellm.py", self.text("#details code"))
            self.browser.click("#actions button")
            self.browser.wait_for("document.querySelector('#state').textContent === 'ready'")
            proxy.served("gpt")
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 1")
            self.browser.wait_for("document.querySelector('#details').textContent.includes('Requests1')")
            self.browser.wait_for("document.querySelector('#own-log').textContent.includes('eval time')")
            self.browser.press(" ")  # scrolls the page, of which the lines are but a part
            self.assertEqual(self.browser.run(paused), "false")
            self.browser.type("#log", " ")
            self.assertEqual(self.browser.run(paused), "true")
            self.browser.click("#all-lines")
            self.browser.wait_for(
                "document.querySelector('.sources [aria-current]')?.textContent === arguments[0]", key
            )
            self.open("models/none")
            self.browser.wait_for("document.querySelector('#state').textContent === 'There is no such model.'")
            self.assertEqual(self.browser.run("return document.querySelector('#own-lines').offsetHeight"), 0)
        with self.opened("models/none", {"models": {}}):
            self.browser.wait_for("document.querySelector('#state').textContent === 'There is no such model.'")

    def test_first_slash(self) -> None:
        """A model whose name begins with a slash, as vLLM's do, is reached from the list, loaded, watched, unloaded."""
        key = "/models/a"
        with self.opened("models", side_by_side(**{key: fake_model("a")})) as proxy:
            self.browser.wait_for("document.querySelector('#models a')")
            self.browser.click("#models a")
            self.browser.wait_for("document.querySelector('#title')?.textContent === arguments[0]", key)
            self.open(f"models/{quote(key, safe='')}")
            self.browser.wait_for("document.querySelector('#details').textContent.includes('fakellm.py')")
            self.browser.click("#actions button")
            self.browser.wait_for("document.querySelector('#state').textContent === 'ready'")
            proxy.served(key)
            self.browser.wait_for("document.querySelector('#own-log').textContent.includes('eval time')")
            self.browser.click("#actions button")
            self.browser.wait_for("document.querySelector('#state').textContent === 'stopped'")


class ActivityTests(UiCase):
    """The requests, under way and finished."""

    def test_live(self) -> None:
        """A request is there while it is answered, can be cancelled, and stays as a row that can be looked into."""
        with self.opened("activity", side_by_side(a=fake_model("a", "--stream 999@100"), b=fake_model("b"))) as proxy:
            proxy.served("b")
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 1")
            stream = proxy.stream("a")
            self.browser.wait_for("document.querySelector('#under-way-rows tr')?.textContent.includes('completions')")
            self.browser.click("#under-way-rows button")
            self.browser.wait_for("document.querySelector('#under-way-table').hidden")
            stream.hang_up()
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 2")
            self.browser.run(
                "[1, 2].forEach(() => document.querySelector('#finished-rows tr:nth-child(2) button').click())"
            )
            self.browser.wait_for("document.querySelector('dialog[open]')")
            self.assertIn('"content": "Hi"', self.text("#capture-parts pre"))
            self.browser.click("#capture-close")
            self.browser.wait_for("!document.querySelector('dialog')")
            self.browser.click("#finished-rows tr:nth-child(1) button")
            self.browser.wait_for("document.querySelector('#capture-parts .wrong')?.textContent.includes('cancelled')")
            self.browser.click("#capture-close")
            self.browser.wait_for("!document.querySelector('dialog')")

    def test_news_while_asking(self) -> None:
        """What ends while the table is still being asked for, over a slow network, is shown as well."""
        with self.opened("activity", side_by_side(a=fake_model("a"))) as proxy:
            proxy.served("a")
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 1")
            self.browser.run(HOLD)
            self.browser.wait_for("window.news !== undefined")
            proxy.served("a")
            self.browser.wait_for("window.held.length === 1")
            before = self.browser.run("return window.news")
            proxy.served("a")
            self.browser.wait_for("window.news > arguments[0]", before)
            self.browser.run("window.release()")
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 3")

    def test_capture_of_a_stream(self) -> None:
        """Of a stream it can be read what was said; of a body that was not kept, that it was not."""
        long = json.dumps({"model": "a", "messages": [{"role": "user", "content": "x" * 2_000_000}], "stream": True})
        with self.opened("activity", side_by_side(a=fake_model("a"))) as proxy:
            self.assertEqual(proxy.post("/v1/chat/completions", long.encode()).status, 200)
            self.browser.wait_for("document.querySelector('#finished-rows button')")
            self.browser.click("#finished-rows button")
            self.browser.wait_for("document.querySelector('dialog[open]')")
            pieces = "[...document.querySelectorAll('#capture-parts pre')]"
            blocks = self.browser.run(f"return {pieces}.map(pre => [pre.ariaLabel, pre.textContent])")
            self.assertEqual(blocks[0], ["Request body, 1.9 MiB", "It was not kept."])
            self.assertEqual(blocks[1], ["What was said", "word0 word1 word2 "])
            self.assertTrue(blocks[2][1].startswith("data: "))

    def test_order_and_pages(self) -> None:
        """The table is sorted by what is clicked, page by page, and of one model if that is asked for."""
        with self.opened("activity", side_by_side(a=fake_model("a"), b=fake_model("b"))) as proxy:
            for model in "a" * 25 + "b" * 5:
                proxy.served(model)
            first = "document.querySelector('#finished-rows [data-key=model]')?.textContent"
            self.browser.wait_for(f"{first} === 'b'")
            self.browser.wait_for("document.querySelector('#page-number').textContent === 'Page 1 of 2'")
            self.browser.click("[data-key=model] button")
            self.browser.wait_for("document.querySelector('[data-key=model]').ariaSort === 'descending'")
            self.browser.click("[data-key=model] button")
            self.browser.wait_for(f"{first} === 'a'")
            self.browser.click("#older")
            self.browser.wait_for(f"{first} === 'b'")
            self.browser.click("#of-model option[value=b]")
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 5")
            self.browser.run("location.reload()")
            self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 5")


class PageTests(UiCase):
    """The other pages, and the frame around all."""

    def test_every_page(self) -> None:
        """Each page opens by its address and by its link, without a complaint of the browser's."""
        with self.opened("", side_by_side(a=fake_model("a"))) as proxy:
            for page in PAGES:
                self.open(page)
                title = self.browser.wait_for("document.querySelector('#page h1')?.textContent")
                self.assertEqual(self.complaints(), [], page)
            self.assertEqual(title, "No such page")
            self.open("models/a")
            for page in PAGES[2:-1]:
                self.browser.click(f"#pages a[data-page={page}]")
                self.browser.wait_for("document.body.dataset.page === arguments[0]", page)
            self.browser.run("history.back()")
            self.browser.wait_for("document.body.dataset.page === 'hardware'")
            self.browser.open(f"http://127.0.0.1:{proxy.port}/logs")
            self.browser.wait_for("document.querySelector('#status')?.dataset.state === 'live'")

    def test_playground(self) -> None:
        """An answer is written as it comes, can be stopped, and the chat goes on from what was said."""
        models = side_by_side(a=fake_model("a", "--stream 999@50"), b=fake_model("b"))
        with self.opened("playground", models) as proxy:
            self.browser.wait_for("document.querySelectorAll('#chat-model option').length === 2")
            self.browser.type("#question", "Hello <b>\ue007")
            self.browser.wait_for("document.querySelector('.assistant .said')?.textContent.includes('word2')")
            self.browser.click("#stop")
            self.browser.wait_for("document.querySelector('.assistant .after').textContent.startsWith('Stopped')")
            self.browser.click("#chat-model option[value=b]")
            self.browser.type("#question", "Again\ue007")
            self.browser.wait_for(
                "document.querySelector('.turn:nth-child(5) .said')?.textContent === 'word0 word1 word2 '"
            )
            self.assertEqual(self.text(".user .said"), "Hello <b>")
            self.browser.click("#pages a[data-page=hardware]")
            self.browser.wait_for("document.querySelector('#parts')")
            self.browser.click("#pages a[data-page=playground]")
            self.browser.wait_for("document.querySelectorAll('.turn').length === 4")
            self.assertEqual(len(proxy.get("/api/metrics/activity").json()["data"]), 2)
            self.browser.click("#chat-new")
            self.assertEqual(self.browser.run("return document.querySelectorAll('.turn').length"), 0)

    def test_playground_names(self) -> None:
        """Whatever a request may name can be asked: models, unlisted ones, selectors, what the active profile pins."""
        config = side_by_side(a=fake_model("a"), hidden=fake_model("h", unlisted=True))
        config |= {
            "selectors": {"any": {"strategy": "warm", "targets": ["a"]}},
            "profiles": {"p": {"pins": {"x": "a"}}},
        }
        names = "[...document.querySelectorAll('#chat-model option')].map(option => option.value).join()"
        with self.opened("playground", config) as proxy:
            self.browser.wait_for(f"{names} === 'a,hidden,any'")
            proxy.ask("PUT", "/api/profiles/active", b'{"name": "p"}')
            self.browser.wait_for(f"{names} === 'a,hidden,any,x'")
            self.browser.click("#chat-model option[value=any]")
            self.browser.type("#question", "Hello\ue007")
            self.browser.wait_for("document.querySelector('.assistant .said')?.textContent.includes('word2')")

    def test_what_is_said(self) -> None:
        """The text of an event is found in every shape that APIs give it."""
        with self.opened("playground", {"models": {}}):
            for event in (
                {"choices": [{"delta": {"role": "assistant", "content": "x"}}]},
                {"choices": [{"delta": {"content": [{"type": "thinking"}, {"type": "text", "text": "x"}]}}]},
                {"choices": [{"delta": None, "text": "x"}]},
                {"type": "response.output_text.delta", "delta": "x"},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
            ):
                self.browser.run(SAID, event)
                self.browser.wait_for("window.said")
                self.assertEqual(self.browser.run("return window.said"), {"content": "x", "reasoning": ""}, event)

    def test_playground_fails(self) -> None:
        """Why there is no answer is said, and the question is there to be asked again."""
        with self.opened("playground", side_by_side(a=fake_model("a", "--die-mid-stream --exit-code 1"))):
            self.browser.wait_for("document.querySelectorAll('#chat-model option').length === 1")
            self.browser.type("#question", "Hello\ue007")
            self.browser.wait_for("document.querySelector('.assistant .after.wrong')")
            self.browser.complaints()  # of the answer that broke off

    def test_numbers(self) -> None:
        """All numbers are written as the browser's user does."""
        with self.opened("performance", side_by_side(a=fake_model("a"))):
            self.browser.speak("de-DE")
            self.browser.run("location.reload()")
            self.browser.wait_for(
                "/^Load1 min \\d+,\\d5 min \\d+,\\d15 min/.test(document.querySelectorAll('figcaption')[2]?."
                "textContent.replace(/0 – \\d+,0/, ''))"
            )

    def test_hardware(self) -> None:
        """Lines are drawn of what is watched; where nobody watches, that is said."""
        config = side_by_side(a=fake_model("a"))
        with self.opened("performance", config):
            self.browser.wait_for("document.querySelectorAll('figure path').length > 3")
            self.open("hardware")
            self.browser.wait_for("document.querySelectorAll('#parts section').length > 3")
        with self.opened("models", {**config, "performance": {"disabled": True}}):
            self.browser.click("#pages a[data-page=performance]")
            self.browser.wait_for("document.querySelector('#none').textContent.includes('performance.disabled')")
            self.browser.complaints()  # of the status 503

    def test_peer(self) -> None:
        """A model of a peer is one among others, but for what is not ours to do."""
        with ProxyUnderTest(side_by_side(a=fake_model("a"))) as peer:
            far = {"proxy": f"http://127.0.0.1:{peer.port}", "models": ["a"]}
            with self.opened("models", {"models": {"b": fake_model("b")}, "peers": {"far": far}}):
                self.wait_for_state("far/a", "at a peer")
                self.assertTrue(self.browser.run(f"return document.querySelector('{BUTTON.format(2)}').hidden"))
                self.browser.click("#pages a[data-page=playground]")
                self.browser.wait_for("document.querySelectorAll('#chat-model option').length === 2")
                self.browser.click("#chat-model option[value='far/a']")
                self.browser.type("#question", "Hello\ue007")
                self.browser.wait_for("document.querySelector('.assistant .said')?.textContent.includes('word2')")
                self.open("models/far%2Fa")
                self.browser.wait_for("document.querySelectorAll('#finished-rows tr').length === 1")
                self.assertEqual(self.text("#state"), "at a peer")

    def test_connection(self) -> None:
        """That the proxy is gone is said, and when it is back the page goes on by itself."""
        config = side_by_side(a=fake_model("a"))
        state = "document.querySelector('#connection').dataset.state"
        with self.opened("models", config) as proxy:
            self.wait_for_state("a", "stopped")
            proxy.stop()
            self.browser.wait_for(f"{state} === 'waiting'")
            with ProxyUnderTest(config, "--listen", f"127.0.0.1:{proxy.port}") as another:
                self.browser.wait_for(f"{state} === 'live'")
                another.served("a")
                self.wait_for_state("a", "ready")
                self.browser.complaints()  # of the time between the two
                self.browser.open("about:blank")

    def test_key(self) -> None:
        """With a key, which the browser's user gave, everything works."""
        config = {**side_by_side(a=fake_model("a")), "apiKeys": ["sk-1"]}
        with self.opened("models", config, user="me:sk-1@"):
            self.wait_for_state("a", "stopped")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("a", "ready")
            self.browser.click(BUTTON.format(1))
            self.wait_for_state("a", "stopped")

    def test_theme(self) -> None:
        """Colours are chosen, and stay chosen."""
        ground = "getComputedStyle(document.body).backgroundColor"
        with self.opened("models", side_by_side(a=fake_model("a"))):
            self.browser.click("#theme [value=light]")
            light = self.browser.run(f"return {ground}")
            self.browser.click("#theme [value=dark]")
            dark = self.browser.run(f"return {ground}")
            self.assertNotEqual(light, dark)
            self.open("logs")
            self.assertEqual(self.browser.run(f"return {ground}"), dark)

    def test_settings(self) -> None:
        """Colours are chosen there, too; and there is which llama-swap it is, by the configuration that it has now."""
        config = side_by_side(a=fake_model("a"))
        theme = "document.documentElement.dataset.theme"
        pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(button => button.value).join()"
        with self.opened("settings", config) as proxy:
            self.browser.click("#colours [value=dark]")
            self.assertEqual(self.browser.run(f"return [{theme}, {pressed}]"), ["dark", "dark,dark"])
            self.browser.click("#theme [value=light]")
            self.assertEqual(self.browser.run(f"return [{theme}, {pressed}]"), ["light", "light,light"])
            self.browser.wait_for("document.querySelector('#about').textContent.includes(arguments[0])", __version__)
            self.browser.wait_for("document.querySelector('#about').textContent.includes('X-Litellm-Session-Id')")
            reload(proxy, {**config, "ui": {"activity": {"session_id": ["X-Chat"]}}})
            self.browser.wait_for("document.querySelector('#about').textContent.endsWith('X-Chat')")
            self.open("models")
            self.assertEqual(self.browser.run(f"return {theme}"), "light")

    def test_narrow_menu(self) -> None:
        """The page that is shown can be seen in the menu, however narrow the window is."""
        with self.opened("models", side_by_side(a=fake_model("a"))):
            self.browser.resize(360, 640)
            for page in ("settings", "models", "performance"):
                self.open(page)
                self.browser.wait_for(
                    """(link => {
                        const [here, room] = [link, link.closest('nav')].map(one => one.getBoundingClientRect());
                        return room.left - 1 < here.left && here.right < room.right + 1;
                    })(document.querySelector('#pages [aria-current]'))"""
                )

    def test_narrow_search(self) -> None:
        """However many lines match, what stands beside their number can be used."""
        with self.opened("logs", side_by_side(a=fake_model("a"))) as proxy:
            self.browser.resize(360, 640)
            for _ in range(20):
                proxy.served("a")
            self.browser.type("#search", "e")
            self.browser.wait_for("document.querySelector('#matches').textContent.endsWith('matching lines')")
            self.assertTrue(
                self.browser.run(
                    """const [only, follow] = ['#only', '#follow']
                        .map(id => document.querySelector(id).getBoundingClientRect());
                    return only.right <= follow.left || only.bottom <= follow.top"""
                )
            )

    def test_phone(self) -> None:
        """At the width of a phone nothing is wider than the page."""
        with self.opened("models", side_by_side(a=fake_model("a", description="x" * 200))) as proxy:
            proxy.served("a")
            self.browser.resize(360, 640)
            for page in PAGES:
                self.open(page)
                self.browser.wait_for("document.querySelector('#page').scrollWidth <= innerWidth")
                self.assertEqual(self.browser.run("return document.documentElement.scrollWidth"), 360, page)
