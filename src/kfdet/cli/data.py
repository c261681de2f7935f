"""`kfdet data`: make a data set, or convert one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from kfdet.cli.output import answer
from kfdet.errors import UsageError
from kfdet.progress import Progress
from kfdet.schema.conversion import Conversion
from kfdet.schema.dataset import SPLITS, Split
from kfdet.storage.run_config import read_run_config
from kfdet.wording import plural

_OWN_FILES = ("*.tfrecord", "label_map.pbtxt", "conversion.json")


def synth(arguments: argparse.Namespace) -> None:
    from kfdet.stages import data_synth

    images: Mapping[Split, int] = {
        "train": arguments.train,
        "val": arguments.val,
        "test": arguments.test,
    }
    result = data_synth.run(
        out=_own_folder(arguments.out),
        images=images,
        shards={split: min(data_synth.SHARDS[split], images[split]) for split in images},
        size_px=arguments.size,
        seed=arguments.seed,
        progress=Progress.from_environment("data synth"),
    )
    counts = {str(split): count for split, count in result.images.items()}
    answer({"folder": result.folder, **counts, "boxes": result.boxes}, as_json=arguments.json)


def exclude(arguments: argparse.Namespace) -> None:
    from kfdet.stages import data_exclude

    config = read_run_config(Path(arguments.config), overrides=arguments.overrides)
    result = data_exclude.run(
        dataset=config.dataset,
        quarantine=Path(arguments.quarantine),
        out=_own_folder(arguments.out),
        progress=Progress.from_environment("data exclude"),
    )
    kept = {str(split): count for split, count in result.images.items()}
    answer({"folder": result.folder, **kept, "excluded": result.excluded}, as_json=arguments.json)


def convert_voc(arguments: argparse.Namespace) -> None:
    from kfdet.stages import data_convert_voc

    conversion = data_convert_voc.run(
        source=Path(arguments.root),
        out=_own_folder(arguments.out),
        label_map=Path(arguments.label_map) if arguments.label_map else None,
        pixels=arguments.pixels,
        faulty=arguments.faulty,
        progress=Progress.from_environment("data convert"),
    )
    _tell(conversion, arguments)


def convert_coco(arguments: argparse.Namespace) -> None:
    from kfdet.stages import data_convert_coco

    images, first = Path(arguments.images), Path(arguments.instances)
    given = {"val": arguments.val, "test": arguments.test}
    if any(given.values()) and not all(given.values()):
        raise UsageError(
            "only one of --val and --test is given",
            where="kfdet data convert coco",
            expected="both, with the training instances first, or neither",
        )
    annotations: Path | Mapping[Split, Path] = (
        {"train": first, "val": Path(given["val"]), "test": Path(given["test"])}
        if all(given.values())
        else first
    )
    conversion = data_convert_coco.run(
        annotations=annotations,
        images=images
        if isinstance(annotations, Path)
        else {
            "train": images,
            "val": Path(arguments.val_images or images),
            "test": Path(arguments.test_images or images),
        },
        out=_own_folder(arguments.out),
        fractions=_fractions(arguments.fractions),
        seed=arguments.seed,
        label_map=Path(arguments.label_map) if arguments.label_map else None,
        faulty=arguments.faulty,
        progress=Progress.from_environment("data convert"),
    )
    _tell(conversion, arguments)


def _own_folder(name: str) -> Path:
    """Returns the folder to write, which replaces an older data set and nothing else."""
    folder = Path(name)
    if folder.is_dir():
        foreign = sorted(
            path.name
            for path in folder.iterdir()
            if not path.is_file() or not any(fnmatch(path.name, own) for own in _OWN_FILES)
        )
        if foreign:
            raise UsageError(
                f"holds {foreign[0]} and would be replaced",
                where=name,
                expected="a new or empty folder, or one with a data set alone",
                remedy="Choose another --out.",
            )
    return folder


def _fractions(text: str) -> Mapping[Split, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(SPLITS) or min(values) < 0 or abs(sum(values) - 1) > 1e-9:
        raise UsageError(
            f'"{text}" is no division', where="--fractions", expected="three shares: 0.8,0.1,0.1"
        )
    return dict(zip(SPLITS, values, strict=True))


def _tell(conversion: Conversion, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(conversion.pretty_json(), end="")
        return
    kinds = [box.change for box in conversion.changed]
    answer(
        {
            "folder": arguments.out,
            **{
                name: f"{plural(split.images, 'image')}, {plural(split.boxes, 'box')}"
                for name, split in conversion.splits.items()
            },
            "classes": ", ".join(f"{c.name} ({c.boxes:,})" for c in conversion.classes),
            **{f"{kind}_boxes": kinds.count(kind) for kind in sorted(set(kinds))},
            "details": Path(arguments.out) / "conversion.json",
        },
        as_json=False,
    )
