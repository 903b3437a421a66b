"""make docs: strict, without a network, and nothing in docs/ that leads nowhere."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from defensive_tensorization.config import CONFIGS

ROOT = CONFIGS.parent
HOOKS = ROOT / "scripts" / "site_hooks.py"
PAGES = sorted((ROOT / "docs").glob("*.md"))


def hooks() -> SimpleNamespace:
    spec = importlib.util.spec_from_file_location("site_hooks", HOOKS)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(**vars(module))


def rewritten(text: str) -> str:
    page = SimpleNamespace(file=SimpleNamespace(src_path="page.md"))
    return str(hooks().on_page_markdown(text, page))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_out_of_the_docs_leads_somewhere(page: Path) -> None:
    assert "](../" not in rewritten(page.read_text())


def test_a_link_out_of_the_docs_becomes_a_path() -> None:
    assert rewritten("see [Table 1](../results/cpu/table1.md).") == (
        "see Table 1 (`results/cpu/table1.md`)."
    )
    assert rewritten("![a](../results/cpu/table1.png)") == "![a](pictures/cpu-table1.png)"
    assert rewritten("[`README.md`](../README.md#x)") == "`README.md`"
    with pytest.raises(FileNotFoundError, match="page.md: ../nowhere.md is not in the repository"):
        rewritten("[x](../nowhere.md)")


def test_every_page_is_in_the_menu_and_every_example_on_the_site() -> None:
    menu = re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    assert sorted(menu) == [page.name for page in PAGES]
    shown = (ROOT / "docs" / "examples.md").read_text()
    for script in (ROOT / "examples").rglob("*.py"):
        assert f'```python\n--8<-- "{script.relative_to(ROOT)}"\n```\n' in shown


def test_nothing_is_fetched_from_elsewhere() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    assert yaml.safe_load(text.split("plugins:")[0])["theme"]["font"] is False
    assert "http" not in text


@pytest.mark.slow
def test_the_site_is_built_strictly_and_offline(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api.html").read_text()
    assert "tensorize" in page and "theta" in page
    assert 'src="pictures/cpu-table1_evidence.png"' in (tmp_path / "published.html").read_text()
    assert (tmp_path / "pictures" / "cpu-table1_evidence.png").is_file()
    examples = re.sub("<[^>]+>", "", (tmp_path / "examples.html").read_text())
    assert "class NoisyNet(nn.Module):" in examples and "--8" not in examples
    assert "$ python examples/audit_a_defence.py --steps" in examples
    for file in tmp_path.glob("*.html"):
        fetched = re.findall(r'(?:src|rel="stylesheet" href)="(https?://[^"]+)"', file.read_text())
        assert fetched == [], file.name
