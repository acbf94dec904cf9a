"""Floor 7: models behind an address, on many machines, and in another runtime.

`work` states what a request for a model is and what an engine does with it; `http` is the application, which knows no
engine, `engine` the one of this process. The way of a request: `http` reads and checks it -> a `Work` -> the engine's
queue (`batching`) -> `computing`, by a pipeline -> a `Reply`.
"""
