"""The shape of the tree, which no other tool guards."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = ("services", "uploader", "signer", "proxy")
SOURCES = [path for project in PROJECTS for path in sorted((ROOT / project / "src").rglob("*.py"))]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def test_namespace_has_no_init_file() -> None:
    """One would hide the other three projects, while mypy goes on saying "Success"."""
    assert [path for project in PROJECTS for path in (ROOT / project / "src/taskward").glob("__init__.py")] == []


@pytest.mark.parametrize("project", PROJECTS)
def test_packages_have_init_file_and_type_marker(project: str) -> None:
    packages = [
        path for path in (ROOT / project / "src/taskward").iterdir() if path.is_dir() and path.name != "__pycache__"
    ]
    assert packages
    for package in packages:
        assert (package / "__init__.py").is_file()
        assert (package / "py.typed").is_file()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_documents_resolve(path: Path) -> None:
    targets = [target.partition("#")[0] for target in _LINK.findall(path.read_text())]
    local = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", sorted((ROOT / "ops/locks").iterdir()), ids=lambda path: path.name)
def test_locks_name_no_address(path: Path) -> None:
    assert "://" not in path.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "ops/locks").glob("*.txt")), ids=lambda path: path.name)
def test_every_locked_package_has_a_hash(path: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n?", "", path.read_text(), flags=re.MULTILINE).strip())
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_lock_is_made_of_what_the_projects_need() -> None:
    needed: set[str] = set()
    for project in PROJECTS:
        needed.update(tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]["dependencies"])
    ours = {each for each in needed if each.startswith("taskward")}
    lines = (ROOT / "ops/locks/requirements.in").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    assert listed == needed - ours


def test_arrows_between_packages_hold() -> None:
    program = Path(sys.prefix) / "bin/lint-imports"
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
