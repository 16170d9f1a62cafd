"""Requests and responses of the API. Field names and forms of training jobs are the training guide's."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


def guide_time(moment: datetime) -> str:
    """A moment as the guide writes it, in UTC and to the second.

    >>> guide_time(datetime(2024, 1, 15, 10, 30, 0, 999, tzinfo=UTC))
    '2024-01-15T10:30:00'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


Time = Annotated[
    datetime,
    PlainSerializer(guide_time, return_type=str),
    Field(description="UTC", examples=["2024-01-15T10:30:00"], json_schema_extra={"format": "", "type": "string"}),
]


class Message(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class Refusal(Message):
    """Why nothing was done."""

    detail: str


class FieldProblem(Message):
    """What is wrong with one field of a request, and what to do about it."""

    field: str
    message: str
    remedy: str


class Problems(Message):
    """Every field of a request that is wrong."""

    detail: list[FieldProblem]


class TrainingJobCreated(Message):
    """A training job that was taken on."""

    job_id: str = Field(examples=["train_ensemble_1234567890.123"])
    status: JobStatus
    message: str


class JobSummary(Message):
    """A training job in a list."""

    job_id: str
    status: JobStatus
    model_type: str
    created_at: Time
    completed_at: Time | None


class TrainingJob(JobSummary):
    """A training job. `metrics` (on the test rows) and `model_version` are there once it is completed.

    They stay null where an incremental training found nothing new: the previous version stays unchanged.
    """

    metrics: dict[str, float] | None
    model_version: str | None


class FailedJob(TrainingJob):
    """A training job that failed, and why."""

    error: str


class Jobs(Message):
    """Training jobs, newest first."""

    jobs: list[JobSummary]


class Version(Message):
    """A registered version of a model, by name."""

    model_name: str
    version: str
    as_of: str = Field(description="month (as_of) of the model")


class Model(Version):
    """A registered version of a model."""

    model_family: str = Field(
        description="Differs from `model_name` only if a person registered it under another name."
    )
    stage: str
    is_champion: bool
    created_at: Time


class Models(Message):
    """Registered versions."""

    models: list[Model]


class Champion(Version):
    """The champion, and the decision that made it that."""

    since: Time
    reason: str
    decided_by: str


class PromotionResponse(Version):
    """A decision that was recorded, and who is champion after it."""

    action: str
    champion: str | None
    stakes: str = Field(description="which stakes there are of the champion, in one sentence")


class Prediction(Message):
    """What a model says of one strategy's next window."""

    strategy_id: str
    method: str
    as_of: str
    model_name: str
    model_version: str
    decision_time: Time
    probability: float
    confidence: float | None
    expected_return: float | None
    recommended_stake: float = Field(description="fraction of the bankroll")


class Predictions(Message):
    """Predictions, the largest stake first."""

    predictions: list[Prediction]
    message: str | None = Field(description="why the champion has no predictions now; null where it has some")


class Health(Message):
    """Whether the API, or what it depends on, answers."""

    status: Literal["ok", "unavailable"]
    parts: dict[str, str] = {}


def _storable(text: str) -> str:
    if "\0" in text or text.encode(errors="replace").decode() != text:
        raise ValueError("holds characters no database stores: NUL, or half of a surrogate pair")
    return text


Reason = Annotated[
    str,
    Field(min_length=1, max_length=1000, pattern=r"\S", description="one sentence, kept in the ledger"),
    AfterValidator(_storable),
]


class PromotionBody(BaseModel):
    """Why a version is to be champion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: Reason
    override_gate: bool = Field(False, description="promote a version that the gate refused; the ledger records that")


class RollbackBody(BaseModel):
    """Why the champion is withdrawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    reason: Reason


Responses = dict[int | str, dict[str, Any]]

READ_REFUSALS: Responses = {
    401: {"model": Refusal, "description": "The token is missing or wrong"},
    403: {"model": Refusal, "description": "Asked under a name that is not this API's, or from another site"},
    422: {"model": Problems, "description": "Fields that are wrong, each with its remedy"},
    503: {"model": Refusal, "description": "The database, MLflow or Dagster does not answer"},
}
WRITE_REFUSALS: Responses = READ_REFUSALS | {
    408: {"model": Refusal, "description": "The body did not arrive in time"},
    413: {"model": Refusal, "description": "The body is too large"},
    415: {"model": Refusal, "description": "The body is not announced as JSON"},
}
NOT_FOUND: Responses = {404: {"model": Refusal, "description": "There is no such thing"}}
PAGE = {"text/html": {"schema": {"type": "string"}}}
PAGE_REFUSALS: Responses = {
    # A route of pages would describe a model as HTML.
    **{
        status: {
            "description": refusal["description"],
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{refusal['model'].__name__}"}}},
        }
        for status, refusal in READ_REFUSALS.items()
    },
    404: {"content": PAGE, "description": "A page that says that there is no such thing"},
    503: {"content": PAGE, "description": "A page that says what does not answer"},
}
CONFLICT: Responses = {409: {"model": Refusal, "description": "Not possible as things stand"}}
TOO_MANY: Responses = {429: {"model": Refusal, "description": "Too many jobs are waiting"}}
