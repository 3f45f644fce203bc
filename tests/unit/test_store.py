"""The stage store: keys, atomic writes, locks between processes, full disks."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.errors import UserError
from unteach.registry import Runtime, Settings
from unteach.store import MARKER, StageKey, Store, explain_os_error, write_atomically

WRITER = """
import sys, time
from pathlib import Path
from unteach.store import StageKey, Store
root, what = Path(sys.argv[1]), sys.argv[2]
store, key = Store(root / "store"), StageKey("learn", 1, {"lr": 0.1})
with store.writing(key) as folder:
    if folder is None:
        print("found", flush=True)
    else:
        (folder / "half.txt").write_text("half")
        with (root / "computed").open("a") as log:
            log.write(".")
        print("writing", flush=True)
        if what == "hang":
            time.sleep(60)
        time.sleep(0.5)
        (folder / "whole.txt").write_text("whole")
"""


class Part(Settings):
    lr: float = 0.1
    names: tuple[str, ...] = ("a",)
    speed: Annotated[int, Runtime()] = 1


class Whole(Settings):
    part: Part = Part()
    parts: tuple[Part, ...] = (Part(),)
    threads: Annotated[int, Runtime()] = 1


def key(version=1, kind="learn", inputs=None, **values):
    return StageKey(kind, version, values or {"lr": 0.1}, inputs or {})


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def start_writer(root, what):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), what], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_digest_is_sixteen_hex_digits_and_the_same_in_another_process():
    code = "from unteach.store import StageKey; print(StageKey('learn', 1, {'b': [1, 'ü'], 'a': None}).digest)"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    here = StageKey("learn", 1, {"a": None, "b": [1, "ü"]}).digest
    assert other.stdout.strip() == here
    assert len(here) == 16 and set(here) <= set("0123456789abcdef")


def test_digest_is_the_sha256_of_the_canonical_json():
    # printf '{"inputs":{},"kind":"k","settings":{"a":1},"version":2}' | sha256sum
    assert StageKey("k", 2, {"a": 1}).digest == "17e158c226b22f83"


def test_order_of_settings_and_inputs_makes_no_difference():
    one, two = key(lr=1), key(lr=2)
    assert key(a=1, b=2).digest == key(b=2, a=1).digest
    assert key(inputs={"x": one, "y": two}).digest == key(inputs={"y": two, "x": one}).digest


def test_digest_changes_with_everything_that_decides_the_result():
    one, two = key(lr=1), key(lr=2)
    variants = [
        key(),
        key(version=2),
        key(kind="ask"),
        key(lr=0.2),
        key(lr="0.1"),
        key(lr=None),
        key(lr=0.1, more=None),
        key(inputs={"x": one}),
        key(inputs={"x": two}),
        key(inputs={"y": one}),
        key(inputs={"x": one, "y": two}),
        key(inputs={"x": two, "y": one}),
        key(inputs={"x": key(lr=1, version=2)}),
    ]
    assert len({variant.digest for variant in variants}) == len(variants)


def test_digest_follows_a_change_deep_in_the_inputs():
    def chain(lr):
        return key(kind="judge", inputs={"ask": key(kind="ask", inputs={"model": key(lr=lr)})})

    assert chain(0.1).digest == chain(0.1).digest
    assert chain(0.1).digest != chain(0.2).digest


@pytest.mark.parametrize(
    "changed",
    [
        Whole(part=Part(lr=0.2)),
        Whole(part=Part(names=("b",))),
        Whole(part=Part(names=("a", "b"))),
        Whole(parts=(Part(), Part())),
        Whole(parts=(Part(lr=0.2),)),
    ],
)
def test_any_identity_setting_changes_the_key(changed):
    assert key(**changed.identity()).digest != key(**Whole().identity()).digest


@pytest.mark.parametrize(
    "changed", [Whole(threads=9), Whole(part=Part(speed=9)), Whole(parts=(Part(speed=9),), threads=2)]
)
def test_runtime_settings_leave_the_key_alone(changed):
    assert key(**changed.identity()).digest == key(**Whole().identity()).digest


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.dictionaries(st.text(max_size=5), values))
def test_keys_agree_exactly_when_their_json_does(one, two):
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (StageKey("k", 1, one).digest == StageKey("k", 1, two).digest) == same


def test_a_finished_stage_has_its_files_and_its_marker(tmp_path):
    store, made = Store(tmp_path), key(lr=0.5, inputs={"model": key()})
    assert not store.is_done(made)
    with store.writing(made, amount=7) as folder:
        assert folder is not None and list(folder.iterdir()) == []
        assert not store.is_done(made) and not store.folder(made).exists()
        (folder / "a.txt").write_text("a")
    assert store.is_done(made)
    assert store.folder(made) == tmp_path / "learn" / made.digest
    assert visible(store.folder(made)) == ["a.txt", MARKER]
    marker = store.marker(made)
    assert marker["key"] == made.as_dict() and marker["amount"] == 7
    assert marker["key"]["inputs"] == {"model": key().digest}
    assert 0 <= marker["seconds"] < 60
    assert list(store.markers("learn")) == [marker]
    assert list(store.markers("ask")) == []
    assert visible(tmp_path / "learn") == [made.digest]


def test_a_finished_stage_is_not_written_again(tmp_path):
    store = Store(tmp_path)
    with store.writing(key()) as folder:
        (folder / "a.txt").write_text("first")
    with store.writing(key()) as again:
        assert again is None
    assert (store.folder(key()) / "a.txt").read_text() == "first"


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(3), UserError("x")])
def test_nothing_is_kept_if_the_body_raises(tmp_path, error):
    store = Store(tmp_path)

    def fail():
        with store.writing(key()) as folder:
            (folder / "a.txt").write_text("half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert not store.is_done(key())
    assert visible(tmp_path / "learn") == []
    with store.writing(key()) as folder:
        assert list(folder.iterdir()) == []
    assert store.is_done(key())


def test_an_os_error_of_the_body_comes_out_as_it_was(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"), Store(tmp_path).writing(key()) as folder:
        (folder / "missing").read_text()


def test_an_os_error_of_the_body_is_not_its_own_cause(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, Store(tmp_path).writing(key()) as folder:
        (folder / "missing").read_text()
    assert caught.value.__cause__ is not caught.value


def test_a_permission_error_elsewhere_does_not_blame_the_store(tmp_path):
    with pytest.raises(PermissionError), Store(tmp_path).writing(key()):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/model.safetensors")


def test_a_full_disk_while_writing_is_explained_and_leaves_nothing(tmp_path):
    def fill():
        with Store(tmp_path).writing(key()) as folder:
            (folder / "a.txt").write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match="the disk is full"):
        fill()
    assert visible(tmp_path / "learn") == []


def test_a_store_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(OSError), Store(tmp_path / "store").writing(key()):  # noqa: PT011
        raise AssertionError("must not be entered")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM])
def test_disk_errors_become_errors_to_act_on(tmp_path, code):
    explained = explain_os_error(OSError(code, os.strerror(code)), tmp_path)
    assert isinstance(explained, UserError)
    assert str(tmp_path) in str(explained)


def test_other_os_errors_stay(tmp_path):
    error = OSError(errno.EIO, "broken")
    assert explain_os_error(error, tmp_path) is error


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000_000, 5_000_000))
    store = Store(tmp_path)
    with pytest.raises(UserError, match=r"writes about 8 MB and 5 MB are free") as caught:  # noqa: SIM117
        with store.writing(key(), needs_bytes=8_000_000):
            raise AssertionError("must not be entered")
    assert "--store" in str(caught.value)
    assert visible(tmp_path / "learn") == []
    with store.writing(key(), needs_bytes=5_000_000):
        pass
    assert store.is_done(key())


def test_a_finished_stage_needs_no_room(tmp_path, monkeypatch):
    store = Store(tmp_path)
    with store.writing(key()):
        pass
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "free")(0))
    with store.writing(key(), needs_bytes=10**9) as folder:
        assert folder is None


def test_marker_is_written_last(tmp_path):
    """A reader that polls while the stage is put in place never sees the marker without the files."""
    names = [f"{number}.txt" for number in range(50)]
    store, seen, stop = Store(tmp_path), [], threading.Event()

    def watch():
        while not stop.is_set():
            if store.is_done(key()):
                seen.append(visible(store.folder(key())))
                json.loads((store.folder(key()) / MARKER).read_text())
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    with store.writing(key()) as folder:
        for name in names:
            (folder / name).write_text(name)
    watcher.join(timeout=5)
    stop.set()
    assert seen == [sorted([*names, MARKER])]


def test_a_folder_without_marker_is_not_done_and_is_made_anew(tmp_path):
    store = Store(tmp_path)
    store.folder(key()).mkdir(parents=True)
    (store.folder(key()) / "old.txt").write_text("from a run killed before its marker")
    assert not store.is_done(key())
    assert list(store.markers("learn")) == []
    with store.writing(key()) as folder:
        (folder / "new.txt").write_text("new")
    assert visible(store.folder(key())) == [MARKER, "new.txt"]


def test_a_killed_writer_leaves_nothing_that_counts_and_no_lock(tmp_path):
    writer = start_writer(tmp_path, "hang")
    assert writer.stdout.readline() == "writing\n"
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(timeout=10) == -signal.SIGKILL
    writer.stdout.close()
    store = Store(tmp_path / "store")
    assert not store.is_done(key())
    assert not store.folder(key()).exists()
    with store.writing(key()) as folder:
        assert list(folder.iterdir()) == []
        (folder / "whole.txt").write_text("whole")
    assert visible(store.folder(key())) == [MARKER, "whole.txt"]
    assert visible(tmp_path / "store" / "learn") == [key().digest]


def test_two_processes_compute_the_same_stage_once(tmp_path):
    first = start_writer(tmp_path, "go")
    assert first.stdout.readline() == "writing\n"  # it holds the lock and will for half a second
    second = start_writer(tmp_path, "go")
    out = second.communicate(timeout=15)[0]
    assert first.communicate(timeout=15)[0] == ""
    assert (first.returncode, second.returncode) == (0, 0)
    assert out == "found\n"
    assert (tmp_path / "computed").read_text() == "."
    assert visible(Store(tmp_path / "store").folder(key())) == [MARKER, "half.txt", "whole.txt"]


def test_different_stages_do_not_wait_for_each_other(tmp_path):
    store = Store(tmp_path)
    with store.writing(key(lr=1)) as one, store.writing(key(lr=2)) as two:
        assert one != two
    assert store.is_done(key(lr=1)) and store.is_done(key(lr=2))


def test_an_atomic_write_replaces_the_whole_file(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "long first content")
    write_atomically(path, "ü")
    assert path.read_text(encoding="utf-8") == "ü"
    assert visible(tmp_path) == ["a.json"]
