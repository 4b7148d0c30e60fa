"""What the repository says of itself is true: manuals, VS Code settings, requirements, the sample."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import configs
from dataset import detect, get_texture_config
from images.texture_types import UNUSED
from runtime.bake.files import BAKES
from runtime.engines.packages import PACKAGES
from runtime.shaders import TARGETS
from training import flags as cli

ROOT = Path(__file__).resolve().parent.parent
ENGLISH = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if "_CN" not in path.name))
"""Pages of the manual; each has a Chinese twin beside it."""
PAGES = (*ENGLISH, *(name.replace(".md", "_CN.md") for name in ENGLISH))
INPUT, COMMANDS = ("docs/input.md", "docs/input_CN.md"), ("docs/command_line.md", "docs/command_line_CN.md")
FORMATS, ARCHITECTURE = ("docs/formats.md", "docs/formats_CN.md"), ("docs/architecture.md", "docs/architecture_CN.md")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
USERS_COMMANDS = ("train", "export", "view", "compare", "dataset", "model.doctor")


def manual(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def twin(name: str) -> str:
    return name.replace(".md", "_CN.md")


def command_lines(text: str) -> list[str]:
    return [line for kind, block in FENCE.findall(text) if kind == "sh" for line in block.splitlines() if line.strip()]


def prose(text: str) -> str:
    """A page without its blocks of code and without commands of other programs."""
    return re.sub(r"`(?:tensorboard|python -m http\.server)[^`]*`", "", FENCE.sub("", text))


def own_commands(text: str) -> list[list[str]]:
    """Arguments after `python` of every command of a page that runs a file or module of this repository."""
    parts = [shlex.split(part) for line in command_lines(text) for part in line.split(" && ")]
    parts += [shlex.split(part) for part in re.findall(r"`(python [^`]+)`", FENCE.sub("", text))]
    commands = [part[1:] for part in parts if part[0] == "python"]
    foreign = (["-m", "pytest"], ["-m", "venv"], ["-m", "http.server"])
    return [command for command in commands if command[:2] not in foreign]


def module_of(command: list[str]) -> tuple[str, list[str]]:
    """Module name and the arguments it gets."""
    if command[0] == "-m":
        is_package = (ROOT / command[1].replace(".", "/") / "__main__.py").is_file()
        return command[1] + ".__main__" * is_package, command[2:]
    assert command[0].endswith(".py")
    return command[0].removesuffix(".py"), command[1:]


class Parsed(Exception):
    """A command line was understood."""


def parse(module: str, arguments: list[str], monkeypatch) -> argparse.Namespace:
    """Hand a command line to the parser of its program and go no further."""
    whole = argparse.ArgumentParser.parse_args

    def stop(self, *args, **options):
        raise Parsed(whole(self, *args, **options))

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(Parsed) as parsed:
            importlib.import_module(module).main()
    return parsed.value.args[0]


def known_flags(module: str, monkeypatch, capsys) -> set[str]:
    """Flags in a command's own help."""
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(module).main()
    assert end.value.code == 0
    return set(FLAG.findall(capsys.readouterr().out))


def own_flags(module: str, monkeypatch, capsys) -> set[str]:
    """Flags of a command that a table of flags has to list: without --help, --version and the negations of switches."""
    flags = known_flags(module, monkeypatch, capsys) - {"--help", "--version"}
    return {flag for flag in flags if not flag.startswith(("--no-", "--no_"))}


def tables(text: str) -> list[list[list[str]]]:
    """Tables of a page as rows of cells; heads are the first rows, the lines under them are left out."""
    found: list[list[list[str]]] = []
    inside = False
    for line in FENCE.sub("", text).splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        if not inside:
            found.append([])
        inside = True
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if set("".join(cells)) != {"-"}:
            found[-1].append(cells)
    return found


def table_rows(text: str, first_cells: set[str]) -> dict[str, str]:
    """Rows of Markdown tables by the first word of their first cell."""
    rows = {}
    for line in text.splitlines():
        match = re.match(r"\| `?(\w+)", line)
        if match and match[1] in first_cells:
            rows[match[1]] = line
    return rows


def test_every_page_has_a_chinese_twin_and_every_twin_a_page():
    names = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} | {"README.md", "README_CN.md"}
    assert names == set(PAGES)
    assert len(ENGLISH) == 12


@pytest.mark.parametrize("name", ENGLISH)
def test_twins_have_the_same_headings_tables_code_and_pictures(name):
    english, chinese = manual(name), manual(twin(name))

    def outline(text: str) -> list[str]:
        return re.findall(r"^(#+) ", FENCE.sub("", text), re.M)

    def shapes(text: str) -> list[list[int]]:
        return [[len(row) for row in table] for table in tables(text)]

    def pictures(text: str) -> list[str]:
        return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)

    assert len(outline(english)) >= 3
    assert outline(english) == outline(chinese)
    assert FENCE.findall(english) == FENCE.findall(chinese)
    assert shapes(english) == shapes(chinese)
    assert all(len(set(shape)) == 1 for shape in shapes(english))
    assert pictures(english) == pictures(chinese)
    assert set(FLAG.findall(english)) == set(FLAG.findall(chinese))
    assert [re.findall(r"^(\d+)\. ", english, re.M)] == [re.findall(r"^(\d+)\. ", chinese, re.M)]
    for own, others in ((name, chinese), (twin(name), english)):
        assert f"({Path(own).name})" in others.split("\n##")[0], "the pages link to each other"


@pytest.mark.parametrize("name", PAGES)
def test_pages_of_one_language_link_to_those_of_the_same(name):
    english = "_CN" not in name
    for link in re.findall(r"\]\(([^)#:]+\.md)\)", manual(name)):
        target = ((ROOT / name).parent / link).resolve().relative_to(ROOT).as_posix()
        if target in PAGES and target.replace("_CN", "") != name.replace("_CN", ""):
            assert ("_CN" not in target) == english, link


def test_the_manual_opens_with_a_picture_and_stays_short():
    for name in ("README.md", "README_CN.md"):
        before = manual(name).split("\n## ")[0]
        assert "](docs/images/hero" in before and "`python -m benchmarks.hero`" in before
        assert len(manual(name).splitlines()) <= 260


def test_every_page_of_docs_is_listed_in_the_readme():
    for name in PAGES:
        if name.startswith("docs/"):
            assert f"| [{name}]({name}) |" in manual("README_CN.md" if "_CN" in name else "README.md")


def test_twins_give_the_same_formulas():
    """Lines of the indented blocks that are not prose agree but for the comments."""

    def formulas(name: str) -> list[str]:
        return [line.partition("#")[0].rstrip() for line in manual(name).splitlines() if line.startswith("    ")]

    lines = [[line for line in formulas(name) if re.search(r"append|for |clamp|floor", line)] for name in FORMATS]
    assert len(lines[0]) > 10
    assert lines[0] == lines[1]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_is_understood_by_its_program(name, monkeypatch):
    """Each goes through its program's own parser, and training settings are made of it; nothing is run."""
    for command in own_commands(manual(name)):
        module, arguments = module_of(command)
        if {"--help", "--version"} & set(arguments):
            continue
        if module == "train":
            flags = cli.parse_flags(arguments)
            if "config" not in flags and "load_dir" not in flags:
                cli.make_config(flags)
        elif arguments:
            parse(module, arguments, monkeypatch)


def test_the_manual_shows_every_command():
    shown = {module_of(command)[0] for name in ENGLISH for command in own_commands(manual(name))}
    assert set(USERS_COMMANDS) <= shown


@pytest.mark.parametrize("name", PAGES)
def test_every_flag_in_the_text_of_a_page_exists(name, monkeypatch, capsys):
    known = set().union(*(known_flags(module, monkeypatch, capsys) for module in USERS_COMMANDS))
    known |= {flag for command in own_commands(manual(name)) for flag in FLAG.findall(" ".join(command))}
    assert set(FLAG.findall(prose(manual(name)))) - {"--help"} <= known


@pytest.mark.parametrize("name", COMMANDS)
def test_the_tables_of_flags_list_every_flag_of_a_command_and_no_other(name, monkeypatch, capsys):
    """Tables with a default are those of train.py; the others are known by a flag that no other command has."""
    found: dict[str, set[str]] = {}
    for table in tables(manual(name)):
        if not table[1][0].startswith("`--"):
            continue
        flags = {flag for row in table[1:] for flag in FLAG.findall(row[0])}
        marks = {"--bake": "export", "--static": "view", "--codecs": "compare"}
        module = "train" if len(table[0]) == 3 else next(marks[mark] for mark in marks if mark in flags)
        assert not flags & found.setdefault(module, set()), "a flag is listed twice"
        found[module] |= flags
    assert set(found) == {"train", "export", "view", "compare"}
    for module, flags in found.items():
        assert flags == own_flags(module, monkeypatch, capsys), module


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_in_a_manual_are_those_of_the_code(name):
    defaults = {
        field: value
        for section in configs.config_to_dict(configs.Config()).values()
        for field, value in section.items()
    }
    checked = 0
    for table in tables(manual(name)):
        for flag_cell, *_, default_cell in table[1:]:
            names = FLAG.findall(flag_cell)
            if not flag_cell.startswith("`--") or len(table[0]) != 3:
                continue
            shown = default_cell.replace("`", "").split(", ")
            for flag, value in zip(names, shown * len(names) if len(shown) == 1 else shown, strict=True):
                if re.fullmatch(
                    r"True|False|auto|linear|[\d.]+|[a-z]+_batch|batch_\w+|train|ue5|muon|pca|power", value
                ):
                    default = defaults.get(flag[2:], configs.HashGridConfig().learning_rate)
                    assert str(default) == value, flag
                    checked += 1
    assert checked > 24


@pytest.mark.parametrize("name", ("README.md", "README_CN.md", *COMMANDS))
def test_a_manual_lists_every_preset(name):
    assert set(table_rows(manual(name), set(configs.PRESETS))) == set(configs.PRESETS)


@pytest.mark.parametrize("name", INPUT)
def test_a_manual_lists_every_keyword(name):
    text, table = manual(name), get_texture_config()
    types, *_ = tables(text)
    rows = {re.split(r"\W", row[0])[0]: " ".join(row) for row in types[1:]}
    for texture in table:
        words = set(re.findall(r"[\w#-]+", rows[texture.name]))
        words_of_type = (*texture.keywords, *texture.lesser, *texture.inverted)
        words_of_type += (*texture.directx_words, *texture.opengl_words)
        for keyword in (*words_of_type, *(f"_{suffix}" for suffix in texture.suffixes)):
            assert keyword in words, (texture.name, keyword)
    cells = [row for rows in tables(text) for row in rows]
    for packed in table.packed:
        (row,) = [row for row in cells if re.findall(r"`(\w+)`", row[0]) == list(packed.keywords)]
        contents = [re.sub("（.*）", "", cell) or UNUSED for cell in row[1:]]
        assert contents == [*packed.channels, UNUSED][:4] if len(packed.channels) == 3 else list(packed.channels)
    for other in table.others:
        (row,) = [row for row in cells if re.sub("（.*）", "", row[0]) == other.name and len(row) == 3]
        assert row[1:] == [
            ", ".join((*other.keywords, *(f"_{suffix}" for suffix in other.suffixes))),
            ", ".join(other.qualifiers),
        ]


@pytest.mark.parametrize("name", ("docs/engines.md", "docs/engines_CN.md"))
def test_a_manual_lists_every_target_package_and_bake(name):
    first_cells = {word for table in tables(manual(name)) for row in table for word in re.findall(r"`([^`]+)`", row[0])}
    assert {*TARGETS, *PACKAGES, *BAKES, *configs.STORAGES} <= first_cells


@pytest.mark.parametrize("name", ARCHITECTURE)
def test_the_code_map_of_a_manual_is_the_listing(name):
    """Folders under tests/ are those of what they test, and stand for themselves."""
    (section,) = (part for part in re.split(r"^## ", manual(name), flags=re.M) if "| `train.py` |" in part)
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    places = [place for row in rows for place in re.findall(r"`([^`]+)`", row.split("|")[1])]
    files = [path.relative_to(ROOT) for path in ROOT.rglob("*.py")]
    ignored = (".", "venv", "outputs", "save_batch", "data_batch")
    files = [path for path in files if not path.parts[0].startswith(ignored)]
    expected = {
        path.name if len(path.parts) == 1 else f"{path.parent.as_posix()}/"
        for path in files
        if not (path.parts[0] == "tests" and len(path.parts) > 2)
    } | {"docs/"}
    assert len(expected) > 15
    assert expected <= set(places), expected - set(places)
    assert len(places) == len(set(places))
    for place in [*places, *re.findall(r"`([\w./-]+(?:/|\.\w+))`", section)]:
        path = ROOT / place
        assert path.is_dir() if place.endswith("/") else path.is_file(), place


@pytest.mark.parametrize("name", (*PAGES, "benchmarks/README.md", "CONTRIBUTING.md", "CHANGELOG.md"))
def test_files_that_a_page_links_to_shows_or_names_exist(name):
    text = FENCE.sub("", manual(name))
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / name).parent / link).is_file(), link
    if name != "CHANGELOG.md":
        for path in re.findall(r"`((?:\w+/)*\w+\.(?:py|txt))`", text):
            assert "NAME" in path or (ROOT / path).is_file(), path


def test_every_picture_of_the_manual_is_shown():
    shown = {Path(link).name for name in PAGES for link in re.findall(r"\]\(([^)]+)\)", manual(name))}
    for path in (ROOT / "docs" / "images").iterdir():
        assert path.suffix == ".json" or path.name in shown, path.name


def test_the_examples_of_file_names_mean_what_the_manual_says():
    assert detect("rough_wall_diffuse.png").maps == {"diffuse": None}
    assert detect("chaos_normal.png").maps == {"normal": None}
    assert detect("rock_albedo.png").maps == {"diffuse": None}
    assert detect("rock_nor_gl_2k.jpg").maps == {"normal": None}
    for name in ("arm", "orm", "occlusionRoughnessMetallic", "occlusion_roughness_metallic"):
        assert detect(f"rock_{name}.png").maps == {"occlusion": 0, "roughness": 1, "metallic": 2}
    for name in ("metalRoughness", "metallicRoughness", "metallic_roughness"):
        assert detect(f"rock_{name}.png").maps == {"roughness": 1, "metallic": 2}


def test_launch_configurations_can_be_read_by_the_programs_they_start():
    launch = json.loads(manual(".vscode/launch.json"))
    inputs = {entry["id"]: entry for entry in launch["inputs"]}
    used: set[str] = set()

    def fill(match: re.Match) -> str:
        used.add(match[1])
        return inputs[match[1]]["default"]

    programs = []
    for entry in launch["configurations"]:
        arguments = [re.sub(r"\$\{input:(\w+)\}", fill, argument) for argument in entry["args"]]
        programs.append(entry.get("program", entry.get("module")))
        if "module" in entry:
            assert (entry["module"], arguments) == ("pytest", ["tests", "-q"])
            continue
        assert entry["program"] == "${workspaceFolder}/train.py"
        flags = cli.parse_flags(arguments)
        assert flags, entry["name"]
        if "load_dir" not in flags:
            cli.make_config(flags)
    assert used == set(inputs)
    assert len(programs) == len({entry["name"] for entry in launch["configurations"]}) >= 6
    assert sorted(inputs["preset"]["options"]) == sorted(configs.PRESETS)


def test_vs_code_runs_the_tests_with_pytest():
    settings = json.loads(manual(".vscode/settings.json"))
    assert settings["python.testing.pytestEnabled"] is True
    assert settings["python.testing.unittestEnabled"] is False
    for path in settings["python.testing.pytestArgs"]:
        assert (ROOT / path).is_dir()


def test_the_check_script_runs_the_test_command_of_the_manual():
    (command,) = (line for line in command_lines(manual("README.md")) if "pytest" in line)
    assert command in manual(".ci/run").splitlines()


def test_requirements_are_ranges_without_index_urls():
    packaging = pytest.importorskip("packaging.requirements", reason="packaging is not installed")
    found = {}
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in manual(name).splitlines():
            if not line or line.startswith("#") or line == "-r requirements.txt":
                continue
            requirement = packaging.Requirement(line)
            assert requirement.url is None and not requirement.name.startswith("-")
            assert any(part.operator == ">=" for part in requirement.specifier), line
            found[requirement.name] = requirement.specifier
    assert "2.9.0" in found["torch"] and "2.13.0" not in found["torch"] and "2.13.0+cpu" not in found["torch"]
    assert "tinycudann" not in found
    for name in ARCHITECTURE:
        listed = set(
            re.findall(
                r"[\w-]+", " ".join(line.split("|")[1] for line in manual(name).splitlines() if line.startswith("| "))
            )
        )
        assert set(found) <= listed, set(found) - listed


def test_the_sample_material_stays_small():
    files = [path for path in (ROOT / "data" / "test").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert any(path.suffix in (".jpg", ".png") for path in files)
    assert sum(path.stat().st_size for path in files) < 2 * 1024**2
