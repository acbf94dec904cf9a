"""Models for other runtimes: written as ONNX graphs or torch programs, and run on onnxruntime without torch.

`graphs` (with `decoder_graphs`) says what is written of a model, `export` writes it: these two import torch. The rest
does not: `directory` reads what was written, `session` computes a graph, and `loading` makes the pipeline of a task,
which takes the same files and returns the same results as that on torch.
"""
