"""`napari-cupre models`: the models on this computer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.cli.options import EXIT_DONE, add_command, add_overwrite, check_replaces, report

if TYPE_CHECKING:
    from napari_cupre.model.checkpoint import ModelInfo

NAME = "a name from 'models list', or a path"


def add_models(subparsers: Any) -> None:
    """Add `models` and its actions."""
    parser = subparsers.add_parser("models", help="list, describe, add, rename, remove and export models")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    add_command(actions, "list", _list, "list the models on this computer", "", "napari-cupre models list")
    info = add_command(
        actions,
        "info",
        _info,
        "show how a model was made and for what",
        "The description is read from the file's header; the weights are not loaded.",
        "napari-cupre models info cupre",
    )
    info.add_argument("model", metavar="MODEL", help=NAME)
    add = add_command(
        actions,
        "add",
        _add,
        "copy a model file to your models, to choose it by name",
        "",
        "napari-cupre models add nuclei.safetensors --name nuclei",
    )
    add.add_argument("file", metavar="FILE", type=Path, help="a model file (.safetensors)")
    add.add_argument("--name", help="name for the model (default: the file's stem)")
    rename = add_command(
        actions,
        "rename",
        _rename,
        "give one of your models and its training run another name",
        "",
        "napari-cupre models rename nuclei plates",
    )
    rename.add_argument("name", metavar="NAME", help="a name from 'models list'")
    rename.add_argument("new_name", metavar="NEW_NAME", help="a name that no model has")
    remove = add_command(
        actions,
        "remove",
        _remove,
        "delete one of your models and its training run",
        "",
        "napari-cupre models remove nuclei",
    )
    remove.add_argument("name", metavar="NAME", help="a name from 'models list'")
    _add_export(actions)


def _add_export(actions: Any) -> None:
    export = add_command(
        actions,
        "export",
        _export,
        "write a model to a file, to share it",
        "The file contains the weights and the description; 'models add' reads it on any computer. "
        "The format openvino (experimental) adds 8-bit layers that run faster on processors if "
        "napari-cupre[fast] is installed; without it, the file works as before. fastest adds them only if "
        "they find the same cells in less time.",
        "napari-cupre models export nuclei nuclei-fast.safetensors --format openvino",
    )
    export.add_argument("model", metavar="MODEL", help=NAME)
    export.add_argument("file", metavar="FILE", type=Path, help="the file to write (.safetensors)")
    export.add_argument(
        "--format",
        choices=("safetensors", "openvino", "fastest"),
        default="safetensors",
        help="openvino and fastest are experimental (default: %(default)s)",
    )
    add_overwrite(export)


def _list(args: argparse.Namespace) -> int:
    from napari_cupre.model.runs import list_runs, size_of
    from napari_cupre.model.zoo import list_models, user_folder

    entries = list_models()
    runs = {run.name: run for run in list_runs(user_folder())}
    figures: list[dict[str, Any]] = []
    for entry in entries:
        run = runs.pop(entry.name, None) if entry.path and entry.path.parent == user_folder() else None
        own = size_of(entry.path) if entry.path is not None else 0
        figures.append(
            {"name": entry.name, "path": entry.path, "description": entry.description, "bytes": own}
            | {"run_bytes": run.size if run is not None else 0}
        )
    for run in runs.values():
        state = "a training in progress" if run.is_training else "a training without a model yet"
        figures.append(
            {"name": run.name, "path": None, "description": state, "bytes": 0, "run_bytes": run.size}
        )
    width = max(len(each["name"]) for each in figures)
    lines = [f"{each['name']:<{width}}  {each['description']}{_size_in_words(each)}" for each in figures]
    report(args, "\n".join([*lines, f"Your models are in {user_folder()}."]), {"models": figures})
    return EXIT_DONE


def _size_in_words(entry: dict[str, Any]) -> str:
    """The disk space of a model and of the files needed to resume its training."""
    if not entry["bytes"] and not entry["run_bytes"]:
        return ""
    training = f" and {entry['run_bytes'] / 1e6:.0f} MB to resume its training" if entry["run_bytes"] else ""
    return f" ({entry['bytes'] / 1e6:.0f} MB{training})"


def _info(args: argparse.Namespace) -> int:
    from napari_cupre.model.zoo import describe, find_model

    info = describe(args.model)
    report(args, describe_in_words(info), {**info.as_dict(), "path": find_model(args.model).path})
    return EXIT_DONE


def describe_in_words(info: ModelInfo) -> str:
    """A model's description as indented lines."""
    diameter = "estimated from each image" if info.diameter is None else f"{info.diameter:.1f} px"
    if info.diameter_um is not None:
        diameter += f" ({info.diameter_um:.2f} µm)"
    lines = [
        f"name           {info.name}",
        f"network        {info.config.preset} ({info.config.backbone})",
        f"classes        {', '.join(info.classes)}",
        f"cell diameter  {diameter}",
        f"normalisation  {info.normalisation}",
        f"licence        {info.licence or 'not stated'}",
    ]
    for title, values in (("training", info.training), ("metrics", info.metrics)):
        lines += [title] + [f"  {key}: {value}" for key, value in values.items()] if values else []
    return "\n".join(lines)


def _add(args: argparse.Namespace) -> int:
    from napari_cupre.model.zoo import add_model

    entry = add_model(args.file, args.name)
    report(
        args, f"{args.file} is now {entry.name!r} ({entry.path}).", {"name": entry.name, "path": entry.path}
    )
    return EXIT_DONE


def _rename(args: argparse.Namespace) -> int:
    from napari_cupre.model.cards import rename_model

    path = rename_model(args.name, args.new_name)
    report(args, f"{args.name!r} is now {path.stem!r} ({path}).", {"name": path.stem, "path": path})
    return EXIT_DONE


def _remove(args: argparse.Namespace) -> int:
    from napari_cupre.model.zoo import remove_model

    path = remove_model(args.name)
    report(args, f"{args.name!r} was removed ({path}).", {"name": args.name, "path": path})
    return EXIT_DONE


def _export(args: argparse.Namespace) -> int:
    from napari_cupre.model.checkpoint import save_model
    from napari_cupre.model.zoo import find_model, open_model

    own = find_model(args.model).path
    check_replaces(args, [args.file], [own] if own is not None else [], "another file")
    model = open_model(args.model, device="cpu", seed=args.seed)
    lines: list[str] = []
    if args.format != "safetensors":
        from napari_cupre.cli.lighter import make_lighter

        model, lines = make_lighter(model, args.seed, only_same=args.format == "fastest")
    path = save_model(model, args.file)
    size = path.stat().st_size
    lines.append(f"{path} written ({size / 1e6:.1f} MB).")
    figures = {key: value for key, value in model.info.metrics.items() if key.startswith("openvino")}
    report(args, "\n".join(lines), {"path": path, "bytes": size, **figures})
    return EXIT_DONE
