"""The example of the README of early 2025 works as it says; a stand-in for `llama-server` is on PATH."""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.blackbox import HERE, ProxyUnderTest
from tests.support_processes import environment, free_port

LLAMA = "Llama-3.2-1B-Instruct-Q4_K_M.gguf"
QWEN = "path/to/Qwen2.5-1.5B-Instruct-Q4_K_M.gguf"


def reference_proxy() -> ProxyUnderTest:
    """Return a proxy with the example, on ports that are free."""
    config = (HERE / "data/reference-config.yaml").read_text()
    config = config.replace("8999", str(free_port())).replace("9999", str(free_port()))
    path = f"{HERE / 'data/bin'}:{os.environ['PATH']}"
    return ProxyUnderTest(config, env={"PATH": path, "FAKELLM_PYTHON": sys.executable})


class ReferenceTests(SynchronousTestCase):
    """Each promise of the example's comments."""

    def test_loads_with_a_warning(self) -> None:
        """Two members of a profile share a port: that is told at the start, and no reason to refuse."""
        with reference_proxy() as proxy:
            warnings = [line for line in proxy.log().splitlines() if "llama" in line and "qwen" in line]
            self.assertTrue(any("port" in line for line in warnings), proxy.log())

    def test_every_name_is_served(self) -> None:
        """Models, aliases and the unlisted model swap, one at a time; the upstream sees the name as asked."""
        names = dict.fromkeys(("llama", "gpt-4o-mini", "qwen", "gpt-3.5-turbo", "qwen-unlisted"), LLAMA)
        names["qwen"] = QWEN
        with reference_proxy() as proxy:
            for name, file in names.items():
                self.assertEqual(proxy.served(name), file)
            self.assertEqual([event["told"] for event in proxy.journal.events("req")], list(names))
            self.assertEqual(len(proxy.journal.events("start")), 4)
            self.assertEqual(proxy.journal.most_alive(), 1)

    def test_lists(self) -> None:
        """`/v1/models` and `/upstream` show what is listed, and only that."""
        with reference_proxy() as proxy:
            listed = proxy.get("/v1/models").json()
            self.assertEqual([model["id"] for model in listed["data"]], ["llama", "qwen"])
            for path in ("/upstream", "/ui/models"):  # to which the first one leads browsers
                page = proxy.get(path, {"Accept": "text/html"}).body.decode()
                self.assertIn('"/upstream/llama/"', page)
                self.assertIn('"/upstream/qwen/"', page)
                self.assertNotIn("unlisted", page)
            self.assertEqual(proxy.journal.events(), [])

    def test_check_endpoint(self) -> None:
        """Readiness is asked where `checkEndpoint` says, and by default at `/health`."""
        with reference_proxy() as proxy:
            for name, file, path in (("llama", LLAMA, "/custom-endpoint"), ("qwen", QWEN, "/health")):
                proxy.served(name)
                self.assertEqual({event["path"] for event in proxy.journal.events("probe", file)}, {path})

    def test_env(self) -> None:
        """`env` is added to the environment that the model inherits, for this model alone."""
        with reference_proxy() as proxy:
            proxy.served("qwen")
            qwen = environment(proxy.journal.events("start")[0]["pid"])
            self.assertEqual(qwen["CUDA_VISIBLE_DEVICES"], "0")
            self.assertIn("data/bin", qwen["PATH"])
            proxy.served("llama")
            self.assertNotIn("CUDA_VISIBLE_DEVICES", environment(proxy.journal.events("start")[1]["pid"]))

    def test_profile(self) -> None:
        """Members on one port take turns; the upstream is told the model without the profile's name."""
        with reference_proxy() as proxy:
            for member, file in (("qwen", QWEN), ("llama", LLAMA), ("qwen", QWEN)):
                self.assertEqual(proxy.served(f"coding:{member}"), file)
            told = [event["told"] for event in proxy.journal.events("req")]
            self.assertEqual(told, ["qwen", "llama", "qwen"])
            self.assertEqual(proxy.journal.most_alive(), 1)
            self.assertIn("qwen-unlisted", proxy.chat("coding:qwen-unlisted").error()["message"])

    def test_log_requests(self) -> None:
        """`logRequests: true` writes a line a request."""
        with reference_proxy() as proxy:
            proxy.served("llama")
            proxy.wait_for_log("POST /v1/chat/completions")
