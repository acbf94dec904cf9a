"""Readers of data sets, and synthetic data sets.

`image_folder`, `captions`, `recordings` and `questions` read the records of a split (paths and labels) from folders,
`metadata.jsonl`, COCO, Flickr8k, LibriSpeech or VQA v2, with the help of `metadata`; no file is opened for its content.
`answer_list` counts answers. `scenes`, `scene_questions` and `scene_files` draw pictures with questions; `concat_clips`
and `concat_files` join short recordings, with `noise`.

Nothing here imports Lightning, and no reader imports torch.
"""
