"""The README's tables, from the recorded results alone."""

from __future__ import annotations

import report

from eightfold.running.settings import Runtime

__all__ = ["NAMES", "best", "gain", "quantization", "throughput"]

NAMES = {
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "inceptionv3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenetv2": "MobileNetV2",
}
SUBJECTS = ("TF fp32 as exported", "TF fp32", "eightfold int8", "OpenVINO int8")
OURS, DEFAULT = "eightfold int8", "default environment"
MODES = {"latency": "Latency: milliseconds of a batch of one", "throughput": "Throughput: images in a second"}


def throughput() -> str:
    """Milliseconds per image of each subject, and int8's ratios, for each network and batch size."""
    found = {(row["net"], row["batch_size"], row["name"]): row for row in report.read("throughput")}
    cases = sorted({key[:2] for key in found}, key=lambda case: (list(NAMES).index(case[0]), -case[1]))
    lines = [_line(*case, [found[(*case, name)] for name in SUBJECTS]) for case in cases]
    headings = ("model", "batch", *SUBJECTS, "int8 over fp32", "int8 over OpenVINO")
    about = "Milliseconds per image, medians. Ratios are paired by round: their median, lowest and highest."
    return f"{about}\n\n{report.table(headings, lines)}\n{_context(list(found.values()))}"


def quantization() -> str:
    """What it takes to quantize each network, for each tool."""
    lines = [
        (
            NAMES[row["net"]],
            row["name"],
            f"{row['images']}",
            f"{row['seconds']:.0f}",
            f"{row['peak_mb'] / 1e3:.1f}",
            f"{row['size_mb']:.1f}",
        )
        for row in sorted(report.read("quantization"), key=lambda row: list(NAMES).index(row["net"]))
    ]
    headings = ("model", "quantized by", "images", "seconds", "peak memory GB", "size after MB")
    return report.table(headings, lines)


def best() -> str:
    """Each runtime at its best, and how many times as fast 8 bits in TensorFlow are, for each network and mode."""
    rows = _in_order(report.read("best"))
    machines = sorted({row["on"] for row in rows})
    parts = []
    for mode, about in MODES.items():
        headings = ("model", "run by", "settings", "ms" if mode == "latency" else "images/s", f"{OURS} over it")
        if any(row["mode"] == mode for row in rows):
            parts.append(f"### {about}\n")
        for on in machines:
            those = [row for row in rows if (row["mode"], row["on"]) == (mode, on)]
            if those:
                lines = [_best_line(row, those) for row in those]
                parts.append(f"{report.table(headings, lines)}\n{_context(those, threads=False)}")
    return "\n".join(parts)


def gain() -> str:
    """The whole gain over the default environment: 8 bits and settings together."""
    ours, before = (
        {(row["on"], row["net"], row["mode"]): row for row in _in_order(report.read("best")) if row["name"] == name}
        for name in (OURS, DEFAULT)
    )
    lines = [
        (
            NAMES[net],
            mode,
            *(f"{one['images_per_second']:.1f}" for one in (before[on, net, mode], row)),
            _ratio(row, DEFAULT),
            on,
        )
        for (on, net, mode), row in ours.items()
        if (on, net, mode) in before
    ]
    headings = ("model", "mode", "default environment, images/s", f"{OURS}, images/s", "gain", "on")
    return report.table(headings, lines)


def _in_order(rows: list[report.Row]) -> list[report.Row]:
    return sorted(rows, key=lambda row: list(NAMES).index(row["net"]))


def _best_line(row: report.Row, rows: list[report.Row]) -> tuple[str, ...]:
    ours = next(one for one in rows if (one["net"], one["name"]) == (row["net"], OURS))
    figure = row["timing"]["median_ms"] if row["mode"] == "latency" else row["images_per_second"]
    settings = str(Runtime.from_json(row["runtime"]))
    return NAMES[row["net"]], row["name"], settings, f"{figure:.2f}", _ratio(ours, row["name"])


def _ratio(row: report.Row, name: str) -> str:
    if row["name"] == name:
        return "1"
    over = row["over"][name]
    return f"**{over['median']:.2f}x** ({over['low']:.2f}-{over['high']:.2f})"


def _line(net: str, batch_size: int, subjects: list[report.Row]) -> tuple[str, ...]:
    per_image = (f"{row['timing']['median_ms'] / batch_size:.2f}" for row in subjects)
    ratios = (_ratio(subjects[SUBJECTS.index(OURS)], name) for name in ("TF fp32", "OpenVINO int8"))
    return (NAMES[net], str(batch_size), *per_image, *ratios)


def _context(rows: list[report.Row], *, threads: bool = True) -> str:
    """Machine, versions and command: of all rows, each said once."""
    machines = {
        f"{m['cpu']}, {m['cores']} cores, {'with' if m['vnni'] else 'without'} VNNI, {m['kernel']}"
        for m in (row["machine"] for row in rows)
    }
    versions = {f"{name} {number}" for row in rows for name, number in row["versions"].items()}
    commands = {f"`{row['command']}`" for row in rows}
    rounds = {
        (f"{row['runtime']['intra']} threads, " if threads else "") + f"{row['settings']['rounds']} rounds"
        for row in rows
    }
    said = (machines, rounds, versions, commands)
    return "; ".join(", ".join(sorted(one)) for one in said) + ".\n"
