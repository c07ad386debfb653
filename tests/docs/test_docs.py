"""What the documentation says, as far as a machine can tell: links lead somewhere, and what it names exists."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = re.compile(r"\b(?:pypi|pythonhosted|npmjs|maven|yarnpkg|crates)\.(?:org|com|io|apache)\b|\bproxy\.golang\b")
ELSEWHERE = (".venv", ".local", ".git", "node_modules", "target", ".pytest_cache", ".ruff_cache", ".mypy_cache")


def pages_under(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.is_dir() and path.name not in ELSEWHERE:
            yield from pages_under(path)
        elif path.suffix == ".md":
            yield path.relative_to(ROOT).as_posix()


PAGES = sorted(pages_under(ROOT))
OURS = [page for page in PAGES if page.startswith("docs/") or page in ("README.md", "CHANGELOG.md")]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|\s)chikaya ([a-z-]+) ([a-z-]+)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def text(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def prose(page: str) -> str:
    """A page without what stands in fences, where brackets mean something else."""
    return FENCE.sub("", text(page))


def commands(page: str) -> list[str]:
    """Lines of shell, continued ones joined, and whatever stands between backticks in the prose."""
    fenced = "\n".join(found[2] for found in FENCE.finditer(text(page)) if found[1] in ("sh", "console", "bash", ""))
    joined = re.sub(r"\\\n\s*", " ", fenced).splitlines()
    return joined + re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: str) -> set[str]:
    """The anchors that a page's headings have on the forge: lower case, spaces as dashes, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-") for heading in headings}


def module(path: str) -> Any:
    """A script of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def chikaya() -> Any:
    return module("docs/reference/make_command.py").tree()


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: str) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        if not found.exists() or (
            anchor and found.suffix == ".md" and anchor not in anchors(found.resolve().relative_to(ROOT).as_posix())
        ):
            broken.append(target)
    assert not broken


def test_every_make_target_that_is_named_exists() -> None:
    there = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {
        (page, target)
        for page in PAGES
        for command in commands(page)
        for target in re.findall(r"(?:^|[;&|] *|\w=\S+ )make ([a-z][a-z-]*)", command.strip())
    }
    assert len(named) > 5
    assert {(page, target) for page, target in named if target not in there} == set()


def test_every_chikaya_command_that_is_named_exists(chikaya: Any) -> None:
    named, wrong = 0, []
    for page in PAGES:
        for command in commands(page):
            for group, name in COMMAND.findall(command):
                named += 1
                if name not in getattr(chikaya.commands.get(group), "commands", {}):
                    wrong.append((page, f"chikaya {group} {name}"))
    assert named > 20
    assert not wrong


def test_every_option_that_is_given_to_chikaya_exists(chikaya: Any) -> None:
    wrong = []
    for page in OURS:
        for command in commands(page):
            for found in re.finditer(r"\bchikaya ([a-z-]+ [a-z-]+)([^|>;&`]*)", command):
                group, name = found[1].split()
                if not hasattr(chikaya.commands.get(group), "commands"):
                    continue
                known = {one for parameter in chikaya.commands[group].commands[name].params for one in parameter.opts}
                given = {word for word in shlex.split(found[2], comments=True) if word.startswith("--")}
                wrong += [(page, f"{found[1]} {option}") for option in given - known - {"--help"}]
    assert not wrong


def test_every_module_that_is_run_exists() -> None:
    named = {
        (page, name)
        for page in PAGES
        for command in commands(page)
        for name in re.findall(r"python3? -m (chikaya_[\w.]+)", command)
    }
    assert named
    assert {(page, name) for page, name in named if importlib.util.find_spec(name) is None} == set()


def test_every_file_that_is_named_in_code_letters_exists() -> None:
    """`services/tracking/tests/test_case.py` and the like: paths that begin with a folder of the repository."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    wrong = []
    for page in OURS:
        wrong += [
            (page, written)
            for written in re.findall(r"`([\w./-]+/[\w./-]*)`", prose(page))
            if written.split("/")[0] in folders and not (ROOT / written).exists()
        ]
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_no_registry_is_named(page: str) -> None:
    assert not REGISTRY.findall(text(page))


@pytest.mark.parametrize("script", ["make_settings", "make_command"])
def test_a_page_that_is_made_from_code_is_up_to_date(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert module(f"docs/reference/{script}.py").main(["--check"]) == 0, capsys.readouterr().out


def test_every_page_of_the_docs_is_reached_from_its_index() -> None:
    """From docs/README.md, by links."""
    seen, ahead = set(), ["docs/README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in LINK.findall(prose(page)):
            path = ((ROOT / page).parent / target.partition("#")[0]).resolve()
            if path.suffix == ".md" and path.is_file() and path.is_relative_to(ROOT / "docs"):
                ahead.append(path.relative_to(ROOT).as_posix())
    assert {page for page in PAGES if page.startswith("docs/")} - seen == set()


def test_the_program_that_a_tutorial_shows_is_the_one_that_it_runs() -> None:
    shown = [found[2] for found in FENCE.finditer(text("docs/tutorials/administration.md")) if found[1] == "python"]
    assert shown == [text("docs/tutorials/cnss.py")]


@pytest.mark.parametrize("page", sorted(page for page in PAGES if page.startswith("docs/tutorials/")))
def test_a_tutorial_shows_what_each_step_printed(page: str) -> None:
    empty = [found.start() for found in FENCE.finditer(text(page)) if found[1] == "text" and not found[2].strip()]
    assert not empty


def test_every_route_of_the_reference_exists_and_every_route_is_in_it() -> None:
    written = set(re.findall(r"`(GET|POST|DELETE|PUT|PATCH) (/v1/[^`?]*)", text("docs/reference/http.md")))
    there = set()
    for source in [*ROOT.glob("services/*/chikaya_*/api.py"), *ROOT.glob("administrations/*/chikaya_*/api.py")]:
        there |= routes(source.read_text("utf-8"))
    assert written == there


def routes(source: str) -> set[tuple[str, str]]:
    """(method, path) of every route that a module adds, with its router's prefix."""
    found: set[tuple[str, str]] = set()
    prefix = ""
    for line in re.split(r"\n(?=\s*(?:router|routes) = APIRouter|\s*@|\s*router\.add_api_route)", source):
        if begun := re.search(r'= APIRouter\((?:prefix="([^"]*)")?', line):
            prefix = begun[1] or ""
        if decorated := re.match(r'\s*@\w+\.(get|post|delete|put|patch)\(\s*"([^"]*)"', line):
            found.add((decorated[1].upper(), prefix + decorated[2].replace(":path", "")))
        if added := re.match(r'\s*router\.add_api_route\(\s*"([^"]*)".*?methods=\["(\w+)"\]', line, re.DOTALL):
            found.add((added[2], prefix + added[1]))
    return found


@pytest.mark.parametrize("page", OURS)
def test_a_diagram_has_no_semicolon(page: str) -> None:
    """Mermaid ends a statement there, and draws nothing."""
    assert not [found[2] for found in FENCE.finditer(text(page)) if found[1] == "mermaid" and ";" in found[2]]
