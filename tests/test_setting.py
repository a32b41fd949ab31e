"""Runs of different presets do not mix, and figures say which one drew them."""

import pytest

from mmcl.setting import open_setting


def test_the_default_keeps_its_folder_and_other_presets_have_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("MMCL_BUILD", str(tmp_path))
    names = ("corrected", "paper", "paper+tile_crops")
    settings = [open_setting("demo", device="cpu", choices=name) for name in names]
    folders = [setting.run.folder.relative_to(tmp_path).as_posix() for setting in settings]
    assert folders == ["demo/simulated-seed0", "demo/simulated-seed0-paper", "demo/simulated-seed0-paper+tile_crops"]
    assert {setting.run.raw for setting in settings} == {settings[0].run.folder / "raw"}, "simulated once"
    assert len({setting.run.store for setting in settings}) == 3


def test_the_footer_names_another_preset_alone():
    assert "preset" not in open_setting("smoke", device="cpu").footer
    assert open_setting("smoke", device="cpu", choices="paper+tile_crops").footer.endswith("preset paper+tile_crops")


def test_an_unknown_choice_is_named():
    with pytest.raises(ValueError, match="unknown choice 'tile_crop'; expected one of round_kept_tokens"):
        open_setting("smoke", device="cpu", choices="paper+tile_crop")
