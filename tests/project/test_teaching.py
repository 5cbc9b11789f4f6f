"""What a project teaches, what it holds out, its rounds, its queue and its questions."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile
from annotating import in_state, with_region

from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.finetuning.split import hold_out
from napari_cupre.project import gestures, rounds
from napari_cupre.project.boxes import measured
from napari_cupre.project.cells import Cells, State
from napari_cupre.project.heldout import Annotated, settled
from napari_cupre.project.project import Project
from napari_cupre.project.questions import Kind, questions
from napari_cupre.project.queue import add_fields, add_files, add_planes, drafts_of, queue
from napari_cupre.project.shots import enough, project_shots, shots_of


@pytest.fixture
def project(tmp_path: Path):
    with Project.create(tmp_path / "p") as project:
        yield project


def add(project: Project, name: str, labels: np.ndarray, state: State = State.CHECKED) -> Cells:
    """An image of this size in the project, and its cells."""
    path = project.folder.parent / "images" / f"{name}.tif"
    path.parent.mkdir(exist_ok=True)
    noise = np.random.default_rng(len(project.images)).integers(0, 200, labels.shape, np.uint8)
    tifffile.imwrite(path, noise)
    stem = project.add(path, axes="ZYX"[-labels.ndim :]).image.stem
    made = Cells.of(labels.astype(np.int32), state)
    cells = project.cells(stem)
    cells.labels[...] = made.labels
    cells.rows |= made.rows
    cells.revision += 1
    return cells


def row_of_cells(count: int, gap: int = 10, height: int = 30) -> np.ndarray:
    labels = np.zeros((height, gap * count + 4), np.int32)
    for number in range(count):
        labels[10:16, gap * number + 2 : gap * number + 8] = number + 1
    return labels


def test_guesses_teach_nothing_and_leave_the_ground_under_them_open(project: Project) -> None:
    cells = add(project, "a", row_of_cells(3))
    cells.apply(in_state(cells, [2], State.GUESS))
    cells.apply(with_region(cells, [(0, 0), (29, 33)]))
    (shot,) = project_shots(project)
    assert set(np.unique(shot.labels)) == {0, 1, 3}
    assert not shot.known[cells.labels == 2].any()
    assert not shot.known[9, 13]
    assert shot.known[0, 0]
    assert shot.known[cells.labels == 1].all()
    project.image("a").certainty = 0.5
    cells.apply(gestures.reject(cells, [2]))
    (shot,) = project_shots(project)
    assert shot.known.all()


def test_accepted_guesses_teach_and_are_told_from_what_was_drawn(project: Project) -> None:
    add(project, "accepted", row_of_cells(3), State.CHECKED)
    add(project, "drawn", row_of_cells(2), State.EDITED)
    assert [shot.accepted for shot in project_shots(project)] == [(1, 2, 3), ()]


def test_accepted_guesses_inside_a_complete_region_are_told_from_those_outside(project: Project) -> None:
    cells = add(project, "a", row_of_cells(4))
    cells.apply(with_region(cells, [(0, 0), (29, 15)]))  # around the first cell and half of the second
    (shot,) = project_shots(project)
    assert (shot.accepted, shot.surveyed) == ((1, 2, 3, 4), (1,))


def test_training_needs_one_cell_and_says_what_would_help() -> None:
    guesses, many = Cells.of(row_of_cells(1), State.GUESS), Cells.of(row_of_cells(12), State.CHECKED)
    assert not enough([])[0]
    ready, advice = enough([(guesses, False)])
    assert not ready
    assert "guesses teach nothing" in advice
    ready, advice = enough([(Cells.of(row_of_cells(1), State.EDITED), False)])
    assert ready
    assert advice.startswith("1 cell annotated; you can train.")
    assert "background" in enough([(many, False)])[1]
    assert enough([], 12, is_known_elsewhere=True) == enough([(many, True)])
    assert enough([(many, True)])[1].startswith("12 cells annotated, enough to train.")


def test_a_hidden_guess_is_no_doubt(project: Project) -> None:
    cells = add(project, "a", row_of_cells(3), State.GUESS)
    cells.rows[2] = Cells.of(cells.labels, State.GUESS, scores={2: 0.2}).rows[2]
    cells.apply(gestures.accept(cells, [1, 3]))
    cells.apply(with_region(cells, [(0, 0), (29, 33)]))
    assert not next(iter(project_shots(project))).known.all()
    project.image("a").certainty = 0.5
    assert next(iter(project_shots(project))).known.all()


def test_a_stack_is_taught_plane_by_plane(project: Project) -> None:
    plane = np.kron(row_of_cells(6, height=64), np.ones((3, 3), np.int32))
    labels = np.stack([np.where(plane > 0, plane + 6 * number, 0) for number in range(60)])
    cells = add(project, "deep", labels.astype(np.int32))
    cells.apply(in_state(cells, [1, 8], State.GUESS))
    entry = project.image("deep")
    image = project.pixels(entry)
    tracemalloc.start()
    known = [int(shot.known.sum()) for shot in shots_of(image, cells, entry)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == 60
    assert known[0] < known[2], "a guess is unknown"
    assert peak < cells.labels.nbytes / 2, f"{peak / 2**20:.1f} MiB beside a stack of labels"


def test_an_image_of_guesses_alone_gives_no_shot_and_a_complete_empty_region_does(project: Project) -> None:
    add(project, "a", row_of_cells(2), State.GUESS)
    assert list(project_shots(project)) == []
    empty = add(project, "b", np.zeros((20, 20)))
    empty.apply(with_region(empty, [(0, 0), (9, 9)]))
    (shot,) = project_shots(project)
    assert shot.name.startswith("b")
    assert shot.known.sum() == 100


def test_planes_of_a_stack_keep_their_own_doubts(project: Project) -> None:
    labels = np.zeros((3, 30, 34), np.int32)
    labels[0], labels[2] = row_of_cells(3), np.where(row_of_cells(3), row_of_cells(3) + 10, 0)
    cells = add(project, "s", labels)
    cells.apply(in_state(cells, [12], State.GUESS))
    cells.apply(with_region(cells, [(2, 0, 0), (2, 29, 33)]))
    first, last = project_shots(project)
    assert first.known[labels[0] > 0].all()
    assert not last.known[labels[2] == 12].any()
    assert last.known[0, 0]


# --- held out -------------------------------------------------------------------------------------


def settle(project: Project) -> dict[str, str]:
    """What `settled` says, kept as a round does."""
    new = settled([Annotated.of(*each) for each in project.all_cells()], project.document.id)
    for stem, held in new.items():
        project.image(stem).held = held
    return new


def numbers(shots: list[Shot]) -> set[int]:
    return {int(number) for shot in shots for number in np.unique(shot.labels)} - {0}


def test_a_strip_stays_held_out_when_cells_are_added(project: Project) -> None:
    cells = add(project, "a", row_of_cells(12))
    (held,) = settle(project).values()
    taught, judged = (numbers(part) for part in hold_out(list(project_shots(project)), 0.2, 0))
    assert not taught & judged
    assert len(judged) == 2
    cells.apply(gestures.draw(cells, np.array([[22, 110], [22, 118], [28, 118], [28, 110]], float)))
    assert settle(project) == {}
    assert project.image("a").held == held
    assert len(numbers(hold_out(list(project_shots(project)), 0.2, 0)[1])) == 3


def test_whole_images_are_held_out_and_one_that_taught_never_judges(project: Project) -> None:
    for number in range(10):
        add(project, f"i{number}", row_of_cells(2))
    settle(project)
    held = {image.stem for image in project.images if image.held == "all"}
    assert len(held) == 2
    project.save()
    project.close()
    with Project.open(project.folder) as again:
        for number in range(10, 15):
            add(again, f"i{number}", row_of_cells(2) + 0)
        settle(again)
        now = {image.stem for image in again.images if image.held == "all"}
        assert held < now
        assert not {f"i{number}" for number in range(10)} & (now - held)
        teaching, held_out = hold_out(list(project_shots(again)), 0.2, 0)
        assert (len(teaching), len(held_out)) == (12, 3)


def test_of_few_cells_none_is_held_out(project: Project) -> None:
    add(project, "a", row_of_cells(4))
    assert settle(project) == {}
    assert project.image("a").held is None


def test_all_teach_where_a_strip_left_nothing_else(project: Project) -> None:
    cells = add(project, "a", row_of_cells(12))
    settle(project)
    cells.apply(gestures.delete(cells, range(1, 11)))
    teaching, held_out = hold_out(list(project_shots(project)), 0.2, 0, enough=1)
    assert numbers(teaching) == {11, 12}
    assert not held_out


# --- rounds ---------------------------------------------------------------------------------------


def finish(project: Project, **verdict: object) -> int:
    model = rounds.next_model(project)
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(b"model")
    return rounds.add_round(project, rounds.start_from(project)[0], dict(verdict)).number


def test_rounds_start_from_the_best_and_never_reuse_a_number(project: Project) -> None:
    cells = add(project, "a", row_of_cells(3))
    assert rounds.start_from(project) == ("cupre", "cupre")
    assert [finish(project, better=True), finish(project, better=True), finish(project)] == [1, 2, 3]
    assert rounds.start_from(project)[0] == "v2"
    assert rounds.find_round(project, 3).parent == "v2"
    assert rounds.find_round(project, 3).cells == 3
    before, counts = rounds.annotation_hash(project)
    cells.apply(gestures.delete(cells, [1]))
    assert rounds.annotation_hash(project)[0] != before
    assert counts["cells"] == 3
    rounds.delete_round(project, 3)
    rounds.delete_round(project, 2)
    assert rounds.start_from(project)[0] == "v1"
    assert not (project.folder / "models/v2.safetensors").exists()
    assert finish(project) == 4
    rounds.choose_best(project, 4)
    project.save()
    project.close()
    with Project.open(project.folder) as again:
        assert rounds.start_from(again)[0] == "v4"
        assert again.document.next_round == 5
        (again.folder / "models/v4.safetensors").unlink()
        assert rounds.start_from(again)[0] == "v1"
        with pytest.raises(InputError, match="is missing"):
            rounds.choose_best(again, 4)
        with pytest.raises(InputError, match="no round v9"):
            rounds.find_round(again, 9)
        with pytest.raises(InputError, match="train again"):
            rounds.add_round(again, "v1")


def test_guesses_do_not_change_what_a_round_saw(project: Project) -> None:
    cells = add(project, "a", row_of_cells(3))
    before = rounds.annotation_hash(project)
    cells.apply(gestures.place(cells, np.ones((4, 4), bool), (0, 0), state=State.GUESS))
    assert rounds.annotation_hash(project) == before


# --- queue ----------------------------------------------------------------------------------------


def test_the_queue_tells_states_without_reading_pixels(project: Project, tmp_path: Path) -> None:
    add(project, "a10", row_of_cells(3))
    add(project, "a2", row_of_cells(2), State.GUESS)
    for number in range(6):
        add(project, f"b{number}", np.zeros((20, 20)))
    project.save()
    for file in (project.folder / "cells").glob("*.tif"):
        if project.loaded(file.stem) is None:
            file.write_bytes(b"no picture")
    entries = {entry.image.stem: entry for entry in queue(project)}
    assert list(entries)[:3] == ["a2", "a10", "b0"]
    assert (entries["a10"].state, entries["a2"].state, entries["b0"].state) == (
        "checked",
        "guesses",
        "never seen",
    )
    project.image("a2").certainty = 0.5
    assert entries["a2"].guesses == 2
    assert queue(project, {"b3": 2.0, "a10": 1.0})[0].image.stem == "b3"


def test_every_image_of_a_file_is_queued_and_label_files_are_not(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "plate [1]" / "set"
    folder.mkdir(parents=True)
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as writer:
        for number, name in enumerate(("one", "two")):
            pixels = np.full((10 + number, 12), number, np.uint8)
            writer.write(pixels, metadata={"axes": "YX", "Name": name})
    for name in ("b.tif", "b_mask.tif"):
        tifffile.imwrite(folder / name, np.eye(10, dtype=np.uint8))
    added = [each.image for each in add_files(project, folder)]
    assert [(image.stem, image.shape) for image in added] == [
        ("a_one", (10, 12)),
        ("a_two", (11, 12)),
        ("b", (10, 10)),
    ]
    (notice,) = drafts_of(project, folder)[1]
    assert len(drafts_of(project, folder.parent)[0]) == len(drafts_of(project, folder)[0]), "its subfolders"
    assert "1 file is named like labels" in notice


def test_images_come_from_folders_stacks_and_slides(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for number in range(3):
        tifffile.imwrite(folder / f"{number}.tif", np.full((10, 10), number, np.uint8))
    assert [each.notice for each in add_files(project, folder)] == ["", "", ""]
    assert all("already" in each.notice for each in add_files(project, folder))
    stack = tmp_path / "stack.tif"
    tifffile.imwrite(stack, np.zeros((7, 20, 20), np.uint8))
    assert len({each.image.stem for each in add_planes(project, stack, "ZYX")}) == 7
    slide = tmp_path / "slide.tif"
    tifffile.imwrite(slide, np.zeros((300, 500), np.uint8))
    fields = add_fields(project, slide, 100, most=5)
    assert len({each.image.field for each in fields}) == 5
    assert len(project.images) == 15


# --- questions ------------------------------------------------------------------------------------


def kinds(cells: Cells) -> list[Kind]:
    return [question.kind for question in questions(cells)]


def mend(cells: Cells, word: str) -> Cells:
    (question,) = questions(cells)
    cells.apply(question.remedies[word](cells))
    assert {n: (c.box, c.area) for n, c in cells.rows.items()} == measured(cells.labels)
    return cells


def test_a_cell_in_two_pieces_is_asked_about_and_split() -> None:
    cells = Cells.of(np.where(row_of_cells(2), 5, 0).astype(np.int32))
    assert kinds(cells) == [Kind.PIECES]
    assert mend(cells, "Split").count() == 2
    assert not questions(cells)


def test_a_hole_is_asked_about_and_filled() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:12, 2:12] = 4
    labels[4:9, 4:9] = 0
    cells = Cells.of(labels)
    assert kinds(cells) == [Kind.HOLES]
    assert mend(cells, "Fill").rows[4].area == 100
    assert not questions(cells)


def test_an_outsize_cell_is_asked_about() -> None:
    labels = row_of_cells(6, height=60)
    labels[30:60, 0:30] = 9
    cells = Cells.of(labels)
    assert kinds(cells) == [Kind.OUTSIZE]
    assert mend(cells, "Delete").count() == 6


def column_of_cells() -> np.ndarray:
    """A cell through four planes, with a gap in the third where another one lies."""
    labels = np.zeros((4, 30, 30), np.int32)
    labels[:, 5:15, 5:15] = 1
    labels[2, 5:15, 5:15] = 0
    labels[2, 6:15, 5:16] = 2
    return labels


@pytest.mark.parametrize("around", [State.GUESS, State.CHECKED])
@pytest.mark.parametrize("crumbs", [0, 3])
def test_a_cell_drawn_in_a_plane_of_a_joined_one_is_asked_about(around: State, crumbs: int) -> None:
    labels = column_of_cells()
    labels[2, 5, 5 : 5 + crumbs] = 1  # an eraser left them
    cells = Cells.of(labels, {1: around, 2: State.EDITED})
    assert kinds(cells) == [Kind.GAP], "and not whether the joined one is two cells"
    assert mend(cells, "Join").numbers() == [1]
    assert cells.rows[1].state is State.EDITED
    assert not questions(cells)


def test_cells_that_only_lie_near_a_joined_one_are_not_asked_about() -> None:
    labels = column_of_cells()
    labels[2] = np.roll(labels[2], 8, axis=1)
    states = {1: State.GUESS, 2: State.EDITED}
    assert not questions(Cells.of(labels, states)), "hardly one over the other"
    labels = column_of_cells()
    labels[2, 20:25, 20:25] = 1
    assert not questions(Cells.of(labels, states)), "the joined one has an outline there"
    labels = column_of_cells()
    labels[labels == 1] = 0
    labels[1, 5:15, 5:15] = 1
    assert not questions(Cells.of(labels, states)), "nothing is joined"


def test_a_cell_of_many_planes_is_not_outsize() -> None:
    labels = np.zeros((9, 30, 90), np.int32)
    for number in range(1, 7):
        labels[4, 2:12, 15 * number - 13 : 15 * number - 3] = number
    labels[:, 16:26, 2:12] = 7
    assert not questions(Cells.of(labels))


@pytest.mark.parametrize(("word", "left"), [("Add", 3), ("No cells", 1)])
def test_guesses_in_a_complete_region_are_asked_about(word: str, left: int) -> None:
    cells = Cells.of(row_of_cells(3), {1: State.CHECKED, 2: State.GUESS, 3: State.GUESS})
    assert not questions(cells)
    cells.apply(with_region(cells, [(0, 0), (29, 33)]))
    (question,) = questions(cells)
    assert question.kind is Kind.UNMARKED
    assert question.cells == (2, 3)
    assert "2 likely cells" in question.text
    assert mend(cells, word).count(State.CHECKED) == left
    assert not questions(cells)


def test_an_answered_question_is_not_asked_again(project: Project) -> None:
    cells = add(project, "a", np.where(row_of_cells(2), 5, 0))
    entry = project.image("a")
    (question,) = questions(cells, entry)
    entry.answered = (question.key,)
    assert not questions(cells, entry)


def test_a_model_called_like_a_round_is_told_from_the_round_by_its_file(project: Project) -> None:
    add(project, "a", row_of_cells(3))
    for parent in ("cupre", "v1", "/home/me/models/v2.safetensors"):
        rounds.next_model(project).parent.mkdir(exist_ok=True)
        rounds.next_model(project).write_bytes(b"weights")
        last = rounds.add_round(project, parent)
    assert last.parent_title == "v2 (not a round)"
    rounds.delete_round(project, 1)
    assert rounds.origin(project) == "cupre"
    rounds.delete_round(project, 2)
    assert rounds.origin(project) == last.parent, "which saw nothing of the project"


def test_a_model_called_like_a_round_is_an_origin_too(project: Project) -> None:
    add(project, "a", row_of_cells(3))
    assert rounds.origin(project) == "cupre"
    for parent in ("v2", "v1"):
        rounds.next_model(project).parent.mkdir(exist_ok=True)
        rounds.next_model(project).write_bytes(b"weights")
        rounds.add_round(project, parent)
    assert rounds.origin(project) == "v2", "a person's model: no round is older than the first"
    rounds.delete_round(project, 1)
    assert rounds.origin(project) == "cupre", "the first round is gone, and with it where it came from"
