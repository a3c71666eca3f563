"""What the processor is known to do, from what Linux tells of it."""

from pathlib import Path

import pytest

from pipeline.device import processor

SKYLAKE = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6148 CPU\nflags\t\t: avx2 avx512f\n\nprocessor\t: 1\n"
SAPPHIRE = "model name\t: Intel(R) Xeon(R) Processor\nflags\t\t: fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile\n\n"
ZEN_5 = "model name\t: AMD EPYC 9R45\nflags\t\t: fpu avx2 avx512f avx512_bf16\n\n"
GRAVITON = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd sve i8mm bf16\nCPU part\t: 0xd40\n\n"


@pytest.mark.parametrize(
    ("cpuinfo", "instructions", "is_quick"),
    [
        (SKYLAKE, ["avx2", "avx512f"], False),
        (SAPPHIRE, ["avx2", "avx512f", "avx512_bf16", "amx_bf16"], True),
        (ZEN_5, ["avx2", "avx512f", "avx512_bf16"], True),
        (GRAVITON, ["bf16"], True),
    ],
    ids=["Skylake", "Sapphire Rapids", "Zen 5", "Graviton 3"],
)
def test_bfloat16_is_called_quick_where_the_processor_multiplies_in_it(
    cpuinfo: str, instructions: list[str], is_quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert (processor.instructions(), processor.is_quick_in_bfloat16()) == (instructions, is_quick)


def test_a_processor_of_which_nothing_is_told_has_the_name_of_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(processor.platform, "machine", lambda: "arm64")
    assert (processor.name(), processor.instructions()) == ("arm64", [])
