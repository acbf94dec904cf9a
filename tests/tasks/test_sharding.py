"""FSDP2: weights divided among processes learn what whole ones learn, and their states are folders."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from multiattn.errors import ModelError
from multiattn.tasks.sharded_states import read_folder
from multiattn.tasks.training import main
from multiattn.weights import load_bundle

from .captioned import draw_captioned, write_caption_config
from .conftest import ROOT, logged, write_config
from .test_distributed import Runs, assert_alike

# Lightning's own warnings on this torch are no failure of ours
pytestmark = [pytest.mark.training, pytest.mark.filterwarnings("default")]

# what is drawn for each batch differs between processes; weights that are all alike, since a mean of weighted means is
# not the weighted mean; a small norm, so that clipping does something
_OPTIONS = (
    "--model.mixing.mixup=0 --model.mixing.cutmix=0 --model.vision.overrides.dropout=0.0 "
    "--model.vision.overrides.stochastic_depth=0.0 --trainer.gradient_clip_val=0.1 --trainer.limit_train_batches=3 "
    "--trainer.max_epochs=2 --data_report.files=0 --model.class_weights=balanced"
).split()
_SHARDED = ["--trainer.strategy=model_parallel"]


def torchrun(*args: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """The program in processes that torchrun starts."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "multiattn", *args, f"--trainer.devices={processes}"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def fit(place: Path, name: str, root: Path, *more: str) -> list[str]:
    config = write_config(place / f"{name}.yaml", root=root, run=place / name)
    return ["fit", "--config", str(config), *_OPTIONS, *more]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_bundle(run / "model").model.state_dict()


def damage(state: Path) -> None:
    """Change a byte within the pieces of process 0."""
    file = state / "__0_0.distcp"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of this process alone may be made."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.slow  # one process learns by the same code below
@pytest.mark.process
def test_two_processes_of_torchrun_learn_from_divided_weights_what_one_learns(pictures: Path, tmp_path: Path) -> None:
    no_ema = "--trainer.callbacks=null"
    assert main(fit(tmp_path, "one", pictures, "--data.batches.size=10", no_ema)) == 0
    done = torchrun(*fit(tmp_path, "two", pictures, "--data.batches.size=5", no_ema, *_SHARDED))
    assert done.returncode == 0, done.stderr
    runs = Runs(tmp_path / "one", tmp_path / "two", done.stderr)
    assert_alike(runs, "train/loss train/grad_norm val/loss val/top1", count=2)
    assert min(logged(runs.one, "train/grad_norm").values()) > 0.1  # clipped
    assert runs.said.count("The model is in") == 1
    theirs = weights(runs.one)
    for key, value in weights(runs.two).items():
        torch.testing.assert_close(value, theirs[key], rtol=2e-3, atol=2e-3, msg=key)
    pieces = {file.name for file in (runs.two / "checkpoints" / "step-000000006.ckpt").iterdir()}
    assert pieces == {".metadata", "meta.pt", "__0_0.distcp", "__1_0.distcp"}


def test_a_damaged_folder_is_left_out_and_the_one_before_goes_on(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], alone: None
) -> None:
    command = fit(tmp_path, "run", pictures, "--trainer.callbacks=null", "--checkpoint.keep=3", *_SHARDED)
    run = tmp_path / "run"
    states = run / "checkpoints"
    assert main(command) == 0
    before = weights(run)
    first, last = states / "step-000000003.ckpt", states / "step-000000006.ckpt"
    assert [path.name for path in sorted(states.iterdir())] == [first.name, last.name]
    damage(last)
    shutil.rmtree(run / "model")
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().err
    assert f"Taking the state before instead: {first.name}. {last} must be a whole state in parts" in said
    assert f"Going on from {first}" in said
    assert all(torch.equal(value, before[key]) for key, value in weights(run).items())
    assert len(list(states.iterdir())) == 2  # nothing is left beside them

    # another strategy does not read it
    assert main([*command, "--trainer.strategy=auto", "--trainer.max_epochs=3"]) == 1
    assert f"{last} is a state in parts, which only `--trainer.strategy model_parallel`" in capsys.readouterr().err
    # and it is measured where its weights are
    assert main(["validate", *command[1:3], "--ckpt_path=last", "--trainer.callbacks=null", *_SHARDED]) == 0

    (last / "meta.pt").unlink()
    with pytest.raises(ModelError, match=r"lacks meta.pt, so that it was not written to its end"):
        read_folder(last, thorough=False)
    (first / ".metadata").write_bytes(pickle.dumps(os.system))
    with pytest.raises(ModelError, match=r"asks for posix.system, which no index needs"):
        read_folder(first, thorough=False)


@pytest.mark.parametrize("options", ["fsdp", "lightning.pytorch.strategies.FSDPStrategy"])
def test_fsdp1_is_not_offered(options: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(fit(tmp_path, "run", pictures, f"--trainer.strategy={options}")) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: `trainer.strategy` must not be fsdp: FSDP1 joins the weights")
    assert said.endswith("Set it to model_parallel, which is FSDP2.")


def test_averages_need_states_in_parts(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], alone: None
) -> None:
    whole = "lightning.pytorch.strategies.ModelParallelStrategy"
    options = [f"--trainer.strategy={whole}", "--trainer.strategy.save_distributed_checkpoint=false"]
    assert main(fit(tmp_path, "run", pictures, *options)) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == (
        "error: `trainer.strategy.save_distributed_checkpoint` must be true with EMA, but is false instead. Set it, or "
        "leave EMA out."
    )


def with_best(command: list[str], *, mode: str) -> list[str]:
    """Keep the state with the least loss, or the most."""
    config = Path(command[2])
    kept = f"BestCheckpoint\n      init_args: {{monitor: val/loss, mode: {mode}}}\n"
    config.write_text(config.read_text().replace("BestCheckpoint\n", kept))
    return [*command, "--checkpoint.keep=3"]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("mode", ["min", "max"])
def test_two_processes_average_their_parts_and_keep_the_best_and_go_on_from_both(
    mode: str, pictures: Path, tmp_path: Path
) -> None:
    assert main(with_best(fit(tmp_path, "one", pictures, "--data.batches.size=10"), mode=mode)) == 0
    command = with_best(fit(tmp_path, "two", pictures, "--data.batches.size=5", *_SHARDED), mode=mode)
    done = torchrun(*command)
    assert done.returncode == 0, done.stderr
    runs = Runs(tmp_path / "one", tmp_path / "two", done.stderr)
    assert_alike(runs, "train/loss val/loss val/top1", count=2)  # validated with the averages of one process
    theirs, own = weights(runs.one), weights(runs.two)
    for key, value in own.items():
        torch.testing.assert_close(value, theirs[key], rtol=2e-3, atol=2e-3, msg=key)

    # the best state is a folder, of the epoch with the least or the most loss, and the model has its averages
    losses = logged(runs.two, "val/loss")
    best = read_folder(runs.two / "best" / "best.ckpt", thorough=True)
    assert best["global_step"] == 1 + (min if mode == "min" else max)(losses, key=losses.__getitem__)
    assert {file.name for file in (runs.two / "best" / "best.ckpt").iterdir()} >= {"__0_0.distcp", "__1_0.distcp"}

    # without what came after the first epoch, both processes go on to the same weights
    states = runs.two / "checkpoints"
    shutil.rmtree(states / "step-000000006.ckpt")
    shutil.rmtree(runs.two / "model")
    if mode == "min":
        shutil.rmtree(runs.two / "best")
    done = torchrun(*command)
    assert done.returncode == 0, done.stderr
    assert "Going on from" in done.stderr and "step-000000003.ckpt" in done.stderr
    assert all(torch.equal(value, own[key]) for key, value in weights(runs.two).items())


@pytest.mark.slow
@pytest.mark.process
def test_two_processes_draw_captions_from_divided_weights_as_from_whole_ones(tmp_path: Path) -> None:
    captioned = draw_captioned(tmp_path / "data", sizes={"train": 12, "validation": 5})
    options = "--model.objective=self_critical --model.self_critical.baseline=greedy --data.batches.size=3 "
    options += "--model.decoding.max_tokens=9 --trainer.max_epochs=2 --trainer.callbacks=null --data_report.files=0 "
    options += "--model.optimization.lr=1e-2 --model.optimization.warmup_epochs=0"
    said = ""
    for name, strategy in (("one", "ddp"), ("two", "model_parallel")):
        config = write_caption_config(tmp_path / f"{name}.yaml", root=captioned, run=tmp_path / name)
        done = torchrun("fit", "--config", str(config), *options.split(), f"--trainer.strategy={strategy}")
        assert done.returncode == 0, done.stderr
        said = done.stderr
    runs = Runs(tmp_path / "one", tmp_path / "two", said)
    assert_alike(runs, "train/loss train/reward val/loss", count=2)
    assert len(set(logged(runs.two, "train/loss").values())) > 2  # it learns


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_run_on_every_gpu_resumes(pictures: Path, tmp_path: Path) -> None:
    options = ["--trainer.callbacks=null", "--trainer.accelerator=gpu", "--trainer.precision=bf16-mixed", *_SHARDED]
    command = fit(tmp_path, "run", pictures, *options)
    count = torch.cuda.device_count()
    for epochs in (1, 2):
        done = torchrun(*command, f"--trainer.max_epochs={epochs}", processes=count)
        assert done.returncode == 0, done.stderr
    assert len(logged(tmp_path / "run", "val/loss")) == 2
    assert len(weights(tmp_path / "run")) > 0


def test_tensor_parallelism_is_not_offered() -> None:
    from multiattn.tasks.sharding import shard

    class Mesh:
        def __getitem__(self, name: str) -> "Mesh":
            return self

        def size(self) -> int:
            return 2

    with pytest.raises(ModelError, match=r"`tensor_parallel_size` must be 1, but is 2 instead."):
        shard(torch.nn.Linear(2, 2), Mesh())  # type: ignore[arg-type]
