"""What memory `eightfold train` needs for pictures as cameras make them: python benchmarks/large_pictures.py cifar.npz

Writes 40 JPEG files of 4000 x 3000 pixels in class folders, enlarged from CIFAR-10, trains a network on them, and
records the peak memory of the process. Writes its table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cifar_files
import report
from training_programs import Task, eightfold_train

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
CLASSES = "automobile,bird"
HEADINGS = ("network", "pixels", "pictures", "size, pixels", "JPEG files, MB", "first step, s", "whole, s", "peak GB")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = (options.width, options.height)
        cifar_files.write(options.source, folder, cifar_files.parts_of(CLASSES), options.count, size)
        files = list(folder.rglob("*.jpg"))
        row = {
            "net": options.net,
            "image_size": options.image_size,
            "pictures": len(files),
            "size": size,
            "mb": sum(file.stat().st_size for file in files) / 1e6,
            **eightfold_train(Task(folder, options.net, options.image_size, options.epochs, options.batch_size), 0),
            **report.context(),
        }
    print(row)
    report.record("large-pictures", [row], key=("net", "size", "on"))
    report.write_between(options.document, "large-pictures", table())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="an .npz file of CIFAR-10; see benchmarks/cifar_files.py")
    parser.add_argument("--net", choices=("resnet18", "resnet18_slim", "resnet50"), default="resnet50")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="has a place for the table")
    return parser.parse_args()


def table() -> str:
    """All that was recorded, and on what."""
    rows = report.read("large-pictures")
    about = sorted(
        {
            f"{one['on']}; TensorFlow {one['versions']['tensorflow']}, Keras {one['versions']['keras']}; "
            f"`{one['command']}`.\n"
            for one in rows
        }
    )
    return "\n".join([report.table(HEADINGS, map(line, rows)), *about])


def line(row: report.Row) -> tuple[str, ...]:
    width, height = row["size"]
    return (
        row["net"],
        str(row["image_size"]),
        str(row["pictures"]),
        f"{width} x {height}",
        f"{row['mb']:.0f}",
        f"{row['first_step']:.1f}",
        f"{row['seconds']:.0f}",
        f"**{row['peak_gb']:.1f}**",
    )


if __name__ == "__main__":
    main()
