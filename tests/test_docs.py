"""Every Python block in the documentation runs, and prints what the text block after it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from tensorml.converter import registered
from tensorml.executors.torch.families import rules

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers is forgotten after it."""
    monkeypatch.setattr("tensorml.converter._REGISTRY", dict(registered()))
    monkeypatch.setattr(rules, "table", dict(rules.table))


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("page", WITH_CODE, ids=names(WITH_CODE))
def test_the_code_runs_and_prints_what_the_page_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            assert not printed, f"the page does not show what it prints: {printed}"
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, str(page), "exec"), variables)
            printed = out.getvalue()
        else:
            assert text == printed
            printed = ""
    assert not printed, f"the page does not show what it prints: {printed}"


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_index_links_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in LINK.findall(index.read_text(encoding="utf-8"))}
    assert [page.name for page in PAGES if page.name not in ("README.md", "index.md") and page not in linked] == []


def test_the_how_to_pages_have_examples() -> None:
    assert {"write-a-converter.md", "write-an-operator.md", "write-an-executor.md", "README.md", "index.md"} <= {
        page.name for page in WITH_CODE
    }


def test_the_executor_table_lists_all_executors() -> None:
    from tensorml.executors.base import names as executors

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in executors() if f"| `{name}` |" not in text] == []
