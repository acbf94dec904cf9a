"""Transcription: from a recording of any length to segments, words with their times, and maps."""

from .pipeline import TranscribePipeline

__all__ = ["TranscribePipeline"]
