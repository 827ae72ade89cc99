"""Files of strangers: every broken or hostile one is refused in a sentence, and none runs code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup.weights import archive

CURE = (
    "Pass a .safetensors file, a .pt or .pth written with torch.save(model.state_dict(), FILE), an .npz of arrays, or "
    "a Hugging Face folder."
)
CUT = "The file was cut short or is damaged: copy or download it again."
ANEW = "Write it anew with safetensors."
NO_JSON = "It is no safetensors file, or a damaged one."
SAVE = "Write one with: torch.save(model.state_dict(), FILE)"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tensorfile(header: Any, data: bytes = b"", *, name: str = "x.safetensors", length: int | None = None) -> str:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    Path(name).write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return name


def entry(shape: list[Any], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(path: str | Path) -> str:
    """The message, without what all share."""
    with pytest.raises(rectifier.RectifierValueError) as error:
        rectifier.check_weights(path)
    start = f"check_weights: `path` must be a file of weights; got {str(path)!r}: "
    assert str(error.value).startswith(start), str(error.value)
    return str(error.value).removeprefix(start)


TWO = {"a": entry([2, 2], 0, 16), "b": entry([2, 2], 8, 24)}
TENSORFILES: dict[str, tuple[Any, bytes, str]] = {
    "cut": ({"a": entry([2, 2], 0, 16)}, b"\0" * 9, f"'a' lies at bytes 0 to 16, and the file has 9 of numbers. {CUT}"),
    "beyond": (
        {"a": entry([1], 900, 904)},
        b"\0" * 4,
        f"'a' lies at bytes 900 to 904, and the file has 4 of numbers. {CUT}",
    ),
    "overlap": (TWO, b"\0" * 24, f"'b', from byte 8, overlaps the tensor before it. {ANEW}"),
    "gap": ({"a": entry([1], 4, 8)}, b"\0" * 8, f"'a', from byte 4, leaves a gap before it. {ANEW}"),
    "rest": ({"a": entry([1], 0, 4)}, b"\0" * 8, f"its tensors end at byte 4, and the file has 8 of numbers. {CUT}"),
    "size": (
        {"a": entry([3], 0, 4)},
        b"\0" * 4,
        f"'a' is F32 of shape (3,), which takes 12 bytes, and its offsets hold 4. {CUT}",
    ),
    "backwards": (
        {"a": entry([0], 8, 4, "BOGUS")},
        b"\0" * 8,
        f"'a' lies at bytes 8 to 4, and the file has 8 of numbers. {CUT}",
    ),
    "negative": (
        {"a": entry([-1], 0, 4)},
        b"\0" * 4,
        f"its header gives 'a' no usable dtype, shape and offsets. {ANEW}",
    ),
    "boolean": (
        {"a": entry([True], 0, 4)},
        b"\0" * 4,
        f"its header gives 'a' no usable dtype, shape and offsets. {ANEW}",
    ),
    "axes": ({"a": entry([1] * 65, 0, 4)}, b"\0" * 4, f"'a' has 65 axes; an array has 64 at most. {ANEW}"),
    "entry": ({"a": 7}, b"", f"its header says nothing usable of 'a'. {ANEW}"),
    "list": ([], b"", f"its header is no JSON object. {NO_JSON}"),
    "text": (b"hello there", b"", f"its header is not JSON. {NO_JSON}"),
    "not UTF-8": (b'{"\xff":1}', b"", f"its header is not JSON. {NO_JSON}"),
    "digits": (b'{"a":{"shape":[' + b"9" * 6000 + b"]}}", b"", f"its header is not JSON. {NO_JSON}"),
    "deep": (b'{"a":' + b"[" * 100_000, b"", f"its header is nested too deep. {CURE}"),
    "twice": (b'{"a":1,"a":2}', b"", f"its header names something twice. {ANEW}"),
    "no tensor": ({"__metadata__": {"format": "pt"}}, b"", f"it holds no tensor. {CURE}"),
}


@pytest.mark.parametrize("case", TENSORFILES)
def test_a_safetensors_file_that_breaks_the_format_is_refused_with_the_place(case: str) -> None:
    header, data, message = TENSORFILES[case]
    assert refused(tensorfile(header, data)) == message


def test_a_header_that_lies_about_its_length_is_not_read() -> None:
    for length in (1000, 2**63):
        message = f"its header claims {length} bytes, and 2 are left in the file. {CUT}"
        assert refused(tensorfile({}, length=length)) == message
    with Path("sparse.safetensors").open("wb") as file:  # as long as it claims, without a disk to hold it
        file.write(struct.pack("<Q", 2**37))
        file.truncate(2**38)
    assert (
        refused("sparse.safetensors") == f"its header claims {2**37} bytes; the format allows 100000000. Write it anew."
    )


def test_a_dtype_that_is_not_known_is_said_and_the_rest_is_read() -> None:
    header = {"a.weight": entry([2, 2], 0, 2, "F4"), "b.weight": entry([2, 2], 2, 18), "c": entry([9], 18, 20, "NEW")}
    record = rectifier.check_weights(tensorfile(header, b"\0" * 20))
    assert [(finding.kind, finding.site) for finding in record.findings] == [("closed", "b")]
    assert "not read, of a dtype or layout that is none of plain numbers: a.weight (F4), c (NEW)" in record.not_observed


def test_a_path_that_is_no_file_of_weights() -> None:
    for name in ("loop.safetensors", "nowhere.safetensors"):
        Path(name).symlink_to(name if name[0] == "l" else "gone")
    Path("device.safetensors").symlink_to("/dev/zero")
    os.mkfifo("pipe.safetensors")
    for name in ("empty.pt", "model.h5", "model.keras", "model.pkl", "model.foo", "model"):
        Path(name).write_bytes(b"" if name == "empty.pt" else b"xyz")
    endings = ".safetensors, .npz, .pt, .pth, .bin, .ckpt"
    assert refused("absent.safetensors") == "there is no such file. Check the path."
    assert refused("nowhere.safetensors") == "it is a link to a file that does not exist. Check the path."
    assert refused("loop.safetensors") == "it cannot be opened (OSError). Check the path."
    assert refused("device.safetensors") == f"it is neither a file nor a folder. {CURE}"
    assert refused("pipe.safetensors") == f"it is neither a file nor a folder. {CURE}"
    assert refused("empty.pt") == f"it is empty. {CURE}"
    assert refused("model.h5") == f"Keras's HDF5 files are not read yet. {CURE}"
    assert refused("model.keras") == f"Keras's files are not read yet. {CURE}"
    assert refused("model.pkl") == f"a pickle runs code when it is read, so it is not. {CURE}"
    assert refused("model.foo") == f"the ending '.foo' is none of {endings}. {CURE}"
    assert refused("model") == f"it has no ending. {CURE}"


# Code in files


class Exploit:
    """Unpickled, it would make a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, ("ran", "w")


def test_a_pickle_that_would_run_code_is_refused_and_runs_none() -> None:
    only = "only tensors, numbers and texts are unpickled, and it"
    torch.save({"a.weight": torch.ones(2, 2), "b": Exploit()}, "zip.pt")
    torch.save({"b": Exploit()}, "legacy.bin", _use_new_zipfile_serialization=False)
    Path("raw.pth").write_bytes(pickle.dumps(Exploit()))
    Path("raw.ckpt").write_bytes(pickle.dumps(Exploit(), protocol=2))
    np.savez("objects.npz", a=np.array([Exploit()], dtype=object))
    torch.save(nn.Linear(2, 2), "module.pt")
    with zipfile.ZipFile("script.pt", "w") as script:
        script.writestr("script/constants.pkl", b"")
    assert refused("zip.pt") == f"{only} asks for 'io.open'. {SAVE}"
    assert refused("legacy.bin") == f"{only} asks for 'io.open'. {SAVE}"
    assert refused("raw.pth").startswith(only)
    assert refused("raw.ckpt").startswith(only)
    assert refused("module.pt") == f"{only} asks for 'torch.nn.modules.linear.Linear'. {SAVE}"
    assert refused("script.pt") == f"it is a TorchScript program, which is code. {SAVE}"
    assert refused("objects.npz") == f"'a' holds Python objects, which are never unpickled. {CURE}"
    assert not Path("ran").exists()
    pickle.loads(Path("raw.pth").read_bytes()).close()  # the exploit is one
    assert Path("ran").exists()


def test_archives_that_would_fill_the_memory_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "ALWAYS_FINE", 1 << 20)
    np.savez_compressed("bomb.npz", a=np.zeros(2**21, np.float32))
    size = Path("bomb.npz").stat().st_size
    assert size < 10_000
    assert refused("bomb.npz") == f"its {size} bytes would unpack to {2**23 + 128}. Such a file is no weights file."
    torch.save({"a.weight": torch.zeros(500, 500)}, "plain.pt")
    with zipfile.ZipFile("plain.pt") as plain, zipfile.ZipFile("packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    assert refused("packed.pt") == f"its archive is compressed, as torch.save never does. {SAVE}"


def test_a_tensor_that_claims_to_be_larger_than_what_is_stored_of_it_is_not_read() -> None:
    torch.save({"a.weight": torch.zeros(1).expand(10**6, 10**6), "b.weight": torch.eye(2)}, "wide.pt")
    record = rectifier.check_weights("wide.pt")
    assert not record.findings
    assert "not read, of a dtype or layout that is none of plain numbers: a.weight (float32)" in record.not_observed


def test_damaged_archives_and_what_holds_no_state_dict() -> None:
    torch.save({"a.weight": torch.zeros(50, 50)}, "whole.pt")
    Path("cut.pt").write_bytes(Path("whole.pt").read_bytes()[:3000])
    Path("text.pt").write_text("hello", encoding="utf-8")
    torch.save([1, 2], "list.pt")
    torch.save({"epoch": 3}, "epoch.pt")
    np.savez("whole.npz", a=np.zeros((50, 50)))
    damaged = bytearray(Path("whole.npz").read_bytes())
    damaged[300:340] = b"\xff" * 40
    Path("damaged.npz").write_bytes(damaged)
    Path("text.npz").write_text("hello", encoding="utf-8")
    assert refused("cut.pt") == f"PyTorch cannot read it (RuntimeError). {SAVE}"
    assert refused("text.pt").startswith("PyTorch cannot read it (")
    assert refused("list.pt") == f"it holds a list without a state dict of names to tensors. {SAVE}"
    assert refused("epoch.pt") == f"it holds a dict without a state dict of names to tensors. {SAVE}"
    assert refused("damaged.npz") == f"'a' is damaged (BadZipFile). {CURE}"
    assert refused("text.npz") == f"it is no archive that NumPy wrote, or a damaged one (BadZipFile). {CURE}"


def test_a_state_dict_inside_of_a_checkpoint_is_found_whatever_its_format() -> None:
    layer = nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight[1] = 0.0
        layer.bias[1] = -1.0
    for key, dtype in (("state_dict", torch.float32), ("model_state_dict", torch.bfloat16), ("model", torch.float16)):
        state = {name: value.to(dtype) for name, value in layer.state_dict().items()}
        for zipped in (True, False):
            torch.save({"epoch": 3, key: state}, "c.ckpt", _use_new_zipfile_serialization=zipped)
            (finding,) = rectifier.check_weights("c.ckpt").findings
            assert (finding.kind, finding.units) == ("closed", (1,))


# Folders


def folder(name: str, **files: Any) -> Path:
    path = Path(name)
    path.mkdir()
    for file, text in files.items():
        (path / file.replace("__", ".")).write_text(
            text if isinstance(text, str) else json.dumps(text), encoding="utf-8"
        )
    return path


def test_folders_without_weights_or_with_an_index_that_leads_out_of_them() -> None:
    tensorfile({"a": entry([1], 0, 4)}, b"\0" * 4, name="outside.safetensors")
    looked = "Weights are looked for as model.safetensors, pytorch_model.bin."
    assert refused(folder("none")) == f"a folder without weights (it is empty). {looked}"
    assert refused(folder("text", readme__md="x")) == f"a folder without weights (it holds readme.md). {looked}"
    two = folder("two")
    for name in ("a", "b"):
        shutil.copy("outside.safetensors", two / f"{name}.safetensors")
    assert refused(two) == "a folder with several files of weights (a.safetensors, b.safetensors). Pass one of them."
    for number, (weight_map, message) in enumerate(
        (
            ("{", "it is no JSON that can be read. Download it again."),
            ({}, "it is no index of weights: it has no weight_map of names to files. Download it again."),
            (
                {"weight_map": {"a": "../outside.safetensors"}},
                "it names '../outside.safetensors', which is no file of this folder. Do not use it.",
            ),
        )
    ):
        index = (
            folder(f"index{number}", **{"model__safetensors__index__json": weight_map}) / "model.safetensors.index.json"
        )
        with pytest.raises(rectifier.RectifierValueError) as error:
            rectifier.check_weights(index.parent)
        assert str(error.value) == f"check_weights: `path` must be a file of weights; got {str(index)!r}: {message}"
    missing = folder("missing", **{"model__safetensors__index__json": {"weight_map": {"a": "m-1.safetensors"}}})
    assert refused(missing) == "'m-1.safetensors', which its index names, is missing. Download it again."
    lost = folder("lost", **{"model__safetensors__index__json": {"weight_map": {"z\x1b": "m.safetensors"}}})
    shutil.copy("outside.safetensors", lost / "m.safetensors")
    assert refused(lost) == r"its index names tensors that are in no file: z\x1b. Download it again."


def test_a_folder_of_several_files_is_one_model_and_a_broken_config_is_no_obstacle() -> None:
    path = folder(
        "model",
        config__json='{"model_type"',
        **{"model__safetensors__index__json": {"weight_map": {"a.weight": "1.safetensors", "a.bias": "2.safetensors"}}},
    )
    tensorfile({"a.weight": entry([2, 1], 0, 8)}, struct.pack("<2f", 0, 1), name="model/1.safetensors")
    tensorfile({"a.bias": entry([2], 0, 8)}, struct.pack("<2f", -1, 1), name="model/2.safetensors")
    record = rectifier.check_weights(path)
    assert [(finding.kind, finding.units) for finding in record.findings] == [("closed", (0,))]
    assert record.not_observed[0] == "config.json is no JSON: the structure is taken from names and shapes alone"


def test_a_folder_that_transformers_wrote(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers.models.opt")
    torch.manual_seed(0)
    config = transformers.OPTConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=2,
        ffn_dim=16,
        num_attention_heads=2,
        max_position_embeddings=8,
        word_embed_proj_dim=8,
    )
    model = transformers.OPTForCausalLM(config)
    with torch.no_grad():
        for layer in (model.model.decoder.layers[1].fc1, model.model.decoder.layers[1].self_attn.q_proj):
            layer.weight[3] = 0.0
            layer.bias[3] = -0.1
    model.save_pretrained(tmp_path / "opt", max_shard_size="4KB")
    assert len(list((tmp_path / "opt").glob("*.safetensors"))) > 1
    record = rectifier.check_weights(tmp_path / "opt")
    assert [(f.kind, f.site, f.units) for f in record.findings] == [("dead", "model.decoder.layers.1.fc1", (3,))]
    tokens = torch.randint(20, (8, 8))
    ran = rectifier.check(model, [tokens])
    units = {unit for finding in ran.of("dead", "silent") if "layers.1" in finding.site for unit in finding.units}
    assert 3 in units


# Names

NAMES = (
    "\x1b[31mred\x07\x9b2J",
    "a\nb\r\tc\0",
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "[bold red]x[/bold red]",
    "\u202eevil\u2066",
    "\ud800half",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 10_000_000,
)


def of_names(path: str = "names.safetensors") -> str:
    header = {f"{name}.weight": entry([2, 2], 16 * i, 16 * i + 16) for i, name in enumerate(NAMES)}
    return tensorfile(header, b"\0" * 16 * len(NAMES), name=path)


def test_no_name_reaches_a_record_with_a_character_that_is_not_printed() -> None:
    record = rectifier.check_weights(of_names())
    assert len(record.findings) == len(NAMES)
    text = record.to_json()
    assert text.isascii() and len(text) < 100_000
    for finding in record.findings:
        assert finding.site.isprintable() and len(finding.site) < 200
    assert r"\x1b[31mred\x07\x9b2J" in {finding.site for finding in record.findings}


def test_names_that_are_shown_alike_stay_apart() -> None:
    header = {"\x1b.weight": entry([1, 1], 0, 4), "\\x1b.weight": entry([1, 1], 4, 8)}
    record = rectifier.check_weights(tensorfile(header, struct.pack("<2f", 0, 0)))
    names = [finding.site for finding in record.findings]
    assert len(names) == 2 and len(set(names)) == 2, names
