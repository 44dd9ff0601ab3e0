"""The pipeline's program: ``python -m mbats.batch.ticks_to_bars``, here and on Dataflow.

Prints a JSON object a series and granularity, and a last one with the sums, where it runs on this
machine; on Dataflow they are the job's metrics.
"""

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from mbats.batch.pipeline import NAMESPACE, TicksToBars
from mbats.batch.request import BarsRequest, parse
from mbats.batch.sinks import Keep
from mbats.batch.sources import ticks
from mbats.errors import DataError, MbatsError

# Named, for the default first fetches a program from GitHub, and a silent host is waited for.
LOCAL = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def run(request: BarsRequest, options: Sequence[str] = ()) -> dict[str, int]:
    """Run the pipeline to its end and return its counters; an empty mapping on Dataflow.

    Raises :class:`DataError` where files hold nothing that was asked for.
    """
    chosen = PipelineOptions(list(options))
    standard = chosen.view_as(StandardOptions)
    standard.runner = standard.runner or LOCAL
    local = standard.runner != "DataflowRunner"
    pipeline = beam.Pipeline(options=chosen)
    reports = (
        ticks(pipeline, request)
        | "Ticks to bars" >> TicksToBars(request.granularities, request.until)
        | "Keep" >> beam.ParDo(Keep(request))
    )
    if local:
        reports | "Say" >> beam.Map(_say)
    result = pipeline.run()
    if not local:
        return {}  # the template's launcher ends here; Dataflow goes on
    result.wait_until_finish()
    found = result.metrics().query(beam.metrics.MetricsFilter().with_namespace(NAMESPACE))
    counters = {each.key.metric.name: each.result for each in found["counters"]}
    if not counters.get("rows"):
        raise DataError(f"{request.ticks} holds no ticks of {request.vendor} that were asked for.")
    return counters


def _say(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code of the error there was."""
    logging.getLogger().setLevel(logging.WARNING)
    given = sys.argv[1:] if arguments is None else arguments
    try:
        request, rest = parse(given, datetime.now(UTC))
        counters = run(request, rest)
    except MbatsError as error:
        sys.stderr.write(
            json.dumps({"cause": error.cause, "tried": error.tried, "mend": error.mend}) + "\n"
        )
        return error.exit_code
    _say({"counters": counters})
    return 0


if __name__ == "__main__":
    sys.exit(main())
