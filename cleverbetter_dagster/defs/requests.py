"""A request to train a family, and what is wrong with one. The command line and the REST API share it.

Pure: nothing here reads a database, a clock or the environment. What it comes down to is in `launches`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cleverbetter_dagster.betting.staking import StakingSpec
from cleverbetter_dagster.dataset.as_of import AsOf
from cleverbetter_dagster.dataset.spec import DatasetSpec
from cleverbetter_dagster.errors import DataError, InvalidRequest, Problem, UnknownFamily
from cleverbetter_dagster.learning.catalogue import FAMILIES, get_family
from cleverbetter_dagster.learning.scoring.spec import StudySpec
from cleverbetter_dagster.services.records import Training

MOST_TRIALS = 1000
HTTP_PARTS = (["body"], ["query"], ["path"], ["header"])
LONGEST_NAME = 60
"""Of a field as a refusal repeats it."""

STUDY = "{family}_study"
SPECS: Mapping[str, type[BaseModel]] = {
    "temporal_split": DatasetSpec,
    STUDY: StudySpec,
    "{family}_evaluation": StakingSpec,
}
"""Whose fields the options of `config` are, by the asset that is given them. A name that two share goes to both."""

SET_BY_REQUEST = {"n_trials": "give n_trials beside config, not inside it"}

OPTIONS = tuple(sorted({name for spec in SPECS.values() for name in spec.model_fields} - SET_BY_REQUEST.keys()))
"""Every option that `config` may hold."""


class TrainingRequest(BaseModel):
    """Train one family as of one month. Fields and options that nobody knows are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    model_type: str = Field(
        description=f"family to train: {', '.join(FAMILIES)}", json_schema_extra={"enum": list(FAMILIES)}
    )
    as_of: str | None = Field(
        None, description="month to train as of, YYYY-MM; null: the newest with rows", examples=["2023-11"]
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
        description=f"settings the search judges, 1 to {MOST_TRIALS}; null: as many as studies of the family have",
        examples=[50],
    )
    training: Training = Field(
        "full",
        description="full: fit anew; incremental: go on from the newest version made with the same choices, with its "
        "hyperparameters and only what it has not learned from",
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
        found = [problem for name in options if (problem := _unknown(name))] + _not_json(options)
        for spec in SPECS.values():
            try:
                spec.model_validate(_fields_of(spec, options))
            except ValidationError as error:
                told = {problem.field for problem in found}
                found += [problem for problem in problems_of(error, "config.") if problem.field not in told]
        if found:
            raise InvalidRequest(found)
        return options

    @model_validator(mode="after")
    def _fits_the_family_and_the_training(self) -> Self:
        searches = _only_in_full(self) if self.training == "incremental" else []
        if found := _not_of_family(self.model_type, self.config) + searches:
            raise InvalidRequest(found)
        return self

    def month(self, months: Collection[str], this_month: str) -> str:
        """The month to train as of, given the months that have rows; by default the newest of them.

        Args:
            months: those that have rows, `YYYY-MM`.
            this_month: the month it is now; no model stands at a later one.

        Raises:
            InvalidRequest: there are no rows yet, or none up to `as_of`, or `as_of` lies in the future.
        """
        if not months:
            remedy = "import rows first (`cleverbetter import --help`) or check DATABASE_URL"
            raise InvalidRequest([Problem("as_of", "no month has any rows to train on", remedy)])
        first, last = min(months), max(months)
        if self.as_of is None:
            return last
        latest = max(last, this_month)
        if not first <= self.as_of <= latest:
            early = f"{self.as_of} is before the first month with rows (see CLEVERBETTER_FIRST_MONTH)"
            told = f"{self.as_of} lies in the future" if self.as_of > latest else early
            raise InvalidRequest([Problem("as_of", told, f"give a month from {first} to {latest}")])
        return self.as_of

    def run_config(self) -> dict[str, Any]:
        """What the assets of the family are configured with: the options given, the rest at its default."""
        config = {asset.format(family=self.model_type): _validated(spec, self.config) for asset, spec in SPECS.items()}
        study = STUDY.format(family=self.model_type)
        if self.training == "incremental":
            config |= {study: {}, f"{self.model_type}_model": {"training": self.training}}
        else:
            config[study] = self._trials() | config[study]
        return {"ops": {asset: {"config": values} for asset, values in config.items() if values}}

    def _trials(self) -> dict[str, int]:
        """Settings to judge. Who names a number wants that many, also where an earlier month gives the start."""
        trials = self.n_trials if self.hyperparameter_search else 0
        return {} if trials is None else {"n_trials": trials, "n_trials_warm": trials}


def problems_of(error: ValidationError, prefix: str = "") -> list[Problem]:
    """What Pydantic found, field by field, with what to do about it."""
    return problems_from(error.errors(include_url=False), error.title, prefix)


def problems_from(
    errors: Sequence[Mapping[str, Any]], title: str = "TrainingRequest", prefix: str = ""
) -> list[Problem]:
    """The same of errors without their exception, as FastAPI hands them on.

    Args:
        errors: as `ValidationError.errors()`; `loc` may begin with the part of a HTTP request.
        title: name of the model that was validated.
        prefix: before every field.
    """
    found: list[Problem] = []
    for one in errors:
        cause = (one.get("ctx") or {}).get("error")
        if isinstance(cause, InvalidRequest):
            found += cause.problems
            continue
        place = [str(part)[:LONGEST_NAME] for part in one["loc"]]
        name = ".".join(place[1:] if place[:1] in HTTP_PARTS else place)
        field = f"{prefix}{name}".rstrip(".") or (place[0] if place else "request")
        told = str(one["msg"]).removeprefix("Value error, ")
        if one["type"] == "json_invalid":
            found.append(Problem("body", f"is no JSON: {cause}, at character {name}", "send one JSON object"))
        elif field not in (problem.field for problem in found):  # an option two specs share is wrong once
            found.append(Problem(field, f"{told} (got {_short(one.get('input'))})", _remedy(title, name)))
    return found


def _unknown(name: str) -> Problem | None:
    if name in SET_BY_REQUEST:
        return Problem(f"config.{name}", f"{name} is no option of config", SET_BY_REQUEST[name])
    if name in OPTIONS:
        return None
    return Problem(f"config.{name[:LONGEST_NAME]}", "there is no such option", f"use one of: {', '.join(OPTIONS)}")


def _not_of_family(family: str, options: Mapping[str, Any]) -> list[Problem]:
    """Hyperparameters the family has not, and a metric it cannot be judged by."""
    known, metrics = get_family(family).default_params(), get_family(family).study_metrics
    found = [
        Problem(
            f"config.{option}.{name[:LONGEST_NAME]}",
            f"no hyperparameter of {family}",
            f"use one of: {', '.join(known)}",
        )
        for option in ("params", "space")
        for name in options.get(option, {})
        if name not in known
    ]
    if (metric := options.get("metric", metrics[0])) not in metrics:
        refusal = f"{family} cannot be judged by {metric}"
        found.append(Problem("config.metric", refusal, f"use one of: {', '.join(metrics)}"))
    return found


def _only_in_full(request: TrainingRequest) -> list[Problem]:
    """What only a full training reads: an incremental one keeps the hyperparameters of the version it goes on from."""
    elsewhere = {name for asset, spec in SPECS.items() if asset != STUDY for name in spec.model_fields}
    given = [f"config.{name}" for name in request.config if name not in elsewhere]
    given += [name for name in ("hyperparameter_search", "n_trials") if getattr(request, name)]
    remedy = "leave it out, or train in full (training: full)"
    return [Problem(name, "an incremental training searches nothing", remedy) for name in given]


def _remedy(title: str, name: str) -> str:
    models: tuple[type[BaseModel], ...] = (*SPECS.values(), TrainingRequest)
    model = next((model for model in models if model.__name__ == title), TrainingRequest)
    field = model.model_fields.get(name.partition(".")[0])
    if title == TrainingRequest.__name__ and field is None:
        return f"use one of: {', '.join(model.model_fields)}"
    return (field and field.description) or "correct the value, or leave it out for its default"


def _short(value: Any, length: int = 100) -> str:
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}..."


def _fields_of(spec: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in spec.model_fields and name in OPTIONS}


def _validated(spec: type[BaseModel], options: Mapping[str, Any]) -> dict[str, Any]:
    given = _fields_of(spec, options)
    return spec.model_validate(given).model_dump(mode="json", include=set(given))


def _not_json(options: Mapping[str, Any]) -> list[Problem]:
    """Values that could not be stored with a run: numbers that are not finite, NUL, half of a surrogate pair."""
    try:
        stored = json.dumps(options, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError) as error:
        return [Problem("config", f"cannot be stored: {error}", "give finite numbers, texts, lists and objects")]
    if rb"\u0000" in stored:
        return [Problem("config", "cannot be stored: it holds NUL characters", "leave them out")]
    return []
