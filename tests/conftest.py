"""Fixtures shared by all tests."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def key_of_its_own(tmp_path_factory):
    """Pseudonyms of restricted cohorts are made with a key of the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCL_KEY", str(tmp_path_factory.mktemp("key") / "identifiers.key"))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of conformance numbers and real recordings beside the repository; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder `shared` (conformance numbers, real recordings) beside the repository")
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """A run folder whose store holds 40 random subjects in the smoke profile's shapes; some labels are missing."""
    import numpy as np
    import pandas as pd

    from mmcl.data.store_writer import StoreWriter
    from mmcl.paths import Run
    from mmcl.phenotypes import PHENOTYPES
    from mmcl.profiles import profile

    patch = pytest.MonkeyPatch()
    patch.setenv("MMCL_BUILD", str(tmp_path_factory.mktemp("build")))
    run, sizes = Run("smoke"), profile("smoke")
    random = np.random.default_rng(0)
    n, side = 40, sizes.cmr.crop
    names = [phenotype.name for phenotype in PHENOTYPES]
    table = pd.DataFrame(random.normal(50, 10, (n, len(names))), columns=names)
    table = table.mask(random.random(table.shape) < 0.1)
    people = pd.DataFrame(
        {
            "subject": [f"sub{k:03d}" for k in range(n)],
            "visit": "2",
            "split": ["train"] * 24 + ["validation"] * 8 + ["test"] * 8,
            "flags": "",
            "age": random.uniform(45, 80, n),
            "sex": np.arange(n) % 2,
            "height": random.normal(1.7, 0.1, n),
            "weight": random.normal(75, 10, n),
            "bsa": random.normal(1.85, 0.2, n),
            "systolic": random.normal(135, 15, n),
            "CAD": np.arange(n) % 2,
            "AF": np.arange(n) // 2 % 2,
            "DM": np.arange(n) % 4 == 0,
        }
    ).astype({"DM": int})
    people["ecg_heart_rate"] = random.normal(65, 10, n)
    people["ecg_sokolow_lyon"] = random.normal(2.3, 0.6, n)
    shapes = {"ecg": (12, sizes.ecg.record), "cmr": (3, side, side)}
    with StoreWriter(run.store, shapes, {"source": "test"}) as writer:
        writer.append(
            pd.concat([people, table], axis=1),
            ecg=random.standard_normal((n, *shapes["ecg"])),
            cmr=random.integers(0, 256, (n, *shapes["cmr"])),
        )
    yield run
    patch.undo()


@pytest.fixture
def own_setting(smoke_run, tmp_path, monkeypatch):
    """The setting of a run of its own that shares the store of `smoke_run`."""
    from mmcl.setting import open_setting

    store = smoke_run.store
    monkeypatch.setenv("MMCL_BUILD", str(tmp_path))
    new = open_setting("smoke", device="cpu")
    new.run.folder.mkdir(parents=True)
    new.run.store.symlink_to(store)
    return new
