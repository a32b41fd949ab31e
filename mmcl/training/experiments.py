"""The experiments that `experiments.yaml` declares: what each arm is, and which of them a profile evaluates."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmcl.config import CHOICES, Preset, Profile, look_up, preset
from mmcl.setting import Setting
from mmcl.training.objectives import OBJECTIVES
from mmcl.unique_keys import UniqueKeys

FILE = Path(__file__).with_suffix(".yaml")

OF_THE_STORE = (
    "ecg.sampling_rate",
    "cmr.crop",
    "preset.crop_in_evaluation",
    "preset.whole_icd_list",
    "preset.centre_crop",
)
"""What decides the contents of a store, and so is the same for all arms of a run."""


RESERVED = ("random", "scratch", "cmr", "demographics")
"""Names in the grid of what is no pre-training."""


@dataclass(frozen=True)
class Arm:
    """One pre-training: an objective, the arm whose ECG encoder it starts from (None: random weights), its own numbers.

    `changes` are values by dotted name, of fields of the profile or as `preset.<choice>`, those that the start has
    included. `pairs`, a number or a share below 1, is how many training subjects are used; None for all. `seed` is
    added to that of the run, on the same subjects.
    """

    objective: str
    start: str | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    pairs: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Block:
    """Every one of `arms` in every one of `modes`."""

    arms: tuple[str, ...]
    modes: tuple[str, ...]


@dataclass(frozen=True)
class Experiments:
    """All `arms` by name, sections of them, the `grid` of each profile, and the arm that others are compared with."""

    arms: dict[str, Arm]
    sections: dict[str, tuple[str, ...]]
    grid: dict[str, tuple[Block, ...]]
    method: str


def read_experiments(path: Path) -> Experiments:
    """The content of a file like `experiments.yaml`; ValueError names the file, the entry and what was expected."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)  # a subclass of yaml.SafeLoader
        keys = {"method", "arms", "grid"}
        _expect(content, keys, keys, "the file")
        arms, sections = {name: Arm(name) for name in OBJECTIVES}, {}
        for section, entries in _mapping(content["arms"], "arms").items():
            for name, entry in _mapping(entries, f"section {section!r}").items():
                if any(name in names for names in sections.values()):
                    raise ValueError(f"arm {name!r} is there twice")
                _add(arms, name, entry)
            sections[section] = tuple(entries)
        if both := sections.keys() & arms.keys():
            raise ValueError(f"{min(both)!r} is the name of an arm and of a section")
        blocks = _mapping(content["grid"], "grid").items()
        grid = {name: tuple(_block(block, sections) for block in lines) for name, lines in blocks}
        look_up(arms, content["method"], "arm of `method`")
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return Experiments(arms, sections, grid, content["method"])


def stages(arm: str) -> tuple[str, ...]:
    """The arms that are trained for `arm`, itself the last; ValueError for an unknown arm."""
    return _stages(ARMS, arm)


def arm_setting(arm: str, setting: Setting) -> Setting:
    """`setting` with the numbers and choices of `arm`; as it is for one that is no pre-training, such as "random"."""
    numbers, choices = arm_numbers(arm, setting.profile, setting.preset)
    return dataclasses.replace(setting, profile=numbers, preset=choices)


def arm_numbers(arm: str, profile: Profile, choices: Preset) -> tuple[Profile, Preset]:
    """`profile` and preset with what `arm` changes of them; ValueError for an unknown name or a value of another kind.

    Applied twice it changes nothing more. The preset is then called after what differs: `corrected-tile_crops`.
    """
    name = choices.name
    for key, value in (ARMS[arm].changes if arm in ARMS else {}).items():
        where = f"arm {arm!r}, {key}"
        section, *path = key.split(".")
        if section != "preset":
            profile = _changed(profile, [section, *path], value, where)
        elif _same_kind(True, value, where) != getattr(choices, path[0]):
            name += f"{'+' if value else '-'}{path[0]}"
    return profile, choices if name == choices.name else preset(name)


def _add(arms: dict[str, Arm], name: str, entry: dict) -> None:
    """Add the arm that an entry of the file means, and the start of its own that it may need."""
    _check(arms, name, entry)
    objective, start = entry["objective"], entry.get("start")
    before = arms[start] if start else Arm(objective)
    changes, pairs = {**before.changes, **entry.get("set", {})}, entry.get("pairs", before.pairs)
    seed = entry.get("seed", before.seed)
    if start:
        start = _stage(arms, start, Arm(objective, None, changes, pairs, seed), name)
    arms[name] = Arm(objective, start, changes, pairs, seed)


def _check(arms: dict[str, Arm], name: str, entry: dict) -> None:
    """ValueError where an entry can be no arm, so far as can be told without a profile."""
    if not re.fullmatch(r"[A-Za-z0-9_+.]+", str(name)):
        raise ValueError(f"arm {name!r}; expected a name of letters, digits, and _ + .")
    if name in RESERVED:
        raise ValueError(f"arm {name!r}; expected another name than {', '.join(RESERVED)}, which the grid has already")
    where = f"arm {name!r}"
    _expect(entry, {"objective"}, {"objective", "start", "set", "pairs", "seed"}, where)
    objective, start, pairs = entry["objective"], entry.get("start"), entry.get("pairs")
    used = _sections(look_up(OBJECTIVES, objective, f"objective of {where}").objective)
    if start:
        before = look_up(arms, start, f"start of {where}, an arm above it,").objective
        if not all("ecg" in OBJECTIVES[each].fields for each in (objective, before)):
            raise ValueError(f"{where}: starts from {start!r}; expected that both have an ECG encoder")
        used |= _used(arms, start)
    if pairs is not None and not (type(pairs) is int and pairs > 0 or type(pairs) is float and 0 < pairs < 1):
        raise ValueError(f"{where}: pairs is {pairs!r}; expected a number of subjects, or a share below 1")
    if type(seed := entry.get("seed", 0)) is not int or seed < 0:
        raise ValueError(f"{where}: seed is {seed!r}; expected a whole number from 0 on")
    for key in _mapping(entry.get("set", {}), f"{where}: set"):
        section, _, rest = str(key).partition(".")
        if key in OF_THE_STORE:
            raise ValueError(f"{where}: {key} decides what a store holds; expected a run of its own for it (PRESET=)")
        if section == "preset":
            look_up(dict.fromkeys(CHOICES), rest, f"choice of {where},")
        elif section not in used:
            raise ValueError(f"{where}: {key} changes nothing of it; expected {', '.join(sorted(used))} or preset")


def _stage(arms: dict[str, Arm], start: str, arm: Arm, name: str) -> str:
    """The arm that is `start` with the pairs, the seed and those changes of `arm`, called `name`, that concern it: one
    that is there, or `<start>@<name>`, added.
    """
    concerned = _used(arms, start) | {"preset"}
    own = {key: value for key, value in arm.changes.items() if key.partition(".")[0] in concerned}
    further = arms[start].start
    if further is not None:
        further = _stage(arms, further, dataclasses.replace(arm, changes=own), name)
    wanted = Arm(arms[start].objective, further, own, arm.pairs, arm.seed)
    for other in (start, *arms):
        if arms[other] == wanted:
            return other
    arms[f"{start}@{name}"] = wanted
    return f"{start}@{name}"


def _stages(arms: dict[str, Arm], arm: str) -> tuple[str, ...]:
    start = look_up(arms, arm, "arm").start
    return (*(_stages(arms, start) if start else ()), arm)


def _sections(objective: str) -> set[str]:
    return {objective, *OBJECTIVES[objective].sizes, "compute"}


def _used(arms: dict[str, Arm], arm: str) -> set[str]:
    """Fields of a profile that are used in the training of `arm` and of those before it."""
    return set().union(*(_sections(arms[stage].objective) for stage in _stages(arms, arm)))


def _changed(numbers, path: list[str], value: object, where: str):
    """The dataclass `numbers` with the field at `path` set to `value`."""
    first, *rest = path
    fields = {each.name: getattr(numbers, each.name) for each in dataclasses.fields(numbers)}
    old = look_up(fields, first, f"number of {where},")
    if dataclasses.is_dataclass(old) != bool(rest):
        raise ValueError(f"{where}: {first!r} {'is one value' if rest else 'is a group; name one of its numbers'}")
    new = _changed(old, rest, value, where) if rest else _same_kind(old, value, where)
    return dataclasses.replace(numbers, **{first: new})


def _same_kind(old: object, value: object, where: str) -> object:
    """`value` in the type of `old`; a whole number may stand for a real one, a list for a tuple of such values."""
    if isinstance(old, tuple) and isinstance(value, list):
        return tuple(_same_kind(old[0], item, where) for item in value)
    if type(old) is float and type(value) is int:
        return float(value)
    if type(old) is not type(value):
        raise ValueError(f"{where}: {value!r} is of type {type(value).__name__}; expected one like {old!r}")
    return value


def _block(block: dict, sections: dict[str, tuple[str, ...]]) -> Block:
    keys = {field.name for field in dataclasses.fields(Block)}
    _expect(block, keys, keys, "a line of the grid")
    for key, names in block.items():
        if not isinstance(names, list):
            raise ValueError(f"a line of the grid: {key} is {names!r}; expected a list")
    arms = [arm for name in block["arms"] for arm in sections.get(name, (name,))]
    return Block(tuple(arms), tuple(block["modes"]))


def _expect(entry: object, needed: set[str], known: set[str], where: str) -> None:
    """ValueError unless `entry` is a mapping with the keys `needed`, and no others than `known`."""
    if not needed <= _mapping(entry, where).keys() <= known:
        further = f", perhaps {', '.join(sorted(known - needed))}" if known - needed else ""
        raise ValueError(f"{where}: found {', '.join(map(str, entry))}; expected {', '.join(sorted(needed))}{further}")


def _mapping(value: object, where: str) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}; expected names and values")
    return value


_DECLARED = read_experiments(FILE)
ARMS, GRID, METHOD = _DECLARED.arms, _DECLARED.grid, _DECLARED.method
"""Arms of pre-training by name; blocks of cells by profile; the arm that all others are compared with."""
