"""Random configurations, and changes of them."""

from __future__ import annotations

import random

from attrs import evolve

from llama_swap.config.model import Config, Group, Matrix, ModelConfig, Routing

NAMES = "abcdefg"
FIRST_PORT = 9000
LONGEST_UNLOAD = 10


def make(dice: random.Random) -> Config:
    """Return a configuration."""
    names = dice.sample(NAMES, dice.randint(2, len(NAMES)))
    return _around(dice, {name: _model(dice, name) for name in names})


def changed(dice: random.Random, config: Config) -> Config:
    """Return another one, like it in most."""
    models = dict(config.models)
    kind = dice.randrange(6)
    if kind == 0:
        return evolve(config)
    for name in dice.sample(sorted(models), min(len(models), dice.randint(0, 2))):
        if kind == 1 and len(models) > 1:
            del models[name]
        elif kind == 2:
            models[name] = evolve(models[name], ttl=dice.choice((0, 3, 60)), concurrency_limit=dice.choice((1, 3, 10)))
        else:
            models[name] = _model(dice, name)
    if kind == 3:
        for name in dice.sample(NAMES, 2):
            models.setdefault(name, _model(dice, name))
    if kind in (1, 3, 4) or dice.random() < 0.2:
        return _around(dice, models)
    return evolve(config, models=models)


def must_not_meet(config: Config, one: str, other: str) -> bool:
    """Whether each of two models goes for the other one, whoever asks, but for profiles."""
    if config.models[one].address == config.models[other].address if other in config.models else False:
        return True
    routing = config.routing
    persistent = {name for group in routing.groups.values() if group.persistent for name in group.members}
    for members in map(set, config.profiles.values()):
        if {one, other} & members and {one, other} <= members | persistent:
            return False
    if routing.matrix is not None:
        return not any({one, other} <= together for together in routing.matrix.combinations)
    return _goes(routing, one, other) and _goes(routing, other, one)


def _goes(routing: Routing, model: str, for_: str) -> bool:
    def group_of(name: str) -> str | None:
        return next((key for key, group in routing.groups.items() if name in group.members), None)

    theirs, own = group_of(for_), group_of(model)
    alone = Group()
    if theirs == own:
        return routing.groups.get(theirs or "", alone).swap
    return routing.groups.get(theirs or "", alone).exclusive and not routing.groups.get(own or "", alone).persistent


def _model(dice: random.Random, name: str) -> ModelConfig:
    port = FIRST_PORT + (NAMES.index(name) if dice.random() < 0.9 else dice.randrange(3))
    return ModelConfig(
        id=name,
        cmd=("sh", "serve", name, str(port), str(dice.randrange(3))),
        cmd_stop=("sh", "stop", "${PID}") if dice.random() < 0.2 else (),
        proxy=f"http://127.0.0.1:{port}",
        check_endpoint="/health" if dice.random() < 0.8 else None,
        ttl=dice.choice((0, 0, 1, 5, 60)),
        unload_timeout=dice.choice((1, LONGEST_UNLOAD)),
        concurrency_limit=dice.choice((1, 2, 10, 50)),
    )


def _around(dice: random.Random, models: dict[str, ModelConfig]) -> Config:
    names = sorted(models)
    groups: dict[str, Group] = {}
    matrix = None
    if dice.random() < 0.3:
        matrix = Matrix(
            combinations=tuple(frozenset(_some(dice, names)) for _ in range(dice.randint(1, 4))),
            evict_costs={name: dice.randint(1, 5) for name in _some(dice, names)},
        )
    elif dice.random() < 0.7:
        left = dice.sample(names, len(names))
        for number in range(dice.randint(1, 3)):
            members, left = left[: (size := dice.randint(1, 3))], left[size:]
            flags = {flag: dice.random() < 0.5 for flag in ("swap", "exclusive", "persistent")}
            groups[f"g{number}"] = Group(members=tuple(members), **flags)
    profiles = {}
    if dice.random() < 0.5:
        profiles = {f"p{number}": tuple(sorted(_some(dice, names))) for number in range(dice.randint(1, 2))}
    priority = {name: dice.randint(-1, 2) for name in _some(dice, names)} if dice.random() < 0.3 else {}
    return Config(
        models=models,
        profiles=profiles,
        routing=Routing(groups=groups, matrix=matrix, priority=priority),
        preload=tuple(_some(dice, names)) if dice.random() < 0.3 else (),
        max_wait=dice.choice((0.0, 2.0, 10.0)),
    )


def _some(dice: random.Random, names: list[str]) -> list[str]:
    return dice.sample(names, dice.randint(1, min(4, len(names))))
