"""Serves one registered model over HTTP, in the shapes of Vertex AI and of Cloud Run.

    POST /predict   {"instances": [...], "parameters": {...}}  ->  {"predictions": [...]}
    GET  /health    200 while the process runs
    GET  /ping      200 once the model is loaded, 503 with the reason before that

``MODEL_URI`` names the model (``models:/signals@champion``, a ``gs://`` folder, a path); Vertex AI
gives ``AIP_STORAGE_URI`` instead, and the port and routes that it will ask
(https://docs.cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements). An
instance is an object (column to value) or a list of values. A desk that has no model yet is well:
the model is looked for again with the next request. The model stays until the next revision.
"""

import logging
import os
import threading
from collections.abc import Mapping
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from mlflow.exceptions import MlflowException

DEFAULT_PORT = "8080"
MOST_INSTANCES = 10_000

log = logging.getLogger("model-server")


class BadInputError(ValueError):
    """The request cannot be answered by any model."""


class NoModelError(Exception):
    """There is no model to answer with, yet."""


class Model:
    """The model that ``uri`` names, loaded when it is first needed."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._loaded: Any = None
        self._lock = threading.Lock()

    def loaded(self) -> Any:
        """Return the model. Raises :class:`NoModelError` with the reason where there is none."""
        if not self.uri:
            raise NoModelError("MODEL_URI is not set.")
        with self._lock:
            if self._loaded is None:
                try:
                    self._loaded = mlflow.pyfunc.load_model(self.uri)
                except Exception as error:  # whatever the registry, the store or the model says
                    log.warning("cannot load %s: %s", self.uri, error)
                    raise NoModelError(f"{self.uri} cannot be loaded: {error}") from error
                log.info("loaded %s", self.uri)
            return self._loaded

    def predict(self, body: Any) -> list[Any]:
        """Return one prediction an instance."""
        data, parameters = rows(body)
        model = self.loaded()
        try:
            answer = model.predict(data, params=parameters)
        except (MlflowException, KeyError, TypeError, ValueError) as error:
            raise BadInputError(f"the model refuses the instances: {error}") from error
        found = plain(answer)
        if len(found) != len(data):
            raise RuntimeError(
                f"{self.uri} gave {len(found)} predictions for {len(data)} instances"
            )
        return found


def rows(body: Any) -> tuple[pd.DataFrame | np.ndarray, Mapping[str, Any] | None]:
    """Return the instances as a model takes them, and the parameters."""
    if not isinstance(body, dict) or not isinstance(body.get("instances"), list):
        raise BadInputError('the body is {"instances": [...]}')
    instances, parameters = body["instances"], body.get("parameters")
    if not 0 < len(instances) <= MOST_INSTANCES:
        raise BadInputError(f"1 to {MOST_INSTANCES} instances, not {len(instances)}")
    if parameters is not None and not isinstance(parameters, dict):
        raise BadInputError("parameters is an object")
    if all(isinstance(each, dict) for each in instances):
        if any(each.keys() != instances[0].keys() for each in instances):
            raise BadInputError("every instance has the same columns")
        return pd.DataFrame(instances), parameters
    try:
        return np.asarray(instances, dtype=np.float64), parameters
    except (TypeError, ValueError) as error:
        raise BadInputError(
            f"instances are all objects, or all lists of numbers: {error}"
        ) from error


def plain(answer: Any) -> list[Any]:
    """Return predictions as JSON knows them; what is no number is null."""
    if isinstance(answer, pd.DataFrame):
        return [_finite(row) for row in answer.to_dict("records")]
    if isinstance(answer, pd.Series):
        answer = answer.to_numpy()
    return [_finite(each) for each in (answer.tolist() if hasattr(answer, "tolist") else answer)]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def application(model: Model, environ: Mapping[str, str]) -> FastAPI:
    """Return the server's routes."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    def health() -> dict[str, str]:
        return {"status": "ok", "model": model.uri}

    def ping() -> JSONResponse:
        try:
            model.loaded()
        except NoModelError as error:
            return JSONResponse({"error": str(error)}, 503)
        return JSONResponse({"status": "ready", "model": model.uri})

    async def predict(request: Request) -> JSONResponse:
        try:
            body = await request.json()
        except ValueError as error:
            return JSONResponse({"error": f"the body is not JSON: {error}"}, 400)
        try:
            return JSONResponse({"predictions": await run_in_threadpool(model.predict, body)})
        except BadInputError as error:
            return JSONResponse({"error": str(error)}, 400)
        except NoModelError as error:
            return JSONResponse({"error": str(error)}, 503)

    for path in ("/health", "/"):
        app.add_api_route(path, health, methods=["GET"])
    for path in {"/ping", environ.get("AIP_HEALTH_ROUTE") or "/ping"}:
        app.add_api_route(path, ping, methods=["GET"])
    for path in {"/predict", environ.get("AIP_PREDICT_ROUTE") or "/predict"}:
        app.add_api_route(path, predict, methods=["POST"])
    return app


def main(environ: Mapping[str, str]) -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    model = Model(environ.get("MODEL_URI") or environ.get("AIP_STORAGE_URI") or "")
    port = int(environ.get("AIP_HTTP_PORT") or environ.get("PORT") or DEFAULT_PORT)
    uvicorn.run(application(model, environ), host=environ.get("HOST", "0.0.0.0"), port=port)


if __name__ == "__main__":
    main(os.environ)
