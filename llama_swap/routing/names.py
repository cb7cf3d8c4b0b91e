"""From the name that a client writes to the model that serves it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from llama_swap.config.model import Config
from llama_swap.errors import NotFound
from llama_swap.scheduling.commands import Target


@frozen
class Names:
    """Everything a client may call a model."""

    config: Config
    _ids: Mapping[str, str] = field(init=False)

    @_ids.default
    def _(self) -> dict[str, str]:
        aliases = {alias: model.id for model in self.config.models.values() for alias in model.aliases}
        return aliases | {model: model for model in self.config.models}

    def model_id(self, name: str) -> str | None:
        """Return the id of the model that has `name` as id or alias."""
        return self._ids.get(name)

    def find(self, name: str) -> Target | None:
        """Return what `name` asks for: an id or alias, or else `PROFILE:MODEL`; None if it is neither.

        @raise NotFound: it names a profile, but no member of it.
        """
        if (whole := self._ids.get(name)) is not None:
            return Target(whole)
        profile, colon, member = name.partition(":")
        members = self.config.profiles.get(profile) if colon else None
        if members is None:
            return None
        model = self._ids.get(member)
        if model not in members:
            raise NotFound(f"model {member!r} is not part of profile {profile!r}, which has {', '.join(members)}")
        return Target(model, profile)

    def resolve(self, name: str) -> Target:
        """Return what `name` asks for.

        @raise NotFound: nothing goes by that name.
        """
        target = self.find(name)
        if target is None:
            raise NotFound(f"no model {name!r} here; GET /v1/models lists what there is")
        return target

    def upstream_name(self, name: str, target: Target) -> str:
        """Return what the upstream of `target` is told as `model`, where the client wrote `name`."""
        return self.config.models[target.model].use_model_name or (
            name if target.profile is None else name.partition(":")[2]
        )
