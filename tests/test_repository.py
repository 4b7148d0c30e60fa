"""What the repository says of itself is true: manuals, VS Code settings, requirements, the sample."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

import configs
from dataset import detect, get_texture_config
from training import flags as cli

ROOT = Path(__file__).resolve().parent.parent
MANUALS = ("README.md", "README_CN.md")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def manual(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def command_lines(text: str) -> list[str]:
    return [line for kind, block in FENCE.findall(text) if kind == "sh" for line in block.splitlines() if line.strip()]


def own_commands(text: str) -> list[list[str]]:
    """Arguments after `python` of every command of a manual that runs a file or module of this repository."""
    parts = [shlex.split(part) for line in command_lines(text) for part in line.split(" && ")]
    parts += [shlex.split(part) for part in re.findall(r"`(python [^`]+)`", text)]
    commands = [part[1:] for part in parts if part[0] == "python"]
    return [command for command in commands if command[:2] not in (["-m", "pytest"], ["-m", "venv"])]


def module_of(command: list[str]) -> tuple[str, list[str]]:
    """Module name and the arguments it gets."""
    if command[0] == "-m":
        return command[1], command[2:]
    assert command[0].endswith(".py")
    return command[0].removesuffix(".py"), command[1:]


def known_flags(module: str, monkeypatch, capsys) -> set[str]:
    """Flags in a command's own help."""
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(module).main()
    assert end.value.code == 0
    return set(FLAG.findall(capsys.readouterr().out))


def table_rows(text: str, first_cells: set[str]) -> dict[str, str]:
    """Rows of Markdown tables by the first word of their first cell."""
    rows = {}
    for line in text.splitlines():
        match = re.match(r"\| `?(\w+)", line)
        if match and match[1] in first_cells:
            rows[match[1]] = line
    return rows


def test_both_manuals_have_the_same_headings_tables_and_code():
    english, chinese = map(manual, MANUALS)

    def outline(text: str) -> list[str]:
        return re.findall(r"^(#+) ", FENCE.sub("", text), re.M)

    assert len(outline(english)) > 10
    assert outline(english) == outline(chinese)
    assert command_lines(english) == command_lines(chinese)
    assert FENCE.findall(english) == FENCE.findall(chinese)
    assert len(re.findall(r"^\|", english, re.M)) == len(re.findall(r"^\|", chinese, re.M))
    assert set(FLAG.findall(english)) == set(FLAG.findall(chinese))


def test_both_manuals_give_the_same_formulas():
    """Lines of the indented blocks that are not prose agree but for the comments."""

    def formulas(name: str) -> list[str]:
        return [
            line.partition("#")[0].rstrip()
            for line in manual(name).splitlines()
            if line.startswith("    ") and "OUT/" not in line
        ]

    lines = [[line for line in formulas(name) if re.search(r"append|for |clamp|floor", line)] for name in MANUALS]
    assert len(lines[0]) > 10
    assert lines[0] == lines[1]


@pytest.mark.parametrize("name", MANUALS)
def test_every_command_of_a_manual_takes_the_flags_it_shows(name, monkeypatch, capsys):
    shown: dict[str, set[str]] = {}
    for command in own_commands(manual(name)):
        module, arguments = module_of(command)
        shown.setdefault(module, set()).update(FLAG.findall(" ".join(arguments)))
    assert {"train", "export", "compare", "dataset", "model.doctor"} <= set(shown)
    for module, flags in shown.items():
        assert flags - {"--help"} <= known_flags(module, monkeypatch, capsys), module


@pytest.mark.parametrize("name", MANUALS)
def test_training_commands_of_a_manual_can_be_read(name):
    commands = [arguments for module, arguments in map(module_of, own_commands(manual(name))) if module == "train"]
    assert len(commands) >= 6
    for arguments in commands:
        if not {"--help", "--version"} & set(arguments):
            flags = cli.parse_flags(arguments)
            if "config" not in flags and "load_dir" not in flags:
                cli.make_config(flags)


@pytest.mark.parametrize("name", MANUALS)
def test_every_flag_in_the_text_of_a_manual_exists(name, monkeypatch, capsys):
    known = known_flags("train", monkeypatch, capsys) | known_flags("export", monkeypatch, capsys)
    assert set(FLAG.findall(FENCE.sub("", manual(name)))) - {"--help"} <= known


@pytest.mark.parametrize("name", MANUALS)
def test_defaults_in_a_manual_are_those_of_the_code(name):
    defaults = {
        field: value
        for section in configs.config_to_dict(configs.Config()).values()
        for field, value in section.items()
    }
    checked = 0
    for line in manual(name).splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")]
        names = FLAG.findall(cells[0])
        if not (line.startswith("| `--") and len(cells) == 3):
            continue
        shown = cells[2].split(", ")
        for flag, value in zip(names, shown * len(names) if len(shown) == 1 else shown, strict=True):
            if re.fullmatch(r"True|False|auto|linear|[\d.]+", value):
                default = defaults.get(flag[2:], configs.HashGridConfig().learning_rate)
                assert str(default) == value, flag
                checked += 1
    assert checked > 12


@pytest.mark.parametrize("name", MANUALS)
def test_a_manual_lists_every_preset_and_every_keyword(name):
    text = manual(name)
    assert set(table_rows(text, set(configs.PRESETS))) == set(configs.PRESETS)
    rows = table_rows(text, {texture.name for texture in get_texture_config()})
    for texture in get_texture_config():
        words = set(re.findall(r"[\w-]+", rows[texture.name]))
        for keyword in (*texture.keywords, *texture.directx_keywords, *(f"_{suffix}" for suffix in texture.suffixes)):
            assert keyword in words, (texture.name, keyword)
        for keyword, channel in texture.packed.items():
            assert keyword in text.lower(), keyword
            assert rows[texture.name].rstrip("| ").endswith("RGB"[channel])


@pytest.mark.parametrize("name", MANUALS)
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
    }
    assert len(expected) > 15
    assert expected <= set(places), expected - set(places)
    assert len(places) == len(set(places))
    for place in [*places, *re.findall(r"`([\w./-]+(?:/|\.\w+))`", section)]:
        path = ROOT / place
        assert path.is_dir() if place.endswith("/") else path.is_file(), place


@pytest.mark.parametrize("name", MANUALS)
def test_files_that_a_manual_links_to_or_names_exist(name):
    text = manual(name)
    named = set(re.findall(r"\]\(([^)#:]+)\)", text)) | set(re.findall(r"`([\w/]+\.(?:py|txt))`", text))
    assert len(named) >= 3
    for path in named:
        assert (ROOT / path).is_file(), path


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
    for name in MANUALS:
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
