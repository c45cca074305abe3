"""What the installed TensorFlow says of itself, and what that means."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from eightfold.errors import PlatformError
from eightfold.system.finding import Finding
from eightfold.system.instructions import instruction_set
from eightfold.system.survey import survey
from eightfold.tf import build as build_module
from eightfold.tf.build import Build, OneDnn, installed_build, introduction
from eightfold.tf.build_findings import build_findings

HERE = replace(survey(), flags=frozenset({"avx2", "avx512_vnni"}), variables={})
VNNI = OneDnn("3.7.3", "threadpool", "Intel AVX-512 with Intel DL Boost", "brgconv_1x1:avx512_core_vnni")
STOCK = Build("2.21.0", VNNI, None)

ONEDNN_3_7 = """\
onednn_verbose,v1,info,oneDNN v3.7.3 (commit N/A)
onednn_verbose,v1,info,cpu,runtime:threadpool,nthr:2
onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with float16, Intel DL Boost and bfloat16 support
onednn_verbose,v1,info,gpu,runtime:none
onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,prop_kind,exec_time
onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_f32::blocked:ab:f0 wei_f32::blocked:ab:f0,,,32x32:32x32,22.5
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src_s8::blocked:cdba::f0,,,64x64x1x1,0.1
onednn_verbose,v1,primitive,exec,cpu,convolution,brgconv_1x1:avx10_1_512_amx,forward_training,src:u8::blocked,,,0.2
onednn_verbose,v1,primitive,exec,cpu,convolution,jit:uni,forward_training,src:f32::blocked,,,0.2
"""
ONEDNN_2_7 = """\
Some other line
onednn_verbose,info,oneDNN v2.7.3 (commit 6dbeffbae1f23cbbeae17adb7b5b13f1f37c080e)
onednn_verbose,info,cpu,runtime:OpenMP,nthr:8
onednn_verbose,info,cpu,isa:Intel AVX2
onednn_verbose,info,gpu,runtime:none
onednn_verbose,info,prim_template:operation,engine,primitive,implementation,prop_kind,exec_time
onednn_verbose,exec,cpu,convolution,jit:avx2,forward_inference,src_f32::blocked:aBcd8b:f0,,,0.1
"""
WITH_TIMES = """\
onednn_verbose,v1,1732191234567.89,info,oneDNN v3.10.0 (commit abc)
onednn_verbose,v1,1732191234567.9,info,cpu,runtime:sequential,nthr:1
onednn_verbose,v1,1732191234568.1,primitive,exec,cpu,convolution,jit_int8:avx512_core_vnni,forward,src,,,0.1
"""


@pytest.mark.parametrize(
    ("verbose", "expected"),
    [
        (
            ONEDNN_3_7,
            OneDnn(
                "3.7.3",
                "threadpool",
                "Intel AVX-512 with float16, Intel DL Boost and bfloat16 support",
                "brgconv_1x1:avx10_1_512_amx",
            ),
        ),
        (ONEDNN_2_7, OneDnn("2.7.3", "OpenMP", "Intel AVX2", "jit:avx2")),
        (WITH_TIMES, OneDnn("3.10.0", "sequential", "unknown", "jit_int8:avx512_core_vnni")),
        ("TensorFlow without oneDNN says nothing\n", None),
        ("", None),
    ],
)
def test_onednn_introduces_itself(verbose: str, expected: OneDnn | None) -> None:
    assert introduction(verbose) == expected


@pytest.mark.int8
def test_the_tensorflow_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    found = installed_build()
    assert found is not None
    assert (found.version, found.refusal) == (tf.__version__, None)
    assert found.onednn is not None
    assert found.onednn.runtime == "threadpool"
    assert int(found.onednn.version.split(".")[0]) >= 3
    assert found.onednn.convolution is not None
    warnings = [one for one in build_findings(found, HERE) if one.name == "oneDNN" and one.warning]
    assert bool(warnings) is not instruction_set().exact


@pytest.mark.int8
def test_the_environment_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions that are forbidden are not used, and that their sums saturate is said."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    found = installed_build()
    assert found is not None
    assert found.onednn is not None
    assert found.onednn.isa == "Intel AVX2"
    assert "weights of 7 bits" in build_findings(found, survey())[1].meaning


def test_onednn_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    found = installed_build()
    assert found is not None
    line = build_findings(found, HERE)[0]
    assert line.warning
    assert "oneDNN is switched off by TF_ENABLE_ONEDNN_OPTS=0" in line.meaning


def test_no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "find_spec", lambda name: None)
    assert installed_build() is None
    (line,) = build_findings(None, HERE)
    assert (line.name, line.value, line.warning) == ("TensorFlow", "not installed", True)
    assert "pip install tensorflow-cpu" in line.meaning


@pytest.mark.parametrize(
    ("code", "stderr", "said"),
    [
        (1, "Traceback\nImportError: libtensorflow_cc.so.2: cannot open\n", "ImportError: libtensorflow_cc.so.2"),
        (-4, "", "it ended with code -4"),
    ],
)
def test_a_tensorflow_that_does_not_start(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str, said: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, "", stderr))
    with pytest.raises(PlatformError, match=f"installed and cannot be used: {said}"):
        installed_build()


def test_the_words_on_a_stock_tensorflow() -> None:
    tensorflow, onednn, threads = build_findings(STOCK, HERE)
    assert tensorflow == Finding(
        "TensorFlow", "2.21.0", "it has working 8-bit kernels: a convolution ran as brgconv_1x1:avx512_core_vnni"
    )
    assert onednn.meaning == "it uses all that this CPU has for 8 bits"
    assert threads.value == "TensorFlow's own (Eigen)"
    assert threads.meaning.startswith("OMP_* and KMP_* have no effect")
    assert not threads.warning


def test_variables_of_openmp_have_no_effect_on_the_pool_of_eigen() -> None:
    here = replace(HERE, variables={"KMP_BLOCKTIME": "1", "TF_NUM_INTRAOP_THREADS": "2"})
    threads = build_findings(STOCK, here)[-1]
    assert threads.value.endswith("without effect: KMP_BLOCKTIME")
    assert threads.warning
    openmp = replace(STOCK, onednn=replace(VNNI, runtime="OpenMP"))
    assert build_findings(openmp, here)[-1] == Finding(
        "thread pool",
        "OpenMP",
        "OMP_NUM_THREADS, KMP_AFFINITY and KMP_BLOCKTIME count; `eightfold tune` searches them",
    )


def test_a_build_without_onednn() -> None:
    lines = build_findings(Build("2.21.0", None, "no working 8-bit convolution"), HERE)
    assert [(one.name, one.value, one.warning) for one in lines] == [
        ("TensorFlow", "2.21.0", True),
        ("oneDNN", "none", True),
    ]
    assert lines[0].meaning == "no working 8-bit convolution"


@pytest.mark.parametrize(
    ("convolution", "variables", "flags", "words", "warning"),
    [
        ("jit_int8:avx512_core_vnni", {}, {"avx512_vnni", "amx_int8"}, "does not use this CPU's AMX", True),
        ("jit_uni_int8:avx2", {}, {"avx2"}, "saturate at 16 bits", True),
        ("jit_int8:avx512_core", {"DNNL_MAX_CPU_ISA": "AVX512_CORE"}, {"avx512_vnni"}, "use weights of 7 bits", True),
        (
            "jit:avx512_core_vnni",
            {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
            {"amx_int8"},
            "kept to AVX512_CORE",
            False,
        ),
        (None, {}, {"avx512_vnni"}, "all that this CPU has", False),
        (None, {"TF_ENABLE_ONEDNN_OPTS": "false"}, {"avx512_vnni"}, "does not use it", True),
    ],
)
def test_the_instructions_that_onednn_chose(
    convolution: str | None, variables: dict[str, str], flags: set[str], words: str, warning: bool
) -> None:
    here = replace(HERE, flags=frozenset(flags), variables=variables)
    line = build_findings(replace(STOCK, onednn=replace(VNNI, convolution=convolution)), here)[1]
    assert words in line.meaning
    assert line.warning is warning


def test_the_probe_finds_this_eightfold(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started in the folder that holds the package, installed or not."""
    started = {}

    def run(program: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        started.update(options)
        return subprocess.CompletedProcess(program, 0, "", 'eightfold_probe {"version": "2.0", "refusal": "no"}\n')

    monkeypatch.setattr(subprocess, "run", run)
    assert installed_build() == Build("2.0", None, "no")
    assert Path(str(started["cwd"]), "eightfold/tf/probe.py").is_file()
