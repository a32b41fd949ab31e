"""Prediction files: round trip, checks, atomicity."""

import numpy as np
import pytest

from mmcl.evaluation.predictions import Predictions, load_predictions, save_predictions


@pytest.fixture
def predictions() -> Predictions:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(5, 2))
    truth[1, 0] = np.nan
    return Predictions(np.array(["a", "b", "c", "d", "e"]), ("LVM", "LVEF"), truth, generator.normal(size=(5, 2)))


def test_round_trip_keeps_values_and_missing_labels(predictions, tmp_path):
    save_predictions(tmp_path / "new" / "test.npz", predictions)
    back = load_predictions(tmp_path / "new" / "test.npz")
    assert back.names == predictions.names and (back.subject == predictions.subject).all()
    np.testing.assert_array_equal(back.truth, predictions.truth)
    np.testing.assert_array_equal(back.score, predictions.score)


def test_same_predictions_give_the_same_bytes(predictions, tmp_path):
    for name in ("one.npz", "two.npz"):
        save_predictions(tmp_path / name, predictions)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_failed_write_leaves_the_old_file_and_no_part(predictions, tmp_path, monkeypatch):
    save_predictions(tmp_path / "test.npz", predictions)
    before = (tmp_path / "test.npz").read_bytes()

    def broken(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)
    with pytest.raises(OSError, match="disk full"):
        save_predictions(tmp_path / "test.npz", predictions)
    assert (tmp_path / "test.npz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["test.npz"]


def test_matched_orders_rows_and_names_the_absent(predictions):
    back = predictions.matched(np.array(["d", "a"]))
    np.testing.assert_array_equal(back.score, predictions.score[[3, 0]])
    with pytest.raises(ValueError, match="'z'"):
        predictions.matched(np.array(["z"]))


def test_select_picks_columns_and_names_the_unknown(predictions):
    np.testing.assert_array_equal(predictions.select(["LVEF"]).score[:, 0], predictions.score[:, 1])
    with pytest.raises(ValueError, match="RVEF"):
        predictions.select(["RVEF"])


def test_bad_contents_are_refused(predictions, tmp_path):
    score = predictions.score.copy()
    score[2, 1] = np.nan
    with pytest.raises(ValueError, match="LVEF for subject 'c'"):
        Predictions(predictions.subject, predictions.names, predictions.truth, score)
    with pytest.raises(ValueError, match="'a' has more than one"):
        Predictions(np.array(list("aacde")), predictions.names, predictions.truth, predictions.score)
    np.savez(tmp_path / "odd.npz", subject=predictions.subject)
    with pytest.raises(ValueError, match="odd.npz: no names, score, truth"):
        load_predictions(tmp_path / "odd.npz")


def test_pickled_arrays_are_refused(tmp_path):
    arrays = {name: np.array([{"x": 1}], dtype=object) for name in ("subject", "names", "truth", "score")}
    np.savez(tmp_path / "pickle.npz", **arrays)
    with pytest.raises(ValueError, match="allow_pickle"):
        load_predictions(tmp_path / "pickle.npz")
