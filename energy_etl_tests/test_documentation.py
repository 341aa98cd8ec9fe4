"""Pages for people cannot go stale: each setting, command, example and link in them is checked."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from energy_etl.cli.commands_page import commands_page, documented_commands
from energy_etl.cli.settings_page import all_setting_rows, setting_rows, settings_page
from energy_etl.settings import PREFIX
from energy_etl.vendors import discover_vendors
from energy_etl.vendors.vendor import Vendor
from energy_etl_tests.documented import (
    PAGES,
    README,
    REPOSITORY,
    parse,
    program,
    queries_of,
    shell_lines,
    text_of,
    typed_commands,
)


class ToyUser(BaseModel):
    """What stands in a section by a name that people choose."""

    login: str = Field(description="Its name there.")


class Toy(BaseModel):
    """The section of a sixth vendor."""

    token: SecretStr = Field(default=SecretStr(""), description="What it gave | you.")
    pace: Literal["slow", "fast"] | None = Field(default=None, description="How fast.")
    days: tuple[int, ...] = Field(default=(1, 2), description="Which days.")
    users: dict[str, ToyUser] = Field(default_factory=dict, description="Who.")


README_COMMANDS = re.compile(r"\n## Commands\n.*?\|---\|---\|\n(.*?)\n\n", re.DOTALL)
TOY = Vendor(name="toy", title="Toy", document="Toy API", tables=(), settings=Toy)


def test_page_of_settings_is_not_stale() -> None:
    page = text_of(REPOSITORY / "docs" / "settings.md")
    assert page == settings_page(discover_vendors().values()), "run `make dictionary`"


def test_page_of_commands_is_not_stale() -> None:
    page = text_of(REPOSITORY / "docs" / "commands.md")
    assert page == commands_page(program()), "run `make dictionary`"


def test_every_setting_has_a_description() -> None:
    silent = [row.name for row in all_setting_rows(discover_vendors().values()) if not row.meaning]
    assert not silent, "give each a Field(description=...)"


def test_sixth_vendor_appears_by_itself_with_secrets_choices_and_names() -> None:
    page = settings_page([*discover_vendors().values(), TOY])
    assert page.endswith(
        """
## Toy

| setting | default | meaning |
|---|---|---|
| `ENERGY_ETL_TOY__TOKEN` | none | What it gave \\| you. **Secret.** |
| `ENERGY_ETL_TOY__PACE` | none | How fast. One of `slow`, `fast`. |
| `ENERGY_ETL_TOY__DAYS` | `[1, 2]` | Which days. |
| `ENERGY_ETL_TOY__USERS__<NAME>__LOGIN` | required | Its name there. |
"""
    )


def test_default_of_a_secret_is_never_shown() -> None:
    class Careless(BaseModel):
        key: SecretStr = Field(default=SecretStr("canary"), description="A key.")

    (row,) = setting_rows(Careless)
    assert (row.default, row.is_secret) == ("none", True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_setting_that_a_page_names_exists(page: Path) -> None:
    known = {row.name for row in all_setting_rows(discover_vendors().values())}
    named = re.findall(rf"{PREFIX}[A-Z0-9_]*[A-Z0-9](?:__<NAME>__[A-Z_]+|__\*|\*)?", text_of(page))
    unknown = {
        name
        for name in named
        if name not in known and not any(k.startswith(name.rstrip("*")) for k in known)
    }
    assert not unknown


def test_readme_lists_every_command() -> None:
    commands = README_COMMANDS.search(text_of(README))
    assert commands, "README has no table of commands"
    first_cells = [row.split("|")[1] for row in commands.group(1).splitlines()]
    listed = set(re.findall(r"`([a-z]+(?:[ -][a-z]+)*)", " ".join(first_cells)))
    names = [c.name.removeprefix("energy-etl ") for c in documented_commands(program())]
    missing = [name for name in names if name not in listed]
    assert not missing, "README, Commands: give each a row"
    stale = [shown for shown in listed if shown not in names]
    assert not stale, "README, Commands: there are no such commands"


def _in_backticks() -> Iterator[tuple[str, str]]:
    """Yield where a command stands in backticks, in pages and in the program's own advice."""
    sources = [p for p in (REPOSITORY / "energy_etl").rglob("*.py") if "sandbox" not in p.parts]
    for path in (*PAGES, *sources):
        # Advice is wrapped: "run `energy-etl " "up`" is one command.
        text = re.sub(r"\"\s*\n\s*f?\"", "", text_of(path))
        for command in re.findall(r"`energy-etl ([^`\n]+)`", text):
            yield path.name, command


def test_command_that_is_advised_anywhere_exists() -> None:
    options = {
        c.name.removeprefix("energy-etl "): " ".join(o.written for o in c.options)
        for c in documented_commands(program())
    }
    groups = {name.split()[0] for name in options if " " in name}
    faults, n_seen = [], 0
    for place, command in _in_backticks():
        # What is filled in later may hold a space or a quote.
        words = shlex.split(re.sub(r"\{[^}]*\}|<[^>]*>", "X", command).replace("...", "X"))
        if words[0] in ("COMMAND", "--help", "--install-completion", "X"):
            continue
        name = " ".join(words[: 2 if words[0] in groups else 1])
        if name in groups or name.removesuffix(" X") in groups:
            # The whole group is meant.
            continue
        n_seen += 1
        flags = [word for word in words if word.startswith("--")]
        known = options.get(name)
        if known is None or any(not re.search(rf"{flag}\b", known) for flag in flags):
            faults.append(f"{place}: energy-etl {command}")
    assert not faults, "\n".join(faults)
    assert n_seen > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_example_of_a_page_is_a_command_as_it_is_typed(page: Path) -> None:
    for arguments in typed_commands(page):
        parse(arguments)


def test_example_that_is_wrong_is_found() -> None:
    for wrong in (["outbox", "stat"], ["sql", "--jsn"], ["backfill", "--from", "yesterday"]):
        with pytest.raises(Exception, match=r"No such|yesterday"):
            parse(wrong)


def test_shell_block_makes_only_targets_that_are_there() -> None:
    makefile = text_of(REPOSITORY / "Makefile")
    lines = [line.split() for page in PAGES for line in shell_lines(page)]
    made = [words[1] for words in lines if words[0] == "make"]
    assert {"demo", "up"} <= {*made}
    assert not [target for target in made if f"\n{target}:" not in makefile]


def test_readme_has_ten_queries_that_say_what_they_show() -> None:
    queries = queries_of(README)
    assert len(queries) >= 10
    assert all(query.startswith("-- ") for query in queries)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text_of(page))
    assert not [target for target in targets if not (page.parent / target).exists()]
