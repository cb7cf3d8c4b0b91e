"""A file for the newest release of the original."""

from __future__ import annotations

from tests.support_config import FindingsTestCase, load

NEWER = """\
globalConcurrencyLimit: 3
logToStdout: proxy, http
security:
  cors:
    allowedOrigins: [https://dashboard.example]
    allowCredentials: false
    allowPrivateNetwork: false
    allowedMethods: [GET, POST]
    allowedHeaders: []
    exposedHeaders: []
    maxAge: 86400
tailcat: {allow: ['*'], models: ['*'], admin: false, debug: false}
models:
  a:
    cmd: x --port ${PORT}
    disableKeepAlives: true
    capabilities: {in: [text, video], out: [text], disableAuto: true}
    filters:
      setParams: {max_tokens?: 4096}
      setParamsByID: {'${MODEL_ID}:high': {temperature?: 1}}
peers:
  far: {proxy: 'tailcat://tcABC', tailcatKey: ephemeral, models: [x], filters: {setParams: {n?: 1}}}
"""


class NewerTests(FindingsTestCase):
    """It can be used, whatever else it asks for."""

    def test_loaded(self) -> None:
        """All that has no effect here is a warning; every other key counts."""
        config = load(NEWER).config
        self.assertEqual((config.global_concurrency_limit, config.log_to_stdout), (3, "proxy"))
        self.assertEqual(config.security.cors.allowed_origins, ("https://dashboard.example",))
        self.assert_warnings(
            NEWER,
            (12, "tailcat", "not supported here: ignored; Tailcat is not spoken here"),
            (22, "peers.far.tailcatKey", "not supported here: ignored; Tailcat"),
            (22, "peers.far.proxy", "Tailcat is not spoken here"),
        )
