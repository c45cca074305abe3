"""Machines that are not there: `/proc` and `/sys` as files in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from eightfold.system import cpu_list


class Tree:
    """The root of a made-up machine, and short ways to write what a kernel would."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, files: Mapping[str, str | int]) -> Tree:
        for name, content in files.items():
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{content}\n")
        return self

    def affinity(self, cpus: str) -> Tree:
        return self.write({"proc/self/status": f"Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t{cpus}"})

    def online(self, cpus: str) -> Tree:
        return self.write({"sys/devices/system/cpu/online": cpus})

    def core(self, cpus: Iterable[int], socket: int = 0, core: int = 0) -> Tree:
        """One physical core, as the topology folders of its logical CPUs."""
        together = tuple(cpus)
        for cpu in together:
            at = f"sys/devices/system/cpu/cpu{cpu}/topology"
            self.write(
                {
                    f"{at}/core_cpus_list": cpu_list.write(together),
                    f"{at}/physical_package_id": socket,
                    f"{at}/core_id": core,
                }
            )
        return self

    def node(self, number: int, cpus: str) -> Tree:
        return self.write({f"sys/devices/system/node/node{number}/cpulist": cpus})

    def cpuinfo(self, *processors: Mapping[str, object]) -> Tree:
        blocks = ("\n".join(f"{name}\t: {value}" for name, value in one.items()) for one in processors)
        return self.write({"proc/cpuinfo": "\n\n".join(blocks) + "\n"})
