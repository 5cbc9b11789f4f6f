"""A project on disk: what comes back is what was there, whoever kills, moves, edits or breaks it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from annotating import with_region
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.project import gestures, identity, recovery
from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.disk import PENDING
from napari_cupre.project.history import History
from napari_cupre.project.lock import ProjectLocked
from napari_cupre.project.project import Project
from napari_cupre.project.queue import what_was_there
from napari_cupre.project.shots import image_shots, known_of
from napari_cupre.project.strokes import renew_guesses
from napari_cupre.project.unsaved import CopyRoom

SHAPE = (40, 50)


def picture(path: Path, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.random.default_rng(seed).integers(0, 255, shape, np.uint8))
    return path


def square(top: int, left: int, side: int = 8) -> np.ndarray:
    return np.array([[top, left], [top, left + side], [top + side, left + side], [top + side, left]], float)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved project with one image and one drawn cell."""
    picture(tmp_path / "images" / "a.tif")
    with Project.create(tmp_path / "mine") as project:
        project.add(tmp_path / "images" / "a.tif")
        cells = project.cells("a")
        cells.apply(gestures.draw(cells, square(2, 2)))
        project.save()
        return project.folder


def draw_and_save(project: Project, top: int = 20, left: int = 20):
    cells = project.cells("a")
    cells.apply(gestures.draw(cells, square(top, left)))
    return project.save()


def reopened(folder: Path) -> Cells:
    with Project.open(folder) as project:
        return project.cells("a")


def test_saving_writes_only_what_changed(folder: Path) -> None:
    with Project.open(folder) as project:
        assert project.save().written == ()
        assert draw_and_save(project).written == ("cells/a.tif", "cells/a.csv")
        cells = project.cells("a")
        cells.apply(with_region(cells, [(0, 0), (30, 30)]))
        assert "project.json" in project.save().written
        assert reopened_without_lock(folder) == cells


def reopened_without_lock(folder: Path) -> Cells:
    return Project.open(folder, look_only=True).cells("a")


def test_a_second_window_is_told_and_may_look(folder: Path) -> None:
    with Project.open(folder):
        with pytest.raises(
            ProjectLocked, match=r"open in another window \(of .* on .*, since 2[0-9-]+ [0-9]{2}:[0-9]{2}\)"
        ):
            Project.open(folder)
        looking = Project.open(folder, look_only=True)
        assert looking.cells("a").count() == 1
        with pytest.raises(EnvironmentFault, match="open read-only"):
            draw_and_save(looking)
    Project.open(folder).close()


def test_another_thread_may_let_a_project_go(folder: Path) -> None:
    """The window opens projects in one thread and closes them in another."""
    project = Project.open(folder)
    closing = threading.Thread(target=project.close)
    closing.start()
    closing.join()
    Project.open(folder).close()


def test_a_killed_holder_leaves_no_lock_behind(folder: Path) -> None:
    code = (
        "from napari_cupre.project.project import Project\n"
        f"project = Project.open({str(folder)!r})\n"
        "print('open', flush=True)\n"
        "input()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    with pytest.raises(ProjectLocked):
        Project.open(folder)
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()  # type: ignore[union-attr]
    Project.open(folder).close()


HELPERS = Path(__file__).parents[1] / "helpers"
KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from annotating import in_state, with_region
from napari_cupre.project.cells import Change
from napari_cupre.project.project import Project
from napari_cupre.project.queue import what_was_there
from napari_cupre.project.shots import image_shots, known_of
from napari_cupre.project import gestures
project = Project.open(sys.argv[1])
cells = project.cells("a")
print("go", flush=True)
while True:
    for number in cells.numbers():
        cells.apply(gestures.delete(cells, [number]))
    count = cells.revision % 7 + 1
    for each in range(count):
        at = np.array([[2, 6 * each], [2, 6 * each + 4], [6, 6 * each + 4], [6, 6 * each]], float)
        cells.apply(gestures.draw(cells, at))
    # the state says how many cells there are: table and labels of different saves do not fit
    for n in cells.numbers():
        cells.apply(in_state(cells, [n], "checked" if count % 2 else "guess"))
    cells.apply(with_region(cells, [(0, 0), (10, count)]))
    if len(cells.regions) > 1:
        cells.apply(Change("Remove a region", regions=(cells.regions, cells.regions[1:])))
    project.save()
"""


def test_a_process_killed_at_any_moment_leaves_the_last_good_state(folder: Path) -> None:
    moments = random.Random(5)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder), str(HELPERS)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        time.sleep(moments.uniform(0.0, 0.3))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with Project.open(folder) as project:
            cells = project.cells("a")
            assert not project.notices
            assert not (folder / PENDING).exists()
            if cells.regions:
                count = int(cells.regions[0][1][1])
                state = State.CHECKED if count % 2 else State.GUESS
                assert cells.count() == cells.count(state) == count
            picture_cells = measured(cells.labels)
            assert set(picture_cells) == set(cells.rows)


@pytest.mark.parametrize("step", range(12))
def test_a_fault_at_any_step_of_a_save_leaves_all_or_nothing(
    folder: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.open(folder)
    before = project.cells("a").copy()
    cells = project.cells("a")
    cells.apply(gestures.draw(cells, square(20, 20)))
    cells.apply(with_region(cells, [(0, 0), (30, 30)]))
    calls, replace = iter(range(1000)), os.replace

    def fails(source: object, target: object) -> None:
        if next(calls) >= step:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "replace", fails)
    try:
        project.save()
        failed = False
    except EnvironmentFault as error:
        failed = "could not be written: the disk is full" in str(error)
        assert failed
        assert PENDING not in str(error)
    monkeypatch.undo()
    assert reopened_without_lock(folder) in (before, cells)
    if failed:
        project.save()  # room again: nothing is lost
    project.close()
    assert reopened(folder) == cells


def test_cells_that_others_changed_are_never_overwritten(folder: Path) -> None:
    with Project.open(folder) as project:
        project.cells("a")
        theirs = np.zeros(SHAPE, np.int32)
        theirs[30:35, 30:35] = 5
        tifffile.imwrite(folder / "cells/a.tif", theirs)
        assert project.changed_on_disk() == ["a"]
        report = draw_and_save(project)
        assert "Somebody else changed" in report.conflicts[0]
        assert np.array_equal(tifffile.imread(folder / "cells/a.tif"), theirs)
        mine = tifffile.imread(folder / "cells/a.mine.tif")
        assert np.array_equal(mine, project.cells("a").labels)
        kept = project.cells("a").copy()
        project.keep_mine("a")
        assert not project.save().conflicts
        assert np.array_equal(tifffile.imread(folder / "cells/a.theirs.tif"), theirs)
        assert project.cells("a").rows == kept.rows
    assert reopened(folder).rows == kept.rows


def test_their_cells_can_be_taken(folder: Path) -> None:
    with Project.open(folder) as project:
        project.cells("a")
        tifffile.imwrite(folder / "cells/a.tif", np.full(SHAPE, 7, np.int32))
        draw_and_save(project)
        assert project.take_theirs("a").numbers() == [7]
        assert not project.save().conflicts


def test_a_document_that_others_changed_is_not_overwritten(folder: Path) -> None:
    with Project.open(folder) as project:
        (folder / "project.json").write_text(json.dumps({"format": 1, "id": "x", "images": []}))
        project.images[0].seen = True
        assert "project.json" in project.save().conflicts[0]
        assert json.loads((folder / "project.json").read_text())["id"] == "x"
        assert json.loads((folder / "project.mine.json").read_text())["images"][0]["seen"]


@pytest.mark.parametrize("name", ["project.json", "cells/a.tif"])
def test_half_written_files_are_named_and_left(folder: Path, name: str) -> None:
    file = folder / name
    half = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(half)
    with pytest.raises(InputError, match=Path(name).name), Project.open(folder) as project:
        project.cells("a")
    assert file.read_bytes() == half
    file.unlink()
    if name.startswith("cells"):
        with Project.open(folder) as project:
            assert project.cells("a").count() == 0
            assert "lost" in project.notices[0]


def test_a_table_without_the_row_of_a_cell_keeps_the_cell(folder: Path) -> None:
    table = folder / "cells/a.csv"
    table.write_text("\ufefflabel;state;score\n1;Checked;0,5\n")  # as a spreadsheet saves it
    cells = reopened(folder)
    assert cells.rows[1].state is State.CHECKED
    assert cells.rows[1].score == 0.5
    for text in ("label,state\n1,perhaps\n", "label,state\n", "nonsense", ""):
        table.write_text(text)
        with Project.open(folder) as project:
            assert project.cells("a").rows[1].state is State.EDITED
            assert project.notices or text == "label,state\n"
    table.unlink()
    assert reopened(folder).rows[1].state is State.EDITED


def test_a_project_that_is_gone_or_newer_or_none_is_said(folder: Path, tmp_path: Path) -> None:
    with Project.open(folder) as project:
        shutil.move(folder, tmp_path / "elsewhere.cupre")
        with pytest.raises(EnvironmentFault, match="is missing"):
            draw_and_save(project)
    moved = tmp_path / "elsewhere.cupre"
    (moved / "project.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 99"):
        Project.open(moved)
    with pytest.raises(InputError, match="format 99"):  # and not that it is open elsewhere
        Project.open(moved)
    with pytest.raises(InputError, match="is not a project"):
        Project.open(tmp_path / "images")
    with pytest.raises(InputError, match="There is no project"):
        Project.open(tmp_path / "nowhere.cupre")
    with pytest.raises(InputError, match="already exists"):
        Project.create(moved)


def test_a_read_only_folder_opens_to_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import napari_cupre.project.project as module

    def refuses(folder: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module, "Lock", refuses)
    project = Project.open(folder)
    assert project.cells("a").count() == 1
    with pytest.raises(EnvironmentFault, match="read-only"):
        draw_and_save(project)


def test_a_stranger_s_project_writes_nowhere_else(folder: Path) -> None:
    document = json.loads((folder / "project.json").read_text())
    document["images"][0]["stem"] = "../../evil"
    (folder / "project.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="damaged"):
        Project.open(folder)


def test_what_a_newer_version_wrote_is_kept(folder: Path) -> None:
    document = json.loads((folder / "project.json").read_text()) | {"colour": "blue"}
    (folder / "project.json").write_text(json.dumps(document))
    with Project.open(folder) as project:
        project.images[0].seen = True
        project.save()
    assert json.loads((folder / "project.json").read_text())["colour"] == "blue"


# --- images ---------------------------------------------------------------------------------------


def test_an_image_that_moved_is_found_by_its_content(folder: Path, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "b.tif", seed=1)
    with Project.open(folder) as project:
        project.add(tmp_path / "images" / "b.tif")
        project.save()
    picture(tmp_path / "new" / "other.tif", seed=9)
    (tmp_path / "images" / "a.tif").rename(tmp_path / "new" / "renamed.tif")
    with Project.open(folder) as project:
        with pytest.raises(InputError, match="is missing"):
            project.pixels(project.image("a"))
        assert project.pixels(project.image("a"), (tmp_path / "new",)).plane_shape == SHAPE
        assert project.image("a").path.endswith("new/renamed.tif")
    with Project.open(folder) as project:
        added = project.add(tmp_path / "new" / "renamed.tif")
        assert added.image is project.image("a")
        assert "is found again" in added.notice
        assert what_was_there([added]) == ["1 missing image found again."]
        twice = [added, project.add(tmp_path / "new" / "renamed.tif")]
        assert what_was_there(twice)[0] == "1 of 2 images was already in the project."
        for name in ("one", "two"):
            shutil.copy(tmp_path / "new" / "renamed.tif", tmp_path / "new" / f"{name}.tif")
        copies = [project.add(tmp_path / "new" / f"{name}.tif") for name in ("one", "two")]
        told = '"one.tif" has the pixels of "a": it is not added twice.'
        assert what_was_there(copies[:1]) == [told]
        assert what_was_there(copies)[0].startswith("2 of 2 images are copies of others")
        assert what_was_there(copies)[1] == told
        assert project.pixels(project.image("a")).plane_shape == SHAPE


def test_project_and_images_move_together(folder: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "images", tmp_path / "there" / "images")
    shutil.move(folder, tmp_path / "there" / folder.name)
    document = tmp_path / "there" / folder.name / "project.json"
    document.write_text(document.read_text().replace("../images/a.tif", "..\\\\images\\\\a.tif"))
    with Project.open(tmp_path / "there" / folder.name) as project:
        assert project.pixels(project.image("a")).plane_shape == SHAPE


def test_the_same_image_twice_is_noticed_and_stems_never_collide(folder: Path, tmp_path: Path) -> None:
    with Project.open(folder) as project:
        assert "already" in project.add(tmp_path / "images" / "a.tif").notice
        shutil.copy(tmp_path / "images" / "a.tif", tmp_path / "copy.tif")
        assert 'pixels of "a"' in project.add(tmp_path / "copy.tif").notice
        other = project.add(picture(tmp_path / "b" / "A.tif", seed=3))
        assert other.image.stem == "b_A"
        assert not other.notice
        project.remove("a")
        # a new image under a removed one's name does not take its cells over
        assert project.add(picture(tmp_path / "c" / "a.tif", seed=4)).image.stem == "c_a"
        assert project.add(picture(tmp_path / "c" / "a.png", seed=5)).image.stem == "a_2"


def test_an_image_of_another_size_than_its_cells_is_refused(folder: Path, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.tif", shape=(41, 50))
    with Project.open(folder) as project, pytest.raises(InputError, match=r"\(41, 50\) px now"):
        project.pixels(project.image("a"))


def test_planes_and_fields_are_images_of_their_own(folder: Path, tmp_path: Path) -> None:
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.arange(8 * 30 * 40, dtype=np.uint16).reshape(8, 30, 40))
    with Project.open(folder) as project:
        plane = project.add(stack, axes="ZYX", plane={"Z": 6}).image
        field = project.add(stack, axes="ZYX", plane={"Z": 6}, field=(10, 20, 25, 40)).image
        assert (plane.shape, field.shape) == ((30, 40), (15, 20))
        assert project.pixels(field).data[0, 0] == 6 * 1200 + 10 * 40 + 20
        for wrong in ({"plane": {"Z": 8}}, {"plane": {"Z": 0}, "field": (0, 0, 31, 10)}):
            with pytest.raises(InputError, match="choose another"):
                project.add(stack, axes="ZYX", **wrong)  # type: ignore[arg-type]


def test_large_files_are_told_apart_by_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WHOLE_BYTES", 1000)
    file = tmp_path / "big"
    content = bytearray(os.urandom(10**6))
    file.write_bytes(content)
    first = identity.fingerprint(file)
    assert first == identity.fingerprint(file)
    content[-1] ^= 1
    file.write_bytes(content)
    assert identity.fingerprint(file) != first


@given(st.lists(st.text(min_size=1, max_size=140), min_size=1, max_size=8))
def test_stems_fit_every_disk(names: list[str]) -> None:
    taken: list[str] = []
    for name in names:
        taken.append(identity.new_stem(name, taken))
    assert len({each.casefold() for each in taken}) == len(names)
    for stem in taken:
        assert stem
        assert len(stem) < 120
        assert not set(stem) & set('<>:"/\\|?*\0')
        assert not stem.endswith((" ", "."))
        assert stem.casefold() not in ("con", "nul", "com1")


# --- walks ----------------------------------------------------------------------------------------

OPERATIONS = (
    "draw",
    "place",
    "delete",
    "merge",
    "split",
    "accept",
    "renew",
    "region",
    "undo",
    "redo",
)


def step(cells: Cells, history: History, name: str, numbers: random.Random) -> None:
    chosen = numbers.choice(cells.numbers()) if cells.rows else None
    top, left, side = numbers.randrange(-5, 38), numbers.randrange(-5, 48), numbers.randrange(1, 20)
    if name == "undo":
        history.undo(cells)
    elif name == "redo":
        history.redo(cells)
    elif name == "draw":
        history.do(cells, gestures.draw(cells, square(top, left, side)))
    elif name == "place":
        mask = np.random.default_rng(top + 5).random((side, side)) > 0.3
        history.do(cells, gestures.place(cells, mask, (top, left), score=0.5))
    elif name == "renew":
        found = np.random.default_rng(left + 5).integers(0, 3, (8, 10)).astype(np.int32)
        history.do(cells, renew_guesses(cells, found.repeat(5, 0).repeat(5, 1), [0.3, 0.9]))
    elif name == "region":
        history.do(cells, with_region(cells, [(0, 0), (side, side)]))
    elif name == "split":
        line = np.array([[top, left], [top + side, left + side]], float)
        history.do(cells, gestures.split(cells, line))
    elif chosen is not None:
        other = numbers.choice(cells.numbers())
        change = {
            "delete": lambda: gestures.delete(cells, [chosen, other]),
            "merge": lambda: gestures.merge(cells, chosen, other),
            "accept": lambda: gestures.accept(cells, [chosen, other]),
        }[name]
        history.do(cells, change())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=25), seed=st.integers(0, 10**6))
def test_any_walk_keeps_states_labels_and_disk_in_step(
    names: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("walk")
    numbers = random.Random(seed)
    history = History()
    with Project.create(place / "p") as project:
        project.add(picture(place / "a.tif"))
        cells = project.cells("a")
        before = cells.copy()
        for name in names:
            vouched = {n: c for n, c in cells.rows.items() if c.state.teaches}
            step(cells, history, name, numbers)
            found = measured(cells.labels)
            assert {n: (c.box, c.area) for n, c in cells.rows.items()} == found
            if name == "renew":
                assert {n: c for n, c in cells.rows.items() if c.state.teaches} == vouched
        project.save()
        assert Project.open(project.folder, look_only=True).cells("a") == cells
        last = cells.copy()
        while history.undo(cells):
            pass
        assert cells == before
        while history.redo(cells):
            pass
        if "undo" not in names:
            assert cells == last


def test_the_memory_of_a_copy_is_used_again_and_never_by_two() -> None:
    room = CopyRoom()
    assert room.take(SHAPE) is None
    room.reserve(SHAPE)
    room.reserve(SHAPE)  # one is there already
    first = room.take(SHAPE)
    assert first is not None
    assert (first.shape, first.dtype) == (SHAPE, np.int32)
    assert room.take(SHAPE) is None
    room.give(first)
    assert room.take((3, 4)) is None
    assert room.take(SHAPE) is first
    for _ in range(5):
        room.give(np.empty(SHAPE, np.int32))
    assert sum(room.take(SHAPE) is not None for _ in range(5)) == CopyRoom.MOST


def test_a_slide_gets_no_memory_before_it_is_copied() -> None:
    room = CopyRoom()
    room.reserve((10**6, 10**6))
    assert room.take((10**6, 10**6)) is None


# --- recovery -------------------------------------------------------------------------------------


def test_what_a_killed_window_left_is_offered_and_can_be_given_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_CUPRE_PROJECTS", str(tmp_path / "scratch"))
    assert recovery.recoverable() == []
    project = recovery.new_scratch()
    project.add(picture(tmp_path / "a.tif"))
    draw_and_save(project)
    assert recovery.recoverable() == []  # its window is open
    project.close()
    (offer,) = recovery.recoverable()
    assert offer.cells == 1
    assert offer.text.startswith("1 cell from today ")
    again = Project.open(offer.folder)
    cells = again.cells("a")
    cells.apply(gestures.draw(cells, square(2, 30)))
    placed = recovery.save_as(again, tmp_path / "deep" / "mine")
    assert placed.cells("a") == cells
    assert placed.pixels(placed.image("a")).plane_shape == SHAPE
    placed.close()
    assert reopened(tmp_path / "deep" / "mine.cupre") == cells
    assert recovery.recoverable() == []
    assert not offer.folder.exists()
    with pytest.raises(InputError, match="is kept"):
        recovery.discard(tmp_path / "deep" / "mine.cupre")


def test_painted_background_is_kept_beside_the_cells_and_known_in_training(folder: Path) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[30:, :20] = True
    with Project.open(folder) as project:
        assert project.background("a") is None
        project.painted.hold("a", mask)
        assert project.background("a") is mask
        report = project.save()
        assert report.written == ("background/a.tif",)
        assert project.save().written == ()
    with Project.open(folder, look_only=True) as project:
        np.testing.assert_array_equal(project.background("a"), mask)
        (shot,) = image_shots(project, "a")
        assert shot.known[mask].all()
        assert not shot.known[:25, 25:].any()
        known = known_of(project.cells("a"), background=project.background("a"))
        assert known[mask].all()


def test_an_image_with_painted_background_alone_teaches_where_nothing_is(folder: Path) -> None:
    picture(folder.parent / "images" / "b.tif", seed=1)
    mask = np.zeros(SHAPE, bool)
    mask[:, 30:] = True
    with Project.open(folder) as project:
        project.add(folder.parent / "images" / "b.tif")
        assert image_shots(project, "b") == []
        project.painted.hold("b", mask)
        (shot,) = image_shots(project, "b")
    np.testing.assert_array_equal(shot.known, mask)
    assert not shot.labels.any()


def test_background_that_somebody_else_painted_stays(folder: Path) -> None:
    mask = np.ones(SHAPE, bool)
    with Project.open(folder) as project:
        project.painted.hold("a", mask)
        project.save()
        tifffile.imwrite(folder / "background" / "a.tif", np.eye(*SHAPE, dtype=np.int32))
        project.painted.hold("a", np.zeros(SHAPE, bool))
        (said,) = project.save().conflicts
        assert "background/a.mine.tif" in said
    assert tifffile.imread(folder / "background" / "a.tif").sum() == min(SHAPE), "theirs stays"
    assert not tifffile.imread(folder / "background" / "a.mine.tif").any()


def test_background_of_another_size_is_refused_in_words(folder: Path) -> None:
    (folder / "background").mkdir()
    tifffile.imwrite(folder / "background" / "a.tif", np.ones((3, 4), np.int32))
    with Project.open(folder, look_only=True) as project, pytest.raises(InputError, match="put the old file"):
        project.background("a")


def test_a_copy_of_a_project_has_its_background_saved_or_not(folder: Path, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "b.tif", seed=1)
    masks = {stem: np.random.default_rng(seed).random(SHAPE) < 0.3 for seed, stem in enumerate("ab")}
    project = Project.open(folder)
    project.add(tmp_path / "images" / "b.tif")
    project.painted.hold("a", masks["a"])
    project.save()
    project.painted.hold("b", masks["b"])
    with recovery.save_as(project, tmp_path / "copy") as copy:
        for stem, mask in masks.items():
            np.testing.assert_array_equal(copy.background(stem), mask)
        assert not copy.painted.unsaved()


@pytest.mark.parametrize("what", ["nothing", "background", "region"])
def test_work_without_cells_is_work(tmp_path: Path, what: str) -> None:
    picture(tmp_path / "a.tif")
    with Project.create(tmp_path / "mine") as project:
        project.add(tmp_path / "a.tif")
        if what == "background":
            project.painted.hold("a", np.ones(SHAPE, bool))
        if what == "region":
            cells = project.cells("a")
            cells.apply(with_region(cells, square(0, 0, 30)))
        project.save()
    assert recovery.holds_work(project.folder) is (what != "nothing")
