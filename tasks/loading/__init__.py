"""From the records of a split to batches.

`sampler` chooses the items of each batch. `pictures`, `reader` and `speech_batches` read and augment them
(`transforms`, `audio_augmentation`), or a `feature_store` has their features. `caption_batches`, `question_batches`
and `speech_batches` add texts as `tokens` and stack the samples. `loader` yields the batches, and reports files that
are not `readable`.
"""
