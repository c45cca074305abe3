"""The README's tables, from the recorded results alone."""

from __future__ import annotations

import report

__all__ = ["NAMES", "quantization", "throughput"]

NAMES = {
    "resnet50": "ResNet-50",
    "resnet101": "ResNet-101",
    "inceptionv3": "InceptionV3",
    "mobilenet": "MobileNet",
    "mobilenetv2": "MobileNetV2",
}
SUBJECTS = ("TF fp32 as exported", "TF fp32", "eightfold int8", "OpenVINO int8")


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


def _line(net: str, batch_size: int, subjects: list[report.Row]) -> tuple[str, ...]:
    per_image = (f"{row['timing']['median_ms'] / batch_size:.2f}" for row in subjects)
    over = subjects[SUBJECTS.index("eightfold int8")]["over"]
    ratios = (
        f"**{ratio['median']:.2f}x** ({ratio['low']:.2f}-{ratio['high']:.2f})"
        for ratio in (over["TF fp32"], over["OpenVINO int8"])
    )
    return (NAMES[net], str(batch_size), *per_image, *ratios)


def _context(rows: list[report.Row]) -> str:
    """Machine, versions and command: of all rows, each said once."""
    machines = {
        f"{m['cpu']}, {m['cores']} cores, {'with' if m['vnni'] else 'without'} VNNI, {m['kernel']}"
        for m in (row["machine"] for row in rows)
    }
    versions = {f"{name} {number}" for row in rows for name, number in row["versions"].items()}
    commands = {f"`{row['command']}`" for row in rows}
    threads = {f"{row['settings']['intra']} threads, {row['settings']['rounds']} rounds" for row in rows}
    said = (machines, threads, versions, commands)
    return "; ".join(", ".join(sorted(one)) for one in said) + ".\n"
