"""The HTTP application as an application of Ray Serve: a deployment for each model, and one that answers requests.

`serve build multiattn.deploy.ray_app:app` writes its YAML for the models that are shipped; `build` takes arguments, as
configs/serve/ray.yaml gives them, and `multiattn serve --engine ray` deploys the same.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..checks import require
from ..errors import MultiattnError
from .http.settings import Settings, keys_of_environment
from .models import Choice, chosen, shipped_choices
from .ray_cluster import ray_module
from .ray_engine import RayEngine
from .ray_replica import ModelReplica

NAME = "multiattn"
"""The name of the application in Ray Serve."""

HEAD = "http"
"""The name of the deployment that answers requests."""

HEAD_CPUS = 0.1
"""Cores that it reserves: it waits most of the time."""

QUIET = {"log_level": "ERROR", "enable_access_log": False}
"""How Ray Serve logs: the application has logs of its own, without contents."""

_OPEN = 4096
"""Requests that the application may have open: it refuses by itself, model by model."""

_STARTS = 3
"""Times that a replica may fail to start, before its deployment has."""


@dataclass(frozen=True)
class Scale:
    """How many replicas a model has, and what each reserves."""

    min_replicas: int = 1
    """The fewest replicas of each model; 0 ends them all when nobody asks, and the next request waits for one."""

    max_replicas: int = 1
    """The most replicas of each model. Between the two Ray Serve chooses by how many requests there are."""

    cpus_per_replica: float = 1.0
    """Cores that a replica reserves; it may compute with others that are free (`threads`)."""

    gpus_per_replica: float = 0.0
    """GPUs that a replica reserves: 0.25 has four share one. 0: it computes on the processor."""

    heads: int = 1
    """Processes that answer requests; each has its own queue before each model."""

    def __post_init__(self) -> None:
        require(self.min_replicas >= 0, "min_replicas", must="at least 0", value=self.min_replicas)
        least = max(1, self.min_replicas)
        require(self.max_replicas >= least, "max_replicas", must=f"at least {least}", value=self.max_replicas)
        for name in ("cpus_per_replica", "gpus_per_replica"):
            value = getattr(self, name)
            require(value >= 0, name, must="at least 0", value=value)
        require(
            self.gpus_per_replica <= 1 or self.gpus_per_replica == int(self.gpus_per_replica),
            "gpus_per_replica",
            must="at most 1, or a whole number",
            value=self.gpus_per_replica,
        )
        require(self.heads >= 1, "heads", must="at least 1", value=self.heads)


def application(choices: Sequence[Choice], settings: Settings, scale: Scale) -> Any:
    """Return the application, for `serve.run`.

    Args:
        choices: The models; each is loaded by its replicas, on whatever machine they are.
        settings: Of the server. `host` and `port` are those of Ray Serve's proxies, and `memory` and `preload` mean
            nothing here, where a replica has one model.
        scale: Of each model.

    Raises:
        ModelError: There are no models, or two have the same name.
        MultiattnError: Ray is not installed, or a GPU is asked for and not reserved.
    """
    ray_module("Ray Serve", "multiattn[serve-ray]")
    from ray import serve

    if settings.device == "cuda" and not scale.gpus_per_replica:
        raise MultiattnError("`gpus_per_replica` must be above 0 with device cuda, but is 0 instead")
    RayEngine(choices, lambda name: None)  # checks them
    models = [_model(serve, choice, name, settings, scale) for choice, name in named(choices).items()]
    head = serve.deployment(
        name=HEAD,
        num_replicas=scale.heads,
        ray_actor_options={"num_cpus": HEAD_CPUS},
        max_ongoing_requests=_OPEN,
        max_constructor_retry_count=_STARTS,
        graceful_shutdown_timeout_s=settings.drain,
        logging_config=QUIET,
    )(serve.ingress(_asgi(choices, settings))(Head))
    return head.bind(*models)


def named(choices: Sequence[Choice]) -> dict[Choice, str]:
    """Return the name of each model's deployment: the model's, of which files of Ray's logs can be named."""
    taken, found = {HEAD}, dict[Choice, str]()
    for choice in choices:
        name = first = re.sub("[^A-Za-z0-9._-]", "-", choice.name)
        number = 1
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name)
        found[choice] = name
    return found


def _model(serve: Any, choice: Choice, name: str, settings: Settings, scale: Scale) -> Any:
    """Return the deployment of a model."""
    replicas: dict[str, Any] = {"num_replicas": scale.min_replicas}
    if scale.min_replicas != scale.max_replicas:
        replicas = {
            "autoscaling_config": {
                "min_replicas": scale.min_replicas,
                "max_replicas": scale.max_replicas,
                "target_ongoing_requests": settings.batch_size,
            }
        }
    deployment = serve.deployment(
        name=name,
        ray_actor_options={"num_cpus": scale.cpus_per_replica, "num_gpus": scale.gpus_per_replica},
        max_ongoing_requests=2 * settings.batch_size,  # a batch that is computed, and one that gathers
        max_queued_requests=settings.queue,
        max_constructor_retry_count=_STARTS,
        graceful_shutdown_timeout_s=settings.drain,
        logging_config=QUIET,
        **replicas,
    )(ModelReplica)
    return deployment.bind(
        choice.name,
        choice.model,
        batch_size=settings.batch_size,
        patience=settings.patience_ms / 1000,
        limits={"max_pixels": settings.max_pixels, "max_seconds": settings.max_seconds},
        # Ray hides no GPU from a replica that has reserved none
        device=settings.device if scale.gpus_per_replica else "cpu",
        precision=settings.precision,
        threads=settings.threads,
    )


class Head:
    """What the deployment that answers requests can do beside that.

    Args:
        models: Handles of the models' deployments, which the engine finds by their names.
    """

    app: Any
    """The application; set by Ray Serve."""

    def __init__(self, *models: Any) -> None:
        pass

    async def drain(self, patience: float) -> None:
        """Take no more requests (503), and return when those that were accepted are done."""
        self.app.state.is_ready = False
        await self.app.state.engine.close(patience)


def _asgi(choices: Sequence[Choice], settings: Settings) -> Any:
    """Return a function that makes the HTTP application, in the process that answers requests."""

    def make() -> Any:
        from ray import serve

        from .http.app import create_app
        from .http.logs import log_to_stdout

        log_to_stdout()  # of which Ray keeps a file
        app = serve.get_replica_context().app_name
        names = {choice.name: name for choice, name in named(choices).items()}
        engine = RayEngine(choices, lambda model: serve.get_deployment_handle(names[model], app_name=app))
        made = create_app(engine, settings)
        made.add_middleware(OneRequestId)
        return made

    return make


class OneRequestId:
    """Leaves the request's id out of an answer, for Ray's proxy adds it: the same, as it gave it to the request.

    Args:
        app: The application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""

        async def without(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(name, value) for name, value in message["headers"] if name.lower() != b"x-request-id"]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, without)


def build(arguments: Mapping[str, Any]) -> Any:
    """Return the application that the arguments of a YAML file state.

    Args:
        arguments: `models`, a list of [NAME=]MODEL as for `multiattn serve --model` (absent: those that are shipped),
            and the fields of `Settings` and `Scale` that are not as by default. Keys of callers are better in the
            variable `MULTIATTN_API_KEYS` of the environment than here.

    Raises:
        MultiattnError: An argument is unknown, or has a wrong value.
    """
    given = dict(arguments)
    models = given.pop("models", None)
    scale = {one.name: given.pop(one.name) for one in fields(Scale) if one.name in given}
    names = {one.name for one in fields(Settings)}
    for name in given:
        if name not in names:
            known = ", ".join(sorted({"models", *names, *(one.name for one in fields(Scale))}))
            raise MultiattnError(f"`args` must be of {known}, but there is {name!r} instead")
    for name in ("api_keys", "cors"):
        given[name] = tuple(given.get(name, ()))
    given["api_keys"] += keys_of_environment()
    choices = shipped_choices() if models is None else [chosen(spelled) for spelled in models]
    return application(choices, Settings(**given), Scale(**scale))


def __getattr__(name: str) -> Any:
    """Make `app`, the application with the models that are shipped, when it is asked for."""
    if name == "app":
        return build({})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
