"""What docs/library.md and docs/batchnorm.md show runs as it stands."""

import re
from pathlib import Path

import pytest

import defensive_tensorization as dt

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["library.md", "batchnorm.md"])
def test_the_page_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall((DOCS / page).read_text())
    assert blocks
    known: dict[str, object] = {"__name__": page}
    for block in blocks:
        exec(compile(block, page, "exec"), known)
    said = capsys.readouterr().out
    if page == "library.md":
        assert "torch's global generators" in said and "eot_pgd: " in said


def test_every_attack_is_on_the_page() -> None:
    text = (DOCS / "library.md").read_text()
    for name in dt.attacks.amplitudes.__all__:
        assert f"`{name}`" in text
