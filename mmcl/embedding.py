"""One's own ECGs: a folder of WFDB records to a table of embeddings, predictions and quality flags.

The encoder is that of the run's MDM + MMCL arm, the predictions those of its linear probes. Nothing is lost: a
record that cannot be used has
its row, with the reason in place of numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.data.ecg_preprocessing import preprocess_ecg, reduce_sampling_rate
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_wfdb
from mmcl.data.signals import harmonise
from mmcl.provenance import write_text
from mmcl.setting import Setting
from mmcl.training.comparison import METHOD
from mmcl.training.features import ecg_encoder, ecg_features
from mmcl.training.probing import fitted_probe
from mmcl.training.tasks import TASKS

_BATCH = 256
"""Records held in memory at once."""


def embed_folder(folder: Path, output: Path, setting: Setting) -> dict[str, int]:
    """Write one row per WFDB header under `folder` (searched deeply) to the CSV `output`; counts "found" and "used".

    Columns: `record` (path within the folder), `used`, `flags` (quality, as in `mmcl.data.signals`), `reason` (why a
    record was left out: what was found and expected), `risk_<disease>` (probability at the prevalence of the training
    cohort), `phenotype_<name>` (its own unit), `embedding_<k>`. Risks and phenotypes are what the probes learnt on the
    run's cohort; for the simulated one they have no clinical meaning. ValueError when the folder holds no header.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected one with WFDB records")
    headers = sorted(folder.rglob("*.hea"))
    if not headers:
        raise ValueError(f"{folder}: holds no WFDB header; expected files *.hea with their signal files")
    encoder = ecg_encoder(METHOD, setting)
    probes = {task: fitted_probe(METHOD, task, setting.run) for task in TASKS}
    tables = []
    for start in range(0, len(headers), _BATCH):
        rows, signals = _read(headers[start : start + _BATCH], folder, setting.profile.ecg.sampling_rate)
        if signals:
            features = ecg_features(
                encoder, np.stack(signals), setting.profile.ecg.window, setting.preset, setting.device
            )
            used = rows.index[rows["used"]]
            rows = rows.join(pd.DataFrame(_predict(features, probes), index=used))
        tables.append(rows)
    table = pd.concat(tables, ignore_index=True)
    write_text(Path(output), table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return {"found": len(table), "used": int(table["used"].sum())}


def _read(headers: list[Path], folder: Path, sampling_rate: int) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """A row per header, and the preprocessed signals (12, samples) of those that can be used."""
    rows, signals = [], []
    for header in headers:
        row = {"record": header.relative_to(folder).with_suffix("").as_posix(), "used": True, "flags": "", "reason": ""}
        try:
            ecg = harmonise(read_wfdb(header, header.stem))
        except Unusable as unusable:
            found = unusable.rejection
            row |= {"used": False, "reason": f"{found.reason}: {found.value}, expected {found.expectation}"}
        else:
            row["flags"] = ";".join(ecg.flags)
            signals.append(reduce_sampling_rate(preprocess_ecg(ecg.signal[None])[0], sampling_rate))
        rows.append(row)
    return pd.DataFrame(rows), signals


def _predict(features: np.ndarray, probes: dict) -> dict[str, np.ndarray]:
    """Columns of predictions, then of the embedding itself."""
    columns = {}
    for task, fitted in probes.items():
        prefix = "risk" if task == "risk" else "phenotype"
        columns |= {
            f"{prefix}_{name}": column for name, column in zip(fitted.names, fitted.predict(features).T, strict=True)
        }
    return columns | {f"embedding_{k}": column for k, column in enumerate(features.T)}
