"""Pages of the documentation that are made from the code while the site is built: they cannot be out of date.

MkDocs calls `on_files`. Each function below makes one page, as Markdown.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import typer.main
from graph_picture import graph_picture
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from notebook_page import notebook_page
from pydantic import BaseModel

from cleverbetter_dagster.settings import REPOSITORY, Settings

BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
"""The bounds of a JSON schema, as the pages write them."""


SETTINGS_TEXT = """\
Settings are variables of the environment; a blank one counts as unset. What they leave open is read by every program
from `$DAGSTER_HOME/cleverbetter.toml`, or from the file that `CLEVERBETTER_SETTINGS_FILE` names: TOML, with the names
of variables in small letters and without `CLEVERBETTER_`.

```toml
database_url = "postgresql://user:password@db.example.com/racing"   # then the mode of the file is 0600
poll_seconds = 60
left_out_methods = ["ml_estimate", "manual"]
```

Unknown names are refused. `cleverbetter settings` shows what holds where it is typed, and whether it comes from the
environment, the file or the default; it shows no secret. `cleverbetter doctor` names misspelt variables. Choices about
learning are [run options](run-options.md)."""

REST_TEXT = """\
`cleverbetter api` serves it on port 8000, and so does `cleverbetter up`. Its page `/docs` describes the same, to be
tried out. [Serving others](../serving.md) says how other machines reach it.

```bash
curl -X POST http://localhost:8000/api/v1/models/train -H "Content-Type: application/json" \\
  -d '{"model_type": "ensemble", "config": {"min_composite_score": 0.5}, "hyperparameter_search": true, "n_trials": 50}'
curl http://localhost:8000/api/v1/models/training/train_ensemble_1234567890.123
```

`"training": "incremental"` goes on from the newest version instead of training anew."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the picture of the graph to the files of `docs/`."""
    from cleverbetter_dagster.definitions import defs

    pages = {
        "commands": commands_page,
        "rest-api": rest_api_page,
        "settings": settings_page,
        "run-options": run_options_page,
        "assets": assets_page,
        "changelog": changelog_page,
    }
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    files.append(File.generated(config, "notebook.md", content=notebook_page(REPOSITORY / "docs" / "guide.ipynb")))
    files.append(File.generated(config, "reference/graph.svg", content=graph_picture(defs.resolve_asset_graph())))
    return files


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table, with no bar or line break of a cell taken for one of the table; nothing without rows."""
    if not rows:
        return ""
    lines = [heads, tuple("---" for _ in heads), *rows]
    cells = ([" ".join(cell.split()).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


# Commands


def commands_page() -> str:
    """Every command by topic, with its arguments, options and examples, and what it ends with."""
    from cleverbetter_dagster.cli.main import app
    from cleverbetter_dagster.cli.output import MEANINGS

    topics: dict[str, list[str]] = {}
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        topics.setdefault(command.rich_help_panel, []).extend(_commands(f"cleverbetter {name}", command))
    parts = ["# Commands", "Every command has this help too: `cleverbetter COMMAND --help`."]
    for topic, commands in topics.items():
        parts += [f"## {topic}", *commands]
    codes = [(str(code.value), meaning) for code, meaning in MEANINGS.items()]
    parts += ["## Exit codes", table(("exit code", "meaning"), codes)]
    return "\n\n".join(parts)


def _commands(name: str, command: Any) -> Iterator[str]:
    """The parts of a page about a command, or about those of a group."""
    if below := getattr(command, "commands", None):
        for child, each in below.items():
            yield from _commands(f"{name} {child}", each)
        return
    yield f"### `{name}`"
    yield plain(command.help)
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    yield table(("argument or option", "meaning", "default"), [_parameter(each) for each in shown])
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("cleverbetter")]
    if examples:
        yield "\n".join(["```bash", *examples, "```"])


def _parameter(parameter: Any) -> tuple[str, str, str]:
    value = parameter.metavar or str(parameter.name).upper().rstrip("_")
    if parameter.param_type_name == "argument":
        shown = f"`{value}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        shown = names if parameter.is_flag else f"{names} `{value}`"
    given = parameter.default
    is_said = parameter.required or parameter.is_flag or given is None or given == "" or callable(given)
    default = "must be given" if parameter.required else "" if is_said else f"`{given}`"
    return shown, plain(parameter.help), default


def plain(text: str | None) -> str:
    """A help text as Markdown: its paragraphs, with no `<` taken for a tag."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))
    return "\n\n".join(paragraphs).replace("<", "&lt;")


# REST API


def rest_api_page() -> str:
    """Every endpoint, with its parameters, body and answers, from the description that the API itself serves."""
    from cleverbetter_dagster.api.app import create_app

    description = create_app(Settings()).openapi()
    parts = [
        "# REST API",
        description["info"]["description"],
        REST_TEXT,
    ]
    by_tag: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        for method, endpoint in methods.items():
            by_tag.setdefault(endpoint["tags"][0], []).extend(_endpoint(f"{method.upper()} {path}", endpoint))
    for tag, lines in by_tag.items():
        parts += [f"## {tag.capitalize()}", *lines]
    parts.append("## Bodies")
    for name, schema in sorted(description["components"]["schemas"].items()):
        parts += [f"### {name}", plain(schema.get("description")), _fields(schema)]
    return "\n\n".join(parts)


def _endpoint(name: str, endpoint: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{name}`"
    yield plain(endpoint["description"])
    parameters = [
        (f"`{each['name']}`", each["in"], _kind(each["schema"]), each.get("description", ""), _given(each))
        for each in endpoint.get("parameters", [])
    ]
    yield table(("parameter", "in", "kind", "meaning", "default"), parameters)
    if body := endpoint.get("requestBody"):
        yield f"Body: {_kind(body['content']['application/json']['schema'])}"
    answers = [
        (code, answer["description"], _kind(next(iter(answer.get("content", {}).values()), {}).get("schema", {})))
        for code, answer in sorted(endpoint["responses"].items())
    ]
    yield table(("answer", "when", "body"), answers)


def _fields(schema: Mapping[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    rows = [
        (
            f"`{name}`",
            _kind(field),
            plain(field.get("description")),
            "must be given" if name in needed else _default(field),
        )
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "kind", "meaning", "default"), rows)


def _given(parameter: Mapping[str, Any]) -> str:
    return "must be given" if parameter.get("required") else _default(parameter["schema"])


def _default(schema: Mapping[str, Any]) -> str:
    return f"`{schema['default']}`" if schema.get("default") not in (None, {}) else ""


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, with its bounds; a body as a link to its fields."""
    if name := schema.get("$ref", "").rpartition("/")[2]:
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_kind(choice) for choice in choices))
    if values := schema.get("enum"):
        return ", ".join(f"`{value}`" for value in values)
    if "items" in schema:
        return f"list of {_kind(schema['items'])}"
    bounds = [f"{word} {schema[key]:g}" for key, word in BOUNDS.items() if key in schema]
    return " ".join([schema.get("type", ""), *bounds])


# Settings and run options


def settings_page() -> str:
    """Every environment variable, its default and meaning."""
    from cleverbetter_dagster.cli.settings_table import as_markdown

    return "\n\n".join(["# Settings", SETTINGS_TEXT, as_markdown()])


def run_options_page() -> str:
    """Every option of a run, by the asset that takes it."""
    from cleverbetter_dagster.betting.staking import StakingSpec
    from cleverbetter_dagster.dataset.spec import DatasetSpec
    from cleverbetter_dagster.defs.assets.config import FitConfig
    from cleverbetter_dagster.evaluation.gate import PromotionPolicy
    from cleverbetter_dagster.learning.catalogue import FAMILIES
    from cleverbetter_dagster.learning.scoring import StudySpec

    sections: dict[str, tuple[type[BaseModel], str]] = {
        "Rows, label and split: `temporal_split`": (DatasetSpec, "How rows become labelled examples, and are split."),
        "Search: `{family}_study`": (StudySpec, "How hyperparameters are searched for and judged."),
        "Training: `{family}_model`": (FitConfig, "How the model is trained."),
        "Stakes: `{family}_evaluation` and `strategy_predictions`": (
            StakingSpec,
            "The bounds on stakes. An option that is left out is as the champion has it.",
        ),
        "Promotion: `champion` and `walk_forward_report`": (PromotionPolicy, "What a challenger has to show."),
    }
    text = (
        "Choices about learning are options of a run, not settings. They are set in the launchpad of Dagster's UI, "
        "where each has this description; those of rows, search and stakes also by `cleverbetter train --set "
        "OPTION=VALUE` and in `config` of the [REST API](rest-api.md). Automatic trainings take over those of rows and "
        "split from the champion."
    )
    parts = ["# Run options", text]
    for title, (spec, meaning) in sections.items():
        parts += [f"## {title}", meaning, _fields(spec.model_json_schema())]
    own = [
        (f"`{name}`", f"`{option}`", f"`{default}`")
        for name, family in FAMILIES.items()
        for option, default in family.study_defaults.items()
    ]
    parts += ["## Defaults of single families", table(("family", "option", "default"), own)]
    return "\n\n".join(parts)


# Dagster


def assets_page() -> str:
    """Every asset with its checks, and every job, schedule and sensor."""
    from cleverbetter_dagster.definitions import defs

    graph = defs.resolve_asset_graph()
    parts = ["# Assets, checks and jobs", "What Dagster's UI shows, by the groups of the asset graph.", "## Assets"]
    by_group: dict[str, list[Any]] = {}
    for key in graph.toposorted_asset_keys:
        by_group.setdefault(str(graph.get(key).group_name), []).append(key)
    for group, keys in by_group.items():
        parts += [f"### {group}", table(("asset", "what it holds"), [_asset(graph.get(key)) for key in keys])]
    checks = [graph.get_check_spec(key) for key in sorted(graph.asset_check_keys, key=str)]
    parts += ["## Checks", "A check that blocks stops what comes after it."]
    rows = [(_name(check.asset_key), f"`{check.name}`", check.description, _yes(check.blocking)) for check in checks]
    parts.append(table(("asset", "check", "fact", "blocks"), rows))
    jobs = [job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    parts += ["## Jobs", table(("job", "what it does"), [(f"`{job.name}`", job.description or "") for job in jobs])]
    schedules = [(f"`{one.name}`", one.description or "") for one in defs.schedules or []]
    parts += ["## Schedules", "Their times are [settings](settings.md), `CLEVERBETTER_..._CRON`."]
    parts.append(table(("schedule", "what it does"), schedules))
    sensors = [(f"`{one.name}`", one.description or "") for one in defs.sensors or []]
    parts += ["## Sensors", table(("sensor", "what it does"), sensors)]
    return "\n\n".join(parts)


def _asset(node: Any) -> tuple[str, str]:
    return _name(node.key), plain(node.description)


def _name(key: Any) -> str:
    return f"`{key.to_user_string()}`"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def changelog_page() -> str:
    """What changed, as the repository has it."""
    return (REPOSITORY / "CHANGELOG.md").read_text()
