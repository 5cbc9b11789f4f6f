"""Tables of prompts as people and programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.io.prompt_files import read_prompts

BOXES = [[1.5, 2, 30, 40], [5, 6, 70, 80]]


@pytest.mark.parametrize(
    "content",
    [
        b"x0,y0,x1,y1\n1.5,2,30,40\n5,6,70,80\n",
        b"\xef\xbb\xbfx0,y0,x1,y1\r\n1.5,2,30,40\r\n5,6,70,80",
        b"y1,name,x1,Y0, X0 \n40,a,30,2,1.5\n80,b,70,6,5\n",
        b"x0;y0;x1;y1\n1,5;2;30;40\n5;6;70;80\n",
        b"x0;y0;x1;y1\n1.5;2;30;40\n5;6;70;80\n",
        b"x0\ty0\tx1\ty1\n1.5\t2\t30\t40\n5\t6\t70\t80\n",
        b'"x0","y0","x1","y1"\n"1.5","2","30","40"\n\n,,,\n"5","6","70","80"\n\n',
        b"x1,y1,x2,y2\n1.5,2,30,40\n5,6,70,80\n",
        b"\n x0,y0,x1,y1\n1.5,2,30,40\n5,6,70,80\n",
        "x0,y0,x1,y1\n1.5,2,30,40\n5,6,70,80\n".encode("utf-16"),
        "x0,y0,x1,y1,größe\n1.5,2,30,40,ä\n5,6,70,80,ö\n".encode("latin-1"),
        b"x0,y0,x1,y1,y,x\n1.5,2,30,40,9,9\n5,6,70,80,9,9\n",
        b"xmin,ymin,xmax,ymax\n1.5,2,30,40\n5,6,70,80\n",
        b"Left,Top,Right,Bottom\n1.5,2,30,40\n5,6,70,80\n",
        b"x,y,width,height\n1.5,2,28.5,38\n5,6,65,74\n",
        b" ,Area,X,Y,BX,BY,Width,Height\n1,9,15,20,1.5,2,28.5,38\n2,9,50,50,5,6,65,74\n",
        b"index,shape-type,vertex-index,axis-0,axis-1\n"  # as napari saves shapes
        b"0,rectangle,0,2,1.5\n0,rectangle,1,2,30\n0,rectangle,2,40,30\n0,rectangle,3,40,1.5\n"
        b"1,polygon,0,6,20\n1,polygon,1,30,70\n1,polygon,2,80,5\n",
    ],
)
def test_boxes_in_many_spellings(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_bytes(content)
    boxes, points = read_prompts(path)
    np.testing.assert_array_equal(boxes, BOXES)
    assert points is None


@pytest.mark.parametrize(
    "content",
    [
        *("y,x\n3,4\n", "x;y\n4;3", "index,axis-0,axis-1\n0,3.0,4.0\n", "No,X,Y\n1,4,3\n"),
        "index,axis-0,axis-1,axis-2,axis-3\n0,7.0,2.0,3.0,4.0\n",
    ],
)
def test_points_are_y_and_x(content: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(content)
    boxes, points = read_prompts(path)
    assert boxes is None
    np.testing.assert_array_equal(points, [[3, 4]])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "no columns"),
        ("\n\n", "no columns"),
        ("1,2,3,4\n5,6,7,8\n", "no columns"),
        ("x0,y0,x1\n1,2,3\n", "no columns"),
        ("y,x\n", "contains no row"),
        ("y,x\n1,2\n3,four\n", "'four' for x in row 3"),
        ("y,x\n1\n", "'' for x in row 2"),
        ("axis-0,axis-1,axis-2\n1,2,3\n2,2,3\n", "rows on several planes"),
        ("axis-0\n1\n", "no columns"),
    ],
)
def test_what_is_no_table_of_prompts_is_one_sentence(content: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence) as raised:
        read_prompts(path)
    assert "prompts.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*nothing\.csv"):
        read_prompts(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path)
