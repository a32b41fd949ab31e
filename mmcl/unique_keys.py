"""YAML in which a key that is there twice is an error."""

from __future__ import annotations

import yaml


class UniqueKeys(yaml.SafeLoader):
    """A safe loader for which a key that is there twice is an error, where YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := [key for k, key in enumerate(keys) if key in keys[:k]]:
            raise ValueError(f"key {repeated[0]!r} is there twice")
        return super().construct_mapping(node, deep)
