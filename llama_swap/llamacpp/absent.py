"""Flags of llama-server that `llama-swap-llamacpp` does not have, with what to do instead.

Without this table, `-hf` would only be reported as unknown.
"""

from __future__ import annotations

DOWNLOAD = "downloads are not supported here; download the file and give it with {}"
ONE_MODEL = "this serves one model: write the others into llama-swap's configuration"
DEVICES = "devices cannot be chosen here by name: say CUDA_VISIBLE_DEVICES=… or the like in the model's env"
OUTPUT = "what it prints goes to stderr as it is, and so to llama-swap's logs"
OWN = "only llama.cpp's own llama-server has it"
ANYWAY = "that is so anyway; leave it out"

_ABSENT = {
    "-hf -hfr --hf-repo -hff --hf-file -hft --hf-token -mu --model-url -dr --docker-repo": DOWNLOAD.format("-m"),
    "--fim-qwen-7b-spec --fim-qwen-14b-spec": DOWNLOAD.format("-m and -md"),
    "-hfd -hfrd --hf-repo-draft --spec-draft-hf": DOWNLOAD.format("-md"),
    "-mmu --mmproj-url --mmproj-auto": DOWNLOAD.format("--mmproj"),
    "--no-mmproj --no-mmproj-auto": "there is no projector where none is given with --mmproj; leave it out",
    "--offline": "nothing is downloaded here; leave it out",
    "--models-dir --models-preset --models-max --models-autoload --no-models-autoload": ONE_MODEL,
    "-dev --device --list-devices -devd --device-draft --spec-draft-device -mmdev --mmproj-device": DEVICES,
    "--log-file --log-disable --log-colors --log-prefix --no-log-prefix --log-timestamps --no-log-timestamps": OUTPUT,
    "-dt --defrag-thold": "llama.cpp does not heed it any more; leave it out",
    "--repack --op-offload --mmproj-offload": ANYWAY,
    "-e --escape --no-escape": "it is about prompts on the command line, where there are none; leave it out",
    "--rpc --override-kv --control-vector --control-vector-scaled -fitt --fit-target -cd --ctx-size-draft": OWN,
    "-to --timeout --api-key-file --ssl-key-file --ssl-cert-file --path --api-prefix --tools --spec-type": OWN,
    "--grammar --grammar-file --mirostat --dry-multiplier --logit-bias --ignore-eos --reasoning-effort": OWN,
    "--prio --poll -C --cpu-mask --perf --no-perf -nr --no-repack --no-op-offload --no-host --lazy-mode": OWN,
    "-sp --special --media-path --sampler-seq --dry-penalty-last-n --reasoning-budget-message --spec-default": OWN,
    "-td --threads-draft --spec-draft-threads -tbd --threads-batch-draft --spec-draft-threads-batch": OWN,
    "--spec-draft-cpu-mask --spec-draft-cpu-range --spec-draft-prio --spec-draft-poll --poll-draft": OWN,
    "-cmoed --cpu-moe-draft --spec-draft-cpu-moe -ncmoed --n-cpu-moe-draft --spec-draft-n-cpu-moe": OWN,
    "--spec-draft-ncmoe -otd --override-tensor-draft --spec-draft-override-tensor --spec-draft-p-split": OWN,
    "--spec-draft-sampling --check-tensors": OWN,
}

ABSENT = {name: why for names, why in _ABSENT.items() for name in names.split()}
"""From each spelling of a flag to the advice."""


def why_absent(flag: str) -> str | None:
    """Return advice about a flag that only llama-server has, or None if it is not known to have it either."""
    if flag in ABSENT:
        return ABSENT[flag]
    if flag.startswith("--") and flag.endswith("-default"):  # such as --gpt-oss-20b-default, which downloads a model
        return DOWNLOAD.format("-m")
    return None
