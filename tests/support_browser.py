"""A browser before a whole proxy, for tests of the web interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import ProxyUnderTest
from tests.webdriver import Browser

STATE = """(key => [...document.querySelectorAll('#models tr')]
    .find(row => row.querySelector('a').textContent === key)?.querySelector('.state').textContent)(arguments[0])"""
BUTTON = "#models tr:nth-child({}) button"
LIVE = "document.querySelector('#connection')?.dataset.state === 'live'"


def side_by_side(**models: Any) -> dict[str, Any]:
    """Return a configuration in which all models may run at once."""
    return {"models": models, "groups": {"all": {"swap": False, "members": list(models)}}}


class UiCase(SynchronousTestCase):
    """A browser, and a proxy for each test."""

    flags: tuple[str, ...] = ()
    """Of the browser's command line."""

    def setUp(self) -> None:
        """Start the browser."""
        self.browser = Browser(*self.flags)
        self.addCleanup(self.browser.quit)

    @contextmanager
    def opened(self, page: str, config: dict[str, Any], user: str = "") -> Iterator[ProxyUnderTest]:
        """Open a page; at the end there may be no complaint of the browser's."""
        with ProxyUnderTest(config) as proxy:
            self.root = f"http://{user}127.0.0.1:{proxy.port}"
            self.open(page)
            yield proxy
            self.assertEqual(self.complaints(), [])
            self.assertEqual(self.browser.run("return window.hit ?? 'not hit'"), "not hit")
            self.browser.open("about:blank")

    def open(self, page: str) -> None:
        """Open a page, and wait until it is connected."""
        self.browser.open(f"{self.root}/ui/{page}")
        self.browser.wait_for(LIVE)
        self.browser.wait_for("document.querySelector('#page').children.length")

    def complaints(self) -> list[str]:
        """Return what the browser complains of, but for models' own answers."""
        return [line for line in self.browser.complaints() if "/upstream/" not in line]

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.browser.run("return document.querySelector(arguments[0]).textContent", selector))

    def wait_for_state(self, model: str, state: str) -> None:
        """Wait for what the list says of a model."""
        self.browser.wait_for(f"{STATE} === arguments[1]", model, state)
