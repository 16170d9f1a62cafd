"""A request to train a family, and the problems of one that is refused. Command line and REST API share it.

Nothing here reads a database, a clock or the environment. `launches` turns a request into runs.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError, InvalidRequest, Problem, UnknownFamily, did_you_mean
from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
from cleverbetter_dagster.learning.scoring import StudySpec
from cleverbetter_dagster.services.records import Training

MOST_TRIALS = 1000
HTTP_PARTS = (["body"], ["query"], ["path"], ["header"])
LONGEST_NAME = 60
"""Longest part of a field's name that a refusal repeats."""

STUDY = "{family}_study"
SPECS: Mapping[str, type[BaseModel]] = {
    "temporal_split": DatasetSpec,
    STUDY: StudySpec,
    "{family}_evaluation": StakingSpec,
}
"""The specs whose fields are the options of `config`, by asset. An option that two specs share goes to both assets."""


class Options(DatasetSpec, StudySpec, StakingSpec):
    """Every option that `config` may hold, and the number of trials, which stands beside `config`."""


OPTIONS = tuple(sorted(Options.model_fields.keys() - {"n_trials"}))


class TrainingRequest(BaseModel):
    """Train one family as of one month. Unknown fields and options are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    model_type: str = Field(
        description=f"family to train: {', '.join(FAMILIES)}", json_schema_extra={"enum": list(FAMILIES)}
    )
    as_of: str | None = Field(
        None, description="month to train as of, YYYY-MM; null: the newest month with rows", examples=["2023-11"]
    )
    config: dict[str, Any] = Field(
        {},
        description=f"options of dataset, study and stakes: {', '.join(OPTIONS)}",
        examples=[{"min_composite_score": 0.5}],
    )
    hyperparameter_search: bool = Field(False, description="search hyperparameters; false: the family's defaults")
    n_trials: int | None = Field(
        None,
        ge=1,
        le=MOST_TRIALS,
        description=f"settings that the search tries, 1 to {MOST_TRIALS}; null: the default of the family's studies",
        examples=[50],
    )
    training: Training = Field(
        "full",
        description="full: fit a new model; incremental: update the newest version made with the same choices, with "
        "its hyperparameters, on the rows it has not learned from",
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """The request these values make.

        Raises:
            InvalidRequest: with every field that is wrong, why, and what to do.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidRequest(problems_of(error)) from None

    @field_validator("model_type")
    @classmethod
    def _is_in_catalogue(cls, name: str) -> str:
        try:
            return get_family(name).name
        except UnknownFamily as error:
            raise ValueError(str(error)) from None

    @field_validator("as_of")
    @classmethod
    def _is_a_month(cls, key: str | None) -> str | None:
        try:
            return AsOf.parse(key).key if key is not None else None
        except DataError as error:
            raise ValueError(str(error)) from None

    @field_validator("config")
    @classmethod
    def _fits_the_specs(cls, options: dict[str, Any]) -> dict[str, Any]:
        problems = _not_json(options)
        if "n_trials" in options:
            problems.append(
                Problem("config.n_trials", "n_trials is no option of config", "give n_trials beside config")
            )
        try:
            Options.model_validate({name: value for name, value in options.items() if name != "n_trials"})
        except ValidationError as error:
            problems += problems_of(error, "config.")
        if problems:
            raise InvalidRequest(problems)
        return options

    @model_validator(mode="after")
    def _fits_the_family_and_the_training(self) -> Self:
        searches = _only_in_full(self) if self.training == "incremental" else []
        if problems := _not_of_family(self.model_type, self.config) + searches:
            raise InvalidRequest(problems)
        return self

    def month(self, months: Collection[str], this_month: str) -> str:
        """The month to train as of; by default the newest month with rows.

        Args:
            months: the months with rows, `YYYY-MM`.
            this_month: the current month, the last that a model can be trained as of.

        Raises:
            InvalidRequest: there are no rows yet, none up to `as_of`, or `as_of` lies in the future.
        """
        if not months:
            remedy = "import rows first (`cleverbetter import --help`) or check DATABASE_URL"
            raise InvalidRequest([Problem("as_of", "no month has any rows to train on", remedy)])
        first, last = min(months), max(months)
        if self.as_of is None:
            return last
        latest = max(last, this_month)
        if first <= self.as_of <= latest:
            return self.as_of
        early = "is before the first month with rows (see CLEVERBETTER_FIRST_MONTH)"
        message = f"{self.as_of} {'lies in the future' if self.as_of > latest else early}"
        raise InvalidRequest([Problem("as_of", message, f"give a month from {first} to {latest}")])

    def run_config(self) -> dict[str, Any]:
        """Run configuration of the family's assets: the options that were given; the rest has its default."""
        options = Options.model_validate(self.config).model_dump(mode="json", exclude_unset=True)
        config: dict[str, dict[str, Any]] = {
            asset.format(family=self.model_type): {name: options[name] for name in options if name in spec.model_fields}
            for asset, spec in SPECS.items()
        }
        study = STUDY.format(family=self.model_type)
        if self.training == "incremental":
            config |= {study: {}, f"{self.model_type}_model": {"training": self.training}}
        else:
            config[study] = self._trials() | config[study]
        return {"ops": {asset: {"config": values} for asset, values in config.items() if values}}

    def _trials(self) -> dict[str, int]:
        """Settings to try. A number that was given also holds for a study that starts from an earlier month."""
        trials = self.n_trials if self.hyperparameter_search else 0
        return {} if trials is None else {"n_trials": trials, "n_trials_warm": trials}


def problems_of(error: ValidationError, prefix: str = "") -> list[Problem]:
    """The errors that Pydantic reports, by field, each with a remedy."""
    return problems_from(error.errors(include_url=False), error.title, prefix)


def problems_from(
    errors: Sequence[Mapping[str, Any]], title: str = "TrainingRequest", prefix: str = ""
) -> list[Problem]:
    """The same from errors without their exception, as FastAPI passes them.

    Args:
        errors: as `ValidationError.errors()`; `loc` may begin with the part of an HTTP request.
        title: name of the model that was validated.
        prefix: put before every field.
    """
    problems: list[Problem] = []
    for error in errors:
        cause = (error.get("ctx") or {}).get("error")
        if isinstance(cause, InvalidRequest):
            problems += cause.problems
            continue
        path = [str(part)[:LONGEST_NAME] for part in error["loc"]]
        name = ".".join(path[1:] if path[:1] in HTTP_PARTS else path)
        field = f"{prefix}{name}".rstrip(".") or (path[0] if path else "request")
        message = str(error["msg"]).removeprefix("Value error, ")
        if error["type"] == "json_invalid":
            problems.append(Problem("body", f"is no JSON: {cause}, at character {name}", "send one JSON object"))
        elif field not in (problem.field for problem in problems):  # one problem is enough for a field
            problems.append(Problem(field, f"{message} (got {_short(error.get('input'))})", _remedy(title, name)))
    return problems


def _not_of_family(family: str, options: Mapping[str, Any]) -> list[Problem]:
    """Hyperparameters that the family does not have, and a metric that it cannot be scored by."""
    known, metrics = get_family(family).default_params(), get_family(family).study_metrics
    problems = [
        Problem(
            f"config.{option}.{name[:LONGEST_NAME]}",
            f"no hyperparameter of {family}",
            f"{did_you_mean(name, known)}use one of: {', '.join(known)}",
        )
        for option in ("params", "space")
        for name in options.get(option, {})
        if name not in known
    ]
    problems += _out_of_range(get_family(family).params_model, options)
    if (metric := options.get("metric", metrics[0])) not in metrics:
        message = f"{family} cannot be judged by {metric}"
        problems.append(Problem("config.metric", message, f"use one of: {', '.join(metrics)}"))
    return problems


def _out_of_range(model: type[BaseModel], options: Mapping[str, Any]) -> list[Problem]:
    """Hyperparameters that are fixed, or searched, beyond what the family takes."""
    given = [("params", name, value) for name, value in options.get("params", {}).items()]
    given += [("space", name, value) for name, ends in options.get("space", {}).items() for value in ends]
    problems: dict[str, Problem] = {}
    for option, name, value in given:
        try:
            model.model_validate({name: value} if name in model.model_fields else {})
        except ValidationError as error:
            found = problems_of(error, f"config.{option}.")
            problems |= {problem.field: problem for problem in found if problem.field not in problems}
    return list(problems.values())


def _only_in_full(request: TrainingRequest) -> list[Problem]:
    """What only a full training uses: an incremental one keeps the hyperparameters of the version it updates."""
    elsewhere = {name for asset, spec in SPECS.items() if asset != STUDY for name in spec.model_fields}
    unused = [f"config.{name}" for name in request.config if name not in elsewhere]
    unused += [name for name in ("hyperparameter_search", "n_trials") if getattr(request, name)]
    remedy = "leave it out, or train in full (training: full)"
    return [Problem(name, "an incremental training searches nothing", remedy) for name in unused]


def _remedy(title: str, name: str) -> str:
    model: type[BaseModel] = Options if title == Options.__name__ else TrainingRequest
    field = model.model_fields.get(name.partition(".")[0])
    if field is None and title == model.__name__:
        known = OPTIONS if model is Options else tuple(model.model_fields)
        return f"{did_you_mean(name, known)}use one of: {', '.join(known)}"
    return (field and field.description) or "correct the value, or leave it out for its default"


def _short(value: Any, length: int = 100) -> str:
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def _not_json(options: Mapping[str, Any]) -> list[Problem]:
    """Values that cannot be stored with a run: infinite numbers, NaN, NUL, half of a surrogate pair."""
    try:
        stored = json.dumps(options, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError) as error:
        return [Problem("config", f"cannot be stored: {error}", "give finite numbers, texts, lists and objects")]
    if rb"\u0000" in stored:
        return [Problem("config", "cannot be stored: it holds NUL characters", "leave them out")]
    return []
