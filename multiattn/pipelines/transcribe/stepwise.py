"""One recording, whose segments are taken when they are ready, and whose transcript follows: for servers.

The caller drives: between two segments it may do something else, such as the next segment of another recording, or
give up.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Unpack

from ...inputs.audio import AudioSource, Recording
from ..map_request import Check, MapRequest
from ..results import Failure
from .job import TranscriptionJob, file_of
from .options import TranscribeOptions
from .pipeline import TranscribePipeline
from .plan import Plan
from .results import Transcript
from .segments import UNCOVERED, Segment


def transcribe_stepwise(
    pipeline: TranscribePipeline,
    source: AudioSource,
    *,
    words: bool = False,
    maps: str | Sequence[str] | None = None,
    check: Check = False,
    batch_size: int | None = None,
    strict: bool = False,
    watch: Callable[[float], None] | None = None,
    **options: Unpack[TranscribeOptions],
) -> Iterator[Segment | Transcript]:
    """Transcribe a recording: yield each of its segments as soon as it is ready, and at last the transcript.

    Options are checked when this is called. The transcript is that of the pipeline's call; of a recording of several
    channels that are transcribed one after the other, it has the segments in order of time.

    Args:
        pipeline: The model.
        source: As for the pipeline's call, like all that is not described here, but no array.
        words: As above.
        maps: As above.
        check: As above.
        batch_size: As above.
        strict: As above.
        watch: Called before each part of the recording is read, with the second up to which it has been read. What it
            raises ends the work: within a window of the model at the latest.
        options: As above.

    Raises:
        InputError: The recording cannot be used.
        ModelError: As for the pipeline's call.
        TypeError: There is no such option.
    """
    plan = Plan.of(
        pipeline.speech,
        pipeline.bundle,
        options,
        words=words,
        maps=MapRequest.of("transcribe", maps, check=check, first=pipeline.bundle.first_map_method),
        batch_size=batch_size,
    )
    rate = pipeline.bundle.sound.sample_rate
    job = TranscriptionJob(
        file_of(source),
        partial(Recording.open, source, rate=rate, strict=strict, watch=watch),
        plan.timestamper(),
        on_segment=None,
        with_maps=bool(plan.maps.methods),
        channel=plan.channel,
        task=plan.options.task,
        language_threshold=plan.options.language_threshold,
    )
    return _steps(job, plan)


def _steps(job: TranscriptionJob, plan: Plan) -> Iterator[Segment | Transcript]:
    try:
        for segment in job.parts(plan.segments):
            job.add([segment])
            if not segment.is_dropped and UNCOVERED not in segment.flags:
                yield segment
        found = job.result()
    finally:
        job.close()
    if isinstance(found, Failure):
        raise found.error
    yield found
