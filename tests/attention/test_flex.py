"""FlexAttention under a window equals the dense mask, on the CPU: as it is written, in one graph, and as a kernel."""

import subprocess
import sys

import pytest
import torch

from multiattn.attention.flex import flex_serves

B, H, D, N = 2, 3, 16, 157
RULES = {
    "window": {"window": 5},
    "causal, padded": {"window": 5, "causal": True, "keys": torch.arange(N) < torch.tensor([[N], [101]])},
    "dilated, global": {"window": 5, "dilation": 3, "global_tokens": torch.tensor([[0, 90], [3, -1]])},
    "causal, global": {"window": 3, "causal": True, "global_tokens": torch.tensor([[7]])},
}


def qkv(q_len=N):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, n, D, generator=generator) for n in (q_len, N, N)]


def dense(q, k, v, mask):
    allowed = mask.dense(q.shape[2], N)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


def test_it_serves_compiled_models_on_gpus_alone():
    assert not flex_serves(torch.zeros(1), 0.0)


CONTRACT = """
import warnings

import torch
from multiattn.attention import DotProductScore, Mask, score
from multiattn.attention.flex import flex_windowed_attention
from tests.attention.test_flex import *

score.flex_serves = lambda q, dropout_p: dropout_p == 0.0
q, k, v = qkv()
warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
for name, rule in RULES.items():
    mask = Mask(**rule)
    for few in (N, 83):  # as it is written
        found = flex_windowed_attention(q[:, :, :few], k, v, mask, scale=D**-0.5)
        torch.testing.assert_close(found, dense(q[:, :, :few], k, v, mask), atol=2e-6, rtol=0)
    torch.compiler.reset()
    compiled = torch.compile(lambda q, k, v: DotProductScore(D)(q, k, v, mask=mask), fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(q, k, v), dense(q, k, v, mask), atol=2e-6, rtol=0)
    print(name)
"""


@pytest.mark.slow
def test_a_compiled_score_is_one_graph_and_one_kernel():
    """What a GPU would run, but for the device; in a process without pytest's shape checker."""
    done = subprocess.run([sys.executable, "-c", CONTRACT], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == list(RULES), done.stderr
