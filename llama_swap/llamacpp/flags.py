"""llama-server's flags, and the parameters of llama.cpp that they set.

The wheel `xllamacpp` contains llama.cpp's server, but not its command line.  This table has the part of it that people
use in configurations, with the same spellings and meanings, so that a `cmd:` written for llama-server works unchanged:
https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md .  Without a flag, llama.cpp's own default
applies, unless this table has a `default`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from attrs import frozen

from llama_swap.llamacpp.values import (
    CACHE_TYPE,
    EXPERTS_ON_CPU,
    FLASH_ATTENTION,
    GPU_LAYERS,
    LOAD_MODE,
    NUMA,
    POOLING,
    REASONING,
    REASONING_FORMAT,
    ROPE_SCALING,
    SPLIT_MODE,
    SWITCHED,
    adapters,
    alone,
    comma_list,
    comma_set,
    directory,
    first_experts,
    inverse,
    one_of,
    overrides,
    port_number,
    proportions,
    scaled_adapters,
    template_parameters,
    text_of,
)


@frozen
class Flag:
    """One flag.  `names` has its spellings, separated by blanks."""

    names: str
    parameter: str
    """The attribute of `xllamacpp.CommonParams` that it sets, dotted."""
    help: str
    read: Callable[[str], object] | None = None
    """From the flag's argument to the parameter's value; None: a switch, which has no argument."""
    value: object = True
    """The value that a switch sets."""
    default: object = None
    adds: bool = False
    """Whether a repeated flag extends the list, instead of replacing it."""


def default_threads() -> int:
    """Return the default number of threads: one less than there are CPUs, or half of more than four.

    llama.cpp's threads spin while they wait for each other.  With one on every CPU, anything else that runs, such as
    the proxy, makes all of them wait: on two busy CPUs, two threads were twenty times slower than one.
    """
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cpus // 2 if cpus > 4 else max(1, cpus - 1)


FLAGS = (
    Flag("-m --model", "model.path", "the model, a GGUF file (required)", str),
    Flag("--host", "hostnames", "address to listen on (127.0.0.1)", alone, default=["127.0.0.1"]),
    Flag("--port", "port", "port to listen on (8080)", port_number, default=8080),
    Flag("-a --alias", "model_alias", "names in /v1/models, separated by commas", comma_set),
    Flag("-c --ctx-size", "n_ctx", "size of the context in tokens (0: the model's own)", int),
    Flag("-n --predict --n-predict", "n_predict", "tokens to generate at most (-1: no limit)", int),
    Flag("-b --batch-size", "n_batch", "logical batch size (2048)", int),
    Flag("-ub --ubatch-size", "n_ubatch", "physical batch size (512)", int),
    Flag("-np --parallel", "n_parallel", "requests served side by side, which share the context (1)", int),
    Flag(
        "-t --threads",
        "cpuparams.n_threads",
        f"CPU threads while generating (here {default_threads()})",
        int,
        default=default_threads(),
    ),
    Flag("-tb --threads-batch", "cpuparams_batch.n_threads", "CPU threads while reading a prompt (as -t)", int),
    Flag("--threads-http", "n_threads_http", "threads that serve HTTP", int),
    Flag(
        "-ngl --gpu-layers --n-gpu-layers",
        "n_gpu_layers",
        "layers to keep on the GPU: a number, auto or all",
        one_of(GPU_LAYERS, or_number=True),
    ),
    Flag("-fa --flash-attn", "flash_attn_type", "flash attention: on, off or auto", one_of(FLASH_ATTENTION)),
    Flag("-ctk --cache-type-k", "cache_type_k", "type of the K cache, such as q8_0", one_of(CACHE_TYPE)),
    Flag("-ctv --cache-type-v", "cache_type_v", "type of the V cache, such as q8_0", one_of(CACHE_TYPE)),
    Flag("-cram --cache-ram", "cache_ram_mib", "MiB of RAM for cached prompts (8192; 0: none)", int),
    Flag("--context-shift", "ctx_shift", "drop the oldest tokens when the context is full"),
    Flag(
        "--no-context-shift",
        "ctx_shift",
        "end the answer when the context is full (the default)",
        value=False,
    ),
    Flag("--keep", "n_keep", "tokens of the prompt that a context shift keeps (0; -1: all)", int),
    Flag("--cache-prompt", "cache_prompt", "reuse what is cached of a prompt (the default)"),
    Flag("--no-cache-prompt", "cache_prompt", "compute every prompt anew", value=False),
    Flag("--cache-reuse", "n_cache_reuse", "least piece of a prompt to reuse by shifting (0: none)", int),
    Flag("-ctxcp --ctx-checkpoints --swa-checkpoints", "n_ctx_checkpoints", "checkpoints of a context (32)", int),
    Flag("--swa-full", "swa_full", "keep the whole cache of sliding-window attention"),
    Flag("-kvu --kv-unified", "kv_unified", "one KV cache for all requests"),
    Flag("-no-kvu --no-kv-unified", "kv_unified", "a KV cache for each request", value=False),
    Flag("-cb --cont-batching", "cont_batching", "compute requests side by side in one batch (the default)"),
    Flag("-nocb --no-cont-batching", "cont_batching", "compute them one by one", value=False),
    Flag("--rope-scaling", "rope_scaling_type", "scaling of RoPE: none, linear or yarn", one_of(ROPE_SCALING)),
    Flag("--rope-scale", "rope_freq_scale", "factor by which the context is stretched", inverse),
    Flag("--rope-freq-base", "rope_freq_base", "base frequency of RoPE (0: the model's own)", float),
    Flag("--rope-freq-scale", "rope_freq_scale", "scale of RoPE's frequencies (0: the model's own)", float),
    Flag("--yarn-orig-ctx", "yarn_orig_ctx", "the context that the model was trained for (0: its own word)", int),
    Flag("-sm --split-mode", "split_mode", "over several GPUs: none, layer, row or tensor", one_of(SPLIT_MODE)),
    Flag("-ts --tensor-split", "tensor_split", "each GPU's part of the model, such as 3,1", proportions),
    Flag("-mg --main-gpu", "main_gpu", "number of the GPU for what is not split (0)", int),
    Flag("-ot --override-tensor", "tensor_buft_overrides", "tensors' places: PATTERN=BUFFER,…", overrides, adds=True),
    Flag("-cmoe --cpu-moe", "tensor_buft_overrides", "keep all experts on the CPU", value=EXPERTS_ON_CPU, adds=True),
    Flag(
        "-ncmoe --n-cpu-moe",
        "tensor_buft_overrides",
        "keep the experts of the first N layers on the CPU",
        first_experts,
        adds=True,
    ),
    Flag("-kvo --kv-offload", "no_kv_offload", "keep the KV cache on the GPU (the default)", value=False),
    Flag("-nkvo --no-kv-offload", "no_kv_offload", "keep the KV cache on the CPU"),
    Flag("-fit --fit", "fit_params", "fit the rest into the GPU's memory: on or off", one_of(SWITCHED)),
    Flag("--numa", "numa", "on several NUMA nodes: distribute, isolate or numactl", one_of(NUMA)),
    Flag("-lm --load-mode", "load_mode", f"how the file is read: {', '.join(LOAD_MODE)}", one_of(LOAD_MODE)),
    Flag("--mmap", "load_mode", "map the file", value=LOAD_MODE["mmap"]),
    Flag("--no-mmap", "load_mode", "read the file into memory instead of mapping it", value=LOAD_MODE["none"]),
    Flag("--mlock", "load_mode", "keep the model in RAM", value=LOAD_MODE["mlock"]),
    Flag("--lora", "lora_adapters", "LoRA adapters, GGUF files, separated by commas", adapters, adds=True),
    Flag("--lora-scaled", "lora_adapters", "the same as FILE:STRENGTH,…", scaled_adapters, adds=True),
    Flag("--warmup", "warmup", "compute once, empty, after loading (the default)"),
    Flag("--no-warmup", "warmup", "skip the empty run after loading", value=False),
    Flag("-s --seed", "sampling.seed", "seed of the random numbers", int),
    Flag("--temp --temperature", "sampling.temp", "temperature (0.8)", float),
    Flag("--top-k", "sampling.top_k", "top-k sampling (40)", int),
    Flag("--top-p", "sampling.top_p", "top-p sampling (0.95)", float),
    Flag("--min-p", "sampling.min_p", "min-p sampling (0.05)", float),
    Flag("--repeat-penalty", "sampling.penalty_repeat", "penalty for repetition (1.0: none)", float),
    Flag("--presence-penalty", "sampling.penalty_present", "penalty for presence (0.0: none)", float),
    Flag("--frequency-penalty", "sampling.penalty_freq", "penalty for frequency (0.0: none)", float),
    Flag("--repeat-last-n", "sampling.penalty_last_n", "tokens that count as repetition (64)", int),
    Flag("--typical --typical-p", "sampling.typ_p", "locally typical sampling (1.0: none)", float),
    Flag("--samplers", "sampling.samplers", "the samplers in their order, separated by semicolons", str),
    Flag("--jinja", "use_jinja", "render chats with a Jinja template (the default)"),
    Flag("--no-jinja", "use_jinja", "render chats with a built-in template", value=False),
    Flag("--chat-template", "chat_template", "a built-in template's name, such as chatml, or a template", str),
    Flag("--chat-template-file", "chat_template", "a file that holds the template", text_of),
    Flag(
        "--chat-template-kwargs",
        "default_template_kwargs",
        "the template's parameters, JSON",
        template_parameters,
    ),
    Flag("-rea --reasoning", "enable_reasoning", "think before answering: on, off or auto", one_of(REASONING)),
    Flag(
        "--reasoning-format",
        "reasoning_format",
        f"where thoughts go: {', '.join(REASONING_FORMAT)}",
        one_of(REASONING_FORMAT),
    ),
    Flag("--reasoning-budget", "sampling.reasoning_budget_tokens", "tokens of thought at most (-1: no limit)", int),
    Flag("-mm --mmproj", "mmproj.path", "the multimodal projector, a GGUF file", str),
    Flag("--no-mmproj-offload", "mmproj_use_gpu", "keep the projector on the CPU", value=False),
    Flag("--image-min-tokens", "image_min_tokens", "least tokens for an image", int),
    Flag("--image-max-tokens", "image_max_tokens", "most tokens for an image", int),
    Flag("--embedding --embeddings", "embedding", "serve /v1/embeddings; a chat model needs --pooling too"),
    Flag("--pooling", "pooling_type", "pooling of embeddings: none, mean, cls, last, rank", one_of(POOLING)),
    Flag("--rerank --reranking", "reranking", "serve /v1/rerank"),
    Flag("--slots", "endpoint_slots", "serve GET /slots (the default)"),
    Flag("--no-slots", "endpoint_slots", "do not serve GET /slots", value=False),
    Flag("--slot-save-path", "slot_save_path", "directory for saved prompt caches", directory),
    Flag("--metrics", "endpoint_metrics", "serve Prometheus metrics at /metrics"),
    Flag("--props", "endpoint_props", "allow changing properties with POST /props"),
    Flag("--api-key", "api_keys", "keys of which requests must carry one", comma_list, adds=True),
    Flag(
        "--cors-origins",
        "cors_origins",
        "web pages that may call this server (localhost, where llama-server says *)",
        str,
        default="localhost",
    ),
    Flag("--ui --webui", "ui", "serve llama.cpp's own web page (the default)"),
    Flag("--no-ui --no-webui", "ui", "do not serve it", value=False),
    Flag(
        "-md --model-draft --spec-draft-model",
        "speculative.draft.mparams.path",
        "draft model for speculative decoding",
        str,
    ),
    Flag("--draft-max --draft --draft-n --spec-draft-n-max", "speculative.draft.n_max", "tokens to draft at most", int),
    Flag("--draft-min --draft-n-min --spec-draft-n-min", "speculative.draft.n_min", "tokens to draft at least", int),
    Flag("--draft-p-min --spec-draft-p-min", "speculative.draft.p_min", "least probability of a draft", float),
    Flag(
        "-ngld --gpu-layers-draft --n-gpu-layers-draft --spec-draft-ngl",
        "speculative.draft.n_gpu_layers",
        "layers of the draft model on the GPU",
        one_of(GPU_LAYERS, or_number=True),
    ),
    Flag(
        "-ctkd --cache-type-k-draft --spec-draft-type-k",
        "speculative.draft.cache_type_k",
        "its K cache's type",
        one_of(CACHE_TYPE),
    ),
    Flag(
        "-ctvd --cache-type-v-draft --spec-draft-type-v",
        "speculative.draft.cache_type_v",
        "its V cache's type",
        one_of(CACHE_TYPE),
    ),
    Flag("-v --verbose --log-verbose", "verbosity", "log everything", value=99),
    Flag("-lv --verbosity --log-verbosity", "verbosity", "log up to this level (3)", int),
)
