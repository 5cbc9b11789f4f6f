"""Files of several images, sets of files that are one image, slides, and plates."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from ome_sets import HEAD, write_set

from napari_cupre.errors import InputError
from napari_cupre.io.files import image_stem, split_scene
from napari_cupre.io.images import read_image, read_labels, scenes
from napari_cupre.io.inputs import find_inputs
from napari_cupre.io.windows import image_sizes

RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.integers(0, 255, shape, dtype=np.uint8)


def write_pages(path, *pages, **options):
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page, metadata=None, photometric="rgb" if page.shape[-1] == 3 else None, **options)


def write_scenes(path, **named):
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, array in named.items():
            writer.write(array, metadata={"axes": "YX", "Name": name.replace("_", " ")})


def stems(inputs):
    return [image_stem(path) for path in inputs.paths]


def test_each_scene_is_an_image_of_its_own(tmp_path):
    first, second = noise(20, 30), noise(22, 28)
    write_scenes(tmp_path / "a.ome.tif", well_1=first, well_2=second)
    inputs = find_inputs(tmp_path)
    assert stems(inputs) == ["a_well 1", "a_well 2"]
    assert "2 images" in inputs.notices[0]
    assert "--series" in inputs.notices[0]
    for path, array in zip(inputs.paths, (first, second)):
        image = read_image(path)
        np.testing.assert_array_equal(image.data, array)
        assert image.notices == ()
    assert [(s.name, s.axes, s.shape) for s in scenes(tmp_path / "a.ome.tif")] == [
        ("well 1", "YX", (20, 30)),
        ("well 2", "YX", (22, 28)),
    ]


@pytest.mark.parametrize("series", ["well 2", "WELL 2", "1", 1])
def test_a_scene_is_chosen_by_name_or_number(tmp_path, series):
    write_scenes(tmp_path / "a.ome.tif", well_1=noise(20, 30), well_2=noise(22, 28))
    assert stems(find_inputs(tmp_path, series)) == ["a_well 2"]
    assert read_image(tmp_path / "a.ome.tif", series=series).plane_shape == (22, 28)


def test_a_scene_is_chosen_by_the_name_that_its_program_shows(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for name, rows in (("Pos/1", 20), ("Pos:2", 22)):
            writer.write(noise(rows, 30), metadata={"axes": "YX", "Name": name})
    for name, rows in (("Pos/1", 20), ("pos:2", 22), ("Pos_2", 22)):
        (path,) = find_inputs(tmp_path, name).paths
        assert read_image(path).plane_shape == (rows, 30)
    (path,) = find_inputs(tmp_path, "Pos/3").paths
    with pytest.raises(InputError, match='has no image called "Pos_3"'):
        read_image(path)


def test_what_is_not_read_is_told(tmp_path):
    write_scenes(tmp_path / "a.ome.tif", b=noise(20, 30), c=noise(22, 28))
    image = read_image(tmp_path / "a.ome.tif")
    assert image.plane_shape == (20, 30)
    assert "b, c" in image.notices[0]
    with pytest.raises(InputError, match=r"a\.ome\.tif.*no image.*7.*b, c"):
        read_image(tmp_path / "a.ome.tif", series=7)
    with pytest.raises(InputError, match=r"2 label images"):
        read_labels(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(
        read_labels(tmp_path / "a.ome.tif", series="c"), read_image(tmp_path / "a.ome.tif", series="c").data
    )


def test_scenes_of_one_name_go_by_number(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        for rows in (20, 22):
            writer.write(noise(rows, 30), metadata={"axes": "YX", "Name": "x/y"})
    assert stems(find_inputs(tmp_path)) == ["a_0", "a_1"]


def test_pages_of_different_sizes_are_images(tmp_path):
    write_pages(tmp_path / "a.tif", noise(50, 60), noise(40, 60), noise(50, 60))
    inputs = find_inputs(tmp_path / "a.tif")
    assert [read_image(path).data.shape for path in inputs.paths] == [(2, 50, 60), (40, 60)]


def test_an_image_of_one_size_has_only_number_0(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 30))
    assert stems(find_inputs(tmp_path, 0)) == stems(find_inputs(tmp_path, "all")) == ["a"]
    (path,) = find_inputs(tmp_path, 2).paths
    with pytest.raises(InputError, match=r"a\.tif.*no image called \"2\""):
        read_image(path)


@pytest.mark.parametrize("order", [1, -1])
def test_levels_of_a_pyramid_are_no_images(tmp_path, order):
    whole = noise(128, 160, 3)
    write_pages(tmp_path / "a.tif", *[whole, whole[::2, ::2], whole[::8, ::8]][::order])
    assert len(scenes(tmp_path / "a.tif")) == 1
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, whole)
    assert image_sizes(tmp_path / "a.tif") == [(128, 160)]
    assert find_inputs(tmp_path).notices == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_slide_is_read_not_its_thumbnail(tmp_path, place):
    pages = [noise(20, 31, 3), noise(25, 25, 3)]
    pages.insert(place, noise(200, 240, 3))
    write_pages(tmp_path / "a.tif", *pages)
    inputs = find_inputs(tmp_path)
    assert stems(inputs) == ["a"]
    image = read_image(inputs.paths[0])
    assert image.plane_shape == (200, 240)
    assert "smaller images" in image.notices[0]
    assert len(find_inputs(tmp_path, "all").paths) == 3


def test_a_scanners_label_and_macro_are_left_out(tmp_path):
    text = "Aperio Image Library v11\r\n512x512 [0,0 512x512] (240x240) |AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(tmp_path / "a.svs") as writer:
        writer.write(noise(256, 512, 3), tile=(128, 128), photometric="rgb", description=text, metadata=None)
        for shape, kind in (((64, 128, 3), 0), ((60, 60, 3), 1), ((60, 160, 3), 9)):
            writer.write(
                noise(*shape), photometric="rgb", subfiletype=kind, description="Aperio", metadata=None
            )
    (path,) = find_inputs(tmp_path).paths
    image = read_image(path)
    assert image.plane_shape == (256, 512)
    assert image.pixel_size_um == pytest.approx(0.499)
    assert "Macro" in image.notices[0]


def test_the_label_image_of_an_ome_slide_is_left_out(tmp_path):
    write_scenes(tmp_path / "a.ome.tif", label_image=noise(20, 30), slide=noise(90, 100))
    assert stems(find_inputs(tmp_path)) == ["a"]
    assert read_image(tmp_path / "a.ome.tif").plane_shape == (90, 100)


# --- sets of files ------------------------------------------------------------------------------------


@pytest.fixture
def ome_set(tmp_path):
    arrays = noise(3, 20, 30)
    write_set(tmp_path, arrays)
    return tmp_path, arrays


def test_the_files_of_a_set_are_one_image(ome_set):
    folder, arrays = ome_set
    inputs = find_inputs(folder)
    assert stems(inputs) == ["t0"]
    assert "parts of one image" in inputs.notices[0]
    for name in ("t0", "t2"):
        image = read_image(folder / f"{name}.ome.tif")
        assert (image.axes, image.pixel_size_um, image.lacks) == ("TYX", 0.5, "")
        np.testing.assert_array_equal(image.data, arrays)
    np.testing.assert_array_equal(read_image(folder / "t1.ome.tif", alone=True).data, arrays[1])


def test_a_set_that_is_not_whole_is_partial(ome_set):
    folder, arrays = ome_set
    (folder / "t0.ome.tif").unlink()
    image = read_image(folder / "t1.ome.tif", partial=True)
    assert "1 of the 3 files" in image.lacks
    assert "t0.ome.tif" in image.lacks
    np.testing.assert_array_equal(image.data[1:], arrays[1:])
    with pytest.raises(InputError, match=r"t0\.ome\.tif.*copy"):
        read_image(folder / "t1.ome.tif")


def test_an_image_of_a_set_is_whole_without_the_others(tmp_path):
    """Two positions of one experiment, each in a file of its own that describes both."""
    images = "".join(
        f'<Image ID="Image:{n}" Name="p{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="30" SizeY="20" SizeZ="1" SizeC="1" SizeT="1"><TiffData IFD="0" PlaneCount="1">'
        f'<UUID FileName="p{n}.ome.tif">urn:uuid:{n}</UUID></TiffData></Pixels></Image>'
        for n in range(2)
    )
    array, xml = noise(20, 30), f'{HEAD}UUID="urn:uuid:1">{images}</OME>'
    tifffile.imwrite(tmp_path / "p1.ome.tif", array, description=xml, metadata=None)
    image = read_image(tmp_path / "p1.ome.tif")
    np.testing.assert_array_equal(image.data, array)
    assert (image.lacks, image.notices) == ("", ())


def test_a_stack_of_fewer_planes_than_it_says_is_partial(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, noise(3, 20, 30), ome=True, metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata.replace('SizeT="3"', 'SizeT="5"').replace('PlaneCount="3"', 'PlaneCount="5"')
    tifffile.imwrite(path, noise(3, 20, 30), description=xml, metadata=None, photometric="minisblack")
    assert "fewer planes" in read_image(path, partial=True).lacks
    with pytest.raises(InputError, match="fewer planes"):
        read_image(path)


def test_a_renamed_file_is_no_set(tmp_path):
    write_set(tmp_path, noise(1, 20, 30))
    (tmp_path / "t0.ome.tif").rename(tmp_path / "b.ome.tif")
    image = read_image(tmp_path / "b.ome.tif")
    assert (image.plane_shape, image.pixel_size_um, image.lacks) == ((20, 30), 0.5, "")


def write_companion(folder):
    xml = f'{HEAD}UUID="urn:uuid:8"><BinaryOnly MetadataFile="p.companion.ome" UUID="urn:uuid:9"/></OME>'
    array = noise(6, 20, 30)
    tifffile.imwrite(folder / "w.ome.tif", array, description=xml, metadata=None, photometric="minisblack")
    (folder / "p.companion.ome").write_text(
        f'{HEAD}UUID="urn:uuid:9"><Image ID="Image:0" Name="well"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" SizeZ="3" SizeC="2" SizeT="1" '
        f'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.5">'
        f'<TiffData FirstC="0" FirstT="0" FirstZ="0" IFD="0" PlaneCount="6">'
        f'<UUID FileName="w.ome.tif">urn:uuid:8</UUID></TiffData></Pixels></Image></OME>'
    )
    return array


def test_a_companion_file_tells_axes_and_size(tmp_path):
    array = write_companion(tmp_path)
    image = read_image(tmp_path / "w.ome.tif")
    assert (image.axes, image.guessed) == ("CZYX", False)
    assert image.pixel_size_um == pytest.approx(0.5)
    np.testing.assert_array_equal(image.data, array.reshape(2, 3, 20, 30))
    assert stems(find_inputs(tmp_path)) == ["w"]


def test_a_companion_that_is_not_there_is_told(tmp_path):
    write_companion(tmp_path)
    (tmp_path / "p.companion.ome").unlink()
    image = read_image(tmp_path / "w.ome.tif")
    assert image.guessed
    assert "p.companion.ome" in image.notices[0]


def test_a_companion_with_entities_is_refused(tmp_path):
    write_companion(tmp_path)
    (tmp_path / "p.companion.ome").write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    with pytest.raises(InputError, match="unsafe XML"):
        read_image(tmp_path / "w.ome.tif")


def test_a_companion_file_stands_for_what_it_describes(tmp_path):
    array = write_companion(tmp_path)
    file = tmp_path / "p.companion.ome"
    for given in (file, str(tmp_path / "*.companion.ome"), [file, tmp_path], [tmp_path, file]):
        assert stems(find_inputs(given)) == ["w"]
    image = read_image(tmp_path / "p.companion.ome")
    assert (image.axes, image.name) == ("CZYX", "w.ome.tif")
    np.testing.assert_array_equal(image.data, array.reshape(2, 3, 20, 30))
    assert [scene.name for scene in scenes(tmp_path / "p.companion.ome")] == ["well"]


def write_wells(folder, *names):
    """A companion file of images in files of their own."""
    images = []
    for number, name in enumerate(names):
        pointer = (
            f'{HEAD}UUID="urn:uuid:{number}"><BinaryOnly MetadataFile="p.companion.ome" UUID="urn:uuid:9"/>'
        )
        options = {"metadata": None, "photometric": "minisblack", "description": f"{pointer}</OME>"}
        tifffile.imwrite(folder / name, noise(20, 30 + number), **options)
        images.append(
            f'<Image ID="Image:{number}" Name="well {number}"><Pixels ID="Pixels:{number}" '
            f'DimensionOrder="XYZCT" Type="uint8" SizeX="{30 + number}" SizeY="20" SizeZ="1" SizeC="1" '
            f'SizeT="1"><TiffData IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{number}</UUID>'
            f"</TiffData></Pixels></Image>"
        )
    (folder / "p.companion.ome").write_text(f'{HEAD}UUID="urn:uuid:9">{"".join(images)}</OME>')


def test_a_companion_of_several_files(tmp_path):
    write_wells(tmp_path, "b.ome.tif", "a.ome.tif")
    inputs = find_inputs(tmp_path / "p.companion.ome")
    assert stems(inputs) == ["b", "a"]
    assert [read_image(path).plane_shape for path in inputs.paths] == [(20, 30), (20, 31)]
    with pytest.raises(InputError, match=r"p\.companion\.ome.*2 images.*b\.ome\.tif"):
        read_image(tmp_path / "p.companion.ome")
    (tmp_path / "b.ome.tif").unlink()
    assert stems(find_inputs(tmp_path / "p.companion.ome")) == ["a"]
    (tmp_path / "a.ome.tif").unlink()
    with pytest.raises(InputError, match=r"p\.companion\.ome.*missing"):
        find_inputs(tmp_path / "p.companion.ome")


@pytest.mark.parametrize("text", ["", "<OME", "<OME/>", "\x00"])
def test_a_damaged_companion_is_said(tmp_path, text):
    (tmp_path / "p.companion.ome").write_text(text)
    with pytest.raises(InputError, match=r"p\.companion\.ome"):
        find_inputs(tmp_path / "p.companion.ome")


# --- Zarr ---------------------------------------------------------------------------------------------


def write_zarr_image(path, array, name="", more=()):
    group = zarr.open_group(str(path), mode="a", zarr_format=2)
    axes = [{"name": axis, "type": "space"} for axis in "yx"]
    entries = []
    for number, each in enumerate((array, *more)):
        # Before 3.0.10 groups of zarr do not take `data`.
        group.create_array(str(number), shape=each.shape, dtype=each.dtype)[...] = each
        entries.append({"version": "0.4", "axes": axes, "name": name, "datasets": [{"path": str(number)}]})
    group.attrs["multiscales"] = entries


def test_a_collection_of_zarr_images(tmp_path):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    write_zarr_image(tmp_path / "a.zarr" / "0", noise(20, 30), "slide")
    write_zarr_image(tmp_path / "a.zarr" / "1", noise(22, 28), "slide 2")
    write_zarr_image(tmp_path / "a.zarr" / "2", noise(8, 9), "label image")
    inputs = find_inputs(tmp_path / "a.zarr")
    assert stems(inputs) == ["a_0", "a_1"]
    assert [read_image(path).plane_shape for path in inputs.paths] == [(20, 30), (22, 28)]
    assert len(find_inputs(tmp_path / "a.zarr", "all").paths) == 3
    assert read_image(tmp_path / "a.zarr", series="1").plane_shape == (22, 28)


def test_the_fields_of_a_plate(tmp_path):
    root = zarr.open_group(str(tmp_path / "p.zarr"), mode="w", zarr_format=2)
    root.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}, {"path": "C/3"}]}
    for well, fields in (("A/1", 2), ("B/2", 1)):
        group = root.require_group(well)
        group.attrs["well"] = {"images": [{"path": str(number)} for number in range(fields)]}
        for number in range(fields):
            write_zarr_image(tmp_path / "p.zarr" / well / str(number), noise(20 + number, 30))
    # a well that the plate lists and lacks is kept, so that reading it says so
    assert stems(find_inputs(tmp_path)) == ["p_A_1_0", "p_A_1_1", "p_B_2_0", "p_C_3"]
    assert read_image(tmp_path / "p.zarr", series="A/1/1").plane_shape == (21, 30)
    assert stems(find_inputs(tmp_path / "p.zarr" / "A" / "1")) == ["p_A_1_0", "p_A_1_1"]


def test_several_multiscales_of_one_group(tmp_path):
    write_zarr_image(tmp_path / "a.zarr", noise(20, 30), more=[noise(22, 28)])
    inputs = find_inputs(tmp_path)
    assert [read_image(path).plane_shape for path in inputs.paths] == [(20, 30), (22, 28)]
    assert stems(inputs) == ["a_0", "a_1"]


def test_a_folder_of_that_name_is_no_file_of_scenes(tmp_path):
    (tmp_path / "a.tif").mkdir()
    assert split_scene(tmp_path / "a.tif" / "b.png") == (tmp_path / "a.tif" / "b.png", "")
