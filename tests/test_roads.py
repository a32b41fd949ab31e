"""A folder in each layout, by the shell commands of the README, to a store that a model is pre-trained on."""

import json

import pytest

from mmcl.__main__ import main
from mmcl.config import CohortConfig
from mmcl.data.store import Store
from mmcl.simulation.export import export_raw
from mmcl.simulation.layouts import export_layout

pytestmark = pytest.mark.slow
ARMS = {"ukb": "mdm", "ptbxl": "mdm", "cinc": "mdm", "acdc": "cmr_simclr", "mnms": "cmr_simclr", "mnms2": "cmr_simclr"}
TASKS = {"ukb": "phenotypes", "ptbxl": "superclasses", "cinc": "diagnoses", "acdc": "groups"}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    sizes = CohortConfig(train=48, validation=0, test=0, odds=(8.0, 8.0, 8.0), slices=8, frames=6, matrix=88)
    return export_raw(2, sizes, tmp_path_factory.mktemp("roads") / "raw", progress=False)


@pytest.mark.parametrize("layout", ARMS)
def test_from_a_folder_to_a_trained_model(raw, tmp_path, monkeypatch, capsys, layout):
    monkeypatch.setenv("MMCL_BUILD", str(tmp_path / "build"))
    folder = export_layout(layout, raw, tmp_path / layout)
    common = ["--profile", "smoke", "--cohort", layout, "--device", "cpu"]
    main(["preprocess", *common, "--raw", str(folder), "--workers", "1", "--strict"])
    run = tmp_path / "build" / "smoke" / f"{layout}-seed0"
    store = Store.open(run / "store")
    assert len(store) >= 48 and f"{len(store)} of {len(store)} used" in capsys.readouterr().out
    assert all(len(store.indices(split)) for split in ("train", "validation", "test"))
    main(["pretrain", ARMS[layout], *common])
    assert json.loads((run / "checkpoints" / ARMS[layout] / "finished.json").read_text())
    if layout in TASKS:
        main(["probe", ARMS[layout], *common, "--mode", "probe"])
        assert list((run / "predictions" / TASKS[layout]).glob(f"{ARMS[layout]}-probe-all-*.json"))
