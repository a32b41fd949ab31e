"""Weight files of strangers: every layout loads, no code of theirs runs, and damage is told."""

import argparse
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmcl.models.weights import read_tensors


class _Payload:
    """Pickles to a call that leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(6, 4, generator=generator)
    return OrderedDict(a=whole, b=whole[:, 1:3], c=torch.arange(3), d=torch.randn(5, generator=generator).half())


def _equal(found, state):
    assert set(found) == set(state)
    for name, value in state.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_torch_files_come_out_as_they_were(tmp_path, state):
    state["e"] = torch.nn.Parameter(torch.ones(2, 2))
    torch.save(state, tmp_path / "x.pth")
    tensors, metadata = read_tensors(tmp_path / "x.pth")
    _equal(tensors, {**state, "e": torch.ones(2, 2)})
    assert metadata == {}
    tensors["a"].add_(1)  # a tensor of its own, not a view of the file or of another tensor
    assert torch.equal(tensors["b"], state["b"])


def test_the_old_format_and_safetensors_are_read_too(tmp_path, state):
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    _equal(read_tensors(tmp_path / "x.pth")[0], state)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "x.safetensors", {"heads": "4"})
    tensors, metadata = read_tensors(tmp_path / "x.safetensors")
    _equal(tensors, state)
    assert metadata == {"heads": "4"}


def test_options_and_paths_beside_the_weights_are_passed_over(tmp_path, state):
    options = argparse.Namespace(lr=1e-3, path=Path("a"), device=torch.device("cpu"), dtype=torch.float32)
    content = {"model": state, "args": options, "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}}
    torch.save(content, tmp_path / "x.pth")
    _equal(read_tensors(tmp_path / "x.pth")[0], {f"model.{name}": value for name, value in state.items()})


def test_code_in_a_file_never_runs(tmp_path, state):
    torch.save({"model": state, "x": _Payload(tmp_path / "trace")}, tmp_path / "x.pth")
    _equal(read_tensors(tmp_path / "x.pth")[0], {f"model.{name}": value for name, value in state.items()})
    assert not (tmp_path / "trace").exists()
    for name, old in (("old.pth", False), ("bare.pkl", None)):
        if old is None:
            (tmp_path / name).write_bytes(pickle.dumps(_Payload(tmp_path / "trace")))
        else:
            torch.save(_Payload(tmp_path / "trace"), tmp_path / name, _use_new_zipfile_serialization=False)
        with pytest.raises(ValueError, match=name):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_the_payload_would_have_run(tmp_path):
    pickle.loads(pickle.dumps(_Payload(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_told(tmp_path, state, kind, share):
    path = tmp_path / f"x.{kind}"
    if kind == "pth":
        torch.save(state, path)
    else:
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=rf"x\.{kind}: .*expected a safetensors file"):
        read_tensors(path)


def test_foreign_files_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.pth"):
        read_tensors(tmp_path / "none.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="page.pth: 22 bytes that begin"):
        read_tensors(tmp_path / "page.pth")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(ValueError, match="without one data.pkl"):
        read_tensors(tmp_path / "other.zip")
    torch.save({"epoch": 1}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match="holds no tensor"):
        read_tensors(tmp_path / "empty.pth")


def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path, state):
    torch.save({"a": torch.arange(4.0)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        for name, content in entries.items():
            # The size (4,) of the tensor becomes (9,); its storage still holds 4 numbers.
            archive.writestr(
                name, content.replace(b"K\x04\x85q", b"K\x09\x85q") if name.endswith("data.pkl") else content
            )
    with pytest.raises(ValueError, match="beyond its storage of 4"):
        read_tensors(tmp_path / "x.pth")


def test_a_few_bytes_cannot_ask_for_much_memory(tmp_path):
    torch.save({"a": torch.arange(4.0).as_strided((1 << 20, 1 << 20), (0, 0))}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="beyond its storage of 4"):
        read_tensors(tmp_path / "x.pth")


def test_a_checkpoint_of_this_project_has_metadata(tmp_path, state):
    facts = {"heads": 4, "leads": "12", "path": tmp_path, "rates": [1]}
    torch.save({"state_dict": state, "mmcl": facts}, tmp_path / "x.ckpt")
    tensors, metadata = read_tensors(tmp_path / "x.ckpt")
    assert set(tensors) == {f"state_dict.{name}" for name in state} and metadata == {"heads": "4", "leads": "12"}


def test_dictionaries_that_hold_each_other_many_times_are_refused(tmp_path):
    nested = {"t": torch.zeros(1)}
    for _ in range(60):
        nested = {"a": nested, "b": nested}
    torch.save(nested, tmp_path / "nested.pth")
    with pytest.raises(ValueError, match="entries"):
        read_tensors(tmp_path / "nested.pth")


def test_tensors_that_share_a_storage_to_fill_the_memory_are_refused(tmp_path):
    whole = torch.zeros(1000, 1000)
    torch.save({f"view{k}": whole.view(1000, 1000) for k in range(100)}, tmp_path / "shared.pth")
    with pytest.raises(ValueError, match="times the size"):
        read_tensors(tmp_path / "shared.pth")
    torch.save({"one": whole, "other": whole.T}, tmp_path / "tied.pth")
    assert read_tensors(tmp_path / "tied.pth")[0].keys() == {"one", "other"}
