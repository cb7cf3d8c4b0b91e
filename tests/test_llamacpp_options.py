"""llama-server's flags, and the parameters that they become."""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from llama_swap.llamacpp.flags import CACHE_TYPE, FLAGS, FLASH_ATTENTION, MLOCK, NO_MMAP, POOLING
from llama_swap.llamacpp.options import CHOSEN_SAMPLING, DRAFT_SIMPLE, apply, parse


def refusal(*argv: str) -> str:
    """Return what `parse` prints before it exits with 1."""
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        try:
            parse(argv)
        except SystemExit as exit_:
            assert exit_.code == 1, exit_.code
            return printed.getvalue()
    raise AssertionError("accepted")


class ParseTests(SynchronousTestCase):
    """`parse` understands what llama-server understands, and refuses the rest by name."""

    def test_values(self) -> None:
        """Short and long spellings, switches, and `=`."""
        given_ = parse(["-m", "x.gguf", "--port=9001", "-ngl", "all", "-c", "4096", "--no-jinja", "-fa", "on"])
        self.assertEqual(given_["model.path"], "x.gguf")
        self.assertEqual(given_["port"], 9001)
        self.assertEqual(given_["n_gpu_layers"], -2)
        self.assertEqual(given_["n_ctx"], 4096)
        self.assertEqual(given_["flash_attn_type"], 1)
        self.assertIs(given_["use_jinja"], False)

    def test_defaults(self) -> None:
        """What is not given is left to llama.cpp, except for the address, the threads and foreign web pages."""
        parsed = parse(["-m", "x.gguf"])
        self.assertEqual(set(parsed), {"model.path", "hostnames", "port", "cpuparams.n_threads", "cors_origins"})
        self.assertEqual((parsed["hostnames"], parsed["port"]), (["127.0.0.1"], 8080))
        self.assertGreaterEqual(parsed["cpuparams.n_threads"], 1)

    def test_negative_numbers(self) -> None:
        """A value may begin with a dash if it is a number."""
        self.assertEqual(parse(["-m", "x", "-n", "-1", "-ngl", "-1"])["n_predict"], -1)

    def test_last_one_wins(self) -> None:
        """As in llama-server, a later flag replaces an earlier one, also under another spelling."""
        self.assertIs(parse(["-m", "x", "--no-jinja", "--jinja"])["use_jinja"], True)
        self.assertEqual(parse(["-m", "x", "--temp", "1", "--temperature", "0"])["sampling.temp"], 0)

    def test_no_model(self) -> None:
        """Without a model there is nothing to serve."""
        self.assertIn("no model; give one with -m FILE.gguf", refusal("--port", "9001"))

    def test_unknown_flag(self) -> None:
        """It is named, with the flag that was probably meant; nothing is abbreviated or run together."""
        self.assertIn("unknown flag --prot (did you mean --port?)", refusal("-m", "x", "--prot", "1"))
        self.assertIn("unknown flag -cb", refusal("-m", "x", "-cb"))
        self.assertIn("unknown flag --ctx", refusal("-m", "x", "--ctx", "1"))
        both = refusal("-m", "x", "--rpc", "a", "--defrag-thold=0.1")
        self.assertIn("unknown flag --rpc", both)
        self.assertIn("unknown flag --defrag-thold", both)

    def test_bad_values(self) -> None:
        """Each is refused in one line that names the flag and what would be right."""
        for flag, value, hint in [
            ("--port", "99999", "'99999' is not a number from 0 to 65535"),
            ("--port", "http", "'http' is not a number from 0 to 65535"),
            ("--pooling", "avg", "'avg' is none of: none, mean, cls, last, rank"),
            ("--chat-template-kwargs", "{x", "is not JSON"),
            ("--chat-template-kwargs", "[1]", "is not a JSON object"),
            ("--chat-template-file", "/nonexistent/t", "cannot read /nonexistent/t: No such file or directory"),
            ("--slot-save-path", "/nonexistent", "/nonexistent is not a directory"),
            ("--ctx-size", "4k", "invalid int value: '4k'"),
        ]:
            message = refusal("-m", "x", flag, value)
            self.assertIn(hint, message)
            self.assertIn(flag, message)
            self.assertEqual(message.count("\n"), 1)

    def test_files(self) -> None:
        """Templates are read, directories end with a slash as llama.cpp needs them."""
        with tempfile.TemporaryDirectory() as directory:
            template = Path(directory) / "t.jinja"
            template.write_text("{{ messages }}")
            parsed = parse(["-m", "x", "--chat-template-file", str(template), "--slot-save-path", directory])
        self.assertEqual(parsed["chat_template"], "{{ messages }}")
        self.assertEqual(parsed["slot_save_path"], f"{directory}/")

    def test_template_parameters(self) -> None:
        """Each value stays JSON."""
        parsed = parse(["-m", "x", "--chat-template-kwargs", '{"enable_thinking": false, "effort": "low"}'])
        self.assertEqual(parsed["default_template_kwargs"], {"enable_thinking": "false", "effort": '"low"'})

    @settings(deadline=None)
    @given(st.lists(st.text(max_size=12), max_size=6))
    def test_any_words(self, words: list[str]) -> None:
        """Whatever is typed, there is a result or an exit, never an exception."""
        silent = io.StringIO()
        with contextlib.redirect_stderr(silent), contextlib.redirect_stdout(silent), contextlib.suppress(SystemExit):
            parse(["-m", "x", *words])

    def test_spellings_differ(self) -> None:
        """No spelling stands for two flags."""
        names = [name for flag in FLAGS for name in flag.names.split()]
        self.assertEqual(len(names), len(set(names)))


class ApplyTests(SynchronousTestCase):
    """`apply` sets parameters, and what follows from them."""

    def applied(self, *argv: str) -> Any:
        """Return stand-in parameters to which `argv` was applied."""
        draft = SimpleNamespace(mparams=SimpleNamespace())
        params = SimpleNamespace(
            model=SimpleNamespace(),
            mmproj=SimpleNamespace(),
            cpuparams=SimpleNamespace(),
            cpuparams_batch=SimpleNamespace(),
            sampling=SimpleNamespace(),
            speculative=SimpleNamespace(draft=draft),
        )
        apply(parse(["-m", "x", *argv]), params)
        return params

    def test_threads(self) -> None:
        """Reading a prompt takes as many threads as generating, unless told otherwise."""
        self.assertEqual(self.applied("-t", "3").cpuparams_batch.n_threads, 3)
        self.assertEqual(self.applied("-t", "3", "-tb", "5").cpuparams_batch.n_threads, 5)

    def test_reranking(self) -> None:
        """It is an embedding of a kind."""
        params = self.applied("--reranking")
        self.assertEqual((params.embedding, params.pooling_type), (True, POOLING["rank"]))

    def test_draft_model(self) -> None:
        """Naming a draft model turns speculation on."""
        params = self.applied("-md", "small.gguf", "--draft-max", "8")
        self.assertEqual(params.speculative.draft.mparams.path, "small.gguf")
        self.assertEqual(params.speculative.draft.n_max, 8)
        self.assertEqual(params.speculative.types, [DRAFT_SIMPLE])

    def test_chosen_sampling(self) -> None:
        """What the user chose wins over what the model's file suggests."""
        self.assertEqual(self.applied().sampling.user_sampling_config, 0)
        chosen = self.applied("--temp", "0", "--top-k", "1").sampling.user_sampling_config
        self.assertEqual(chosen, CHOSEN_SAMPLING["sampling.temp"] | CHOSEN_SAMPLING["sampling.top_k"])


class LlamaCppTests(SynchronousTestCase):
    """What the table says is what this version of llama.cpp has."""

    def setUp(self) -> None:
        """Skip where llama.cpp is not installed."""
        try:
            import xllamacpp
        except ImportError:
            raise SkipTest("llama.cpp is not installed; try: pip install -e '.[llamacpp]'") from None
        self.module: Any = xllamacpp

    def test_parameters(self) -> None:
        """Every parameter of the table exists; a misspelt one would be lost without a word."""
        params = self.module.CommonParams()
        for flag in FLAGS:
            if flag.parameter != "reranking":
                owner = params
                for part in flag.parameter.split("."):
                    self.assertTrue(hasattr(owner, part), flag)
                    owner = getattr(owner, part)

    def test_applied(self) -> None:
        """The real parameters take the values."""
        params = self.module.CommonParams()
        apply(parse(["-m", "x", "-a", "one,two", "--api-key", "k", "-ctk", "q8_0", "--mlock", "-md", "y"]), params)
        self.assertEqual((params.model.path, params.model_alias, params.api_keys), ("x", {"one", "two"}, ["k"]))
        self.assertEqual((int(params.cache_type_k), int(params.load_mode)), (8, MLOCK))
        self.assertEqual(params.speculative.draft.mparams.path, "y")

    def test_numbers(self) -> None:
        """The numbers of the enumerations are llama.cpp's."""
        module = self.module
        for name, number in POOLING.items():
            self.assertEqual(module.llama_pooling_type[f"LLAMA_POOLING_TYPE_{name.upper()}"], number)
        for name, number in CACHE_TYPE.items():
            self.assertEqual(module.ggml_type[f"GGML_TYPE_{name.upper()}"], number)
        words = {"auto": "AUTO", "off": "DISABLED", "on": "ENABLED"}
        for name, number in FLASH_ATTENTION.items():
            self.assertEqual(module.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{words[name]}"], number)
        self.assertEqual(module.llama_load_mode["LLAMA_LOAD_MODE_NONE"], NO_MMAP)
        self.assertEqual(module.llama_load_mode["LLAMA_LOAD_MODE_MLOCK"], MLOCK)
        self.assertEqual(module.common_speculative_type["COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"], DRAFT_SIMPLE)
        bits = module.common_params_sampling_config
        for parameter, bit in CHOSEN_SAMPLING.items():
            name = parameter.partition(".")[2].upper()
            name = "PENALTY_REPEAT" if "REPEAT" in name else name
            self.assertEqual(bits[f"COMMON_PARAMS_SAMPLING_CONFIG_{name}"], bit)
