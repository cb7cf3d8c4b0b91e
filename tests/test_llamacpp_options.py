"""llama-server's flags, and the parameters that they become."""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from llama_swap.llamacpp.absent import ABSENT
from llama_swap.llamacpp.flags import FLAGS
from llama_swap.llamacpp.options import CHOSEN_SAMPLING, DRAFT_SIMPLE, apply, parse
from llama_swap.llamacpp.values import (
    CACHE_TYPE,
    DEVICES,
    FLASH_ATTENTION,
    LAYERS,
    LOAD_MODE,
    NUMA,
    POOLING,
    REASONING_FORMAT,
    ROPE_SCALING,
    SPLIT_MODE,
)
from tests.blackbox import ROOT


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
        self.assertIn("unknown flag -cx", refusal("-m", "x", "-cx"))
        self.assertIn("unknown flag --ctx", refusal("-m", "x", "--ctx", "1"))
        both = refusal("-m", "x", "--one", "a", "--other=0.1")
        self.assertIn("unknown flag --one", both)
        self.assertIn("unknown flag --other", both)

    def test_nothing_alike(self) -> None:
        """A flag that only looks a little like another one, or is too short to look like any, gets no suggestion."""
        absent = "--media-path -e --no-escape --no-perf --special --check-tensors --repack -td --no-host --op-offload"
        unknown = "--spec-ngram-size-n --json-schema --cpu-strict --tags -tx -ngk -spl"
        for name in f"{absent} {unknown}".split():
            self.assertNotIn("did you mean", refusal("-m", "x", name), name)
        for name in absent.split():
            self.assertNotIn("unknown flag", refusal("-m", "x", name), name)

    def test_draft_spellings(self) -> None:
        """The draft model's flags have the names that llama-server gives them now, and those that it gave them."""
        given_ = parse(["-m", "x", "--spec-draft-model", "s", "--spec-draft-ngl", "9", "--spec-draft-type-k", "q8_0"])
        self.assertEqual(given_["speculative.draft.mparams.path"], "s")
        self.assertEqual(given_["speculative.draft.n_gpu_layers"], 9)
        self.assertEqual(given_["speculative.draft.cache_type_k"], CACHE_TYPE["q8_0"])
        self.assertEqual(parse(["-m", "x", "--spec-draft-type-v", "f16"])["speculative.draft.cache_type_v"], 1)
        for name in ("--draft", "--draft-n"):
            self.assertEqual(parse(["-m", "x", name, "4"])["speculative.draft.n_max"], 4)

    def test_absent_flag(self) -> None:
        """A flag that only llama-server has is refused with what to do instead."""
        download = "downloads are not supported here; download the file and give it with -m;"
        self.assertIn(f"-hf: {download}", refusal("-hf", "ggml-org/gemma-3-1b-it-GGUF"))
        self.assertIn(f"--hf-repo: {download}", refusal("--hf-repo=ggml-org/gemma-3-1b-it-GGUF", "--port", "1"))
        self.assertIn(f"--gpt-oss-20b-default: {download}", refusal("--gpt-oss-20b-default"))
        self.assertIn("--spec-default: only llama.cpp's own llama-server has it;", refusal("-m", "x", "--spec-default"))
        self.assertIn("--repack: that is so anyway; leave it out;", refusal("-m", "x", "--repack"))
        self.assertIn("--mmproj-url: downloads", refusal("-m", "x", "--mmproj-url", "https://x"))
        self.assertIn("--models-dir: this serves one model", refusal("--models-dir", "/models"))
        for name in ABSENT:
            self.assertEqual(refusal(name).count("\n"), 1)

    def test_several(self) -> None:
        """What adds up in llama-server adds up here."""
        given_ = parse(["-m", "x", "--api-key", "a,b", "--api-key", "c", "--lora", "l", "--lora-scaled", "n:0.5,m:2"])
        self.assertEqual(given_["api_keys"], ["a", "b", "c"])
        self.assertEqual(given_["lora_adapters"], [("l", 1.0), ("n", 0.5), ("m", 2.0)])
        moved = parse(["-m", "x", "-ot", "a=CPU,b=CPU", "-ncmoe", "2", "-cmoe"])["tensor_buft_overrides"]
        experts = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU"
        self.assertEqual(moved, ["a=CPU", "b=CPU", rf"blk\.0{experts}", rf"blk\.1{experts}", experts])

    def test_empty_parts(self) -> None:
        """An empty part of a list is none: as a key, it would let everybody in who shows none."""
        for word, keys in (("good,", ["good"]), ("a,,b", ["a", "b"]), (",a", ["a"]), ("a, ,b ", ["a", "b"])):
            self.assertEqual(parse(["-m", "x", "--api-key", word])["api_keys"], keys, word)
        for words in (["--api-key", ""], ["--api-key="], ["--api-key", ","], ["--api-key", " "]):
            for before in ([], ["--api-key", "good"]):
                self.assertIn("argument --api-key: there is nothing in the list;", refusal("-m", "x", *before, *words))
        parsed = parse(["-m", "x", "-a", "one,", "--lora", "l,", "--lora-scaled", "n:0.5,", "-ot", "a=CPU,"])
        self.assertEqual(parsed["model_alias"], {"one"})
        self.assertEqual(parsed["lora_adapters"], [("l", 1.0), ("n", 0.5)])
        self.assertEqual(parsed["tensor_buft_overrides"], ["a=CPU"])

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
            ("--lora-scaled", "x.gguf", "'x.gguf' is not FILE:NUMBER"),
            ("--override-tensor", "exps", "'exps' is not PATTERN=BUFFER"),
            ("--rope-scale", "0", "'0' is not above 0"),
            ("--rope-scale", "y", "'y' is not a number"),
            ("--tensor-split", "3;1", "'3;1' is not a number"),
            ("--n-cpu-moe", "all", "'all' is not a number"),
            ("--slot-save-path", "x" * 300, "is not a directory"),
            ("--ctx-size", "4k", "invalid int value: '4k'"),
        ]:
            message = refusal("-m", "x", flag, value)
            self.assertIn(hint, message)
            self.assertIn(flag, message)
            self.assertEqual(message.count("\n"), 1)

    def test_all_layers(self) -> None:
        """A number above that of all layers stands for all, however large it is."""
        parsed = parse(["-m", "x", "--n-cpu-moe", "9" * 12])
        self.assertEqual(len(next(value for name, value in parsed.items() if "override" in name)), LAYERS)

    def test_files(self) -> None:
        """Templates are read, directories end with a slash as llama.cpp needs them."""
        with tempfile.TemporaryDirectory() as directory:
            template = Path(directory) / "t.jinja"
            template.write_text("{{ messages }}")
            other = Path(directory) / "other"
            other.write_bytes(b"\xff")
            self.assertIn(f"{other} is not UTF-8 text", refusal("-m", "x", "--chat-template-file", str(other)))
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
        self.assertEqual(set(names) & ABSENT.keys(), set())

    def test_documented(self) -> None:
        """docs/llamacpp.md lists the flags that there are, all of them, and no others."""
        table = (ROOT / "docs" / "llamacpp.md").read_text().partition("| about |")[2].partition("\n\n")[0]
        listed = re.findall(r"`(-[^`]*)`", table)
        self.assertEqual(sorted(listed), sorted(flag.names for flag in FLAGS))


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

    def test_reasoning(self) -> None:
        """Templates are told of it too, unless --chat-template-kwargs says otherwise."""
        params = self.applied("--reasoning", "off", "--chat-template-kwargs", '{"effort": 1}')
        self.assertEqual(params.enable_reasoning, 0)
        self.assertEqual(params.default_template_kwargs, {"enable_thinking": "false", "effort": "1"})
        self.assertFalse(hasattr(self.applied("--reasoning", "auto"), "default_template_kwargs"))

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
        self.assertEqual((int(params.cache_type_k), int(params.load_mode)), (8, LOAD_MODE["mlock"]))
        self.assertEqual(params.speculative.draft.mparams.path, "y")

    def test_every_flag(self) -> None:
        """The real parameters take each of them, with a word that suits it."""
        words = ["1", "auto", "on", "linear", "layer", "numactl", "f16", "mean", "a=CPU", "a:1", "/tmp", "{}", __file__]
        for flag in FLAGS:
            name = flag.names.split()[0]
            taken = [word for word in words if flag.read and self.suits(flag.read, word)]
            self.assertTrue(taken or flag.read is None, name)
            apply(parse(["-m", "x", name, *taken[:1]]), self.module.CommonParams())

    def suits(self, read: Callable[[str], object], word: str) -> bool:
        """Whether a reader takes the word."""
        try:
            read(word)
        except (ArgumentTypeError, ValueError):
            return False
        return True

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
        words = {"mmap+mlock": "MMAP_MLOCK", "dio": "DIRECT_IO"}
        for name, number in LOAD_MODE.items():
            self.assertEqual(module.llama_load_mode[f"LLAMA_LOAD_MODE_{words.get(name, name.upper())}"], number)
        for name, number in SPLIT_MODE.items():
            self.assertEqual(module.llama_split_mode[f"LLAMA_SPLIT_MODE_{name.upper()}"], number)
        for name, number in NUMA.items():
            self.assertEqual(module.ggml_numa_strategy[f"GGML_NUMA_STRATEGY_{name.upper()}"], number)
        for name, number in ROPE_SCALING.items():
            self.assertEqual(module.llama_rope_scaling_type[f"LLAMA_ROPE_SCALING_TYPE_{name.upper()}"], number)
        for name, number in REASONING_FORMAT.items():
            member = f"COMMON_REASONING_FORMAT_{name.upper().replace('-', '_')}"
            self.assertEqual(module.common_reasoning_format[member], number)
        self.assertEqual(len(module.CommonParams().tensor_split), DEVICES)
        self.assertEqual(module.common_speculative_type["COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"], DRAFT_SIMPLE)
        bits = module.common_params_sampling_config
        for parameter, bit in CHOSEN_SAMPLING.items():
            name = parameter.partition(".")[2].upper()
            self.assertEqual(bits[f"COMMON_PARAMS_SAMPLING_CONFIG_{name}"], bit)
