"""Peers: what the section says, and what can be wrong with it."""

from __future__ import annotations

import yaml

from llama_swap.config.model import Filters, Peer, Timeouts
from llama_swap.config.show import render_effective
from tests.support_config import FindingsTestCase, load

MODELS = "models: {a: {cmd: x --port 1}}\n"


class PeerTests(FindingsTestCase):
    """`peers`."""

    def peers(self, text: str, **environ: str) -> dict[str, Peer]:
        """Return the peers of a file."""
        return dict(load(f"{MODELS}peers: {{{text}}}", **environ).config.peers)

    def test_keys(self) -> None:
        """An address, its models, and its key."""
        self.assertEqual(self.peers("p: {proxy: 'https://other:8080/x/'}"), {"p": Peer(proxy="https://other:8080/x")})
        text = "p: {proxy: http://other, models: [m, org/n, m], apiKey: '${env.KEY}'}"
        expected = Peer(proxy="http://other", models=("m", "org/n"), api_key="secret")
        self.assertEqual(self.peers(text, KEY="secret"), {"p": expected})
        self.assertNotIn("secret", repr(expected))

    def test_nothing(self) -> None:
        """A name without settings is left of a peer that was taken out."""
        text = f"{MODELS}peers:\n  p:\n  q: {{proxy: http://other}}\n"
        self.assertEqual(list(load(text).config.peers), ["q"])
        self.assert_warnings(text, (3, "peers.p", "says nothing, and is left out; write `proxy`"))

    def test_filters_and_timeouts(self) -> None:
        """As models have them; but the head of an answer may not take for ever unless the file says so."""
        text = "p: {proxy: http://other, filters: {stripParams: 'top_p, n', setParamsByID: {m: {n: 1}}}, %s}"
        peer = self.peers(text % "timeouts: {connect: 3}")["p"]
        self.assertEqual(peer.filters, Filters(strip_params=("top_p", "n"), set_params_by_id={"m": {"n": 1}}))
        self.assertEqual(peer.timeouts, Timeouts(connect=3, response_header=60))
        self.assertEqual(self.peers(text % "timeouts: {responseHeader: 0}")["p"].timeouts, Timeouts())
        self.assertEqual(self.peers("p: {proxy: http://other}")["p"].timeouts, Timeouts(response_header=60))
        config = load(f"{MODELS}peers:\n  {text}".replace("%s", "timeouts: {connect: 3}")).config
        self.assertEqual(load(render_effective(config)).config.peers, {"p": peer})
        self.assert_errors(
            MODELS + "peers: {p: {proxy: http://other, filters: [a],\n timeouts: {connect: -1}}}",
            (2, "peers.p.filters", "must be a mapping with `stripParams`"),
            (3, "peers.p.timeouts.connect", ""),
        )

    def test_key_is_not_shown(self) -> None:
        """The effective configuration masks it."""
        config = load(MODELS + "peers: {p: {proxy: http://other, models: [m], apiKey: hush}}").config
        shown = yaml.safe_load(render_effective(config, with_defaults=True))["peers"]
        self.assertEqual(shown["p"].pop("timeouts")["responseHeader"], 60)
        self.assertEqual(shown, {"p": {"proxy": "http://other", "apiKey": "***", "models": ["m"]}})

    def test_errors(self) -> None:
        """Whatever is wrong, at its place."""
        self.assert_errors(
            MODELS
            + "peers:\n  p: {models: [m]}\n  q: {proxy: other}\n  r: http://other\n"
            + "  s: {proxy: http://other, models: []}\n  t: {proxy: http://other, apiKey: a b}\n"
            + "  u: {proxy: 'https://my_gpu.example'}\n  v: {proxy: 'http://my_gpu.example'}",
            (3, "peers.p", "has no `proxy`; write the URL of the other server"),
            (4, "peers.q.proxy", "must be a URL"),
            (5, "peers.r", "must be a mapping with `proxy`"),
            (6, "peers.s.models", "names no model"),
            (7, "peers.t.apiKey", "cannot contain spaces"),
            (8, "peers.u.proxy", "has a host that https cannot be spoken with, 'my_gpu.example' (Codepoint U+005F"),
        )
        self.assert_errors(MODELS + "peers: [a]", (2, "peers", "must be a mapping"))
        for proxy, told in (("", "has no `proxy`"), ("''", "must be a URL"), ("[a]", "must be text"), ("${a}", "${a}")):
            self.assert_errors(f"{MODELS}peers:\n  p:\n    proxy: {proxy}\n", (4, "peers.p.proxy", told))

    def test_tailcat(self) -> None:
        """A peer of a kind that we cannot reach is no reason to refuse all the rest; its names stay names."""
        text = (
            "peers: {far: {proxy: 'tailcat://tcABC', models: [x]}}\n"
            "selectors: {any: {strategy: pin, targets: [far/x]}}\nmodels: {m: {cmd: x --port 1}}\n"
        )
        self.assert_warnings(text, (1, "peers.far.proxy", "Tailcat is not spoken here"))
        self.assertEqual(load(text).config.peers["far"].proxy, "http://tailcat.invalid")

    def test_references(self) -> None:
        """Selectors and pins may name a peer's models; a selector may not have the name of one."""
        peers = "peers: {p: {proxy: http://other, models: [org/m]}, q: {proxy: http://other}}\n"
        pins = "profiles: {x: {pins: {y: p/org/m, z: q/any}}}\n"
        self.assert_warnings(
            f"{MODELS}{peers}{pins}selectors: {{s: {{strategy: spillover, targets: [a, p/org/m, q/b]}}}}"
        )
        self.assert_errors(
            f"{MODELS}{peers}selectors: {{p/org/m: {{strategy: pin, targets: [p/other]}}}}",
            (3, "selectors.p/org/m", "that of a model already"),
        )
        self.assert_errors(
            f"{MODELS}{peers}selectors: {{s: {{strategy: pin, targets: [p/other, p/, m]}}}}",
            (3, "selectors.s.targets[0]", "no model or alias 'p/other'"),
            (3, "selectors.s.targets[1]", "no model or alias 'p/'"),
            (3, "selectors.s.targets[2]", "no model or alias 'm'"),
        )
